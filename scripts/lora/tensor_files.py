"""Read and write tensors as NumPy arrays, from safetensors and .pt/.ckpt files, without torch
(but for the latter).

    with open_tensors(path) as file:
        down = file.read("lora_unet_x.lora_down.weight")     # float32
    write_tensors(path, {"x.lora_down.weight": to_precision(down, "fp16")}, metadata)

A tensor is read only when it is asked for, straight into memory of its own: nothing is mapped and
nothing is kept. Threads may read at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scripts.core.errors import SuiteError
from scripts.core.files import replace_atomically
from scripts.core.safetensors_header import BYTES_PER_ITEM, TensorInfo, read_header
from scripts.lora.number_formats import all_finite, decoded
from scripts.lora.safetensors_writer import RawTensor, write_safetensors
from scripts.models.file_head import read_head


class TensorFile(Protocol):
    """The tensors of a file: metadata, shapes and dtypes ("F16", ...) by name, and the numbers on
    demand. A context manager: leaving it closes the file."""

    path: Path
    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]

    def read(self, name: str) -> np.ndarray:
        """The tensor in float32, in memory of its own. Raises SuiteError."""

    def read_part(self, name: str, begin: int, count: int) -> np.ndarray:
        """`count` numbers of the flat tensor from the one at `begin` on, float32. Raises
        SuiteError."""

    def raw(self, name: str, begin: int = 0, count: int | None = None) -> memoryview:
        """The bytes of the tensor, or of `count` numbers from the one at `begin` on, as they lie in
        the file, flat. Raises SuiteError."""

    def __enter__(self) -> TensorFile: ...

    def __exit__(self, *_: object) -> None: ...


def open_tensors(path: Path | str) -> TensorFile:
    """The file at `path`, safetensors or of torch: the content decides, not the ending.

    Raises SuiteError when it is missing, broken, cut off, no model file, or holds program code or
    numbers of an unknown kind.
    """
    path = Path(path)
    file = (_TorchFile if read_head(path).layout == "ckpt" else _SafetensorsFile)(path)
    unknown = sorted(set(file.dtypes.values()) - set(BYTES_PER_ITEM))
    if unknown:
        file.close()
        raise SuiteError(f"{path.name} holds numbers of an unknown kind ({unknown[0]}). Choose "
                         "another file.")  # fmt: skip
    return file


class _Open:
    """What both kinds of file share."""

    path: Path
    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]

    def raw(self, name: str, begin: int = 0, count: int | None = None) -> memoryview:
        raise NotImplementedError

    def read(self, name: str) -> np.ndarray:
        return decoded(self.raw(name), self.dtypes[name]).reshape(self.shapes[name])

    def read_part(self, name: str, begin: int, count: int) -> np.ndarray:
        return decoded(self.raw(name, begin, count), self.dtypes[name])

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""


class _SafetensorsFile(_Open):
    def __init__(self, path: Path) -> None:
        self.path = path
        header = read_header(path)
        self.metadata = header.metadata
        self.shapes = {name: info.shape for name, info in header.tensors.items()}
        self.dtypes = {name: info.dtype for name, info in header.tensors.items()}
        self._infos: dict[str, TensorInfo] = header.tensors
        self._start = header.data_start
        self._lock = threading.Lock()
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise SuiteError(f"The file {path} cannot be read: {error.strerror}.") from error

    def raw(self, name: str, begin: int = 0, count: int | None = None) -> memoryview:
        info = self._infos[name]
        width = BYTES_PER_ITEM[info.dtype]
        size = info.end - info.begin if count is None else count * width
        memory = np.empty(size, dtype=np.uint8)
        place = memoryview(memory)
        try:
            with self._lock:  # one position in the file for all threads
                self._file.seek(self._start + info.begin + begin * width)
                while len(place):  # a system may give less than asked for, above 2 GB always
                    count = self._file.readinto(place)
                    if not count:
                        raise SuiteError(f"{self.path.name} is cut off. Download it again.")
                    place = place[count:]
        except OSError as error:
            raise SuiteError(f"{self.path} cannot be read ({error.strerror}).") from error
        return memoryview(memory)

    def close(self) -> None:
        self._file.close()


class _TorchFile(_Open):
    def __init__(self, path: Path) -> None:
        from scripts.lora.file import DTYPE_NAMES  # torch: only for files of torch
        from scripts.models.weights import PickleWeights

        self.path = path
        self.metadata = {}
        self._tensors = PickleWeights(path).all()
        self.shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        self.dtypes = {
            name: DTYPE_NAMES.get(tensor.dtype, str(tensor.dtype))
            for name, tensor in self._tensors.items()
        }

    def raw(self, name: str, begin: int = 0, count: int | None = None) -> memoryview:
        import torch

        flat = self._tensors[name].detach().contiguous().reshape(-1)
        part = flat[begin : None if count is None else begin + count]
        return memoryview(part.view(torch.uint8).numpy())

    def close(self) -> None:
        self._tensors = {}


def write_tensors(
    path: Path | str, entries: Mapping[str, RawTensor], metadata: Mapping[str, str]
) -> None:
    """Write a LoRA file whole or not at all; the two hashes (sshs_*) are added to the metadata.

    Raises SuiteError when the disk is full, the place cannot be written to, or a value is not a
    finite number (then an older file stays as it was).
    """
    for name, entry in entries.items():
        if not all_finite(entry):
            raise SuiteError(f"The file was not saved: {name} holds values that are not numbers, "
                             f"or are too large for {entry.dtype}. Set save_precision to "
                             "float.")  # fmt: skip
    with replace_atomically(path) as temporary:
        write_safetensors(temporary, entries, metadata)


def size_of(shape: tuple[int, ...], dtype: str) -> int:
    """The bytes that a tensor takes in a file."""
    return int(np.prod(shape, dtype=np.int64)) * BYTES_PER_ITEM[dtype]
