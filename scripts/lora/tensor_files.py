"""Read and write tensors as NumPy arrays, from safetensors and .pt/.ckpt files, without torch
(but for the latter).

    with open_tensors(path) as file:
        down = file.read("lora_unet_x.lora_down.weight")     # float32
    write_tensors(path, {"x.alpha": to_precision(np.float32(8), "fp16")}, metadata)

A tensor is read only when it is asked for, straight into memory of its own: nothing is mapped and
nothing is kept. Threads may read at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scripts.core.errors import SuiteError
from scripts.core.files import replace_atomically
from scripts.core.safetensors_header import BYTES_PER_ITEM, TensorInfo, read_header
from scripts.lora.safetensors_writer import RawTensor, hashes, write_safetensors
from scripts.models.file_head import read_head

PRECISIONS = {"float": "F32", "fp16": "F16", "bf16": "BF16"}
PLAIN = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
CACHED = 1 << 16  # numbers at a time: what fits into the processor's cache


class TensorFile(Protocol):
    """The tensors of a file: metadata, shapes and dtypes ("F16", ...) by name, and the numbers on
    demand. A context manager: leaving it closes the file."""

    path: Path
    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]

    def read(self, name: str) -> np.ndarray:
        """The tensor in float32, in memory of its own. Raises SuiteError."""

    def raw(self, name: str) -> memoryview:
        """The bytes of the tensor as they lie in the file, flat. Raises SuiteError."""

    def __enter__(self) -> TensorFile: ...

    def __exit__(self, *_: object) -> None: ...


def open_tensors(path: Path | str) -> TensorFile:
    """The file at `path`, safetensors or of torch: the content decides, not the ending.

    Raises SuiteError when it is missing, broken, cut off, no model file, or holds program code.
    """
    path = Path(path)
    if read_head(path).layout == "ckpt":
        return _TorchFile(path)
    return _SafetensorsFile(path)


class _Open:
    """What both kinds of file share."""

    path: Path
    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]

    def raw(self, name: str) -> memoryview:
        raise NotImplementedError

    def read(self, name: str) -> np.ndarray:
        dtype = self.dtypes[name]
        try:
            array = decoded(self.raw(name), dtype)
        except KeyError as error:
            raise SuiteError(f"{self.path.name} holds numbers of an unknown kind ({dtype}). "
                             "Choose another file.") from error  # fmt: skip
        return array.reshape(self.shapes[name])

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

    def raw(self, name: str) -> memoryview:
        info = self._infos[name]
        memory = np.empty(info.end - info.begin, dtype=np.uint8)
        place = memoryview(memory)
        try:
            with self._lock:  # one position in the file for all threads
                self._file.seek(self._start + info.begin)
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

    def raw(self, name: str) -> memoryview:
        import torch

        flat = self._tensors[name].detach().contiguous().reshape(-1)
        return memoryview(flat.view(torch.uint8).numpy())

    def close(self) -> None:
        self._tensors = {}


def decoded(data: memoryview, dtype: str) -> np.ndarray:
    """The numbers in `data` as a flat float32 array of its own. Raises KeyError for a dtype that
    is not known."""
    if dtype == "F16":
        return _from_fp16(np.frombuffer(data, dtype="<i2"))
    if dtype in PLAIN:
        return np.frombuffer(data, dtype=PLAIN[dtype]).astype(np.float32)
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    return _byte_floats(dtype)[np.frombuffer(data, dtype=np.uint8)]


def _from_fp16(codes: np.ndarray) -> np.ndarray:
    """The same as astype, which takes several times longer. Infinities and NaN are made apart."""
    numbers = np.empty(codes.size, np.float32)
    for start in range(0, codes.size, CACHED):
        piece, result = codes[start : start + CACHED], numbers[start : start + CACHED]
        bits = result.view(np.int32)
        np.left_shift(piece, 13, out=bits, dtype=np.int32)
        bits &= ~0x70000000  # what the sign filled up
        result *= np.float32(2.0**112)  # the difference of the exponents' zeros
        if result.max() >= 65536 or result.min() <= -65536:
            result[:] = piece.view("<f2")
    return numbers


@cache
def _byte_floats(dtype: str) -> np.ndarray:
    """The float32 that each of the 256 bytes stands for. Raises KeyError for other dtypes."""
    codes = np.arange(256)
    if dtype == "F8_E5M2":  # the upper half of a float16
        return (codes.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    if dtype != "F8_E4M3":
        raise KeyError(dtype)
    exponent, fraction = (codes >> 3) & 15, codes & 7
    size = np.where(exponent > 0, np.ldexp(1 + fraction / 8, exponent - 7), fraction / 8 / 64)
    values = np.where(codes < 128, size, -size)
    values[[127, 255]] = np.nan  # this format has no infinity
    return values.astype(np.float32)


def to_precision(array: np.ndarray, precision: str) -> RawTensor:
    """The array as a tensor of a file in float, fp16, bf16, or a dtype of the format.

    bf16 is rounded to the nearest, halves to even, as torch does.

    Raises SuiteError for a dtype that cannot be written.
    """
    dtype = PRECISIONS.get(precision, precision)
    array = np.asarray(array)
    if dtype == "BF16":
        numbers = _to_bf16(array.astype(np.float32))
    elif dtype == "F16" and array.dtype == np.float32:
        numbers = _to_fp16(array)
    elif dtype in ("F64", "F32", "F16"):
        with np.errstate(over="ignore"):  # what does not fit becomes infinite; the caller looks
            numbers = array.astype(PLAIN[dtype])
    else:
        raise SuiteError(f"Numbers of the kind {dtype} cannot be saved here. Set save_precision to "
                         f"one of {', '.join(PRECISIONS)}.")  # fmt: skip
    flat = np.ascontiguousarray(numbers).reshape(-1).view(np.uint8)
    return RawTensor(dtype, array.shape, memoryview(flat))


def _to_bf16(array: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return np.where(np.isnan(array.reshape(-1)), np.uint16(0x7FC0), rounded).astype("<u2")


def _to_fp16(array: np.ndarray) -> np.ndarray:
    """The same as astype, which takes 10 to 30 times longer where numbers are below fp16's normal
    ones, 2^-14, as many of a LoRA are.

    A number of the exponent e, at least -14, has its last place in fp16 at 2^(e-10), and that is
    the last place in float32 of 2^(e+13): adding this rounds, halves to even.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    half = np.empty(flat.size, "<u2")
    for start in range(0, flat.size, CACHED):
        piece = flat[start : start + CACHED]
        bits = piece.view(np.int32)
        power = bits & 0x7F800000
        if power.max() >= 0x47800000:  # 2^16 and more, infinite or NaN: hardly ever
            with np.errstate(over="ignore"):
                half[start : start + CACHED] = piece.astype("<f2").view("<u2")
            continue
        np.maximum(power, 0x38800000, out=power)  # 2^-14
        power += 13 << 23
        size = np.abs(piece)
        size += power.view(np.float32)
        places = size.view(np.int32)
        places -= power  # how many last places, 1024 of them for the leading 1
        power >>= 13
        places += power
        sign = bits >> 16
        sign &= 0x8000
        sign -= (127 + 13 - 15 + 1) << 10  # float32's exponent becomes fp16's; the leading 1 goes
        places += sign
        half[start : start + CACHED] = places
    return half.view("<f2").reshape(array.shape)


