"""The list of sizes to tick, each with what it keeps and how large its file becomes."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from tkinter import ttk

from easy_scripts.lora_pages.spectrum import Spectrum
from easy_scripts.wizard.page import Page

OFFERED = (4, 8, 16, 32, 64)
COLUMNS = (170, 130, 150, 150)  # logical pixels


class SizeTable(ttk.Frame):
    """A line for each size offered or chosen; `toggle(size)` is called by its tick."""

    def __init__(self, parent: tkinter.Misc, page: Page, toggle: Callable[[int], None]) -> None:
        super().__init__(parent)
        self._texts, self._theme, self._toggle = page.texts, page.theme, toggle
        self._lines: dict[int, tuple[tkinter.BooleanVar, ttk.Frame]] = {}

    def show(self, spectrum: Spectrum | None, chosen: list[int], largest: int) -> None:
        """Offer sizes below `largest`, and say of each what is known."""
        wanted = sorted({size for size in OFFERED if size < largest} | set(chosen))
        for size in [size for size in self._lines if size not in wanted]:
            self._lines.pop(size)[1].destroy()
        for row, size in enumerate(wanted):
            if size not in self._lines:
                self._lines[size] = self._make_line(size)
            variable, line = self._lines[size]
            variable.set(size in chosen)
            line.grid(row=row, sticky="ew")
            texts = self._about(size, spectrum) if spectrum else ("", "", "")
            for label, text in zip(line.winfo_children()[1:], texts, strict=True):
                label.configure(text=text)

    def _about(self, size: int, spectrum: Spectrum) -> tuple[str, str, str]:
        if size > spectrum.largest:
            return self._texts("size.too_large"), "", ""
        return (
            self._texts("size.keeps", share=self._texts.percent(spectrum.kept_at(size))),
            self._texts.size(spectrum.bytes_at(size)),
            self._texts("resize.recommended") if size == spectrum.knee else "",
        )

    def _make_line(self, size: int) -> tuple[tkinter.BooleanVar, ttk.Frame]:
        variable, line = tkinter.BooleanVar(self), ttk.Frame(self)
        box = ttk.Checkbutton(line, text=self._texts("size.one", size=size), variable=variable,
                              command=lambda: self._toggle(size))  # fmt: skip
        box.grid(row=0, column=0, sticky="w")
        for column, width in enumerate(COLUMNS):
            line.columnconfigure(column, minsize=self._theme.px(width))
        for column in (1, 2, 3):
            style = "Accent.TLabel" if column == 3 else "Muted.TLabel"
            ttk.Label(line, style=style).grid(row=0, column=column, sticky="w")
        return variable, line
