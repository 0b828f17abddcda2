"""ΔW of every kind of LoRA layer as a product of two factors: ΔW = scale · up · down, exact.

ΔW is flattened to (out, in·kh·kw). A table of kinds, one entry each: by which parts a layer is
known, and how its factors come from them. The formulas are those of LyCORIS, which UIs use.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Shapes = Mapping[str, tuple[int, ...]]
Parts = Mapping[str, np.ndarray]
Sizes = tuple[tuple[int, ...], int | None, int]
Factors = tuple[np.ndarray, np.ndarray]  # up (out, r), down (r, in·kh·kw)


class OddParts(Exception):
    """The shapes of a layer's parts do not fit together."""


FACTOR = re.compile(  # a part of a layer that takes part in ΔW
    r"lora_(up|down|mid)\.weight|hada_(w[12]_[ab]|t[12])|lokr_(w[12](_[ab])?|t2)|diff"
)


def is_wide(shape: Sequence[int]) -> bool:
    """Whether a weight of this shape is that of a convolution wider than 1x1, which has sizes of
    its own."""
    return math.prod(shape[2:]) > 1


def sides(shape: Sequence[int]) -> tuple[int, ...]:
    """Those of a weight as a matrix, (out, in·kh·kw); () where nothing is known. A 1x1 convolution
    has those of a Linear."""
    return (shape[0], math.prod(shape[1:])) if shape else ()


@dataclass(frozen=True)
class Layer:
    """What the shapes of a layer's parts tell: the kind, the shape of ΔW, the rank that alpha is
    divided by (None where the kind has no alpha), the rank that ΔW can have, and the parts that
    hold numbers."""

    kind: str
    shape: tuple[int, ...]
    rank: int | None
    full_rank: int
    weights: tuple[str, ...]


def read_layer(parts: Shapes, kernel: tuple[int, ...]) -> Layer:
    """What kind of layer has parts of these shapes.

    `kernel` is the convolution's ((3, 3), (1, 1), () for a Linear) where the shapes do not tell.
    A layer that is no product of factors is of the kind "unknown".

    Raises OddParts when the shapes do not fit together.
    """
    weights = tuple(part for part in parts if part not in ("alpha", "dora_scale"))
    for kind, needed, read in KINDS:
        if all(any(part.startswith(sign) for part in weights) for sign in needed):
            try:
                shape, rank, full_rank = read(parts, kernel)
            except (KeyError, IndexError, ValueError) as error:
                raise OddParts(str(error)) from error
            largest = min(sides(shape))
            if not min(full_rank, largest):
                raise OddParts("a side of length 0")
            if "dora_scale" in parts and math.prod(parts["dora_scale"]) not in shape[:2]:
                raise OddParts("a magnitude that is neither one for each output nor each input")
            return Layer(kind, shape, rank, min(full_rank, largest), weights)
    return Layer("unknown", (), None, 0, weights)


def make_factors(kind: str, parts: Parts) -> Factors:
    """(up (out, r), down (r, in·kh·kw)) in float32 of a layer of this kind."""
    up, down = FACTORS[kind](parts)
    return np.ascontiguousarray(up, np.float32), np.ascontiguousarray(down, np.float32)


def _flat(array: np.ndarray) -> np.ndarray:
    return array.reshape(array.shape[0], -1)


# --- shapes: of ΔW, the rank that alpha is divided by, the columns of up -----------------------


def _same(one: int, other: int) -> int:
    if one != other:
        raise ValueError(f"{one} and {other} should be the same")
    return one


def _lora_shape(parts: Shapes, _: tuple[int, ...]) -> Sizes:
    up, down = parts["lora_up.weight"], parts["lora_down.weight"]
    _same(math.prod(up[2:]), 1)
    return (up[0], *down[1:]), _same(up[1], down[0]), down[0]


def _tucker_shape(parts: Shapes, _: tuple[int, ...]) -> Sizes:
    up, down, mid = (parts[f"lora_{part}.weight"] for part in ("up", "down", "mid"))
    _same(up[1], mid[0])
    _same(math.prod(down[2:]) * math.prod(up[2:]), 1)
    return (up[0], down[1], *mid[2:]), _same(down[0], mid[1]), mid[0]


def _loha_shape(parts: Shapes, kernel: tuple[int, ...]) -> Sizes:
    first, second, third, fourth = (parts[f"hada_w{end}"] for end in ("1_a", "1_b", "2_a", "2_b"))
    if "hada_t1" in parts:
        core, other = parts["hada_t1"], parts["hada_t2"]
        for pair in ((first[0], core[0]), (third[0], other[0]), (fourth[0], other[1]),
                     (first[1], third[1]), (second[1], fourth[1])):  # fmt: skip
            _same(*pair)
        shape = (first[1], second[1], *core[2:])
        return shape, _same(second[0], core[1]), first[0] * third[0]
    rank = _same(first[1], second[0])
    for pair in ((third[1], fourth[0]), (third[0], first[0]), (fourth[1], second[1])):
        _same(*pair)
    return _unfolded(first[0], second[1], kernel), rank, rank * third[1]