def write_tensors(
    path: Path | str, entries: Mapping[str, RawTensor], metadata: Mapping[str, str]
) -> None:
    """Write a LoRA file whole or not at all; the two hashes (sshs_*) are added to the metadata.

    Raises SuiteError when the disk is full, the place cannot be written to, or a value is not a
    finite number (then an older file stays as it was).
    """
    for name, entry in entries.items():
        if not _all_finite(entry):
            raise SuiteError(f"The file was not saved: {name} holds values that are not numbers, "
                             f"or are too large for {entry.dtype}. Set save_precision to "
                             "float.")  # fmt: skip
    with replace_atomically(path) as temporary:
        write_safetensors(temporary, entries, {**metadata, **hashes(entries, metadata)})


def _all_finite(entry: RawTensor) -> bool:
    if entry.dtype in ("F16", "BF16"):  # all bits of the exponent set
        exponent = 0x7C00 if entry.dtype == "F16" else 0x7F80
        bits = np.frombuffer(entry.data, dtype="<u2")
        return not np.any((bits & exponent) == exponent)
    if entry.dtype in ("F32", "F64"):
        return bool(np.isfinite(np.frombuffer(entry.data, dtype=PLAIN[entry.dtype])).all())
    return True


def size_of(shape: tuple[int, ...], dtype: str) -> int:
    """The bytes that a tensor takes in a file."""
    return int(np.prod(shape, dtype=np.int64)) * BYTES_PER_ITEM[dtype]
