"""The loss over the steps: a thin line as it comes, a thick one smoothed."""

from __future__ import annotations

import tkinter

from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.theme import CAPTION, Theme

HEIGHT = 132  # logical pixels
MOST_POINTS = 400
SMOOTHING = 0.98  # a step's weight on the past, in the smoothed loss that the training reports


class LossCurve(tkinter.Canvas):
    """`add(step, smooth)` for each report; `clear()` for a new training."""

    def __init__(self, parent: tkinter.Misc, theme: Theme, texts: Catalogue) -> None:
        super().__init__(parent, height=theme.px(HEIGHT), highlightthickness=0, borderwidth=0,
                         takefocus=0)  # fmt: skip
        self._theme, self._texts = theme, texts
        self._drawing = False
        self.clear()
        self.bind("<Configure>", lambda _: self._draw())
        theme.changed.append(self._draw)

    def clear(self) -> None:
        """Forget all points."""
        self.steps: list[int] = []
        self.smooth: list[float] = []
        self.raw: list[float] = []
        self._fresh = True
        self._draw_soon()

    def go_on(self) -> None:
        """A new process goes on: its smoothing begins anew."""
        self._fresh = True

    def add(self, step: int, smooth: float) -> None:
        """A report: the smoothed loss after `step` steps."""
        while self.steps and step <= self.steps[-1]:  # the training went back, or began anew
            for numbers in (self.steps, self.smooth, self.raw):
                numbers.pop()
            self._fresh = True
        self.raw.append(self._unsmoothed(step, smooth))
        self.steps.append(step)
        self.smooth.append(smooth)
        if len(self.steps) > 2 * MOST_POINTS:
            for numbers in (self.steps, self.smooth, self.raw):
                del numbers[1:-1:2]
        self._draw_soon()

    def _unsmoothed(self, step: int, smooth: float) -> float:
        """The mean of the steps since the last report, which the smoothing still holds:
        smooth_n = s^n smooth_0 + (1 - s^n) mean."""
        if self._fresh:
            self._fresh = False
            return smooth
        past = SMOOTHING ** (step - self.steps[-1])
        return max(0.0, (smooth - past * self.smooth[-1]) / (1 - past))

    def _draw_soon(self) -> None:
        """Once for all points that come together."""
        if not self._drawing:
            self._drawing = True
            self.after_idle(self._draw)

    def _draw(self) -> None:
        self._drawing = False
        colours, px = self._theme.colours, self._theme.px
        self.configure(background=colours.background)
        self.delete("all")
        width, height = self.winfo_width(), self.winfo_height()
        if width < 50:
            return
        left, top, right, bottom = px(52), px(10), width - px(8), height - px(22)
        self.create_line(left, bottom, right, bottom, fill=colours.line)
        if len(self.steps) < 2:
            self.create_text((left + right) / 2, (top + bottom) / 2, font=CAPTION,
                             text=self._texts("bake.curve_soon"), fill=colours.muted)  # fmt: skip
            return
        # a few wild losses must not press the curve flat
        low = max(min(*self.smooth, *self.raw), 0.5 * min(self.smooth))
        high = min(max(*self.smooth, *self.raw), 2 * max(self.smooth))
        span = (high - low) or max(high, 1e-9)
        first, last = self.steps[0], self.steps[-1]

        def height_of(value: float) -> float:
            return bottom - (bottom - top) * (min(high, max(low, value)) - low) / span

        def points(values: list[float]) -> list[float]:
            return [number for step, value in zip(self.steps, values, strict=True) for number in
                    (left + (right - left) * (step - first) / (last - first),
                     height_of(value))]  # fmt: skip

        for value, y in ((high, top), (low, bottom)):
            self.create_line(left, y, right, y, fill=colours.line)
            self.create_text(left - px(8), y, anchor="e", text=f"{value:.3f}", font=CAPTION,
                             fill=colours.muted)  # fmt: skip
        self.create_line(points(self.raw), fill=colours.muted, width=1, dash=(2, 3))
        self.create_line(points(self.smooth), fill=colours.accent, width=px(2), joinstyle="round")
        for step, x, anchor in ((first, left, "nw"), (last, right, "ne")):
            self.create_text(x, bottom + px(5), anchor=anchor, font=CAPTION, fill=colours.muted,
                             text=self._texts("bake.at_step", step=f"{step:,}"))  # fmt: skip
