"""Read the tensors of a model file one at a time, in the file's own order.

A tensor is read straight into its memory, so that a part of a model costs its own size and no
second copy: nothing stays mapped, and the file is closed afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from io import RawIOBase
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from scripts.core.errors import SuiteError
from scripts.core.safetensors_header import Header, TensorInfo, read_header
from scripts.models.pickle_header import is_pickle, read_pickle_header

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class Weights(Protocol):
    """The tensors of a file: their shapes by name, and the tensors themselves on demand."""

    shapes: Mapping[str, tuple[int, ...]]

    def read(self, names: set[str], keep: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """The named tensors on the CPU, in the file's own types.

        A tensor of the type `keep` has memory of its own; one of another type, which is to be
        converted, is only there until the next one comes.
        """


def open_weights(path: Path) -> Weights:
    """The tensors of a safetensors or pickle file. Raises SuiteError if it cannot be read."""
    return PickleWeights(path) if is_pickle(path) else SafeWeights(path)


class SafeWeights:
    """A safetensors file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header: Header = read_header(path)
        self.shapes = {name: info.shape for name, info in self._header.tensors.items()}

    def read(self, names: set[str], keep: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """The named tensors, in the order in which they lie in the file; see `Weights`."""
        infos = {name: self._header.tensors[name] for name in names}
        largest = max((info.end - info.begin for info in infos.values()), default=0)
        passing = torch.empty(largest, dtype=torch.uint8)  # one place for all that is converted
        try:
            with self._path.open("rb", buffering=0) as file:
                for name, info in sorted(infos.items(), key=lambda entry: entry[1].begin):
                    dtype = self._dtype(info)
                    size = info.end - info.begin
                    memory = torch.empty(size, dtype=torch.uint8) if dtype == keep else passing
                    file.seek(self._header.data_start + info.begin)
                    self._read_into(file, memory[:size])
                    yield name, memory[:size].view(dtype).reshape(info.shape)
        except OSError as error:
            raise SuiteError(f"{self._path} cannot be read ({error.strerror}).") from error

    def _dtype(self, info: TensorInfo) -> torch.dtype:
        if info.dtype not in DTYPES:
            raise SuiteError(
                f"{self._path.name} holds numbers of an unknown kind ({info.dtype}). "
                "Choose another file."
            )
        return DTYPES[info.dtype]

    def _read_into(self, file: RawIOBase, memory: Tensor) -> None:
        place = memoryview(memory.numpy())
        while len(place):  # a system may give less than asked for, above 2 GB always
            count = file.readinto(place)
            if not count:
                raise SuiteError(f"{self._path.name} is cut off. Download it again.")
            place = place[count:]


class PickleWeights:
    """A .ckpt, .pt or .bin file, read only as far as it holds tensors and plain values."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._header = read_pickle_header(path)  # refuses whatever could run code
        self.shapes = dict(self._header.shapes)

    def read(self, names: set[str], keep: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """The named tensors; see `Weights`."""
        content = self.all()
        for name in names:
            tensor = content[name].detach()
            yield name, tensor.clone() if tensor.dtype == keep else tensor

    def all(self) -> dict[str, Tensor]:
        """All tensors by name, mapped from the file where its format allows it."""
        content = self._load()
        for key in self._header.inside:
            content = content[key]
        return {name: content[name] for name in self.shapes}

    def _load(self) -> Any:
        stand_ins = [(_StandIn, name) for name in self._header.foreign]
        try:
            with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about storages of old files
                return torch.load(
                    self._path, map_location="cpu", weights_only=True, mmap=self._header.is_zip
                )
        except Exception as error:  # torch raises half a dozen kinds for broken files
            raise SuiteError(
                f"{self._path.name} cannot be read safely: it is broken, or holds more than "
                "weights. Choose a .safetensors version of it."
            ) from error


class _StandIn:
    """Takes the place of the training program's own objects, of which nothing is needed."""

    def __init__(self, *arguments: object, **named: object) -> None:
        del arguments, named

    def __setstate__(self, state: object) -> None:
        del state
