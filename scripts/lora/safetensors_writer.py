"""Write safetensors files, with the hashes by which UIs know a LoRA.

    tensors = {"a.alpha": RawTensor("F32", (), struct.pack("<f", 8.0))}
    write_safetensors(path, tensors, metadata)

The writer is our own, because the hashes in the header are over the bytes that follow it: tensors
are hashed and written from where they lie, both at a time. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DTYPES = (  # in the order of the safetensors package
    "U64", "I64", "F64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "F8_E4M3", "F8_E5M2",
    "I8", "U8", "BOOL",
)  # fmt: skip
# Their keys in the metadata, and what is as long as they are.
HASHES = {"sshs_model_hash": "0" * 64, "sshs_legacy_hash": "0" * 8}
LEGACY_WINDOW = (0x100000, 0x110000)  # the bytes that A1111's old short hash covers


@dataclass(frozen=True)
class RawTensor:
    """A tensor as it will lie in the file: little-endian, row by row.

    `dtype` is the format's own name ("F16", "BF16", ...), `data` anything flat with the bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


def write_safetensors(
    path: Path, tensors: Mapping[str, RawTensor], metadata: Mapping[str, str]
) -> None:
    """Write the tensors as a safetensors file, without a copy of them, with the hashes by which UIs
    know it added to the metadata, and bring it to the disk. Raises OSError."""
    with ThreadPoolExecutor(1) as pool, path.open("wb") as file:
        found = pool.submit(hashes, tensors, metadata)
        # The header comes last, but first in the file. Its length is known.
        file.write(bytes(len(_header(tensors, {**metadata, **HASHES}))))
        for key in _order(tensors):
            file.write(tensors[key].data)
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        file.write(_header(tensors, {**metadata, **found.result()}))


def hashes(tensors: Mapping[str, RawTensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """The hashes by which UIs know a LoRA, over tensors as they will be written.

    sshs_model_hash: SHA-256 of all bytes after the header. sshs_legacy_hash: the first 8 digits
    of the SHA-256 of bytes 0x100000 to 0x110000 of the file with the ss_* metadata alone.
    """
    start = len(_header(tensors, of_training(metadata)))
    return hashes_of((tensors[key].data for key in _order(tensors)), start)


def of_training(metadata: Mapping[str, str]) -> dict[str, str]:
    """The ss_* entries, which the header has for which sshs_legacy_hash is made."""
    return {key: value for key, value in metadata.items() if key.startswith("ss_")}


def hashes_of(pieces: Iterable[bytes | memoryview], start: int) -> dict[str, str]:
    """The same for the bytes behind a header that is `start` bytes long with ss_* alone."""
    position, whole, window = start, hashlib.sha256(), hashlib.sha256()
    for piece in pieces:
        data = memoryview(piece)
        whole.update(data)
        begin, end = (min(max(edge - position, 0), len(data)) for edge in LEGACY_WINDOW)
        window.update(data[begin:end])
        position += len(data)
    return {"sshs_model_hash": whole.hexdigest(), "sshs_legacy_hash": window.hexdigest()[:8]}


def _order(tensors: Mapping[str, RawTensor]) -> Iterator[str]:
    """The order that the safetensors package gives: by format, then by name."""
    return iter(sorted(tensors, key=lambda key: (DTYPES.index(tensors[key].dtype), key)))


def _header(tensors: Mapping[str, RawTensor], metadata: Mapping[str, str]) -> bytes:
    content: dict = {"__metadata__": dict(metadata)}
    position = 0
    for key in _order(tensors):
        tensor = tensors[key]
        size = len(tensor.data)
        content[key] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, position + size],
        }
        position += size
    return packed_header(content)


def packed_header(content: Mapping[str, Any]) -> bytes:
    """The beginning of a file whose header holds this: the length and the JSON text."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
