"""Read the header of a safetensors file: names, shapes and metadata, without the tensors.

The layout (published with the format): 8 bytes with the length of the header, little-endian;
the header, a JSON object {name: {dtype, shape, data_offsets}}, plus the free strings under
`__metadata__`; then the bytes of the tensors. A header from outside is distrusted: lengths and
offsets are checked against the size of the file before anything uses them.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import SuiteError

BYTES_PER_ITEM = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
LARGEST_HEADER = 100_000_000  # bytes, the limit that the format itself sets


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: `begin` and `end` count bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a safetensors file says of itself. `data_start` is where the tensor bytes begin."""

    metadata: dict[str, str]
    tensors: dict[str, TensorInfo]
    data_start: int
    file_size: int


def read_header(path: Path | str) -> Header:
    """The checked header of the safetensors file at `path`.

    Raises SuiteError when there is no such file, it cannot be read, it is not a safetensors
    file, or it is shorter than its header says (a broken download).
    """
    path = Path(path)
    try:
        file_size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(LARGEST_HEADER, file_size - 8):
                raise SuiteError(_not_one(path, file_size))
            text = file.read(length)
    except FileNotFoundError as error:
        raise SuiteError(f"There is no file {path}. Choose it again.") from error
    except OSError as error:
        raise SuiteError(f"The file {path} cannot be read: {error.strerror}.") from error
    try:
        content = json.loads(text)
        metadata = content.pop("__metadata__", None)
        metadata = metadata if isinstance(metadata, dict) else {}
        tensors = {name: _tensor_info(entry) for name, entry in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SuiteError(_not_one(path, file_size)) from error
    data_start = 8 + length
    needed = data_start + max((info.end for info in tensors.values()), default=0)
    if needed > file_size:
        raise SuiteError(
            f"The file {path.name} is cut off: it should have {needed:,} bytes and has only "
            f"{file_size:,}. Download or copy it again."
        )
    strings = {str(key): str(value) for key, value in metadata.items()}
    return Header(strings, tensors, data_start, file_size)


def _tensor_info(entry: dict) -> TensorInfo:
    shape = tuple(int(size) for size in entry["shape"])
    begin, end = (int(offset) for offset in entry["data_offsets"])
    size = math.prod(shape) * BYTES_PER_ITEM.get(entry["dtype"], 0)
    if begin < 0 or end < begin or min(shape, default=0) < 0:
        raise ValueError("offsets or sizes below zero")
    if entry["dtype"] in BYTES_PER_ITEM and end - begin != size:
        raise ValueError("the offsets do not fit the shape")
    return TensorInfo(entry["dtype"], shape, begin, end)


def _not_one(path: Path, size: int) -> str:
    if size == 0:
        return f"The file {path.name} is empty (0 bytes). Download or copy it again."
    return (
        f"The file {path.name} is not a readable safetensors file. It may be broken, or another "
        "kind of file with the wrong ending: download it again."
    )
