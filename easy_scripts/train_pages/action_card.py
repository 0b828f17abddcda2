"""A card that offers something: a title, a line about it, and one button."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from tkinter import ttk

from easy_scripts.wizard.catalogue import split_access_key
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard

TEXT_WIDTH = 430  # logical pixels


class ActionCard(ttk.Frame):
    """`key` names the texts KEY.name, KEY.about and KEY.button; `about` may replace the second.

    With `dismiss`, a cross calls that.
    """

    def __init__(
        self, parent: tkinter.Misc, wizard: Wizard, key: str, action: Callable[[], None],
        about: str | None = None, accent: bool = False,
        dismiss: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        theme, texts, self.accent = wizard.theme, wizard.texts, accent
        super().__init__(parent, style="Card.TFrame", padding=theme.px(14))
        self.columnconfigure(0, weight=1)
        ttk.Label(self, text=texts(f"{key}.name"), style="Strong.TLabel").grid(
            row=0, column=0, sticky="w", padx=theme.px(4))  # fmt: skip
        self._about = ttk.Label(self, text=texts(f"{key}.about") if about is None else about,
                                style="Muted.TLabel", font=CAPTION,
                                wraplength=theme.px(TEXT_WIDTH))  # fmt: skip
        self._about.grid(row=1, column=0, sticky="w", padx=theme.px(4))
        self._wizard, self._text, self._action = wizard, texts(f"{key}.button"), action
        label, place = split_access_key(self._text)
        self.take_access_key()
        self.button = ttk.Button(self, text=label, underline=place, command=action,
                                 style="Accent.TButton" if accent else "Wide.TButton")  # fmt: skip
        self.button.grid(row=0, column=1, rowspan=2, padx=(theme.px(16), theme.px(4)))
        if dismiss:
            ttk.Button(self, text="✕", style="Toolbutton", command=dismiss, width=2).grid(
                row=0, column=2, rowspan=2)  # fmt: skip

    def take_access_key(self) -> None:
        """Let the access key press this card's button, whoever had it."""
        self._wizard.access_key(self._text, self._press)

    def _press(self) -> None:
        if self.winfo_exists() and self.winfo_ismapped():
            self._action()
