"""What becomes of main memory that a freed tensor leaves: kept for the next one, on a CPU."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep the memory of freed tensors for the next ones, in place of giving it back.

    Otherwise a step on a CPU gets and returns gigabytes in pages of 4 KB: a fifth of its time. What
    the process holds at most hardly changes. Does nothing, and says False, where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    kept = [mallopt(M_MMAP_THRESHOLD, 1 << 30), mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)]
    return all(kept)
