"""The sum of every module over several LoRAs, Σ weight·ΔW, in the numbers that a file will hold.

    sums = sum_modules(parts, (64, 32), "F16", report, control)

Where the size allows, a sum is exact: the factors are put side by side. Otherwise it is the best
approximation of that size. `auto` takes the smallest size that keeps 99 % of the Frobenius norm,
one for all Linear layers and one for all 3x3 convolutions, over the modules together: a LoRA then
has one dim, which UIs and sites show, and every part of the sum is cut at the same level of what
matters. (A size for each module would keep as much in a file hardly smaller, which shows as
"Dynamic".) For diffusers, all modules of a kind get one alpha too (see `scripts.lora.resize`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from scripts.core.events import Control, Report
from scripts.lora.factors import is_wide
from scripts.lora.low_rank import decompose, joined
from scripts.lora.merge_inputs import Part
from scripts.lora.number_formats import decoded, storable_alpha, to_precision
from scripts.lora.safetensors_writer import RawTensor
from scripts.lora.threads import in_threads
from scripts.settings.merge import AUTO, EXACT

AUTO_SHARE = 0.99  # of the Frobenius norm, as `auto` promises
Rule = int | str  # a rank, AUTO or EXACT


@dataclass(frozen=True)
class Sum:
    """The sum of one module: up (out, r) and down (r, in·kh·kw) as they will be stored.

    values: the singular values of the whole sum, in whose order the ranks are; the norm alone
    where this sum is exact, and 1 where all sums are: nothing is weighed then.
    """

    name: str
    shape: tuple[int, ...]
    up: RawTensor
    down: RawTensor
    alpha: float
    values: np.ndarray

    @property
    def rank(self) -> int:
        """The inner size of the factors."""
        return self.up.shape[1]

    def tensors(self) -> dict[str, RawTensor]:
        """Its tensors of the file by key, in the shapes of convolutions where it is one."""
        outputs, *columns = self.shape
        dtype, ones = self.up.dtype, [1] * len(columns[1:])
        return {
            f"{self.name}.lora_up.weight": RawTensor(
                dtype, (outputs, self.rank, *ones), self.up.data
            ),
            f"{self.name}.lora_down.weight": RawTensor(
                dtype, (self.rank, *columns), self.down.data
            ),
            f"{self.name}.alpha": to_precision(np.float32(self.alpha), dtype),
        }


def sum_modules(
    parts: Mapping[str, Sequence[Part]],
    rules: tuple[Rule, Rule],
    dtype: str,
    report: Report,
    control: Control,
) -> list[Sum]:
    """The sum of every module, by `rules` for Linear layers and for 3x3 convolutions, with numbers
    in `dtype` ("F16", "BF16", "F32"). Raises Cancelled."""
    work = partial(_sum_of, parts, rules, dtype)
    sums = list(in_threads(work, sorted(parts), "Merging the weights", report, control))
    finished = []
    for rule, wide in zip(rules, (False, True), strict=True):
        kind = [one for one in sums if is_wide(one.shape) == wide]
        if not kind:
            continue
        if rule == AUTO:
            rank = _storable(auto_rank([one.values for one in kind]), dtype, 1)
            kind = [_cut(one, rank) for one in kind]
        alpha = Counter(one.alpha for one in kind).most_common(1)[0][0]
        finished += [_with_alpha(one, alpha) for one in kind]
    return sorted(finished, key=lambda one: one.name)


def auto_rank(values: Sequence[np.ndarray], share: float = AUTO_SHARE) -> int:
    """The smallest rank that keeps `share` of the Frobenius norm of all matrices together.

    values: the singular values of each matrix, descending.
    """
    energy = np.zeros(max(len(one) for one in values))  # by the place of the singular value
    for one in values:
        energy[: len(one)] += one**2
    kept = np.cumsum(energy)
    return int(np.searchsorted(kept, share**2 * kept[-1] * (1 - 1e-12))) + 1


def _sum_of(
    parts: Mapping[str, Sequence[Part]], rules: tuple[Rule, Rule], dtype: str, name: str
) -> Sum:
    modules = parts[name]
    shape = max((module.shape for module, _ in modules), key=len)
    rule = rules[is_wide(shape)]
    largest = {AUTO: 0, EXACT: math.inf}.get(rule, rule)  # up to which nothing is cut off
    values = np.ones(1) if rules == (EXACT, EXACT) else None
    first, weight = modules[0]
    if len(modules) == 1 and first.network_type == "lora" and first.rank <= largest:
        up, down, _ = first.factors()
        return _stored(name, shape, np.float32(weight) * up, down, first.alpha, dtype, values)
    factors = [(*module.factors(), weight) for module, weight in modules]
    up, down = joined([(up, down, scale * weight) for up, down, scale, weight in factors])
    rank = up.shape[1]
    if rank <= min(largest, len(up), down.shape[1]):
        return _stored(name, shape, up, down, rank, dtype, values)
    found = decompose(up, down)
    rank = min(len(found.singular_values), rule if isinstance(rule, int) else math.inf)
    if rule == AUTO:
        rank = _storable(rank, dtype, -1)
    return _stored(name, shape, *found.truncated(rank), rank, dtype, found.singular_values)


def _stored(
    name: str,
    shape: tuple[int, ...],
    up: np.ndarray,
    down: np.ndarray,
    alpha: float,
    dtype: str,
    values: np.ndarray | None = None,
) -> Sum:
    """The sum as it will be stored; the factors make up for an alpha that `dtype` cannot hold."""
    if values is None:
        values = np.array([alpha / up.shape[1] * _norm(up, down)])
    stored = storable_alpha(alpha, up.shape[1], dtype)
    if stored != alpha:
        up, down = joined([(up, down, alpha / stored)])
    return Sum(name, shape, to_precision(up, dtype), to_precision(down, dtype), stored, values)


def _norm(up: np.ndarray, down: np.ndarray) -> float:
    """The Frobenius norm of up·down: its square is Σ (upᵀ·up) ∘ (down·downᵀ)."""
    return math.sqrt(max(0.0, float(np.sum((up.T @ up) * (down @ down.T)))))


def _with_alpha(one: Sum, alpha: float) -> Sum:
    """The same sum with another alpha, which both factors make up for: one alone would come to
    numbers too small for fp16."""
    if one.alpha == alpha:
        return one
    up, down = (decoded(memoryview(raw.data), raw.dtype).reshape(raw.shape)
                for raw in (one.up, one.down))  # fmt: skip
    up, down = joined([(up, down, one.alpha / alpha)])
    dtype = one.up.dtype
    return replace(one, up=to_precision(up, dtype), down=to_precision(down, dtype), alpha=alpha)


def _storable(rank: int, dtype: str, step: int) -> int:
    """The next rank, up (1) or down (-1), that `dtype` can hold as alpha: bf16 has not every
    number above 256."""
    while storable_alpha(rank, rank, dtype) != rank:
        rank += step
    return rank


def _cut(one: Sum, rank: int) -> Sum:
    """The sum with its first `rank` ranks."""
    if one.rank <= rank:
        return one
    up, down = _plain(one.up)[:, :rank], _plain(one.down)[:rank]
    stored = _raw(up, one.up.dtype), _raw(down, one.down.dtype)
    return Sum(one.name, one.shape, *stored, rank, one.values)


def _plain(tensor: RawTensor) -> np.ndarray:
    """The numbers as whole ones of the same width: enough to cut with."""
    bytes_each = len(tensor.data) // math.prod(tensor.shape)
    return np.frombuffer(tensor.data, f"<u{bytes_each}").reshape(tensor.shape)


def _raw(array: np.ndarray, dtype: str) -> RawTensor:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return RawTensor(dtype, array.shape, memoryview(flat))
