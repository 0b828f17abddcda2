"""The tooltip itself; a module of its own, so that only the first tip that is shown pays for it."""

from __future__ import annotations

import time
import tkinter

from tktooltip import ToolTip, ToolTipStatus


class RestingTip(ToolTip):
    """A tooltip that surely comes after the delay.

    The package measures the delay with two clocks and shows nothing when they differ by a hair.
    """

    def on_enter(self, event: tkinter.Event) -> None:
        """Show the tip after the delay, if the pointer is still there."""
        self.last_moved = time.perf_counter() - self.delay
        self.status = ToolTipStatus.INSIDE
        self._update_tooltip_coords(event)
        self.after(int(self.delay * self.S_TO_MS), self._show)
