"""Which batch sizes fit on a graphics card: a search that knows nothing of cards.

    tried = try_sizes(attempt, sizes_to_try(pictures=20, batch=2), safe_bytes=11 * 10**9)
    largest_fitting(tried)

`attempt(batch)` takes a few steps and gives (seconds a step, bytes reserved), or None when the
memory ran out. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
MUCH_SLOWER = 2.0  # times the best time of a picture; what spills is 10 to 100 times slower
FITS, TOO_FULL, TOO_SLOW, OUT_OF_MEMORY = "fits", "too full", "too slow", "out of memory"

Measured = tuple[float, int | None]  # seconds a step, bytes reserved (None: not on a card)
Attempt = Callable[[int], Measured | None]


@dataclass(frozen=True)
class Tried:
    """What became of a batch size. `verdict` is FITS, TOO_FULL, TOO_SLOW or OUT_OF_MEMORY.

    Seconds (for one picture) and bytes are None when the memory ran out; the seconds of what is
    TOO_FULL may be those of a first step alone.
    """

    batch: int
    verdict: str
    seconds_per_picture: float | None = None
    memory_bytes: int | None = None

    @property
    def fits(self) -> bool:
        """Whether it can be trained with."""
        return self.verdict == FITS


def sizes_to_try(pictures: int, batch: int | None = None) -> list[int]:
    """The sizes up to the number of pictures that a batch can be filled with, and `batch`."""
    sizes = {size for size in SIZES if size <= pictures}
    return sorted(sizes | ({batch} if batch else set()))


def try_sizes(attempt: Attempt, sizes: Iterable[int], safe_bytes: int) -> list[Tried]:
    """Try the sizes in order until one does not fit; what became of each.

    A size does not fit when the memory runs out, when more than `safe_bytes` are reserved
    (Windows moves what is too much into main memory without an error), or when a picture takes
    MUCH_SLOWER times as long as at the best size before.
    """
    tried: list[Tried] = []
    for size in sizes:
        tried.append(_judge(size, attempt(size), safe_bytes, tried))
        if not tried[-1].fits:
            break
    return tried


def _judge(size: int, measured: Measured | None, safe_bytes: int, before: list[Tried]) -> Tried:
    if measured is None:
        return Tried(size, OUT_OF_MEMORY)
    each, reserved = measured[0] / size, measured[1]
    best = min((one.seconds_per_picture for one in before), default=each)
    if reserved is not None and reserved > safe_bytes:
        verdict = TOO_FULL
    elif each > MUCH_SLOWER * best:
        verdict = TOO_SLOW
    else:
        verdict = FITS
    return Tried(size, verdict, each, reserved)


def largest_fitting(tried: Iterable[Tried]) -> int:
    """The largest size that fits; 0 when none does."""
    return max((one.batch for one in tried if one.fits), default=0)
