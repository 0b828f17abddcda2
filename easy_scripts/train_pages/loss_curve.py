"""The loss over the steps: a thin line as it comes, a thick one smoothed; and the learning rate."""

from __future__ import annotations

import tkinter
from collections.abc import Sequence
from dataclasses import dataclass

from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.theme import CAPTION, Theme

HEIGHT = 132  # logical pixels
MOST_POINTS = 400
SMOOTHING = 0.98  # a step's weight on the past, in the smoothed loss that the training reports


class LossCurve(tkinter.Canvas):
    """`add(step, smooth, rate)` for each report; `clear()` for a new training."""

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
        self.rates: list[float] = []
        self._fresh = True
        self._draw_soon()

    def go_on(self) -> None:
        """A new process goes on: its smoothing begins anew."""
        self._fresh = True

    def add(self, step: int, smooth: float, rate: float = 0.0) -> None:
        """A report: the smoothed loss after `step` steps, and the learning rate there."""
        lists = (self.steps, self.smooth, self.raw, self.rates)
        while self.steps and step <= self.steps[-1]:  # the training went back, or began anew
            for numbers in lists:
                numbers.pop()
            self._fresh = True
        self.raw.append(self._unsmoothed(step, smooth))
        self.steps.append(step)
        self.smooth.append(smooth)
        self.rates.append(rate)
        if len(self.steps) > 2 * MOST_POINTS:
            for numbers in lists:
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
        box = Box(px(52), px(10), width - px(60), height - px(22))
        self.create_line(box.left, box.bottom, box.right, box.bottom, fill=colours.line)
        if len(self.steps) < 2:
            self.create_text((box.left + box.right) / 2, (box.top + box.bottom) / 2, font=CAPTION,
                             text=self._texts("bake.curve_soon"), fill=colours.muted)  # fmt: skip
            return
        # a few wild losses must not press the curve flat
        low = max(min(*self.smooth, *self.raw), 0.5 * min(self.smooth))
        high = min(max(*self.smooth, *self.raw), 2 * max(self.smooth))
        for value, y in ((high, box.top), (low, box.bottom)):
            self.create_line(box.left, y, box.right, y, fill=colours.line)
            self._label(box.left - px(8), y, "e", f"{value:.3f}", colours.muted)
        lines = [("bake.raw_line", box.points(self.steps, self.raw, low, high),
                  {"fill": colours.muted, "width": px(1), "dash": (px(2), px(3))}),
                 ("bake.smooth_line", box.points(self.steps, self.smooth, low, high),
                  {"fill": colours.accent, "width": px(2), "joinstyle": "round"})]  # fmt: skip
        most = max(self.rates)
        if most > 0:
            lines.insert(0, ("bake.rate_line", box.points(self.steps, self.rates, 0.0, most),
                             {"fill": colours.good, "width": px(1)}))  # fmt: skip
            for value, y in ((most, box.top), (0.0, box.bottom)):
                self._label(box.right + px(8), y, "w", f"{value:.2g}", colours.good)
        for key, points, look in lines:
            self.create_line(points, tags=key, **look)
        for step, x, anchor in ((self.steps[0], box.left, "nw"), (self.steps[-1], box.right, "ne")):
            self._label(x, box.bottom + px(5), anchor,
                        self._texts("bake.at_step", step=f"{step:,}"), colours.muted)  # fmt: skip
        self._draw_legend(box, [(key, look) for key, _, look in reversed(lines)])

    def _label(self, x: float, y: float, anchor: str, text: str, colour: str) -> int:
        return self.create_text(x, y, anchor=anchor, font=CAPTION, fill=colour, text=text)

    def _draw_legend(self, box: Box, lines: list[tuple[str, dict]]) -> None:
        """What each line is, below the middle of the curve."""
        px = self._theme.px
        x, y = box.left, box.bottom + px(13)
        for key, look in lines:
            self.create_line(x, y, x + px(16), y, tags="legend", **look)
            text = self._label(x + px(22), y, "w", self._texts(key), self._theme.colours.muted)
            self.addtag_withtag("legend", text)
            x = self.bbox(text)[2] + px(18)
        width = x - px(18) - box.left
        self.move("legend", (box.right - box.left - width) / 2, 0)


@dataclass(frozen=True)
class Box:
    """The place of the curve on its canvas, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def points(
        self, steps: Sequence[int], values: Sequence[float], low: float, high: float
    ) -> list[float]:
        """x and y of each value in turn; `low` is at the bottom, `high` at the top, and what is
        beyond them there too."""
        span = (high - low) or max(high, 1e-9)
        first, last = steps[0], steps[-1]
        points: list[float] = []
        for step, value in zip(steps, values, strict=True):
            points.append(self.left + (self.right - self.left) * (step - first) / (last - first))
            share = (min(high, max(low, value)) - low) / span
            points.append(self.bottom - (self.bottom - self.top) * share)
        return points
