"""What a LoRA keeps at which size: numbers between those that `scripts.inspect_lora` measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spectrum:
    """Kept share (of the Frobenius norm, 0 to 1) and file size in bytes by size (rank), ascending.

    `knee` is the size from which on little is won by more.
    """

    ranks: tuple[int, ...]
    kept: tuple[float, ...]
    bytes: tuple[int, ...]
    knee: int

    @classmethod
    def from_facts(cls, content: dict[str, Any]) -> Spectrum:
        """From the facts' "spectrum"."""
        rows = sorted(zip(content["ranks"], content["kept"], content["bytes"], strict=True))
        ranks, kept, sizes = zip(*rows, strict=True)
        return cls(ranks, kept, sizes, content["knee"])

    @property
    def largest(self) -> int:
        """The size of the LoRA as it is."""
        return self.ranks[-1]

    def kept_at(self, rank: float) -> float:
        """The share kept at a size, straight between the measured ones on a log scale."""
        if rank <= self.ranks[0]:
            return self.kept[0] * rank / self.ranks[0]
        logs = [math.log(known) for known in self.ranks]
        return between(math.log(rank), logs, self.kept)

    def rank_keeping(self, share: float) -> int:
        """The least size that keeps at least `share`."""
        low, high = 1, self.largest
        while low < high:
            middle = (low + high) // 2
            if self.kept_at(middle) >= share:
                high = middle
            else:
                low = middle + 1
        return low

    def bytes_at(self, rank: float) -> float:
        """The file size at a size; it grows in a straight line."""
        if rank <= self.ranks[0]:
            return self.bytes[0] * rank / self.ranks[0]
        return between(rank, self.ranks, self.bytes)


def between(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """y at x on the straight lines through the points; the last y beyond the last point."""
    for index in range(1, len(xs)):
        if x <= xs[index]:
            share = (x - xs[index - 1]) / (xs[index] - xs[index - 1])
            return ys[index - 1] + share * (ys[index] - ys[index - 1])
    return ys[-1]
