"""The picture of a spectrum: the share kept over the size, with the size chosen marked."""

from __future__ import annotations

import math
import tkinter
from collections.abc import Callable

from easy_scripts.lora_pages.spectrum import Spectrum
from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.theme import CAPTION, STRONG, Theme

HEIGHT = 168  # logical pixels
STEPS = 96  # points of the curve


class SpectrumPicture(tkinter.Canvas):
    """A curve; a click chooses the size under it."""

    def __init__(
        self, parent: tkinter.Misc, theme: Theme, texts: Catalogue, chosen: Callable[[int], None]
    ) -> None:
        super().__init__(parent, height=theme.px(HEIGHT), highlightthickness=0, borderwidth=0,
                         takefocus=0)  # fmt: skip
        self._theme, self._texts, self._chosen = theme, texts, chosen
        self._spectrum: Spectrum | None = None
        self._marked: tuple[int, ...] = ()
        self._message = ""
        self.bind("<Configure>", lambda _: self._draw())
        self.bind("<Button-1>", self._clicked)
        self.bind("<B1-Motion>", self._clicked)
        theme.changed.append(self._draw)

    def show(self, spectrum: Spectrum | None, marked: tuple[int, ...], message: str = "") -> None:
        """Draw `spectrum` with the sizes `marked`, or a message in its place."""
        self._spectrum, self._marked, self._message = spectrum, marked, message
        self._draw()

    # --- places --------------------------------------------------------------------------

    def _box(self) -> tuple[float, float, float, float]:
        px = self._theme.px
        return px(44), px(22), self.winfo_width() - px(14), self.winfo_height() - px(26)

    def _x(self, rank: float) -> float:
        left, _, right, _ = self._box()
        return left + (right - left) * math.log2(rank) / max(1, math.log2(self._spectrum.largest))

    def _y(self, kept: float) -> float:
        _, top, _, bottom = self._box()
        return bottom - (bottom - top) * kept

    def _clicked(self, event: tkinter.Event) -> None:
        if self._spectrum:
            left, _, right, _ = self._box()
            share = min(1, max(0, (event.x - left) / (right - left)))
            self._chosen(max(1, round(2 ** (share * math.log2(self._spectrum.largest)))))

    # --- drawing -------------------------------------------------------------------------

    def _draw(self) -> None:
        colours = self._theme.colours
        self.configure(background=colours.background)
        self.delete("all")
        if self.winfo_width() < 50:
            return
        if self._spectrum is None:
            self.create_text(self.winfo_width() / 2, self.winfo_height() / 2, text=self._message,
                             font=CAPTION, fill=colours.muted, justify="center",
                             width=self.winfo_width() * 0.8)  # fmt: skip
            return
        self._draw_grid()
        self._draw_curve()
        for rank in self._marked:
            self._draw_mark(rank)

    def _draw_grid(self) -> None:
        colours, px = self._theme.colours, self._theme.px
        left, _, right, bottom = self._box()
        for percent in (0, 50, 100):
            y = self._y(percent / 100)
            self.create_line(left, y, right, y, fill=colours.line)
            self.create_text(
                left - px(8),
                y,
                text=self._texts.percent(percent / 100),
                anchor="e",
                font=CAPTION,
                fill=colours.muted,
            )
        rank, largest = 1, self._spectrum.largest
        while rank < largest:
            if largest / rank >= 1.5:  # leaves room for the last number
                self._draw_number(rank, bottom)
            rank *= 2
        self._draw_number(largest, bottom)

    def _draw_number(self, rank: int, bottom: float) -> None:
        self.create_text(self._x(rank), bottom + self._theme.px(14), text=str(rank), font=CAPTION,
                         fill=self._theme.colours.muted)  # fmt: skip

    def _draw_curve(self) -> None:
        colours, px, spectrum = self._theme.colours, self._theme.px, self._spectrum
        ranks = [spectrum.largest ** (step / STEPS) for step in range(STEPS + 1)]
        points = [(self._x(rank), self._y(spectrum.kept_at(rank))) for rank in ranks]
        _, _, _, bottom = self._box()
        shape = [(points[0][0], bottom), *points, (points[-1][0], bottom)]
        fill = mixed(colours.accent, colours.background, 0.12)
        self.create_polygon(*[number for point in shape for number in point], fill=fill)
        self.create_line(*[number for point in points for number in point], fill=colours.accent,
                         width=px(2), joinstyle="round")  # fmt: skip
        knee = min(spectrum.knee, spectrum.largest)
        x, y = self._x(knee), self._y(spectrum.kept_at(knee))
        self._draw_dot(x, y, colours.background)
        anchor = "sw" if x < self.winfo_width() * 0.3 else "se"
        self.create_text(x + (px(8) if anchor == "sw" else -px(8)), y - px(4), anchor=anchor,
                         text=self._texts("resize.recommended"), font=CAPTION,
                         fill=colours.accent)  # fmt: skip

    def _draw_mark(self, rank: int) -> None:
        colours, px = self._theme.colours, self._theme.px
        _, _, _, bottom = self._box()
        kept = self._spectrum.kept_at(rank)
        x, y = self._x(rank), self._y(kept)
        self.create_line(x, y, x, bottom, fill=colours.accent, dash=(3, 3))
        self._draw_dot(x, y, colours.accent)
        if y + px(40) < bottom:
            text, anchor = (
                self._texts.percent(kept),
                "nw" if x < self.winfo_width() * 0.85 else "ne",
            )
            offset = px(6) if anchor == "nw" else -px(6)
            self.create_text(x + offset, y + px(8), text=text, anchor=anchor, font=STRONG,
                             fill=colours.text)  # fmt: skip

    def _draw_dot(self, x: float, y: float, fill: str) -> None:
        radius = self._theme.px(4.5)
        self.create_oval(x - radius, y - radius, x + radius, y + radius, fill=fill,
                         outline=self._theme.colours.accent, width=self._theme.px(2))  # fmt: skip


def mixed(colour: str, other: str, share: float) -> str:
    """`share` of `colour` in `other`, both "#rrggbb"."""
    pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(other[1:]), strict=True)
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)
