"""Work on many modules at once: `for result in in_threads(work, items, "Resizing", ...)`.

NumPy lets go of Python's lock while it computes and reads, so threads are enough.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from scripts.core.events import Control, Report, Stage

T = TypeVar("T")
R = TypeVar("R")


def in_threads(
    work: Callable[[T], R],
    items: Sequence[T],
    stage: str,
    report: Report,
    control: Control,
    most: int | None = None,
) -> Iterator[R]:
    """The results of `work` for all items, in their order; as many at a time as there are cores,
    but no more than `most`, for work that takes much memory.

    Only a few results wait to be taken, so the caller decides what stays in memory. A stage event
    tells of each one.

    Raises Cancelled when a stop is asked for, and whatever the work raises.
    """
    report(Stage(stage, 0, len(items)))
    workers = min(os.cpu_count() or 1, most or math.inf)
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[R]] = deque()
    rest = iter(items)
    try:
        for done in range(1, len(items) + 1):
            for item in rest:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * workers:
                    break
            control.check()
            yield waiting.popleft().result()
            report(Stage(stage, done, len(items)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
