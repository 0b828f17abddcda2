"""Measure trainings on a graphics card: time and memory of a step, and the largest batch.

    python -m benchmarks.card [--only NAME ...] [--model FILE] [--sdxl FILE] [--pictures N]

Each job is a process of its own, `python -m scripts.train --trial`, as the wizard starts it; the
job "bake" is a whole training of sixty steps beside its trial. A trial looks for the largest batch
up to the number of pictures, by default 32. Without files of models random ones are made
(`benchmarks.random_model`). Prints a line for each job as it ends, and at last one line of JSON.
What a trial finds out is kept for the wizard's advice, as always.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.random_model import random_model
from benchmarks.training_process import draw_pictures
from benchmarks.whole_process import apart
from scripts.core.files import CACHE_FOLDER, PROJECT_FOLDER

SD1: dict[str, Any] = {"family": "sd1", "resolution": 512, "train_batch_size": 1}
SDXL = {
    "family": "sdxl", "resolution": 1024, "train_batch_size": 1, "network_train_unet_only": True,
    "gradient_checkpointing": True,
}  # fmt: skip
JOBS: dict[str, dict[str, Any]] = {
    "sd1-fp32": SD1 | {"mixed_precision": "no"},
    "sd1-fp16": SD1 | {"mixed_precision": "fp16"},
    "sd1-bf16": SD1 | {"mixed_precision": "bf16"},
    "sd1-bf16-locon": SD1 | {"mixed_precision": "bf16", "conv_dim": 8},
    "sd1-bf16-8bit": SD1 | {"mixed_precision": "bf16", "optimizer_type": "AdamW8bit"},
    "sd1-bf16-fp8": SD1 | {"mixed_precision": "bf16", "fp8_base": True},
    "sd1-bf16-checkpointing": SD1 | {"mixed_precision": "bf16", "gradient_checkpointing": True},
    "sdxl-bf16": SDXL | {"mixed_precision": "bf16"},
    "sdxl-fp16": SDXL | {"mixed_precision": "fp16"},
    "sdxl-bf16-8bit": SDXL | {"mixed_precision": "bf16", "optimizer_type": "AdamW8bit"},
    "sdxl-bf16-fp8": SDXL | {"mixed_precision": "bf16", "fp8_base": True},
    "sdxl-bf16-whole": SDXL | {"mixed_precision": "bf16", "gradient_checkpointing": False},
    "sdxl-bf16-text": SDXL | {"mixed_precision": "bf16", "network_train_unet_only": False},
}
BAKE = "sd1-bf16"


def main() -> int:
    """Read the command line, measure in child processes, print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.card", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=[*JOBS, "bake"], default=[*JOBS, "bake"])
    parser.add_argument("--model", type=Path, help="a base model of SD1.x")
    parser.add_argument("--sdxl", type=Path, help="a base model of SDXL")
    parser.add_argument("--pictures", type=int, default=32, help="by default 32")
    given = parser.parse_args()
    missing = apart(what_is_missing, any("8bit" in name for name in given.only))
    if missing:
        parser.error(missing)
    models = {"sd1": given.model, "sdxl": given.sdxl}
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in given.only:
            job = dict(JOBS[BAKE if name == "bake" else name])
            family = job.pop("family")
            models[family] = models[family] or apart(
                random_model, CACHE_FOLDER / "benchmarks", family
            )
            values = settings(job, models[family], Path(folder), given.pictures)
            figures[name] = bake(values) if name == "bake" else trial(values)
            print(f"{name:24} {in_words(figures[name])}", flush=True)
    print(json.dumps(figures))
    return 0


def what_is_missing(eight_bit: bool) -> str:
    """What keeps the figures from being those of the jobs' names, as a sentence; "" if nothing."""
    import torch

    if not torch.cuda.is_available():
        return "there is no graphics card that PyTorch can use."
    if eight_bit:
        try:
            from bitsandbytes.optim import AdamW8bit

            weight = torch.zeros(64, 64, device="cuda", requires_grad=True)
            weight.sum().backward()
            AdamW8bit([weight]).step()
        except Exception as error:  # noqa: BLE001 - whatever it is, AdamW would be taken for it
            return f"bitsandbytes does not work here ({error}): leave out the jobs with 8bit."
    return ""


