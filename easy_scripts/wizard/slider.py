"""A slider beside its number; the number can be typed too."""

from __future__ import annotations

import math
import tkinter
from collections.abc import Callable
from tkinter import ttk

from easy_scripts.wizard.theme import Theme

NUMBER_WIDTH = 7
LABEL_WIDTH = 96  # logical pixels


class Slider(ttk.Frame):
    """A label, a slider from `low` to `high` and a field, all one number.

    Typed numbers may lie outside the slider's range; `check` refuses what is no number.
    """

    def __init__(
        self, parent: tkinter.Misc, theme: Theme, label: str, low: float, high: float,
        value: float, changed: Callable[[float], None], step: float = 0.05, suffix: str = "",
        logarithmic: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._changed, self._step, self._suffix = changed, step, suffix
        self._logarithmic, self._quiet, self._telling = logarithmic, False, False
        self.value = math.nan
        self.columnconfigure(0, minsize=theme.px(LABEL_WIDTH))
        self.columnconfigure(1, weight=1)
        ttk.Label(self, text=label).grid(row=0, column=0, sticky="w", padx=(0, theme.px(14)))
        self.scale = ttk.Scale(self, command=self._moved)
        self.set_range(low, high)
        self.scale.grid(row=0, column=1, sticky="ew")
        self._text = tkinter.StringVar(self)
        self.entry = ttk.Entry(self, textvariable=self._text, width=NUMBER_WIDTH, justify="right")
        self.entry.grid(row=0, column=2, padx=(theme.px(14), 0))
        self.put(value)
        self._text.trace_add("write", lambda *_: self._typed())
        self.entry.bind("<FocusOut>", lambda _: self._left(), add="+")
        for key, steps in (("Left", -1), ("Down", -1), ("Right", 1), ("Up", 1)):
            self.scale.bind(f"<{key}>", lambda _, steps=steps: self._by_key(steps))
        self.scale.bind("<Button-1>", self._jump)

    def put(self, value: float) -> None:
        """Show `value` without telling anybody. Nobody's typing is interrupted by that."""
        stays = self._telling or value == self.value
        self._quiet = True
        self.value = value
        self.scale.set(self._place(value))
        if not stays:
            self._show_number()
        self._quiet = False

    def _show_number(self) -> None:
        self._text.set(self._shown(self.value))
        self.entry.state(["!invalid"])

    def set_range(self, low: float, high: float) -> None:
        """Change the ends of the slider."""
        self._low, self._high = low, high
        self.scale.configure(from_=self._place(low), to=self._place(high))

    def _place(self, value: float) -> float:
        return math.log(max(value, 1e-9)) if self._logarithmic else value

    def _shown(self, value: float) -> str:
        digits = 0 if self._step >= 1 else 2
        return f"{value:.{digits}f}{self._suffix}"

    def _moved(self, text: str) -> None:
        if not self._quiet:
            value = math.exp(float(text)) if self._logarithmic else float(text)
            self._take(round(value / self._step) * self._step)

    def _by_key(self, steps: int) -> str:
        value = round(self.value / self._step + steps) * self._step
        self._take(min(self._high, max(self._low, value)))
        return "break"

    def _jump(self, event: tkinter.Event) -> str | None:
        """A click beside the thumb moves it there, as everywhere on Windows."""
        self.scale.focus_set()
        if "slider" in self.scale.identify(event.x, event.y):
            return None
        self.scale.set(self.scale.get(event.x, event.y))
        return "break"

    def _take(self, value: float) -> None:
        self.put(round(value, 6))
        self._changed(self.value)

    def _typed(self) -> None:
        if self._quiet:
            return
        value = self._number()
        if not math.isfinite(value):
            self.entry.state(["invalid"])
            return
        self.entry.state(["!invalid"])
        self._telling = True
        self.put(value)
        self._changed(value)
        self._telling = False

    def _number(self) -> float:
        """What is in the field; nan when that is no number."""
        try:
            return float(self._text.get().strip().removesuffix(self._suffix.strip() or "\0"))
        except ValueError:
            return math.nan

    def _left(self) -> None:
        """The number that is nearest to what was typed comes into the field."""
        if self.valid and abs(self._number() - self.value) > self._step / 2:
            self._quiet = True
            self._show_number()
            self._quiet = False

    @property
    def valid(self) -> bool:
        """Whether the field holds a number."""
        return not self.entry.instate(["invalid"])
