"""A picture in a window of its own, as large as the screen allows; Escape or a click closes it."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from tkinter import ttk

from easy_scripts.train_pages.preview_strip import load_picture
from easy_scripts.wizard.ask import place_over
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard

SHARE, LARGEST = 0.72, 1024  # of the screen's shorter side; logical pixels
MOVES = {"<Left>": (0, -1), "<Right>": (0, 1), "<Up>": (-1, 0), "<Down>": (1, 0)}


class LargePicture:
    """`show` opens the window, or changes what is in it; arrow keys call `move(rows, columns)`."""

    def __init__(self, wizard: Wizard, move: Callable[[int, int], None],
                 closed: Callable[[], None]) -> None:  # fmt: skip
        self._wizard, self._move, self._closed = wizard, move, closed
        self._window: tkinter.Toplevel | None = None

    @property
    def open(self) -> bool:
        """Whether it is on screen."""
        return self._window is not None and bool(self._window.winfo_exists())

    def show(self, path: str, caption: str) -> None:
        """Show this picture with this line below it."""
        root, theme = self._wizard.root, self._wizard.theme
        side = min(root.winfo_screenwidth(), root.winfo_screenheight())
        picture = load_picture(path, min(round(side * SHARE), theme.px(LARGEST)), root)
        if picture is None:
            return
        if not self.open:
            self._open()
        self._picture = picture  # Tk keeps no reference of its own
        self._label.configure(image=picture)
        self._caption.configure(text=caption, wraplength=max(picture.width(), theme.px(320)))
        place_over(self._window, root)
        self._window.deiconify()
        self._window.lift()
        self._window.focus_force()

    def close(self) -> None:
        """Take it off the screen."""
        if self.open:
            self._window.destroy()
            self._closed()

    def _open(self) -> None:
        root, theme, texts = self._wizard.root, self._wizard.theme, self._wizard.texts
        window = tkinter.Toplevel(root, background=theme.colours.background, highlightthickness=1,
                                  highlightbackground=theme.colours.line,
                                  highlightcolor=theme.colours.line)  # fmt: skip
        window.withdraw()
        window.title(root.title())
        window.resizable(False, False)
        window.transient(root)
        frame = ttk.Frame(window, padding=theme.px(16))
        frame.pack()
        self._label = ttk.Label(frame, cursor="hand2")
        self._label.pack()
        self._caption = ttk.Label(frame, style="Strong.TLabel")
        self._caption.pack(pady=(theme.px(10), theme.px(2)))
        ttk.Label(frame, text=texts("finished.large_keys"), style="Muted.TLabel",
                  font=CAPTION).pack()  # fmt: skip
        for key in ("<Escape>", "<Return>", "<KP_Enter>", "<space>", "<Button-1>"):
            window.bind(key, lambda _: self.close())
        for key, (rows, columns) in MOVES.items():
            window.bind(key, lambda _, rows=rows, columns=columns: self._move(rows, columns))
        window.protocol("WM_DELETE_WINDOW", self.close)
        self._window = window
