"""Resizing beside a full SVD of every dense ΔW: `python -m benchmarks.resize`.

Both are whole processes, cold import included, on the same random files with the real layer
shapes. `--only sd1` for one job; `--no_dense` leaves the slow one out. The dense route is our own,
in NumPy with all cores, and makes the same result: its largest difference from ours is shown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lora_files import make_lora
from benchmarks.whole_process import apart, measure


@dataclass(frozen=True)
class Job:
    """A file to make and resize; `dense` tells whether the dense route is bearable."""

    title: str
    family: str
    dim: int
    conv_dim: int | None
    text_encoders: bool
    dense: bool


JOBS = {
    "sd1": Job("SD1.5, 264 modules, dim 128 -> 32", "sd1", 128, None, True, True),
    "locon": Job("SD1.5 LoCon, 350 modules, dim 64 -> 32", "sd1", 64, 64, True, True),
    "sdxl": Job("SDXL, 722 U-Net modules, dim 128 -> 32", "sdxl", 128, None, False, False),
}
NEW_RANK = 32


def main() -> int:
    """Measure the jobs and print a line for each route; or be the dense route."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=JOBS)
    parser.add_argument("--no_dense", action="store_true")
    parser.add_argument("--dense_route", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.dense_route:
        dense_route(*given.dense_route)
        return 0
    for name in [given.only] if given.only else JOBS:
        with tempfile.TemporaryDirectory() as folder:
            run(JOBS[name], Path(folder), not given.no_dense)
    return 0


def run(job: Job, folder: Path, dense: bool) -> None:
    """Measure one job."""
    source, ours, theirs = (folder / f"{name}.safetensors" for name in ("in", "ours", "dense"))
    apart(make_lora, source, job.family, job.dim, job.dim / 2, job.conv_dim, job.text_encoders)
    print(f"{job.title} ({source.stat().st_size / 1e6:.0f} MB)", flush=True)
    words = ["--model", str(source), "--save_to", str(ours), "--new_rank", str(NEW_RANK)]
    fast = measure("scripts.resize_lora", [*words, "--overwrite"], times=3)
    print(f"  ours       {fast}", flush=True)
    if dense and job.dense:
        slow = measure("benchmarks.resize", ["--dense_route", str(source), str(theirs)])
        print(f"  dense SVD  {slow}")
        difference = apart(largest_difference, ours, theirs)
        print(f"  ratio {slow.seconds / fast.seconds:.0f}, difference of the results "
              f"{difference:.1e} of ΔW", flush=True)  # fmt: skip


def dense_route(source: Path, output: Path) -> None:
    """Resize by the singular value decomposition of every dense ΔW."""
    import numpy as np

    from scripts.lora.modules import open_lora
    from scripts.lora.number_formats import to_precision
    from scripts.lora.tensor_files import write_tensors

    tensors = {}
    with open_lora(source) as lora:
        for name, module in lora.modules.items():
            up, down, scale = module.factors()
            left, values, right = np.linalg.svd(up @ down, full_matrices=False)
            root = np.sqrt(values[:NEW_RANK])
            up = (left[:, :NEW_RANK] * root).reshape(len(up), -1, *[1] * len(module.shape[2:]))
            down = (root[:, None] * right[:NEW_RANK]).reshape(-1, *module.shape[1:])
            tensors[f"{name}.alpha"] = to_precision(np.float32(scale * NEW_RANK), "fp16")
            tensors[f"{name}.lora_up.weight"] = to_precision(up, "fp16")
            tensors[f"{name}.lora_down.weight"] = to_precision(down, "fp16")
        write_tensors(output, tensors, lora.metadata)


def largest_difference(one: Path, other: Path) -> float:
    """The largest relative difference of ΔW in Frobenius norm, over a tenth of the modules."""
    import numpy as np

    from scripts.lora.modules import open_lora

    differences = []
    with open_lora(one) as first, open_lora(other) as second:
        for name in list(first.modules)[::10]:
            up, down, scale = first.modules[name].factors()
            change = scale * (up @ down)
            up, down, scale = second.modules[name].factors()
            difference = np.linalg.norm(change - scale * (up @ down))
            differences.append(difference / np.linalg.norm(change))
    return float(max(differences))


if __name__ == "__main__":
    sys.exit(main())
