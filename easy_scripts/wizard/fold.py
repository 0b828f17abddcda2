"""A section that is folded away until its title is pressed."""

from __future__ import annotations

import tkinter
from tkinter import ttk

from easy_scripts.wizard.look import Look


class Fold(ttk.Frame):
    """A title that opens and closes `.content`."""

    def __init__(self, parent: tkinter.Misc, theme: Look, title: str) -> None:
        super().__init__(parent)
        self._title = title
        self._button = ttk.Button(self, style="Toolbutton", command=self.toggle)
        self._button.pack(anchor="w")
        self.content = ttk.Frame(self, padding=(theme.px(20), theme.px(10), 0, 0))
        self._show_state()

    @property
    def open(self) -> bool:
        """Whether the content is shown."""
        return bool(self.content.winfo_manager())

    def toggle(self) -> None:
        """Open or close."""
        if self.open:
            self.content.pack_forget()
        else:
            self.content.pack(fill="x")
        self._show_state()

    def unfold(self) -> None:
        """Open, if it is closed."""
        if not self.open:
            self.toggle()

    def _show_state(self) -> None:
        self._button.configure(text=f"{'▾' if self.open else '▸'}  {self._title}")
