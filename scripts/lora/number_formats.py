"""The numbers of tensors in files: fp16, bf16, fp8 and wider, to float32 and back, by NumPy alone.

    numbers = decoded(memoryview(...), "F16")        # float32, flat
    tensor = to_precision(numbers, "fp16")           # RawTensor, as it will lie in a file

NumPy's own conversions from and to fp16 take several times longer, and 10 to 30 times where numbers
are below fp16's normal ones. Ours go over a piece of the array again and again: small enough for
the processor's cache, large enough that threads seldom meet at Python's lock.
"""

from __future__ import annotations

import math
import threading
from functools import cache

import numpy as np

from scripts.core.errors import SuiteError
from scripts.lora.safetensors_writer import RawTensor

PRECISIONS = {"float": "F32", "fp16": "F16", "bf16": "BF16"}
PLAIN = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
FP8 = ("F8_E4M3", "F8_E5M2")
INFINITE = {"F16": 0x7C00, "BF16": 0x7F80}  # the code of infinity; NaN lies behind it
MINUS = 0x8000  # the bit of the sign
PIECE = 1 << 18  # numbers
# maximum(array, number) takes four times as long as maximum(array, array).
LEAST_NORMAL = np.full(PIECE, 2.0**-14, np.float32)  # of fp16


class _Kept(threading.local):
    """Memory for what is needed in between, one for each thread: fresh memory costs as much as the
    work."""

    def __init__(self) -> None:
        self.one, self.other = np.empty((2, PIECE), np.int32)


_kept = _Kept()


def decoded(data: memoryview, dtype: str, out: np.ndarray | None = None) -> np.ndarray:
    """The numbers in `data` as a flat float32 array: `out`, or one of its own.

    Raises KeyError for a dtype that is not known.
    """
    if dtype == "F16":
        codes = np.frombuffer(data, dtype="<i2")
        return _from_fp16(codes, np.empty(codes.size, np.float32) if out is None else out)
    numbers = _decoded(data, dtype)
    if out is None:
        return numbers
    out[:] = numbers
    return out


def _decoded(data: memoryview, dtype: str) -> np.ndarray:
    if dtype in PLAIN:
        return np.frombuffer(data, dtype=PLAIN[dtype]).astype(np.float32)
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)
    return _byte_floats(dtype)[np.frombuffer(data, dtype=np.uint8)]


