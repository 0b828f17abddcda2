"""Keep the PC from going to sleep while long work runs. Does nothing elsewhere than on Windows."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

ES_CONTINUOUS, ES_SYSTEM_REQUIRED = 0x80000000, 0x00000001


def keep_awake(wanted: bool) -> None:
    """Ask Windows to stay awake until this is called with False or the process ends.

    Call it from one thread: Windows keeps the wish for the thread. The screen may still go dark.
    """
    if sys.platform == "win32":
        state = ES_CONTINUOUS | (ES_SYSTEM_REQUIRED if wanted else 0)
        with suppress(OSError, AttributeError):
            ctypes.windll.kernel32.SetThreadExecutionState(ctypes.c_uint(state))
