"""The versions at several strengths: a row for each file, a column for each strength.

Each picture is a button: it opens large and is marked as chosen. Arrow keys go from one to the
next, here and in the large one.
"""

from __future__ import annotations

import tkinter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tkinter import ttk

from easy_scripts.train_pages.large_picture import MOVES, LargePicture
from easy_scripts.train_pages.preview_strip import BORDER, load_picture, picture_button
from easy_scripts.train_pages.saved_versions import SavedVersion
from easy_scripts.wizard.asking import short_path
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard

CELL, HEAD = 146, 128  # logical pixels
THEME_BORDER = 4  # of the theme's button, around a picture's own
NAME_LETTERS = 22
Place = tuple[int, int]  # row and column


class VersionGrid(ttk.Frame):
    """`put` as the pictures come; `choose(version, strength)` is called when one is chosen.

    `details` is a card for what is to be told of the chosen one; it is shown below its row.
    """

    def __init__(
        self, parent: tkinter.Misc, wizard: Wizard, versions: Sequence[SavedVersion],
        strengths: Sequence[float], choose: Callable[[SavedVersion, float], None],
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._wizard, self._choose = wizard, choose
        self._versions, self._strengths = versions, strengths
        self._cells: dict[Place, _Cell] = {}
        self._paths: dict[Place, str] = {}
        self._chosen: Place | None = None
        self._large = LargePicture(wizard, self._move_large, self._large_closed)
        self._build()
        wizard.theme.changed.append(self._recolour)

    def _build(self) -> None:
        theme, texts = self._wizard.theme, self._wizard.texts
        self.columnconfigure(0, minsize=theme.px(HEAD))
        for column, strength in enumerate(self._strengths):
            ttk.Label(self, text=texts("finished.strength", strength=f"{strength:g}"), font=CAPTION,
                      style="Muted.TLabel").grid(row=0, column=column + 1)  # fmt: skip
        for row, version in enumerate(self._versions):
            self._head(version).grid(row=2 * row + 1, column=0, sticky="w")
            for column in range(len(self._strengths)):
                cell = _Cell(self, self._wizard, partial(self.open, (row, column)))
                cell.grid(row=2 * row + 1, column=column + 1, padx=theme.px(2), pady=theme.px(2))
                self._cells[row, column] = cell
        self.details = ttk.Frame(self, style="Card.TFrame", padding=theme.px(14))

    def _head(self, version: SavedVersion) -> ttk.Frame:
        """The step, and below it the name of the file."""
        theme = self._wizard.theme
        head = ttk.Frame(self)
        if version.step is not None:
            ttk.Label(head, text=step_text(self._wizard, version)).pack(anchor="w")
        ttk.Label(head, text=short_path(version.path.stem, NAME_LETTERS), style="Muted.TLabel",
                  font=CAPTION, wraplength=theme.px(HEAD - 8)).pack(anchor="w")  # fmt: skip
        return head

    def put(self, lora: str, strength: float, path: str) -> None:
        """A picture was drawn with this file at this strength."""
        for (row, column), cell in self._cells.items():
            same = self._versions[row].path == Path(lora)
            if same and abs(self._strengths[column] - strength) < 1e-6:
                cell.fill(path)
                self._paths[row, column] = path
                for key, (rows, columns) in MOVES.items():
                    cell.button.bind(key, partial(self._move, (row, column), (rows, columns)))

    @property
    def pictures(self) -> int:
        """How many have come."""
        return len(self._paths)

    def open(self, place: Place) -> None:
        """Choose a picture and show it large."""
        self._mark(place)
        version, strength = self._versions[place[0]], self._strengths[place[1]]
        self._large.show(self._paths[place], chosen_text(self._wizard, version, strength))

    @property
    def first(self) -> tkinter.Misc:
        """The first picture, itself where there is none."""
        return self._cells[min(self._paths)].button if self._paths else self

    def close(self) -> None:
        """Take the large picture off the screen; no picture gets the keyboard back."""
        self._chosen = None
        self._large.close()

    def _mark(self, place: Place) -> None:
        self._chosen = place
        self._recolour()
        self._choose(self._versions[place[0]], self._strengths[place[1]])
        self.details.grid(row=2 * place[0] + 2, column=0, columnspan=len(self._strengths) + 1,
                          sticky="ew", pady=self._wizard.theme.px(6))  # fmt: skip

    def _recolour(self) -> None:
        if self.winfo_exists():
            for place, cell in self._cells.items():
                cell.colour(place == self._chosen)

    def _neighbour(self, place: Place, move: Place) -> Place | None:
        there = (place[0] + move[0], place[1] + move[1])
        return there if there in self._paths else None

    def _move(self, place: Place, move: Place, _event: tkinter.Event) -> None:
        there = self._neighbour(place, move)
        if there:
            self._cells[there].button.focus_set()

    def _move_large(self, rows: int, columns: int) -> None:
        there = self._neighbour(self._chosen, (rows, columns))
        if there:
            self.open(there)

    def _large_closed(self) -> None:
        if self.winfo_exists() and self._chosen:
            self._cells[self._chosen].button.focus_force()
            self.after_idle(self._wizard.page.frame.show, self.details)


class _Cell(tkinter.Frame):
    """One place: empty at first, then a picture that is a button; the frame around it tells
    whether it is chosen."""

    def __init__(self, parent: tkinter.Misc, wizard: Wizard, press: Callable[[], None]) -> None:
        theme = wizard.theme
        self._wizard, self._press = wizard, press
        ring, side = theme.px(2), theme.px(CELL)
        super().__init__(parent, padx=ring, pady=ring)
        self._inner = tkinter.Frame(self, width=side, height=side)
        self._inner.pack()
        self._inner.pack_propagate(False)
        self.button: ttk.Button | None = None
        self.colour(False)

    def fill(self, path: str) -> None:
        """Show the picture; one that cannot be read leaves the place empty."""
        theme = self._wizard.theme
        side = theme.px(CELL) - 2 * theme.px(BORDER) - 2 * theme.px(THEME_BORDER)
        self._picture = load_picture(path, side, self)
        if self.button is None:
            self.button = picture_button(self._inner, theme, self._picture, self._press)
            self.button.pack(fill="both", expand=True)
        self.button.configure(image=self._picture or "")
        self.colour(False)

    def colour(self, chosen: bool) -> None:
        """Frame it in the accent colour when it is the chosen one."""
        colours = self._wizard.theme.colours
        self.configure(background=colours.accent if chosen else colours.background)
        self._inner.configure(background=colours.card if self.button is None else
                              colours.background)  # fmt: skip


def step_text(wizard: Wizard, version: SavedVersion) -> str:
    """After which step a version was saved."""
    return wizard.texts("bake.at_step", step=f"{version.step:,}")


def chosen_text(wizard: Wizard, version: SavedVersion, strength: float) -> str:
    """Which file, step and strength a picture was drawn with."""
    text = wizard.texts("finished.strength", strength=f"{strength:g}")
    if version.step is not None:
        text = wizard.texts("finished.chosen", step=step_text(wizard, version), strength=text)
    return f"{text}: {version.path.name}"
