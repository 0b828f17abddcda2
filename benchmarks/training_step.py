"""Measure start-up, a training step and memory on a full-size model, beside peft's layers.

    python -m benchmarks.training_step [--model FILE] [--precision no|fp16|bf16] [--steps N]
                                       [--resolution PIXELS] [--threads N]

Two fresh processes are measured one after the other (`benchmarks.training_process`), both with
Stable Diffusion 1.5, batch 1, dim 16, text encoder and U-Net trained by AdamW, on the graphics card
if there is one:

1. A training by the engine: seconds from the start of the process to the first step, with eight
   pictures to encode; seconds per step, and the most memory that the process ever held.
2. The engine again, with the pictures encoded: seconds to the first step. Then every batch is taken
   twice: by the engine's layers, and by those of the `peft` package on the same U-Net and text
   encoder, with the same step code and an AdamW of their own. Both begin with the same weights, so
   that their losses must agree. The ratio of the medians is the figure to look at: how busy the
   machine is hardly changes it.

Without --model a file with random weights is made (`benchmarks.random_model`). What is hashed,
encoded and written goes to a temporary folder, and nothing is taken from earlier runs. Prints a
table, and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.whole_process import apart
from scripts.core.files import CACHE_FOLDER, PROJECT_FOLDER

ROWS = (
    ("start-up to the first step", "start_seconds", "{:.1f} s"),
    ("of that, processor time", "start_processor_seconds", "{:.1f} s"),
    ("start-up with 8 pictures to encode", "cold_start_seconds", "{:.1f} s"),
    ("of that, encoding the pictures", "encoding_seconds", "{:.1f} s"),
    ("a step", "step_seconds", "{:.2f} s"),
    ("of that, processor time", "step_processor_seconds", "{:.2f} s"),
    ("most memory", "peak_bytes", "{:.2f} GB"),
    ("side by side: a step", "paired_step_seconds", "{:.2f} s"),
    ("side by side: a step with peft's layers", "peft_step_seconds", "{:.2f} s"),
    ("ratio to peft, time", "ratio", "{:.3f}"),
    ("ratio to peft, processor time", "processor_ratio", "{:.3f}"),
    ("largest difference of the losses", "largest_loss_difference", "{:.1e}"),
)


def main() -> int:
    """Read the command line, measure in child processes, print."""
    parser = _parser()
    given = parser.parse_args()
    if given.precision == "fp16" and not apart(has_card):
        parser.error("fp16 is for graphics cards, and PyTorch can use none here.")
    model = given.model
    if model is None:
        model = _random_model()
    figures: dict[str, Any] = {
        "model": model.name, "precision": given.precision, "threads": given.threads,
        "resolution": given.resolution, "steps": given.steps, "load": _load(),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        task = {
            "model": str(model.resolve()), "folder": folder, "precision": given.precision,
            "resolution": given.resolution, "steps": given.steps,
        }  # fmt: skip
        figures |= measure_in_child(task | {"beside_peft": False}, given.threads)
        figures |= measure_in_child(task | {"beside_peft": True}, given.threads)
    print_table(figures)
    print(json.dumps(figures))
    return 0


def has_card() -> bool:
    """Whether PyTorch can use a graphics card."""
    import torch

    return torch.cuda.is_available()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, help="a base model; by default a random one is made")
    parser.add_argument("--precision", choices=("no", "fp16", "bf16"), default="no",
                        help="by default no")  # fmt: skip
    parser.add_argument("--resolution", type=int, default=256, help="by default 256")
    parser.add_argument("--steps", type=int, default=10, help="how many steps to measure")
    parser.add_argument("--threads", type=int, default=os.cpu_count(),
                        help="threads of torch; by default one for each core")  # fmt: skip
    return parser


def _random_model() -> Path:
    """Make the random model in a process of its own: this one must stay small."""
    folder = CACHE_FOLDER / "benchmarks"
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks.random_model", str(folder)],
        cwd=PROJECT_FOLDER, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return Path(made.stdout.strip().splitlines()[-1])


def _load() -> float | None:
    """How many processes want a core, on average over the last minute; None on Windows."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def measure_in_child(task: dict[str, Any], threads: int) -> dict[str, Any]:
    """What `benchmarks.training_process` measures, in a process that is just beginning."""
    task = task | {"began": time.time()}
    made = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_process", json.dumps(task)],
        cwd=PROJECT_FOLDER, check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    return json.loads(made.stdout.strip().splitlines()[-1])


def print_table(figures: dict[str, Any]) -> None:
    """The figures for people."""
    print("{model} at {resolution}, precision {precision}, {threads} threads, load {load}"
          .format(**figures))  # fmt: skip
    for title, key, form in ROWS:
        value = figures.get(key)
        if value is not None:
            print(f"  {title:40} {form.format(value / 1e9 if key == 'peak_bytes' else value)}")


if __name__ == "__main__":
    sys.exit(main())
