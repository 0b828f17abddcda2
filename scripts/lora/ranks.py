"""How many singular values to keep, and what share of ΔW that keeps. NumPy only.

rank = choose_rank(singular_values, Size(32, method="sv_fro", param=0.9))
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from scripts.lora.blocks import block_of
from scripts.settings.resize import size_title

NO_CHANGE = 1e-6  # a largest singular value up to this is no change at all, as in sd-scripts


@dataclass(frozen=True)
class Size:
    """The size that a LoRA is brought to.

    rank: the dim, for a dynamic method the largest. conv_rank: that of convolutions (every 4-D
    weight, 1x1 too), None for the same. method: None for exactly `rank`, else a key of METHODS
    with its `param`.
    """

    rank: int
    conv_rank: int | None = None
    method: str | None = None
    param: float | None = None

    def largest(self, is_conv: bool) -> int:
        """The largest rank that a module may get."""
        return self.conv_rank if is_conv and self.conv_rank is not None else self.rank

    @property
    def title(self) -> str:
        """For the name of a file: dim32, dim32-conv16, sv_fro-0.9-32."""
        return size_title(self.rank, self.conv_rank, self.method, self.param)


def _sv_ratio(values: np.ndarray, param: float) -> int:
    """How many are above the largest / param."""
    return int(np.sum(values > values[0] / param))


def _sv_cumulative(values: np.ndarray, param: float) -> int:
    """How many it takes to sum up to param of the sum of all."""
    return int(np.searchsorted(np.cumsum(values) / np.sum(values), param)) + 1


def _sv_fro(values: np.ndarray, param: float) -> int:
    """How many it takes to keep param of the Frobenius norm."""
    squares = values**2
    return int(np.searchsorted(np.cumsum(squares) / np.sum(squares), param**2)) + 1


METHODS = {"sv_ratio": _sv_ratio, "sv_cumulative": _sv_cumulative, "sv_fro": _sv_fro}


def choose_rank(singular_values: np.ndarray, size: Size, largest: int) -> int:
    """The rank for a module whose ΔW has these singular values (descending, with its scale).

    By sd-scripts' rules, so that known numbers give the known ranks: a dynamic method's count is
    held between 1 and all but one, one is added, and `largest` is the most; a module without any
    change gets rank 1.
    """
    if size.method is None:
        return min(largest, len(singular_values))
    if singular_values[0] <= NO_CHANGE:
        return 1
    count = METHODS[size.method](singular_values, size.param)
    return max(1, min(max(1, count) + 1, largest, len(singular_values)))


def kept_share(singular_values: np.ndarray, rank: int) -> float:
    """The share of the Frobenius norm that `rank` singular values keep: √(Σ kept S² / Σ all S²)."""
    squares = np.asarray(singular_values, np.float64) ** 2
    return _share(float(squares[:rank].sum()), float(squares.sum()))


@dataclass
class KeptShare:
    """The share of a whole LoRA's Frobenius norm that is kept: √(Σ kept S² / Σ all S²).

    `add` every module; then `whole`, and `by_block` with the names that people use for the blocks.
    """

    _kept: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _all: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, name: str, singular_values: np.ndarray, rank: int) -> None:
        """Take a module into account of which `rank` singular values are kept."""
        squares = np.asarray(singular_values, np.float64) ** 2
        block = block_title(name)
        self._kept[block] += float(squares[:rank].sum())
        self._all[block] += float(squares.sum())

    @property
    def whole(self) -> float:
        """The share for all modules together."""
        return _share(sum(self._kept.values()), sum(self._all.values()))

    @property
    def by_block(self) -> dict[str, float]:
        """The share by the title of the block, in the order of the model."""
        return {block: _share(self._kept[block], self._all[block]) for block in sorted(self._all)}


def _share(kept: float, everything: float) -> float:
    return math.sqrt(kept / everything) if everything > 0 else 1.0


def block_title(name: str) -> str:
    """What people call the block of a module: BASE (text encoder), IN04, MID, OUT11; OTHER for the
    layers outside of all blocks."""
    if not name.startswith("lora_unet_"):
        return "BASE"
    try:
        number = block_of(name)
    except ValueError:
        return "OTHER"
    if "_mid_block_" in name or "_middle_block_" in name:
        return "MID"
    # Numbers of the original layout: SDXL's count starts behind its embeddings.
    if number >= 13:
        return f"OUT{number - 13:02}"
    return f"IN{number - name.startswith('lora_unet_input_blocks'):02}"
