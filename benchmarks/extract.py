"""Extracting a LoRA beside a full SVD of every difference: `python -m benchmarks.extract`.

Both are whole processes, cold import included. The models are random ones with the real shapes:
SD1.5 in full size (`python -m benchmarks.random_model`), and SDXL's U-Net alone (5.1 GB), each
beside a copy whose U-Net has a change of rank 32 and a little noise. They are made in the cache
folder, 15 GB in all, and kept. `--only sd1` for one job; `--no_dense` leaves the slow one out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.whole_process import apart, measure
from scripts.core.files import CACHE_FOLDER, replace_atomically
from scripts.core.safetensors_header import read_header

FOLDER = CACHE_FOLDER / "benchmarks"
DIM = 64
JOBS = {  # title, dim of 3x3 convolutions, whether the dense route is bearable
    "sd1": ("SD1.5, dim 64", None, True),
    "locon": ("SD1.5, dim 64 and 32 for 3x3 convolutions", 32, False),
    "sdxl": ("SDXL's U-Net, dim 64", None, False),
}


def main() -> int:
    """Measure the jobs and print a line for each route; or be the dense route."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=JOBS)
    parser.add_argument("--no_dense", action="store_true")
    parser.add_argument("--dense_route", nargs=3, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.dense_route:
        dense_route(*given.dense_route)
        return 0
    for name in [given.only] if given.only else JOBS:
        with tempfile.TemporaryDirectory() as folder:
            run(name, Path(folder), not given.no_dense)
    return 0


def run(name: str, folder: Path, dense: bool) -> None:
    """Measure one job."""
    title, conv_dim, bearable = JOBS[name]
    org = apart(sdxl_unet if name == "sdxl" else sd1)
    tuned = org.with_name(f"{org.stem}-tuned.safetensors")
    if not tuned.exists():
        apart(write_tuned, org, tuned)
    ours = folder / "ours.safetensors"
    print(f"{title} (two files of {org.stat().st_size / 1e9:.1f} GB)", flush=True)
    words = ["--model_org", str(org), "--model_tuned", str(tuned), "--save_to", str(ours),
             "--dim", str(DIM), "--overwrite"]  # fmt: skip
    words += [] if conv_dim is None else ["--conv_dim", str(conv_dim)]
    fast = measure("scripts.extract_lora", words, times=2)
    print(f"  ours       {fast}", flush=True)
    if dense and bearable:
        theirs = folder / "dense.safetensors"
        slow = measure("benchmarks.extract", ["--dense_route", *map(str, (org, tuned, theirs))])
        print(f"  dense SVD  {slow}\n  ratio {slow.seconds / fast.seconds:.0f}", flush=True)
        excess = apart(largest_excess, org, tuned, ours, theirs)
        print(f"  error above that of the dense SVD: {excess:.2e} at most", flush=True)


def sd1() -> Path:
    """The random SD1.5."""
    from benchmarks.random_model import random_model

    return random_model(FOLDER)


def sdxl_unet() -> Path:
    """A checkpoint with nothing but a random U-Net of SDXL."""
    import torch
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    from benchmarks.random_model import random_tensors, write_streamed
    from scripts.models.configs import bundled_config
    from scripts.models.families import SDXL
    from scripts.models.original_layout import unet_sources
    from scripts.models.shapes import UNET_PREFIX

    path = FOLDER / "random-sdxl-unet.safetensors"
    if path.exists():
        return path
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(bundled_config(SDXL, "unet"))
    shapes = {name: tuple(weight.shape) for name, weight in unet.named_parameters()}
    sources = unet_sources(shapes, 2, frozenset({0, 1}), UNET_PREFIX)
    named = {sources[name].name: shape for name, shape in shapes.items()}
    with replace_atomically(path) as unfinished:
        write_streamed(unfinished, named, random_tensors(named, 1))
    return path


def write_tuned(source: Path, target: Path) -> None:
    """A copy in which each matrix of the U-Net has a change of rank 32, a tenth of its size, and
    noise of a fiftieth."""
    import numpy as np

    generator = np.random.default_rng(3)
    header = read_header(source)
    with (
        replace_atomically(target) as unfinished,
        source.open("rb") as old,
        unfinished.open("wb") as new,
    ):
        new.write(old.read(header.data_start))
        for name, info in sorted(header.tensors.items(), key=lambda entry: entry[1].begin):
            data = old.read(info.end - info.begin)
            if name.startswith("model.diffusion_model.") and len(info.shape) > 1:
                weight = np.frombuffer(data, "<f2").astype(np.float32)
                weight = weight.reshape(info.shape[0], -1)
                up = generator.standard_normal((len(weight), 32), np.float32)
                down = generator.standard_normal((32, weight.shape[1]), np.float32)
                noise = generator.standard_normal(weight.shape, np.float32)
                spread = weight.std()
                weight += spread * (0.1 / 32**0.5 * (up @ down) + 0.02 * noise)
                data = weight.astype("<f2").tobytes()
            new.write(data)


def dense_route(org: Path, tuned: Path, output: Path) -> None:
    """Extract by the singular value decomposition of every difference."""
    import numpy as np

    from scripts.lora.number_formats import to_precision
    from scripts.lora.tensor_files import write_tensors

    tensors = {}
    for name, shape, change in changes(org, tuned):
        left, values, right = np.linalg.svd(change, full_matrices=False)
        root = np.sqrt(values[:DIM])
        up = (left[:, :DIM] * root).reshape(len(change), -1, *[1] * len(shape[2:]))
        down = (root[:, None] * right[:DIM]).reshape(-1, *shape[1:])
        tensors[f"{name}.alpha"] = to_precision(np.float32(DIM), "fp16")
        tensors[f"{name}.lora_up.weight"] = to_precision(up, "fp16")
        tensors[f"{name}.lora_down.weight"] = to_precision(down, "fp16")
    write_tensors(output, tensors, {})


def changes(org: Path, tuned: Path, every: int = 1):
    """(name, shape, difference (out, columns) float32) of the layers that a LoRA has and that
    differ, or of every so-manieth."""
    from scripts.lora.checkpoint_keys import ATTENTION, TEXT_ENCODER, open_checkpoint
    from scripts.lora.tensor_files import open_tensors

    modules = open_checkpoint(org).modules.values()
    wanted = [place for place in modules if place.part in (ATTENTION, TEXT_ENCODER)]
    with open_tensors(org) as before, open_tensors(tuned) as after:
        for place in wanted[::every]:
            change = place.rows(after.read(place.key)) - place.rows(before.read(place.key))
            if change.any():
                yield place.name, place.shape, change.reshape(len(change), -1)


def largest_excess(org: Path, tuned: Path, ours: Path, theirs: Path) -> float:
    """By what share our error is above that of the dense route, over a tenth of the layers."""
    import numpy as np

    from scripts.lora.modules import open_lora

    found = []
    with open_lora(ours) as one, open_lora(theirs) as other:
        for name, _, change in changes(org, tuned, every=10):
            errors = []
            for lora in (one, other):
                up, down, scale = lora.modules[name].factors()
                errors.append(np.linalg.norm(change - scale * (up @ down)))
            found.append(errors[0] / errors[1] - 1)
    return float(max(found))


if __name__ == "__main__":
    sys.exit(main())
