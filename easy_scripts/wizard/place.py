"""Size and place of a window: as it was left, but always whole on the screen that is there now."""

from __future__ import annotations

import tkinter
from collections.abc import Sequence

from easy_scripts.wizard.theme import Theme

SIZE = (980, 680)  # logical pixels
LEAST = (760, 480)
TASKBAR = 72  # title bar and taskbar together


def place_window(root: tkinter.Tk, theme: Theme, kept: Sequence[int]) -> None:
    """Give the window the place that `place_of` told last time, or the middle of the screen."""
    room = (root.winfo_screenwidth(), root.winfo_screenheight() - theme.px(TASKBAR))
    least = [min(theme.px(LEAST[axis]), room[axis]) for axis in (0, 1)]
    root.minsize(*least)
    if len(kept) == 4 and all(isinstance(number, int) for number in kept):
        width, height = (max(least[axis], min(kept[2 + axis], room[axis])) for axis in (0, 1))
        x, y = max(0, min(kept[0], room[0] - width)), max(0, min(kept[1], room[1] - height))
    else:
        width, height = (min(theme.px(SIZE[axis]), room[axis]) for axis in (0, 1))
        x, y = (room[0] - width) // 2, (room[1] - height) // 2
    root.geometry(f"{width}x{height}+{x}+{y}")


def place_of(root: tkinter.Tk) -> list[int]:
    """Where the window is: x, y, width, height in pixels."""
    return [root.winfo_x(), root.winfo_y(), root.winfo_width(), root.winfo_height()]
