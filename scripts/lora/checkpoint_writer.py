"""Write a checkpoint with LoRAs merged in, at hardly more than the price of a copy.

    write_checkpoint(path, base, {key: [(place, parts)]}, metadata, report, control)

The file is streamed, in several threads: what lies between two changed tensors is copied, a changed
one is computed in float32 a few rows at a time and rounded to the tensor's own format. So a
checkpoint of any size needs little memory.

A DoRA is merged exactly, as its effect on these very weights is known here: its new weight is
W' = m · (W + ΔW) / ‖W + ΔW‖ with the norm of each output (or input, as m's shape tells), and
W + ratio·(W' - W) is stored.
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO

import numpy as np

from scripts.core.errors import SuiteError
from scripts.core.events import Control, Report
from scripts.core.safetensors_header import Header, read_header
from scripts.lora.checkpoint_keys import CheckpointModule
from scripts.lora.merge_inputs import Part
from scripts.lora.merge_metadata import MERGED
from scripts.lora.modules import LoraModule
from scripts.lora.number_formats import all_finite, decoded, to_precision
from scripts.lora.safetensors_writer import HASHES, packed_header
from scripts.lora.threads import in_threads

# Entries that are no longer true when weights change.
UNTRUE = (*HASHES, "modelspec.hash_sha256")
PIECE, LEAST_ROWS = 1 << 18, 64  # numbers of a weight at a time: what fits into the cache
COPIED_AT_ONCE = 1 << 20  # bytes: what fits into the cache
LONGEST_COPY = 1 << 24  # bytes for one thread, so that none waits for another, and a stop is heard
PAUSE = 0.03  # seconds between two flushes to the disk
TOO_LITTLE_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Changes = list[tuple[CheckpointModule, Sequence[Part]]]  # of one tensor of the checkpoint


@dataclass(frozen=True)
class _Span:
    """Bytes of the checkpoint: copied, or the rows of a weight with `parts` to be merged in."""

    begin: int
    end: int
    key: str = ""
    dtype: str = ""
    place: CheckpointModule | None = None
    parts: Sequence[Part] = ()


def _spans(header: Header, changes: Mapping[str, Changes]) -> list[_Span]:
    """All bytes behind the header, in their order."""
    changed = []
    for key, places in changes.items():
        info = header.tensors[key]
        for place, parts in places:
            begin, size = header.data_start + info.begin, info.end - info.begin
            if place.third is not None:
                size //= 3
                begin += place.third * size
            changed.append(_Span(begin, begin + size, key, info.dtype, place, parts))
    spans, position = [], header.data_start
    for span in sorted(changed, key=lambda span: span.begin):
        spans += [*_copies(position, span.begin), span]
        position = span.end
    return [*spans, *_copies(position, header.file_size)]


def _copies(begin: int, end: int) -> list[_Span]:
    starts = range(begin, end, LONGEST_COPY)
    return [_Span(start, min(start + LONGEST_COPY, end)) for start in starts]


class _Memory(threading.local):
    """What a thread computes with, kept from one piece to the next: fresh memory costs as much as
    the work."""

    def __init__(self) -> None:
        self._kept: dict[str, np.ndarray] = {}

    def take(self, name: str, count: int, kind: type) -> np.ndarray:
        """`count` numbers; what `name` held before is lost."""
        kept = self._kept.get(name)
        if kept is None or len(kept) < count:
            kept = self._kept[name] = np.empty(count, kind)
        return kept[:count]


_memory = _Memory()
# Systems let one thread at a time write into a file; others would burn the processor to wait.
_writing = threading.Lock()


def write_checkpoint(
    path: Path,
    base: Path,
    changes: Mapping[str, Changes],
    entry: Mapping[str, str],
    report: Report,
    control: Control,
) -> None:
    """Write the checkpoint `base` to `path`, with `changes` by key and `entry` in the metadata.

    Raises SuiteError for numbers that do not fit and a base that cannot be read, OSError for what
    cannot be written, and Cancelled.
    """
    header = read_header(base)
    start = _new_header(base, header.data_start, entry)
    shift = len(start) - header.data_start
    with path.open("wb") as target:
        target.write(start)
        _reserve(target, header.file_size + shift)

    def work(span: _Span) -> None:
        with _open(base) as source, path.open("rb+", buffering=0) as target:
            source.seek(span.begin)
            target.seek(span.begin + shift)
            if span.place is None:
                _copy(source, target, span.end - span.begin)
            else:
                _merge(source, target, span)

    with _flushed_meanwhile(path):
        for _ in in_threads(work, _spans(header, changes), "Merging the weights", report, control):
            pass


def _reserve(file: BinaryIO, size: int) -> None:
    """Give the file its size and, on Linux, its place on the disk at once: finding one for each
    piece would hold up the threads. os.posix_fallocate writes into every block where the file
    system cannot do it; here the pieces then find their places.

    Raises OSError, also when the disk is too full.
    """
    file.truncate(size)
    if sys.platform != "linux":
        return
    try:
        reserve = ctypes.CDLL(None, use_errno=True).fallocate
    except (OSError, AttributeError):  # a C library without it
        return
    if reserve(file.fileno(), 0, ctypes.c_int64(0), ctypes.c_int64(size)):
        error = ctypes.get_errno()
        if error in TOO_LITTLE_ROOM:
            raise OSError(error, os.strerror(error))


@contextmanager
def _flushed_meanwhile(path: Path) -> Iterator[None]:
    """Bring to the disk what is written to `path` meanwhile: at the end hardly any is left to wait
    for."""
    written = Event()

    def flush() -> None:
        with path.open("rb+") as file:
            while not written.wait(PAUSE):
                os.fsync(file.fileno())

    with ThreadPoolExecutor(1) as pool:
        flushing = pool.submit(flush)
        try:
            yield
        finally:
            written.set()
        flushing.result()  # raises what kept it from the disk


def _new_header(path: Path, length: int, entry: Mapping[str, str]) -> bytes:
    """The header of the checkpoint with one more entry, and without hashes that were true."""
    with _open(path) as file:
        start = bytearray(length)
        _read_all(file, memoryview(start))
    content = json.loads(start[8:])
    before = content.pop("__metadata__", None) or {}
    kept = {key: value for key, value in before.items() if key not in UNTRUE}
    entry = dict(entry)
    if MERGED in before:  # merged into already: the older entry stays readable
        entry[MERGED] = json.dumps([*_list(before[MERGED]), *json.loads(entry[MERGED])],
                                   ensure_ascii=False)  # fmt: skip
    content = {"__metadata__": {**kept, **entry}, **content}
    return packed_header(content)


def _list(text: str) -> list:
    try:
        found = json.loads(text)
    except ValueError:
        return [text]
    return found if isinstance(found, list) else [found]


def _copy(source: BinaryIO, target: BinaryIO, size: int) -> None:
    buffer = memoryview(_memory.take("data", COPIED_AT_ONCE, np.uint8))
    while size:
        piece = buffer[:size]
        _read_all(source, piece)
        _write_all(target, piece)
        size -= len(piece)


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """Tell of what goes wrong as of this file, which is only read. Raises SuiteError."""
    try:
        yield
    except OSError as error:
        raise SuiteError(f"The file {path} cannot be read: {error.strerror}.") from error


def _open(path: Path) -> BinaryIO:
    with _reading(path):
        return path.open("rb", buffering=0)


def _read_all(source: BinaryIO, data: memoryview) -> None:
    while len(data):
        with _reading(source.name):
            count = source.readinto(data)
        if not count:
            raise SuiteError("The checkpoint became shorter while it was read. Start again.")
        data = data[count:]


def _write_all(target: BinaryIO, data: memoryview) -> None:
    with _writing:
        while len(data):  # a system may take less than it is given
            data = data[target.write(data) :]


def _merge(source: BinaryIO, target: BinaryIO, span: _Span) -> None:
    """Read the rows of a weight, add the changes, and write them."""
    place = span.place
    rows, columns = place.shape[0], math.prod(place.shape[1:])
    if place.transposed:
        rows, columns = columns, rows
    doras = [part for part in span.parts if part[0].network_type == "dora"]
    change = _plain_change([part for part in span.parts if part not in doras], place.transposed)
    step = rows if doras else max(LEAST_ROWS, PIECE // columns)
    row_bytes = (span.end - span.begin) // rows
    for start in range(0, rows, step):
        count = min(step, rows - start)
        size = count * columns
        data = _memory.take("data", count * row_bytes, np.uint8)
        _read_all(source, memoryview(data))
        weight = decoded(data.data, span.dtype, _memory.take("weight", size, np.float32))
        weight = weight.reshape(count, columns)
        moved = weight.copy() if doras else weight
        if change is not None:
            product = _memory.take("product", size, np.float32).reshape(count, columns)
            moved += np.matmul(change[0][start : start + count], change[1], out=product)
        for module, ratio in doras:
            whole = weight.T if place.transposed else weight
            difference = np.float32(ratio) * _dora_change(module, whole)
            moved += difference.T if place.transposed else difference
        tensor = to_precision(moved, span.dtype, data)  # the bytes read are not needed any more
        if not all_finite(tensor):
            raise SuiteError(f"{span.key} would hold values that are not numbers or are too large "
                             f"for {span.dtype}. Use lower strengths, or another "
                             "checkpoint.")  # fmt: skip
        _write_all(target, tensor.data)


def _plain_change(parts: Sequence[Part], transposed: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """The factors of the sum of everything but DoRAs, None when there is nothing else."""
    ups, downs = [], []
    for module, ratio in parts:
        up, down, scale = module.factors()
        ups.append(np.float32(scale * ratio) * up)
        downs.append(down)
    if not ups:
        return None
    up, down = (ups[0], downs[0]) if len(ups) == 1 else (np.hstack(ups), np.vstack(downs))
    return (down.T, up.T) if transposed else (up, down)


def _dora_change(module: LoraModule, weight: np.ndarray) -> np.ndarray:
    """m · (W + ΔW) / ‖W + ΔW‖ - W, for W as (out, in·kh·kw)."""
    up, down, scale = module.factors(without_magnitude=True)
    moved = weight + np.float32(scale) * (up @ down)
    magnitude = module.read("dora_scale")
    if magnitude.shape[0] == len(weight):  # one for each output
        moved *= magnitude.reshape(-1, 1) / np.linalg.norm(moved, axis=1, keepdims=True)
        return moved - weight
    by_input = moved.reshape(module.shape[0], module.shape[1], -1)  # one for each input
    norm = np.sqrt(np.sum(by_input**2, axis=(0, 2), keepdims=True))
    by_input *= magnitude.reshape(1, -1, 1) / norm
    return moved - weight
