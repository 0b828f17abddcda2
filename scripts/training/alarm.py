"""Whether a training has outgrown its card, or goes much slower than it could.

    sounded = alarm(CardUse(free, total), pace, best)     # FULL, SLOWER or None

On Windows the driver moves what does not fit onto the card into main memory, without a word, and
each step then takes many times as long.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

FULL, SLOWER = "full", "slower"
LEAST_FREE = 0.02  # of the card: with less, parts of this or another program are moved already
MUCH_SLOWER = 4  # times the best pace of this training
# Windows' drivers, also below the Linux in Windows; others refuse what does not fit.
MOVES_MEMORY = sys.platform == "win32" or os.path.exists("/dev/dxg")


@dataclass(frozen=True)
class CardUse:
    """The memory of a card in bytes: what no program has, and all."""

    free: int
    total: int


def alarm(
    use: CardUse | None, pace: float | None, best: float | None, moves_memory: bool = MOVES_MEMORY
) -> str | None:
    """What is wrong now.

    Args:
        use: None without a card.
        pace: seconds a step lately; None while too few are timed.
        best: the best that `pace` has been.
        moves_memory: whether the driver moves what does not fit.
    """
    if use and moves_memory and use.free < LEAST_FREE * use.total:
        return FULL
    if pace and best and pace > MUCH_SLOWER * best:
        return SLOWER
    return None
