"""Read and write LoRA files in kohya's format.

For each layer a file holds `<name>.alpha`, `<name>.lora_down.weight` and `<name>.lora_up.weight`.
This is what training needs, with torch; the tools read every kind of LoRA without it
(`scripts.lora.modules`).
"""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scripts.core.errors import SettingError, SuiteError
from scripts.core.files import replace_atomically
from scripts.core.safetensors_header import read_header
from scripts.lora.safetensors_writer import RawTensor, write_safetensors

PRECISIONS = {"float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
DTYPE_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL", torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip


@dataclass(frozen=True)
class LayerFactors:
    """One layer of a LoRA file: down (dim, ...), up (out, dim, ...), and alpha."""

    down: Tensor
    up: Tensor
    alpha: float

    @property
    def dim(self) -> int:
        """The rank of the change."""
        return self.down.shape[0]


def split_layers(state: Mapping[str, Tensor], setting: str) -> dict[str, LayerFactors]:
    """The layers of a LoRA by name. A missing or zero alpha means alpha = dim.

    Raises SettingError (of `setting`) when the state is not a plain LoRA.
    """
    names = sorted({key.partition(".")[0] for key in state})
    layers = {}
    for name in names:
        down = state.get(f"{name}.lora_down.weight")
        up = state.get(f"{name}.lora_up.weight")
        known = {f"{name}.{part}" for part in ("alpha", "lora_down.weight", "lora_up.weight")}
        strange = [key for key in state if key.partition(".")[0] == name and key not in known]
        if down is None or up is None or strange or down.shape[0] != up.shape[1]:
            key = strange[0] if strange else name
            raise SettingError(setting, "The file is not a plain LoRA or LoCon: it holds "
                               f"{key}. Choose another file.")  # fmt: skip
        alpha = state.get(f"{name}.alpha")
        layers[name] = LayerFactors(down, up, float(alpha or 0) or float(down.shape[0]))
    return layers


def load_lora(
    path: Path | str, setting: str | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a LoRA file (.safetensors, .ckpt or .pt), on the CPU.

    Raises SuiteError (SettingError with a `setting`) when the file is missing, broken, not made
    of tensors alone, or holds values that are not finite numbers.
    """
    path = Path(path)
    try:
        state, metadata = _read(path)
        for key, tensor in state.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise SuiteError(f"The file {path.name} is damaged: {key} holds values that are "
                                 "not numbers. Choose another file.")  # fmt: skip
    except SuiteError as error:
        if setting is None:
            raise
        raise SettingError(setting, str(error)) from error
    return state, metadata


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if path.suffix.lower() not in (".ckpt", ".pt", ".pth", ".bin"):
        header = read_header(path)
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                return {key: file.get_tensor(key) for key in header.tensors}, header.metadata
        except (SafetensorError, OSError) as error:
            raise SuiteError(f"The file {path.name} cannot be read: it is damaged. Download or "
                             "copy it again.") from error  # fmt: skip
    if not path.is_file():
        raise SuiteError(f"There is no file {path}. Choose it again.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise SuiteError(f"The file {path.name} is broken, or holds more than weights and might "
                         "do harm. Take a .safetensors file instead.") from error  # fmt: skip
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in state.items()
    ):
        raise SuiteError(f"The file {path.name} is not a LoRA. Choose another file.")
    return state, {}


def save_lora(
    path: Path | str,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    precision: str = "fp16",
    save_model_as: str = "safetensors",
) -> None:
    """Write a LoRA file whole or not at all.

    Args:
        path: the file, with its ending.
        state: tensors by key, on any device.
        metadata: strings for the header; the two hashes (sshs_*) are added here. ckpt and pt
            files have no place for it.
        precision: float, fp16 or bf16; alpha gets it too.
        save_model_as: safetensors, ckpt or pt.

    Raises SuiteError when the disk is full or the place cannot be written to, and when a value
    is not a finite number (then an older file stays as it was).
    """
    dtype = PRECISIONS[precision]
    converted = {key: tensor.detach().to("cpu", dtype).contiguous() for key, tensor in
                 state.items()}  # fmt: skip
    for key, tensor in converted.items():
        if not torch.isfinite(tensor).all():
            raise SuiteError(f"The LoRA was not saved: {key} holds values that are not numbers "
                             f"in {precision}. Take a lower learning rate.")  # fmt: skip
    with replace_atomically(path) as temporary:
        if save_model_as == "safetensors":
            tensors = raw_tensors(converted)
            write_safetensors(temporary, tensors, metadata)
        else:
            write_torch(temporary, converted)


def write_torch(path: Path, content: object) -> None:
    """torch.save to `path`. Raises OSError when the disk is full, as every other writing does."""
    try:
        with path.open("wb") as file:
            torch.save(content, file)
    except RuntimeError as error:  # what torch's zip writer says when a write failed
        if not any(sign in str(error) for sign in ("inline_container", "PytorchStreamWriter")):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def raw_tensors(state: Mapping[str, Tensor]) -> dict[str, RawTensor]:
    """Contiguous CPU tensors as the safetensors writer takes them, without a copy."""
    return {
        key: RawTensor(DTYPE_NAMES[tensor.dtype], tuple(tensor.shape),
                       memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
        for key, tensor in state.items()
    }  # fmt: skip
