"""The picture folders with their repeats, which can be changed without renaming anything."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from tkinter import ttk
from typing import Any

from easy_scripts.wizard.asking import short_path
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.tips import add_tip
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
        self._fields: list[ttk.Spinbox] = []
        self._wrong = ttk.Label(self, style="Error.TLabel", font=CAPTION)
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
            if not typing and self._valid(at):
                self._known[at] = str(folder["repeats"])
                self._numbers[at].set(self._known[at])

    def forget(self) -> None:
        """The next folders are others, whatever their names."""
        self._names, self._numbers, self._fields = [], [], []

    def _build(self, folders: list[dict[str, Any]]) -> None:
        theme, texts = self._theme, self._texts
        for child in self.winfo_children():
            if child is not self._wrong:
                child.destroy()
        self._wrong.grid_remove()
        self._names = [folder["name"] for folder in folders]
        self._known = [str(folder["repeats"]) for folder in folders]
        self._numbers, self._uses, self._fields = [], [], []
        heads = ("pictures.folder", "pictures.pictures", "pictures.repeats", "pictures.round")
        for column, key in enumerate(heads):
            head = ttk.Label(self, text=texts(key), style="Muted.TLabel", font=CAPTION)
            head.grid(row=0, column=column, sticky="w", padx=(0, theme.px(16)))
            if key == "pictures.repeats":
                add_tip(head, texts("pictures.repeats_tip"), theme)
        for row, folder in enumerate(folders, start=1):
            name = short_path(folder["name"], 40)
            if folder["is_reg"]:
                name += f" ({texts('pictures.regularising')})"
            ttk.Label(self, text=name).grid(row=row, column=0, sticky="w")
            ttk.Label(self, text=str(folder["pictures"])).grid(row=row, column=1, sticky="w")
            number = tkinter.StringVar(self, str(folder["repeats"]))
            field = ttk.Spinbox(self, textvariable=number, from_=1, to=MOST_REPEATS, width=5)
            field.grid(row=row, column=2, sticky="w", padx=(0, theme.px(16)), pady=theme.px(2))
            add_tip(field, texts("pictures.repeats_tip"), theme)
            self._fields.append(field)
            number.trace_add("write", lambda *_, at=row - 1: self._typed(at))
            uses = ttk.Label(self, style="Muted.TLabel")
            uses.grid(row=row, column=3, sticky="w")
            self._numbers.append(number)
            self._uses.append(uses)

        self._wrong.grid(row=len(folders) + 1, column=0, columnspan=4, sticky="w")
        self._wrong.grid_remove()

    def _valid(self, at: int) -> bool:
        text = self._numbers[at].get().strip()
        return text.isdecimal() and 1 <= int(text) <= MOST_REPEATS

    def _typed(self, at: int) -> None:
        text = self._numbers[at].get().strip()
        self._tell()
        if self._valid(at) and text != self._known[at]:
            self._known[at] = text
            self._repeat(self._names[at], int(text))

    def _tell(self) -> list[int]:
        """Say in red what is wrong, if anything; the lines that are."""
        wrong = [at for at in range(len(self._numbers)) if not self._valid(at)]
        for at, field in enumerate(self._fields):
            field.state(["invalid" if at in wrong else "!invalid"])
        if wrong:
            number = self._numbers[wrong[0]].get()
            self._wrong.configure(text=self._texts(
                "pictures.repeats_wrong", number=number, most=MOST_REPEATS))  # fmt: skip
            self._wrong.grid()
        else:
            self._wrong.grid_remove()
        return wrong

    def check(self) -> bool:
        """Whether all numbers can be used; goes to the first that cannot."""
        wrong = self._tell()
        if wrong:
            self._fields[wrong[0]].focus_set()
        return not wrong