def _lokr_shape(parts: Shapes, kernel: tuple[int, ...]) -> Sizes:
    rank = None
    if "lokr_w1" in parts:
        one = parts["lokr_w1"]
        full_rank = min(one)
    else:
        one = parts["lokr_w1_a"][0], parts["lokr_w1_b"][1]
        rank = full_rank = _same(parts["lokr_w1_a"][1], parts["lokr_w1_b"][0])
    if "lokr_w2" in parts:
        two = parts["lokr_w2"]
        full_rank *= min(two[0], math.prod(two[1:]))
        return (one[0] * two[0], one[1] * two[1], *two[2:]), rank, full_rank
    first, second = parts["lokr_w2_a"], parts["lokr_w2_b"]
    if "lokr_t2" in parts:
        core = parts["lokr_t2"]
        full_rank *= _same(first[0], core[0])
        rank = _same(second[0], core[1])
        two = (first[1], second[1], *core[2:])
    else:
        rank = _same(first[1], second[0])
        full_rank *= rank
        two = _unfolded(first[0], math.prod(second[1:]), kernel)
    return (one[0] * two[0], one[1] * two[1], *two[2:]), rank, full_rank


def _unfolded(outputs: int, columns: int, kernel: tuple[int, ...]) -> tuple[int, ...]:
    if columns % math.prod(kernel):
        return outputs, columns
    return (outputs, columns // math.prod(kernel), *kernel)


def _diff_shape(parts: Shapes, _: tuple[int, ...]) -> Sizes:
    if len(parts["diff"]) < 2:
        raise ValueError("the change of a vector is no LoRA")
    return parts["diff"], None, min(sides(parts["diff"]))


# --- factors ---------------------------------------------------------------------------------


def _lora(parts: Parts) -> Factors:
    return _flat(parts["lora_up.weight"]), _flat(parts["lora_down.weight"])


def _tucker(parts: Parts) -> Factors:
    """W[o,i,h,w] = Σ_pq up[o,p] mid[p,q,h,w] down[q,i]"""
    up, down = _flat(parts["lora_up.weight"]), _flat(parts["lora_down.weight"])
    return up, _flat(_core_times(parts["lora_mid.weight"], down))


def _core_times(core: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Σ_q core[p,q,h,w] columns[q,i] as (p, i, h, w)."""
    return np.moveaxis(np.tensordot(core, columns, axes=(1, 0)), -1, 1)


def _loha(parts: Parts) -> Factors:
    """(A·B) ∘ (C·D): the products of rows of A and C, and of columns of B and D."""
    pairs = []
    for number in ("1", "2"):
        left, right = parts[f"hada_w{number}_a"], parts[f"hada_w{number}_b"]
        if f"hada_t{number}" in parts:  # W[o,i,h,w] = Σ_pq left[p,o] t[p,q,h,w] right[q,i]
            left, right = left.T, _core_times(parts[f"hada_t{number}"], right)
        pairs.append((left, _flat(right)))
    (a, b), (c, d) = pairs
    up = (a[:, :, None] * c[:, None, :]).reshape(len(a), -1)
    down = (b[:, None, :] * d[None, :, :]).reshape(-1, b.shape[1])
    return up, down


def _lokr(parts: Parts) -> Factors:
    """kron(A·B, C·D) = kron(A, C) · kron(B, D)"""
    (a, b), (c, d) = kronecker_factors(parts)
    return np.kron(a, c), np.kron(b, d)


def kronecker_factors(parts: Parts) -> tuple[Factors, Factors]:
    """The factors A·B and C·D of both matrices whose Kronecker product a LoKr is."""
    if "lokr_w1" in parts:
        first = _trivial(parts["lokr_w1"])
    else:
        first = parts["lokr_w1_a"], parts["lokr_w1_b"]
    if "lokr_w2" in parts:
        return first, _trivial(_flat(parts["lokr_w2"]))
    if "lokr_t2" in parts:
        right = _core_times(parts["lokr_t2"], parts["lokr_w2_b"])
        return first, (parts["lokr_w2_a"].T, _flat(right))
    return first, (parts["lokr_w2_a"], _flat(parts["lokr_w2_b"]))


def _trivial(matrix: np.ndarray) -> Factors:
    """A whole matrix as a product: with the unit matrix on its smaller side."""
    outputs, columns = matrix.shape
    if outputs <= columns:
        return np.eye(outputs, dtype=np.float32), matrix
    return matrix, np.eye(columns, dtype=np.float32)


KINDS: tuple[tuple[str, tuple[str, ...], Callable], ...] = (  # kind, parts it has, its shape
    ("tucker", ("lora_down.weight", "lora_up.weight", "lora_mid.weight"), _tucker_shape),
    ("lora", ("lora_down.weight", "lora_up.weight"), _lora_shape),
    ("loha", ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), _loha_shape),
    ("lokr", ("lokr_w1", "lokr_w2"), _lokr_shape),
    ("diff", ("diff",), _diff_shape),
)
FACTORS: dict[str, Callable[[Parts], Factors]] = {
    "tucker": _tucker,
    "lora": _lora,
    "loha": _loha,
    "lokr": _lokr,
    "diff": lambda parts: _trivial(_flat(parts["diff"])),
}
