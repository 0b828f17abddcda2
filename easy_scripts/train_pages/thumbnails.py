"""A row of small pictures."""

from __future__ import annotations

import tkinter
from collections.abc import Sequence
from tkinter import ttk

from easy_scripts.wizard.theme import Theme

MOST = 7
SIDE = 82  # logical pixels


class Thumbnails(ttk.Frame):
    """Shows the first MOST of the files given to `show`, cropped to squares."""

    def __init__(self, parent: tkinter.Misc, theme: Theme) -> None:
        super().__init__(parent)
        self._theme = theme
        self._shown: tuple[str, ...] = ()
        self._pictures: list[tkinter.PhotoImage] = []

    def show(self, paths: Sequence[str]) -> None:
        """Show other pictures; those that cannot be read are passed over."""
        step = max(1, len(paths) // MOST)  # from all over the folder
        chosen = tuple(paths[::step][:MOST])
        if chosen == self._shown:
            return
        self._shown = chosen
        for child in self.winfo_children():
            child.destroy()
        self._pictures = [picture for path in chosen if (picture := self._load(path))]
        for picture in self._pictures:
            ttk.Label(self, image=picture).pack(side="left", padx=(0, self._theme.px(8)))

    def _load(self, path: str) -> tkinter.PhotoImage | None:
        from PIL import Image, ImageOps, ImageTk  # only now: it takes a moment

        side = self._theme.px(SIDE)
        try:
            with Image.open(path) as image:
                square = ImageOps.fit(image.convert("RGB"), (side, side))
        except (OSError, SyntaxError, ValueError):
            return None
        return ImageTk.PhotoImage(square, master=self)
