"""The figures of a running bake: loss, learning rate, pace, memory; an alarm when it spills."""

from __future__ import annotations

import tkinter
from tkinter import ttk

from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.theme import CAPTION, Theme
from scripts.core.events import Step

NAMES = ("loss", "rate", "pace", "memory")
TEXT_ENCODER = "text_encoder"  # the name of that group of learning rates
ALARMS = {"full": "bake.spill", "slower": "bake.slower"}
BYTES_PER_GB = 1024**3


def rates_of(step: Step) -> tuple[float | None, float | None]:
    """The learning rate, the U-Net's if it is trained, and the text encoder's where it differs."""
    rates = {name: rate for name, rate in step.learning_rates.items() if rate is not None}
    text_rate = rates.pop(TEXT_ENCODER, None)
    if not rates:
        return text_rate, None
    rate = max(rates.values())
    return rate, None if text_rate == rate else text_rate


class Figures(ttk.Frame):
    """`show` each step's report."""

    def __init__(self, parent: tkinter.Misc, theme: Theme, texts: Catalogue) -> None:
        super().__init__(parent)
        self._texts = texts
        self._values: dict[str, ttk.Label] = {}
        for column, name in enumerate(NAMES):
            self.columnconfigure(column, weight=1, uniform="figures")
            ttk.Label(self, text=texts(f"bake.{name}_figure"), style="Muted.TLabel",
                      font=CAPTION).grid(row=0, column=column, sticky="w")  # fmt: skip
            value = ttk.Label(self, style="Strong.TLabel")
            value.grid(row=1, column=column, sticky="w")
            self._values[name] = value
        self._text_rate = ttk.Label(self, style="Muted.TLabel", font=CAPTION)
        self._text_rate.grid(row=2, column=NAMES.index("rate"), sticky="w")
        self._alarm = ttk.Label(self, style="Warning.TLabel", wraplength=theme.px(640))
        self._alarm.grid(row=3, columnspan=len(NAMES), sticky="w", pady=(theme.px(8), 0))
        self.clear()

    def clear(self) -> None:
        """Nothing is known."""
        for value in self._values.values():
            value.configure(text="–")
        self._text_rate.grid_remove()
        self._alarm.grid_remove()

    def end(self) -> None:
        """What was alarming is over; the figures stay."""
        self._alarm.grid_remove()

    def show(self, step: Step) -> None:
        """Show the report of a step."""
        self._put("loss", f"{step.loss:.4f}")
        self._show_rates(*rates_of(step))
        if step.seconds_per_step:
            self._put("pace", _short(step.seconds_per_step))
        if step.card_bytes:
            used, total = (f"{number / BYTES_PER_GB:.1f}"
                           for number in (step.card_used, step.card_bytes))  # fmt: skip
            self._put("memory", self._texts("bake.memory_of", used=used, total=total))
        key = ALARMS.get(step.alarm)
        if key:
            self._alarm.configure(text=self._texts(key))
            self._alarm.grid()
        else:
            self._alarm.grid_remove()

    def _show_rates(self, rate: float | None, text_rate: float | None) -> None:
        if rate is not None:
            self._put("rate", f"{rate:.2g}")
        if text_rate is None:
            self._text_rate.grid_remove()
        else:
            self._text_rate.configure(text=self._texts("bake.text_rate", rate=f"{text_rate:.2g}"))
            self._text_rate.grid()

    def _put(self, name: str, text: str) -> None:
        self._values[name].configure(text=text)


def _short(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}"
