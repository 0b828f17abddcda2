"""The screens of the computer, as rectangles of the virtual desktop in pixels."""

from __future__ import annotations

import ctypes
import sys
import tkinter
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle; a screen left of or above the first one has negative places."""

    x: int
    y: int
    width: int
    height: int

    def overlap(self, other: Box) -> int:
        """How many pixels both have."""
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0, width) * max(0, height)


def screens(root: tkinter.Tk) -> list[Box]:
    """All screens, the first one in front. X11 has one large screen over all monitors."""
    first = Box(0, 0, root.winfo_screenwidth(), root.winfo_screenheight())
    if sys.platform == "win32":
        others = [box for box in _windows_screens() if (box.x, box.y) != (0, 0)]
    else:
        others = [Box(root.winfo_vrootx(), root.winfo_vrooty(), root.winfo_vrootwidth(),
                      root.winfo_vrootheight())]  # fmt: skip
    return [first, *others]


def _windows_screens() -> list[Box]:
    from ctypes import wintypes

    found: list[Box] = []
    kind = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.HMONITOR, wintypes.HDC,
                              ctypes.POINTER(wintypes.RECT), wintypes.LPARAM)  # fmt: skip

    def take(_monitor: int, _context: int, place: object, _data: int) -> bool:
        rect = place.contents
        found.append(Box(rect.left, rect.top, rect.right - rect.left, rect.bottom - rect.top))
        return True

    ctypes.windll.user32.EnumDisplayMonitors(None, None, kind(take), 0)
    return found