def settings(job: dict[str, Any], model: Path, folder: Path, count: int) -> dict[str, Any]:
    """All settings of a job, with pictures of its size."""
    side = job["resolution"]
    pictures = folder / f"pictures-{side}"
    draw_pictures(pictures / "1_disc", side, count)
    return {
        "pretrained_model_name_or_path": str(model.resolve()), "train_data_dir": str(pictures),
        "output_dir": str(folder / "output"), "network_dim": 16, "network_alpha": 8,
        "optimizer_type": "AdamW", "learning_rate": 1e-4, "max_train_steps": 60, "seed": 1,
        "cache_latents": True, **job,
    }  # fmt: skip


def trial(values: dict[str, Any]) -> dict[str, Any]:
    """The facts of a trial; the error, where it failed."""
    events = run(values, "--trial")
    facts = [event["facts"] for event in events if event["event"] == "facts"]
    return facts[-1] | {"began": stages(events)} if facts else failure(events)


def bake(values: dict[str, Any]) -> dict[str, Any]:
    """Pace and memory of a whole training, as its last step tells them."""
    events = run(values)
    steps = [event for event in events if event["event"] == "step"]
    if not any(event["event"] == "done" for event in events):
        return failure(events)
    return {key: steps[-1].get(key) for key in ("seconds_per_step", "memory_bytes", "loss")} | {
        "first_loss": steps[0]["loss"], "seconds": events[-1]["seconds"],
        "began": stages(events) | {"first step": round(steps[0]["at"], 2)},
    }  # fmt: skip


def stages(events: list[dict[str, Any]]) -> dict[str, float]:
    """When each stage was first spoken of, in seconds after the start of the process."""
    found: dict[str, float] = {}
    for event in events:
        if event["event"] == "stage":
            found.setdefault(event["name"], round(event["at"], 2))
    return found


def run(values: dict[str, Any], *words: str) -> list[dict[str, Any]]:
    """The events of `python -m scripts.train` with these settings, each with `at`, its second."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "job.json"
        config.write_text(json.dumps(values), encoding="utf-8")
        with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
            [sys.executable, "-m", "scripts.train", "--config", str(config), "--events", *words],
            cwd=PROJECT_FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said,
            text=True,
        ) as process:  # fmt: skip
            events = []
            for line in process.stdout:  # stdin stays open: its end asks for a stop
                if line.startswith("{"):
                    events.append(json.loads(line) | {"at": time.perf_counter() - began})
            said.seek(0)
            return events or [{"event": "problem", "message": said.read()[-500:]}]


def failure(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What a job that failed had to say."""
    problems = [event["message"] for event in events if event["event"] == "problem"]
    return {"error": problems[-1] if problems else f"it ended after {events[-1]}"}


def in_words(figures: dict[str, Any]) -> str:
    """The figures of one job as a line."""
    if figures.get("error"):
        return figures["error"]
    words = []
    if figures["seconds_per_step"] is not None:
        words.append(f"{figures['seconds_per_step'] * 1000:7.1f} ms a step")
    if figures["memory_bytes"] is not None:
        words.append(f"{figures['memory_bytes'] / 1e9:6.2f} GB")
    for one in figures.get("tried", ())[-1:]:
        words.append(f"largest batch {figures['largest_batch']}; {one['batch']}: {one['verdict']}, "
                     f"{1000 * (one['seconds_per_picture'] or 0):.1f} ms a picture, "
                     f"{(one['memory_bytes'] or 0) / 1e9:.2f} GB")  # fmt: skip
    if "first_loss" in figures:
        words.append(f"loss {figures['first_loss']:.4f} to {figures['loss']:.4f}, "
                     f"{figures['seconds']:.0f} s in all")  # fmt: skip
    words += [f"{second:.1f} s {stage}" for stage, second in figures["began"].items()]
    return ", ".join(words)


if __name__ == "__main__":
    sys.exit(main())
