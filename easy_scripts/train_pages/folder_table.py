"""The picture folders with their repeats, which can be changed without renaming anything."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from tkinter import ttk
from typing import Any

from easy_scripts.wizard.asking import short_path
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard

MOST_REPEATS = 999


class FolderTable(ttk.Frame):
    """A line for each folder; `repeat(name, repeats)` is called when a number is changed."""

    def __init__(
        self, parent: tkinter.Misc, wizard: Wizard, repeat: Callable[[str, int], None]
    ) -> None:
        super().__init__(parent)
        self._theme, self._texts, self._repeat = wizard.theme, wizard.texts, repeat
        self._names: list[str] = []
        self._known: list[str] = []
        self._numbers: list[tkinter.StringVar] = []
        self._uses: list[ttk.Label] = []
        self.columnconfigure(0, weight=1)

    def show(self, folders: list[dict[str, Any]]) -> None:
        """Show these folders, as a plan describes them."""
        names = [folder["name"] for folder in folders]
        if names != self._names:
            self._build(folders)
        typing = str(self.tk.call("focus")).startswith(f"{self}.")
        for at, folder in enumerate(folders):
            self._uses[at].configure(
                text=self._texts("pictures.uses", uses=folder["uses_per_epoch"]))  # fmt: skip
            if not typing:
                self._known[at] = str(folder["repeats"])
                self._numbers[at].set(self._known[at])

    def _build(self, folders: list[dict[str, Any]]) -> None:
        theme, texts = self._theme, self._texts
        for child in self.winfo_children():
            child.destroy()
        self._names = [folder["name"] for folder in folders]
        self._known = [str(folder["repeats"]) for folder in folders]
        self._numbers, self._uses = [], []
        heads = ("pictures.folder", "pictures.pictures", "pictures.repeats", "pictures.round")
        for column, key in enumerate(heads):
            ttk.Label(self, text=texts(key), style="Muted.TLabel", font=CAPTION).grid(
                row=0, column=column, sticky="w", padx=(0, theme.px(16)))  # fmt: skip
        for row, folder in enumerate(folders, start=1):
            name = short_path(folder["name"], 40)
            if folder["is_reg"]:
                name += f" ({texts('pictures.regularising')})"
            ttk.Label(self, text=name).grid(row=row, column=0, sticky="w")
            ttk.Label(self, text=str(folder["pictures"])).grid(row=row, column=1, sticky="w")
            number = tkinter.StringVar(self, str(folder["repeats"]))
            field = ttk.Spinbox(self, textvariable=number, from_=1, to=MOST_REPEATS, width=5)
            field.grid(row=row, column=2, sticky="w", padx=(0, theme.px(16)), pady=theme.px(2))
            number.trace_add("write", lambda *_, at=row - 1: self._typed(at))
            uses = ttk.Label(self, style="Muted.TLabel")
            uses.grid(row=row, column=3, sticky="w")
            self._numbers.append(number)
            self._uses.append(uses)

    def _typed(self, at: int) -> None:
        text = self._numbers[at].get()
        if text.isdigit() and 1 <= int(text) <= MOST_REPEATS and text != self._known[at]:
            self._known[at] = text
            self._repeat(self._names[at], int(text))
