"""A frame whose content scrolls when it is taller than its place."""

from __future__ import annotations

import tkinter
from tkinter import ttk

from easy_scripts.wizard.look import Look

WHEEL_STEP = 60  # logical pixels


class Scrolled(ttk.Frame):
    """Put content into `.body`; the scrollbar comes and goes by itself."""

    def __init__(self, parent: tkinter.Misc, theme: Look) -> None:
        super().__init__(parent)
        self._theme = theme
        self._canvas = tkinter.Canvas(self, highlightthickness=0, borderwidth=0, takefocus=0,
                                      background=theme.colours.background)  # fmt: skip
        self._bar = ttk.Scrollbar(self, orient="vertical", command=self._canvas.yview)
        self._canvas.configure(yscrollcommand=self._bar.set, yscrollincrement=1)
        self.body = ttk.Frame(self._canvas)
        self._window = self._canvas.create_window(0, 0, anchor="nw", window=self.body)
        self.columnconfigure(0, weight=1)
        self.columnconfigure(1, minsize=theme.px(16))  # kept free, so that fields never move
        self.rowconfigure(0, weight=1)
        self._canvas.grid(row=0, column=0, sticky="nsew")
        self._bar.grid(row=0, column=1, sticky="nse")
        self._bar.grid_remove()
        self.body.bind("<Configure>", lambda _: self._measure())
        self._canvas.bind("<Configure>", self._fit_width)
        theme.changed.append(self._recolour)

    def _recolour(self) -> None:
        self._canvas.configure(background=self._theme.colours.background)

    def _fit_width(self, event: tkinter.Event) -> None:
        self._canvas.itemconfigure(self._window, width=event.width)
        self._measure()

    def _measure(self) -> None:
        height = self.body.winfo_reqheight()
        self._canvas.configure(scrollregion=(0, 0, self.body.winfo_reqwidth(), height))
        if height > self._canvas.winfo_height() > 1:
            self._bar.grid()
        else:
            self._bar.grid_remove()
            self._canvas.yview_moveto(0)

    def set_size(self, width: int, height: int) -> None:
        """Ask for a place of so many pixels; without this, the place is what others leave."""
        self._canvas.configure(width=width, height=height)

    @property
    def scrolls(self) -> bool:
        """Whether the content is taller than its place."""
        return self.body.winfo_reqheight() > self._canvas.winfo_height()

    def wheel(self, notches: float) -> None:
        """Scroll by notches of the mouse wheel, downwards positive."""
        if self.scrolls:
            self._canvas.yview_scroll(round(notches * self._theme.px(WHEEL_STEP)), "units")

    def to_top(self) -> None:
        """Show the beginning."""
        self._canvas.yview_moveto(0)

    def show(self, widget: tkinter.Misc) -> None:
        """Scroll so that `widget`, somewhere in the content, is seen."""
        self.update_idletasks()
        height = self.body.winfo_reqheight()
        top = widget.winfo_rooty() - self.body.winfo_rooty()
        bottom = top + widget.winfo_height()
        first = self._canvas.canvasy(0)
        last = first + self._canvas.winfo_height()
        margin = self._theme.px(24)
        if top < first:
            self._canvas.yview_moveto(max(0, top - margin) / height)
        elif bottom > last:
            place = bottom + margin - self._canvas.winfo_height()
            self._canvas.yview_moveto(min(place, top) / height)
