"""A card for one file: its name, what it is, a button to take it away, perhaps a strength."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from pathlib import Path
from tkinter import ttk

from easy_scripts.lora_pages.describe import describe
from easy_scripts.lora_pages.file_facts import FileFacts
from easy_scripts.wizard.slider import Slider
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.tips import add_tip
from easy_scripts.wizard.window import Wizard

TEXT_WIDTH = 560  # logical pixels
LEAST_STRENGTH, GREATEST_STRENGTH = -1.0, 2.0


class FileCard(ttk.Frame):
    """The card of `path`; `remove` is called by its cross."""

    def __init__(
        self, parent: tkinter.Misc, wizard: Wizard, path: str, remove: Callable[[], None]
    ) -> None:
        theme = wizard.theme
        super().__init__(parent, style="Card.TFrame", padding=theme.px(12))
        self._texts, self._theme = wizard.texts, theme
        self.columnconfigure(0, weight=1)
        name = ttk.Label(self, text=Path(path).name, wraplength=theme.px(TEXT_WIDTH))
        name.grid(row=0, column=0, sticky="w", padx=theme.px(6))
        add_tip(name, path, theme)
        self.cross = ttk.Button(self, text="✕", style="Toolbutton", width=2, command=remove)
        self.cross.grid(row=0, column=1, sticky="ne")
        add_tip(self.cross, wizard.texts("files.remove"), theme)
        self._about = ttk.Label(self, font=CAPTION, wraplength=theme.px(TEXT_WIDTH))
        self._about.grid(row=1, column=0, sticky="w", padx=theme.px(6))

    def show(self, facts: FileFacts, unusable: bool) -> None:
        """Say what the file is, or that it is being looked at, or what is wrong with it; in red
        what cannot be used."""
        if facts.reading and not facts.facts:
            text = self._texts("files.reading")
        elif facts.problem:
            text = facts.problem
        elif not facts.facts:
            text = self._texts("files.unreadable")
        else:
            text = describe(facts.facts, self._texts)
        self._about.configure(text=text, style="Error.TLabel" if unusable else "Muted.TLabel")

    def add_strength(self, value: float, changed: Callable[[float], None]) -> Slider:
        """A slider that shows its number."""
        slider = Slider(self, self._theme, self._texts("merge.strength"), LEAST_STRENGTH,
                        GREATEST_STRENGTH, value, changed)  # fmt: skip
        slider.grid(row=2, column=0, columnspan=2, sticky="ew", padx=self._theme.px(6),
                    pady=(self._theme.px(8), 0))  # fmt: skip
        return slider
