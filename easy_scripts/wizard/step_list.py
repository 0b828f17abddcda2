"""The list of steps at the side of a wizard: which are done, which is on screen."""

from __future__ import annotations

import tkinter
from collections.abc import Sequence
from tkinter import ttk

from easy_scripts.wizard.theme import BODY, STRONG, Theme

WIDTH = 208  # logical pixels


class StepList(tkinter.Frame):
    """A column with the wizard's title and its steps."""

    def __init__(self, parent: tkinter.Misc, theme: Theme, title: str) -> None:
        super().__init__(parent, background=theme.colours.side, width=theme.px(WIDTH))
        self._theme = theme
        self._names: list[str] = []
        self._current = 0
        self.grid_propagate(False)
        self.columnconfigure(0, weight=1)
        left = theme.px(24)
        heading = ttk.Label(self, text=title, style="Side.Strong.TLabel")
        heading.configure(wraplength=theme.px(WIDTH - 40))
        heading.grid(row=0, sticky="w", padx=(left, 0), pady=(theme.px(32), theme.px(20)))
        self._canvas = tkinter.Canvas(self, highlightthickness=0, borderwidth=0, takefocus=0)
        self._canvas.grid(row=1, sticky="nsew")
        self.rowconfigure(1, weight=1)
        theme.changed.append(self._draw)

    def fill(self, names: Sequence[str]) -> None:
        """Set the names of the steps."""
        self._names = list(names)
        self._draw()

    def mark(self, index: int) -> None:
        """Say which step is on screen."""
        self._current = index
        self._draw()

    def _draw(self) -> None:
        theme, colours, canvas = self._theme, self._theme.colours, self._canvas
        self.configure(background=colours.side)
        canvas.configure(background=colours.side)
        canvas.delete("all")
        left, pitch, radius = theme.px(32), theme.px(40), theme.px(4.5)
        for index, name in enumerate(self._names):
            y = theme.px(16) + index * pitch
            here, done = index == self._current, index < self._current
            if index + 1 < len(self._names):
                line = colours.accent if done else colours.line
                canvas.create_line(left, y + radius * 2, left, y + pitch - radius * 2,
                                   fill=line, width=theme.px(1.5))  # fmt: skip
            edge = colours.accent if here or done else colours.muted
            canvas.create_oval(left - radius, y - radius, left + radius, y + radius, outline=edge,
                               fill=edge if here or done else colours.side,
                               width=theme.px(1.5))  # fmt: skip
            canvas.create_text(left + theme.px(18), y, text=name, anchor="w",
                               font=STRONG if here else BODY, width=theme.px(WIDTH - 62),
                               fill=colours.text if here or done else colours.muted)  # fmt: skip
