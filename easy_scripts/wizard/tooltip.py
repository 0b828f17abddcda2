"""The tooltip itself; a module of its own, so that only the first tip that is shown pays for it."""

from __future__ import annotations

import time
import tkinter
from typing import Any

from tktooltip import ToolTip, ToolTipStatus


class RestingTip(ToolTip):
    """A tooltip that surely comes after the delay, and lies whole on the screen.

    The package measures the delay with two clocks and shows nothing when they differ by a hair. A
    tip `under` a widget leaves it free, with `gap` pixels between: above it where below there is
    no room.
    """

    def __init__(self, widget: tkinter.Misc, *, under: tkinter.Misc | None, gap: int,
                 **options: Any) -> None:  # fmt: skip
        self._under, self._gap = under, gap
        super().__init__(widget, **options)

    def on_enter(self, event: tkinter.Event) -> None:
        """Show the tip after the delay, if the pointer is still there."""
        self.last_moved = time.perf_counter() - self.delay
        self.status = ToolTipStatus.INSIDE
        self._update_message()
        self.update_idletasks()  # its size follows the message
        self._update_tooltip_coords(event)
        self.after(int(self.delay * self.S_TO_MS), self._show)

    def _update_tooltip_coords(self, event: tkinter.Event) -> None:
        if self._under is None:
            left, top, bottom = event.x_root + self.x_offset, event.y_root, event.y_root
            gap = self.y_offset
        else:
            left, top = self._under.winfo_rootx(), self._under.winfo_rooty()
            bottom, gap = top + self._under.winfo_height(), self._gap
        width, height = self.winfo_reqwidth(), self.winfo_reqheight()
        y = bottom + gap
        if top < self.winfo_screenheight() < y + height:
            y = top - gap - height
        if left < self.winfo_screenwidth():  # else it is on another screen
            left = max(0, min(left, self.winfo_screenwidth() - width))
        self.geometry(f"+{left}+{y}")
