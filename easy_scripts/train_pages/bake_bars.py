"""How far a bake is: a bar for all its steps, and one for the round in hand."""

from __future__ import annotations

import tkinter
from tkinter import ttk

from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.theme import Theme
from scripts.core.events import Start, Step


class BakeBars(ttk.Frame):
    """`begin` with what is planned, `show` each step's report."""

    def __init__(self, parent: tkinter.Misc, theme: Theme, texts: Catalogue) -> None:
        super().__init__(parent)
        self._texts = texts
        self._epochs = self._epoch_steps = 0
        self.columnconfigure(1, weight=1)
        self._bars: dict[str, ttk.Progressbar] = {}
        self._told: dict[str, ttk.Label] = {}
        for row, name in enumerate(("whole", "round")):
            below = (theme.px(8) if row else 0, 0)
            ttk.Label(self, text=texts(f"bake.{name}_bar")).grid(
                row=row, column=0, sticky="w", pady=below)  # fmt: skip
            bar = ttk.Progressbar(self, maximum=1000)
            bar.grid(row=row, column=1, sticky="ew", padx=theme.px(14), pady=below)
            told = ttk.Label(self, style="Muted.TLabel", anchor="e", width=24)
            told.grid(row=row, column=2, sticky="e", pady=below)
            self._bars[name], self._told[name] = bar, told

    def begin(self, start: Start) -> None:
        """A bake begins with so much planned."""
        self._epochs, self._epoch_steps = start.epochs or 0, start.epoch_steps or 0
        for name, bar in self._bars.items():
            bar.configure(value=0)
            self._told[name].configure(text="")

    def show(self, step: Step) -> None:
        """Show the report of a step."""
        share = step.done / step.total
        self._put("whole", share, self._texts("bake.whole_told", done=f"{step.done:,}",
                                              total=f"{step.total:,}",
                                              percent=self._texts.percent(share)))  # fmt: skip
        if self._epochs and self._epoch_steps:
            first = (step.epoch - 1) * self._epoch_steps
            length = min(self._epoch_steps, step.total - first)  # the last round may be cut short
            self._put("round", (step.done - first) / length,
                      self._texts("bake.round_told", done=step.epoch,
                                  total=self._epochs))  # fmt: skip

    def _put(self, name: str, share: float, text: str) -> None:
        self._bars[name].configure(value=1000 * min(1.0, share))
        self._told[name].configure(text=text)
