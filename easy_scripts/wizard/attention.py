"""Tell someone who looks elsewhere that the work has ended: a sound, a flash in the taskbar."""

from __future__ import annotations

import ctypes
import sys
import tkinter
from contextlib import suppress

FLASH_TRAY_UNTIL_SEEN = 0x2 | 0xC  # FLASHW_TRAY | FLASHW_TIMERNOFG


class FlashInfo(ctypes.Structure):
    """FLASHWINFO of the Windows API."""

    _fields_ = (("size", ctypes.c_uint), ("window", ctypes.c_void_p), ("flags", ctypes.c_uint),
                ("count", ctypes.c_uint), ("timeout", ctypes.c_uint))  # fmt: skip


def call_for_attention(root: tkinter.Tk) -> None:
    """Sound the system's bell and, on Windows, flash the taskbar entry until it is looked at."""
    with suppress(tkinter.TclError):
        root.bell()
    if sys.platform != "win32":
        return
    with suppress(OSError, AttributeError, tkinter.TclError):
        window = ctypes.windll.user32.GetParent(root.winfo_id())
        info = FlashInfo(ctypes.sizeof(FlashInfo), window, FLASH_TRAY_UNTIL_SEEN, 0, 0)
        ctypes.windll.user32.FlashWindowEx(ctypes.byref(info))
