"""The figures of a running bake: step, round, loss, rate, pace, memory; an alarm when it spills."""

from __future__ import annotations

import tkinter
from tkinter import ttk

from easy_scripts.train_pages.graphics_card import Card, find_card
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard
from scripts.core.events import Step

NAMES = ("step", "epoch", "loss", "rate", "pace", "memory")
FULL = 0.97  # of the card's memory: above that, Windows moves parts of it into main memory
MUCH_SLOWER = 4  # times the best pace of this bake
BYTES_PER_GB = 1024**3


class Figures(ttk.Frame):
    """`begin` with the amount planned, `show` each step's report."""

    def __init__(self, parent: tkinter.Misc, wizard: Wizard) -> None:
        super().__init__(parent)
        theme = wizard.theme
        self._texts, self._card = wizard.texts, Card()
        self._values: dict[str, ttk.Label] = {}
        for column, name in enumerate(NAMES):
            self.columnconfigure(column, weight=1, uniform="figures")
            ttk.Label(self, text=self._texts(f"bake.{name}_figure"), style="Muted.TLabel",
                      font=CAPTION).grid(row=0, column=column, sticky="w")  # fmt: skip
            value = ttk.Label(self, style="Strong.TLabel", text="–")
            value.grid(row=1, column=column, sticky="w")
            self._values[name] = value
        self._round = ttk.Progressbar(self, maximum=1000, length=theme.px(70))
        self._round.grid(row=2, column=1, sticky="ew", padx=(0, theme.px(24)),
                         pady=(theme.px(4), 0))  # fmt: skip
        self._alarm = ttk.Label(self, style="Warning.TLabel", wraplength=theme.px(640))
        self.clear()
        find_card(wizard, self._take_card)

    def _take_card(self, card: Card) -> None:
        self._card = card

    def clear(self) -> None:
        """Nothing is known."""
        self._epochs = self._steps_per_epoch = None
        self._best_pace: float | None = None
        for value in self._values.values():
            value.configure(text="–")
        self._round.configure(value=0)
        self._alarm.grid_remove()

    def begin(self, steps: int | None, epochs: int | None) -> None:
        """The bake begins with so many steps and epochs planned."""
        self._epochs = epochs
        self._steps_per_epoch = -(-steps // epochs) if steps and epochs else None

    def show(self, step: Step) -> None:
        """Show the report of a step."""
        texts = self._texts
        self._put("step", texts("work.of", done=f"{step.done:,}", total=f"{step.total:,}"))
        if self._epochs:
            self._put("epoch", texts("work.of", done=step.epoch, total=self._epochs))
        if self._steps_per_epoch:
            into = step.done - (step.epoch - 1) * self._steps_per_epoch
            self._round.configure(value=1000 * into / self._steps_per_epoch)
        self._put("loss", f"{step.loss:.4f}")
        rates = [rate for rate in step.learning_rates.values() if rate is not None]
        if rates:
            self._put("rate", f"{max(rates):.2g}")
        if step.seconds_per_step:
            self._put("pace", _short(step.seconds_per_step))
        if step.memory_bytes:
            used = f"{step.memory_bytes / BYTES_PER_GB:.1f}"
            total = self._card.memory_gb
            self._put("memory", texts("bake.memory_of", used=used, total=f"{total:g}") if total
                      else f"{used} GB")  # fmt: skip
        self._watch(step)

    def _put(self, name: str, text: str) -> None:
        self._values[name].configure(text=text)

    def _watch(self, step: Step) -> None:
        """Windows moves memory that does not fit into main memory, without a word."""
        total, pace = self._card.memory_gb, step.seconds_per_step
        if pace:
            self._best_pace = min(pace, self._best_pace or pace)
        full = bool(total and step.memory_bytes
                    and step.memory_bytes > FULL * total * BYTES_PER_GB)  # fmt: skip
        slow = bool(pace and pace > MUCH_SLOWER * self._best_pace)
        if full or slow:
            self._alarm.configure(text=self._texts("bake.spill" if full else "bake.slower"))
            self._alarm.grid(row=3, column=0, columnspan=len(NAMES), sticky="w", pady=(8, 0))
        else:
            self._alarm.grid_remove()


def _short(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}"