def _from_fp16(codes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The same as astype. Infinities and NaN are made apart."""
    for start in range(0, codes.size, PIECE):
        piece, result = codes[start : start + PIECE], numbers[start : start + PIECE]
        if not _all_below(piece, INFINITE["F16"]):
            result[:] = piece.view("<f2")
            continue
        bits = result.view(np.int32)
        bits[:] = piece
        bits <<= 13
        bits &= ~0x70000000  # what the sign filled up
        result *= np.float32(2.0**112)  # the difference of the exponents' zeros
    return numbers


def _all_below(codes: np.ndarray, infinite: int) -> bool:
    """Whether all numbers of 16 bits are finite: as signed codes the positive ones are the largest,
    as unsigned ones the negative."""
    signed, unsigned = codes.view("<i2"), codes.view("<u2")
    return bool(signed.max() < infinite and unsigned.max() < MINUS | infinite)


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


def rounds_to(numbers: np.ndarray, rounded: np.ndarray, dtype: str) -> bool:
    """Whether `rounded` (float32, of a tensor in `dtype`) is what `numbers` become in that format.

    Of a number in the middle of two that fp8 has, both count as right.
    """
    if dtype in INFINITE:
        return bytes(to_precision(numbers, dtype).data) == bytes(to_precision(rounded, dtype).data)
    if dtype not in FP8:
        return np.array_equal(numbers, rounded)
    known = np.unique(_byte_floats(dtype)[np.isfinite(_byte_floats(dtype))])
    middles = (known[:-1] + known[1:]) / 2
    below, above = (known[np.searchsorted(middles, numbers, side)] for side in ("left", "right"))
    return bool(np.all((below == rounded) | (above == rounded)))


def to_precision(array: np.ndarray, precision: str, out: np.ndarray | None = None) -> RawTensor:
    """The array as a tensor of a file in float, fp16, bf16, or a dtype of the format.

    bf16 is rounded to the nearest, halves to even, as torch does. `out` (bytes, flat) may be given
    for the result.

    Raises SuiteError for a dtype that cannot be written.
    """
    dtype = PRECISIONS.get(precision, precision)
    array = np.asarray(array)
    if dtype == "F16" and array.dtype == np.float32:
        half = np.empty(array.size, "<i2") if out is None else out.view("<i2")
        numbers = _to_fp16(np.ascontiguousarray(array).reshape(-1), half)
    elif dtype == "BF16":
        numbers = _to_bf16(array.astype(np.float32))
    elif dtype in ("F64", "F32", "F16"):
        with np.errstate(over="ignore"):  # what does not fit becomes infinite; the caller looks
            numbers = array.astype(PLAIN[dtype])
    else:
        raise SuiteError(f"Numbers of the kind {dtype} cannot be saved here. Set save_precision to "
                         f"one of {', '.join(PRECISIONS)}.")  # fmt: skip
    flat = np.ascontiguousarray(numbers).reshape(-1).view(np.uint8)
    return RawTensor(dtype, array.shape, memoryview(flat))


def storable_alpha(alpha: float, rank: int, dtype: str) -> float:
    """The alpha nearest to `alpha` that `dtype` can hold, or to the rank where that is 0 or
    infinite. (The caller multiplies the factors by what is missing.)"""
    stored = float(decoded(memoryview(to_precision(np.float32(alpha), dtype).data), dtype)[0])
    return stored if stored and math.isfinite(stored) else storable_alpha(rank, rank, dtype)


def _to_bf16(array: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(array).reshape(-1).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return np.where(np.isnan(array.reshape(-1)), np.uint16(0x7FC0), rounded).astype("<u2")


def _to_fp16(numbers: np.ndarray, half: np.ndarray) -> np.ndarray:
    """The codes that astype gives, overflow to infinity included, in `half`.

    A number of the exponent e, at least -14, has its last place in fp16 at 2^(e-10), and that is
    the last place in float32 of 2^(e+13): adding this rounds, halves to even.

    The lowest bits of the sum count these places, 1024 for the leading 1, and float32 writes the
    exponent as e+13+127. The code is the count and, 10 bits higher, e+14 (one less than fp16's
    e+15, as the leading 1 is in the count). 2 · 1024 places more make the exponent 128 too large,
    and that is beyond the 16 bits of a code.
    """
    for start in range(0, numbers.size, PIECE):
        piece, result = numbers[start : start + PIECE], half[start : start + PIECE]
        codes, other = _kept.one[: piece.size], _kept.other[: piece.size]
        size, power = codes.view(np.float32), other.view(np.float32)
        np.abs(piece, out=size)
        if not size.max() < 2.0**16:  # infinite or NaN: hardly ever
            with np.errstate(over="ignore"):
                result[:] = piece.astype("<f2").view("<i2")
            continue
        np.maximum(size, LEAST_NORMAL[: piece.size], out=power)
        other &= 0x7F800000
        other += (13 << 23) + 2 * 1024
        size += power
        codes += np.right_shift(codes, 13, out=other)
        np.right_shift(piece.view(np.int32), 16, out=other)
        other &= MINUS
        codes += other
        result[:] = codes  # their lower 16 bits
    return half


def all_finite(tensor: RawTensor) -> bool:
    """Whether a tensor of a file holds no infinity and nothing that is no number."""
    if tensor.dtype in INFINITE:
        codes = np.frombuffer(tensor.data, dtype="<u2")
        return codes.size == 0 or _all_below(codes, INFINITE[tensor.dtype])
    if tensor.dtype in ("F32", "F64"):
        return bool(np.isfinite(np.frombuffer(tensor.data, dtype=PLAIN[tensor.dtype])).all())
    return True
