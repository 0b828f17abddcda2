"""Merging LoRAs beside a full SVD of every dense sum, and into a checkpoint beside a plain copy:
`python -m benchmarks.merge`.

All are whole processes, cold import included, on random files with real layer shapes. `--only`
picks a job, `--no_dense` leaves the slow route out, `--dim` is that of the LoRAs (128). The
copy is flushed to the disk, as ours is. The checkpoint is that of `python -m
benchmarks.random_model`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.lora_files import make_lora
from benchmarks.whole_process import apart, measure
from scripts.core.files import CACHE_FOLDER

RANK, RATIOS = 64, (0.7, 0.3)
CHECKPOINT = CACHE_FOLDER / "benchmarks" / "random-sd15-1.safetensors"
TIMES = 5
JOBS = ("sd1", "sdxl", "checkpoint")


def main() -> int:
    """Measure the jobs and print a line for each route; or be the dense route."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=JOBS)
    parser.add_argument("--no_dense", action="store_true")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--dense_route", nargs=3, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.dense_route:
        dense_route(*given.dense_route)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for job in JOBS if given.only is None else [given.only]:
            run(job, Path(folder), given.dim, dense=not given.no_dense)
    return 0


def run(job: str, folder: Path, dim: int, dense: bool) -> None:
    """Make the files of a job, measure its routes, and print."""
    family = "sdxl" if job == "sdxl" else "sd1"
    loras = [folder / f"{family}-{seed}.safetensors" for seed in (1, 2)]
    for seed, lora in enumerate(loras, 1):
        apart(make_lora, lora, family, dim, dim / 2, None, job != "sdxl", seed)
    if job == "checkpoint":
        checkpoint(loras[0], folder / "merged.safetensors")
        return
    output = folder / "merged.safetensors"
    words = ["--models", *map(str, loras), "--ratios", *map(str, RATIOS), "--overwrite",
             "--save_to", str(output)]  # fmt: skip
    print(f"{family}: two LoRAs of dim {dim}", flush=True)
    for rank in ("exact", "auto", str(RANK)):
        fast = measure("scripts.merge_lora", [*words, "--new_rank", rank], times=3)
        print(f"  ours {rank:6}{fast}", flush=True)
    if dense and job == "sd1":
        theirs = folder / "dense.safetensors"
        slow = measure("benchmarks.merge", ["--dense_route", *map(str, (*loras, theirs))])
        print(f"  dense SVD  {slow}\n  ratio {slow.seconds / fast.seconds:.0f}", flush=True)


def checkpoint(lora: Path, output: Path) -> None:
    """Merge into the checkpoint of 2.1 GB beside a copy of it, in turn; with the checkpoint on the
    disk alone, as it mostly is, and with all of it in the memory of the system."""
    words = ["--models", str(lora), "--sd_model", str(CHECKPOINT), "--save_to", str(output)]
    for in_memory in (False, True):
        copies, merges = [], []
        for _ in range(TIMES):
            _begin_anew(output, in_memory)
            copies.append(copy_seconds(output))
            _begin_anew(output, in_memory)
            merges.append(measure("scripts.merge_lora", words))
        copy = median(copies)
        merge = sorted(merges, key=lambda run: run.seconds)[TIMES // 2]
        print(f"checkpoint {'in memory' if in_memory else 'on the disk'}")
        print(f"  plain copy {copy:8.2f} s\n  ours       {merge}")
        print(f"  ratio {merge.seconds / copy:.2f}", flush=True)


def _begin_anew(output: Path, in_memory: bool) -> None:
    """Neither route replaces an older result; the checkpoint lies where it should."""
    output.unlink(missing_ok=True)
    with CHECKPOINT.open("rb", buffering=0) as file:
        if in_memory:
            while file.read(1 << 24):
                pass
        elif hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copy_seconds(output: Path) -> float:
    """How long a copy of the checkpoint takes until it is on the disk."""
    began = time.perf_counter()
    shutil.copyfile(CHECKPOINT, output)
    with output.open("rb+") as file:
        os.fsync(file.fileno())
    return time.perf_counter() - began


def dense_route(first: Path, second: Path, output: Path) -> None:
    """Merge by the singular value decomposition of every dense sum."""
    import numpy as np

    from scripts.lora.modules import open_lora
    from scripts.lora.number_formats import to_precision
    from scripts.lora.tensor_files import write_tensors

    tensors = {}
    with open_lora(first) as one, open_lora(second) as other:
        for name, module in one.modules.items():
            total = 0
            for lora, ratio in zip((one, other), RATIOS, strict=True):
                up, down, scale = lora.modules[name].factors()
                total = total + ratio * scale * (up @ down)
            left, values, right = np.linalg.svd(total, full_matrices=False)
            root, ones = np.sqrt(values[:RANK]), [1] * len(module.shape[2:])
            up = (left[:, :RANK] * root).reshape(len(total), -1, *ones)
            down = (root[:, None] * right[:RANK]).reshape(-1, *module.shape[1:])
            tensors[f"{name}.alpha"] = to_precision(np.float32(RANK), "fp16")
            tensors[f"{name}.lora_up.weight"] = to_precision(up, "fp16")
            tensors[f"{name}.lora_down.weight"] = to_precision(down, "fp16")
        write_tensors(output, tensors, {})


if __name__ == "__main__":
    sys.exit(main())
