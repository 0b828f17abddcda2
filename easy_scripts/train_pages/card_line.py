"""The line that tells the graphics card and lets a person correct its memory."""

from __future__ import annotations

import tkinter
from contextlib import suppress
from tkinter import ttk

from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.tips import add_tip
from easy_scripts.wizard.window import Wizard
from scripts.core.declare import read_float

MEMORIES = ("6", "8", "10", "12", "16", "24", "32")
LEAST, MOST = 1, 1024  # GB


class CardLine(ttk.Frame):
    """A field for the memory in GB, `variable`, which may be empty; the card's name beside it."""

    def __init__(self, parent: tkinter.Misc, wizard: Wizard, variable: tkinter.StringVar) -> None:
        super().__init__(parent)
        self._texts, self._variable, theme = wizard.texts, variable, wizard.theme
        self._gap = theme.px(4)
        title = ttk.Label(self, text=self._texts("kind.memory"))
        title.grid(row=0, column=0)
        self.field = ttk.Combobox(self, textvariable=variable, values=MEMORIES, width=6)
        self.field.grid(row=0, column=1, padx=theme.px(8))
        unit = ttk.Label(self, text="GB")
        unit.grid(row=0, column=2)
        self._name = ttk.Label(self, style="Muted.TLabel", font=CAPTION)
        self._name.grid(row=0, column=3, sticky="w", padx=theme.px(12))
        self.columnconfigure(3, weight=1)
        self._wrong = ttk.Label(self, style="Error.TLabel", wraplength=theme.px(610))
        for widget in (self, title, self.field, unit, self._name):
            add_tip(widget, self._texts("kind.memory_tip"), theme)
        variable.trace_add("write", lambda *_: self._tell())

    def name(self, text: str) -> None:
        """Show which card it is."""
        self._name.configure(text=text)

    @property
    def gigabytes(self) -> float | None:
        """The memory; None when nothing is entered or it is no number."""
        with suppress(ValueError):
            return self._read()
        return None

    @property
    def problem(self) -> str | None:
        """What is wrong with what is entered."""
        try:
            self._read()
        except ValueError:
            return self._texts("kind.memory_wrong", text=self._variable.get())
        return None

    def _read(self) -> float | None:
        text = self._variable.get().strip().lower().removesuffix("gb").strip().replace(",", ".")
        number = read_float(text) if text else None
        if number is not None and not LEAST <= number <= MOST:
            raise ValueError("no card has so much memory")
        return number

    def _tell(self) -> None:
        problem = self.problem
        self.field.state(["invalid" if problem else "!invalid"])
        if problem:
            self._wrong.configure(text=problem)
            self._wrong.grid(row=1, column=0, columnspan=4, sticky="w",
                             pady=(self._gap, 0))  # fmt: skip
        else:
            self._wrong.grid_remove()

    def check(self) -> bool:
        """Whether it can be used; goes there if not."""
        self._tell()
        if self.problem:
            self.field.focus_set()
        return self.problem is None
