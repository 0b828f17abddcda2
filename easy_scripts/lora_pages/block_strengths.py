"""A field for each LoRA's strengths by block; what cannot be read is red, with what to write."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from pathlib import Path
from tkinter import ttk

from easy_scripts.wizard.page import Page
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.tips import add_tip
from scripts.core.errors import SettingError
from scripts.lora.block_ratios import read_block_ratios

CURVES = ("", "sine", "cosine", "linear", "reverse_linear")
LONGEST_NAME = 32  # letters
MESSAGE_WIDTH = 580  # logical pixels


class BlockStrengths(ttk.Frame):
    """A line for each file; `changed(texts)` is called when something was typed.

    `family_of(path)` names the family that a file is for: its blocks are those of the list.
    """

    def __init__(
        self, parent: tkinter.Misc, page: Page, family_of: Callable[[str], str],
        changed: Callable[[list[str]], None],
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._page, self._family_of, self._changed = page, family_of, changed
        self._lines: dict[str, _Line] = {}
        self.columnconfigure(1, weight=1)

    def show(self, files: list[str], texts: list[str]) -> None:
        """Show a line for each of `files`, in their order, with the texts as far as they go."""
        for child in self.winfo_children():
            child.destroy()
        texts = [*texts, *[""] * (len(files) - len(texts))]
        self._lines = {}
        for row, (path, text) in enumerate(zip(files, texts, strict=True)):
            self._lines[path] = _Line(self, self._page, row, path, text)

    def typed(self, line: _Line) -> None:
        """Tell of a change; a line that was wrong is looked at again."""
        if line.is_red:
            self.check(line)
        self._changed([line.text for line in self._lines.values()])

    def check(self, line: _Line) -> bool:
        """Whether the line can be read; says what is wrong under it if not."""
        try:
            read_block_ratios(line.text, self._family_of(line.path))
        except SettingError as error:
            line.say(self._page.texts.said(str(error)))
            return False
        line.say(None)
        return True

    def first_wrong(self) -> _Line | None:
        """Check all lines; the first that is wrong."""
        wrong = [line for line in self._lines.values() if not self.check(line)]
        return wrong[0] if wrong else None


class _Line:
    """A file's name, its field, and a message below."""

    def __init__(
        self, strengths: BlockStrengths, page: Page, row: int, path: str, text: str
    ) -> None:
        theme, self._texts = page.theme, page.texts
        stem = Path(path).stem
        self.path = path
        self._shown = stem if len(stem) <= LONGEST_NAME else f"{stem[:LONGEST_NAME]}…"
        name = ttk.Label(strengths, text=self._shown)
        name.grid(row=2 * row, column=0, sticky="w", padx=(0, theme.px(16)))
        add_tip(name, path, theme)
        self._text = tkinter.StringVar(strengths, text)
        self.box = ttk.Combobox(strengths, textvariable=self._text, values=CURVES)
        self.box.grid(row=2 * row, column=1, sticky="ew", pady=theme.px(4))
        self.message = ttk.Label(strengths, style="Error.TLabel", font=CAPTION,
                                  wraplength=theme.px(MESSAGE_WIDTH))  # fmt: skip
        self._row = 2 * row + 1
        self._text.trace_add("write", lambda *_: strengths.typed(self))
        self.box.bind("<FocusOut>", lambda _: strengths.check(self), add="+")

    @property
    def text(self) -> str:
        """What was typed or chosen."""
        return self._text.get().strip()

    @property
    def is_red(self) -> bool:
        """Whether it was found wrong."""
        return self.box.instate(["invalid"])

    def say(self, message: str | None) -> None:
        """Make the field red, with the message below; None makes it plain again."""
        self.box.state(["invalid" if message else "!invalid"])
        if message:
            text = self._texts("merge.blocks_wrong", name=self._shown, problem=message)
            self.message.configure(text=text)
            self.message.grid(row=self._row, columnspan=2, sticky="w")
        else:
            self.message.grid_remove()
