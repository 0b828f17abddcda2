"""The previews of a training, one round at a time, with a slider through the rounds."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tkinter import ttk

from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.reveal import open_file
from easy_scripts.wizard.theme import Theme
from scripts.core.events import Preview

SIDE = 150  # logical pixels
MOST_PROMPTS = 3
BORDER = 2  # around a picture that is a button


def load_picture(path: str | Path, side: int, master: tkinter.Misc) -> tkinter.PhotoImage | None:
    """The picture, made to fit `side` screen pixels; None when it cannot be read."""
    from PIL import Image, ImageTk  # only now: it takes a moment

    try:
        with Image.open(path) as image:
            share = side / max(image.size)
            size = [max(1, round(edge * share)) for edge in image.size]
            return ImageTk.PhotoImage(image.convert("RGB").resize(size), master=master)
    except (OSError, SyntaxError, ValueError):
        return None


def picture_button(
    parent: tkinter.Misc, theme: Theme, picture: tkinter.PhotoImage | None,
    press: Callable[[], object],
) -> ttk.Button:  # fmt: skip
    """The picture as a button, which mouse and keyboard reach."""
    ttk.Style(parent).configure("Picture.Toolbutton", padding=theme.px(BORDER))
    return ttk.Button(parent, image=picture or "", style="Picture.Toolbutton", cursor="hand2",
                      command=press)  # fmt: skip


def rounds_of(previews: list[Preview]) -> dict[int, list[Preview]]:
    """The previews by the step they were drawn at."""
    rounds: dict[int, list[Preview]] = {}
    for preview in previews:
        rounds.setdefault(preview.step or 0, []).append(preview)
    return dict(sorted(rounds.items()))


class PreviewStrip(ttk.Frame):
    """`add(preview)` as they come; the newest round is shown unless an older one was chosen."""

    def __init__(self, parent: tkinter.Misc, theme: Theme, texts: Catalogue) -> None:
        super().__init__(parent)
        self._theme, self._texts = theme, texts
        self._previews: list[Preview] = []
        self._follow = True
        self._at = 0
        self._showing = False
        head = ttk.Frame(self)
        head.pack(fill="x", pady=(0, theme.px(6)))
        self._label = ttk.Label(head, style="Strong.TLabel")
        self._label.pack(side="left")
        self.slider = ttk.Scale(head, from_=0, to=1, command=self._moved)
        self._pictures = ttk.Frame(self)
        self._pictures.pack(anchor="w")
        self._loaded: list[tkinter.PhotoImage] = []

    def clear(self) -> None:
        """Forget all previews."""
        self._previews.clear()
        self._follow, self._at = True, 0
        self._show()

    def add(self, preview: Preview) -> None:
        """A preview was drawn."""
        self._previews.append(preview)
        rounds = rounds_of(self._previews)
        if len(rounds) > 1:
            self.slider.configure(to=len(rounds) - 1)
            self.slider.pack(side="right", fill="x", expand=True, padx=(self._theme.px(24), 0))
        if self._follow:
            self._at = len(rounds) - 1
            self.slider.set(self._at)
        if not self._showing:  # once for all that come together
            self._showing = True
            self.after_idle(self._show)

    def _moved(self, text: str) -> None:
        rounds = len(rounds_of(self._previews))
        at = min(rounds - 1, max(0, round(float(text))))
        self._follow = at == rounds - 1
        if at != self._at:
            self._at = at
            self._show()

    def _show(self) -> None:
        self._showing = False
        before = self._pictures.winfo_children()
        focused = before.index(self.focus_get()) if self.focus_get() in before else None
        for child in before:
            child.destroy()
        rounds = list(rounds_of(self._previews).items())
        if not rounds:
            return
        step, previews = rounds[min(self._at, len(rounds) - 1)]
        self._label.configure(text=self._texts("bake.previews", step=f"{step:,}"))
        side = self._theme.px(SIDE)
        self._loaded = []
        for preview in previews[:MOST_PROMPTS]:
            picture = load_picture(preview.path, side, self)
            if picture is None:
                continue
            self._loaded.append(picture)
            button = picture_button(self._pictures, self._theme, picture,
                                    partial(_open, preview.path))  # fmt: skip
            button.pack(side="left", padx=(0, self._theme.px(6)))
        shown = self._pictures.winfo_children()
        if focused is not None and focused < len(shown):
            shown[focused].focus_set()


def _open(path: str) -> None:
    open_file(Path(path))
