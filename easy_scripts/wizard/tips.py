"""Tooltips: `add_tip(widget, text, theme)`. One is made when the pointer first comes by."""

from __future__ import annotations

import tkinter
from collections.abc import Callable

from easy_scripts.wizard.theme import CAPTION, Theme

DELAY = 0.6  # seconds
WIDTH = 420  # logical pixels


def add_tip(
    widget: tkinter.Misc,
    text: str | Callable[[], str],
    theme: Theme,
    under: tkinter.Misc | None = None,
) -> None:
    """Show `text` when the pointer rests on `widget`: beside the pointer, or else `under` that."""

    def make(event: tkinter.Event) -> None:
        widget.unbind("<Enter>", binding)
        from easy_scripts.wizard.tooltip import RestingTip

        colours = theme.colours
        tip = RestingTip(
            widget, under=under, gap=theme.px(4),
            msg=text, delay=DELAY, follow=False, y_offset=theme.px(16),
            parent_kwargs={"bg": colours.line, "padx": 1, "pady": 1},
            bg=colours.card, fg=colours.text, font=CAPTION, width=theme.px(WIDTH),
            padx=theme.px(10), pady=theme.px(6),
        )  # fmt: skip
        theme.changed.append(lambda: recolour(tip))
        tip.on_enter(event)

    def recolour(tip: tkinter.Toplevel) -> None:
        if tip.winfo_exists():
            tip.configure(bg=theme.colours.line)
            tip.message_widget.configure(bg=theme.colours.card, fg=theme.colours.text)

    binding = widget.bind("<Enter>", make, add="+")
