"""Takes one real step with an 8-bit optimiser, and tells what bitsandbytes is made of here.

Started by `bitsandbytes_patch` as training is started, in a fresh process: a bitsandbytes without
a library for this machine can be imported all the same, and only its first step fails.
    python -m easy_scripts.install.eight_bit_step RESULT_FILE
Writes one JSON object to RESULT_FILE, the fields of `bitsandbytes_patch.Facts`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import re
import sys
import sysconfig
from pathlib import Path

RATE, DECAY = 0.1, 0.01
AFTER_ONE_STEP = 1 - RATE - RATE * DECAY  # AdamW's first step on a weight of 1, whatever its slope
# What the patch of 2022 and 2023 put there by hand; no package of today brings such files.
BY_HAND = re.compile(r"^(libcudart.*|libbitsandbytes.*|cudart.*\.dll|cuda_setup)$")


def describe_package() -> dict:
    """Where bitsandbytes lies, its version, its libraries, and files that it did not bring."""
    found = importlib.util.find_spec("bitsandbytes")
    if found is None or not found.origin:
        return {"folder": None}
    folder = Path(found.origin).resolve().parent
    site = Path(sysconfig.get_path("purelib")).resolve()
    libraries = [path.name for path in folder.glob("libbitsandbytes_*")]
    return {
        "folder": str(folder),
        "ours": site in folder.parents,
        "version": _version(),
        "libraries": sorted(libraries),
        "by_hand": _by_hand(folder),
    }


def _version() -> str | None:
    try:
        return importlib.metadata.version("bitsandbytes")
    except importlib.metadata.PackageNotFoundError:
        return None


def _by_hand(folder: Path) -> list[str]:
    """The names in the package's folder that its list of files does not know."""
    try:
        listed = importlib.metadata.files("bitsandbytes") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    brought = {file.parts[1] for file in listed if len(file.parts) > 1}
    names = [path.name for path in folder.iterdir() if BY_HAND.match(path.name)]
    return sorted(name for name in names if name not in brought)


def describe_torch(torch) -> dict:
    """torch's CUDA version, the folder of its own libraries, and the device training will use."""
    return {
        "device": device_name(torch),
        "torch_cuda": getattr(torch.version, "cuda", None),
        "torch_lib": str(Path(torch.__file__).parent / "lib"),
    }


def take_step(torch) -> None:
    """Take a step with AdamW8bit on the device that training would use. Raises when it fails."""
    optim = importlib.import_module("bitsandbytes.optim")
    weight = torch.ones(64, 64, device=_device(torch), requires_grad=True)  # smaller stay 32-bit
    optimizer = optim.AdamW8bit([weight], lr=RATE, weight_decay=DECAY)
    weight.square().sum().backward()
    optimizer.step()
    (state,) = optimizer.state.values()
    if state["state1"].dtype != torch.uint8:
        raise ArithmeticError("the optimiser did not work with 8 bits")
    mean = float(weight.detach().mean())
    if not abs(mean - AFTER_ONE_STEP) < 0.01:
        raise ArithmeticError(f"a step gave {mean} in place of {AFTER_ONE_STEP}")


def device_name(torch) -> str:
    """Such as "NVIDIA GeForce RTX 3060 12 GB"."""
    kind = _device(torch)
    if kind == "cpu":
        return "the processor"
    properties = getattr(torch, kind).get_device_properties(0)
    return f"{properties.name} {properties.total_memory / 2**30:.0f} GB"


def _device(torch) -> str:
    if torch.cuda.is_available():
        return "cuda"
    xpu = getattr(torch, "xpu", None)
    return "xpu" if xpu is not None and xpu.is_available() else "cpu"


def main(result_file: str) -> None:
    """Look, take the step, and write the result."""
    result = describe_package()
    try:
        torch = importlib.import_module("torch")
        result.update(describe_torch(torch))
        take_step(torch)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is why 8 bits do not work
        result["failure"] = f"{type(error).__name__}: {error}"
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
