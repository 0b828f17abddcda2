"""The look of the windows that open before there is sv-ttk: set-up's and the installer's.

ttk's own theme "clam", which draws everything itself and so is sharp at every scale, in the colours
and sizes of the wizards. Its styles bear the same names as those of the wizards' `Theme`.
"""

from __future__ import annotations

import tkinter
from tkinter import font, ttk

from easy_scripts.wizard.colours import DARK, LIGHT, Colours, system_is_dark
from easy_scripts.wizard.screen import font_family, screen_scale

BODY = "TkDefaultFont"
SIZES = {BODY: 14, "TkTextFont": 14, "TkFixedFont": 12}  # logical pixels
TITLE_SIZE = 22


class PlainLook:
    """The look of one root window."""

    def __init__(self, root: tkinter.Tk, language: str) -> None:
        self._root = root
        self.scale = screen_scale(root)
        self.colours: Colours = DARK if system_is_dark() else LIGHT
        self.changed: list = []  # light and dark are not followed: these windows are soon gone
        root.tk.call("tk", "scaling", self.scale * 96 / 72)
        root.configure(background=self.colours.background)
        family = font_family(root, language)
        for name, size in SIZES.items():
            font.nametofont(name, root).configure(size=-self.px(size))
        for name in (BODY, "TkTextFont"):
            font.nametofont(name, root).configure(family=family)
        self._strong = font.Font(root, family=family, size=-self.px(14), weight="bold")
        self._title = font.Font(root, family=family, size=-self.px(TITLE_SIZE), weight="bold")
        self._style(ttk.Style(root))

    def px(self, logical: float) -> int:
        """Screen pixels for a length at 100 %."""
        return round(logical * self.scale)

    def _style(self, style: ttk.Style) -> None:
        colours, px = self.colours, self.px
        style.theme_use("clam")
        style.configure(
            ".", background=colours.background, foreground=colours.text, font=BODY,
            bordercolor=colours.line, lightcolor=colours.card, darkcolor=colours.card,
            troughcolor=colours.side, focuscolor=colours.accent, fieldbackground=colours.card,
            insertcolor=colours.text, selectbackground=colours.accent,
            selectforeground=colours.on_accent,
        )  # fmt: skip
        style.configure("Title.TLabel", font=self._title)
        style.configure("Strong.TLabel", font=self._strong)
        for kind, colour in (("Muted", colours.muted), ("Error", colours.error),
                             ("Good", colours.good), ("Accent", colours.accent)):  # fmt: skip
            style.configure(f"{kind}.TLabel", foreground=colour)
        style.configure("Horizontal.TProgressbar", thickness=px(6), background=colours.accent,
                        lightcolor=colours.accent, darkcolor=colours.accent,
                        bordercolor=colours.side)  # fmt: skip
        self._style_buttons(style)
        for name in ("TEntry", "TCheckbutton"):
            style.map(name, bordercolor=[("focus", colours.accent)],
                      lightcolor=[("focus", colours.accent)])  # fmt: skip
        style.configure("TEntry", padding=px(6))
        style.configure("TCheckbutton", padding=px(4))
        style.map("TCheckbutton", background=[("active", colours.background)])
        self._ticks = (self._box(False), self._box(True))  # Tk forgets pictures nobody holds
        style.element_create("Box.indicator", "image", self._ticks[0], ("selected", self._ticks[1]),
                             width=px(24), sticky="w")  # fmt: skip
        style.layout("TCheckbutton", [("Checkbutton.padding", {"sticky": "nswe", "children": [
            ("Box.indicator", {"side": "left"}),
            ("Checkbutton.focus", {"side": "left", "children": [("Checkbutton.label", {})]}),
        ]})])  # fmt: skip
        style.configure("Vertical.TScrollbar", arrowsize=px(14), background=colours.side,
                        arrowcolor=colours.muted)  # fmt: skip

    def _style_buttons(self, style: ttk.Style) -> None:
        colours, px = self.colours, self.px
        wide = (px(16), px(6))
        style.configure("TButton", padding=wide, background=colours.card, anchor="center",
                        lightcolor=colours.card, darkcolor=colours.card)  # fmt: skip
        style.configure("Wide.TButton", padding=wide)
        style.configure("Accent.TButton", padding=wide, background=colours.accent,
                        foreground=colours.on_accent, lightcolor=colours.accent,
                        darkcolor=colours.accent, bordercolor=colours.accent,
                        focuscolor=colours.on_accent)  # fmt: skip
        style.configure("Toolbutton", padding=px(4), borderwidth=0)
        for name, usual in (("TButton", colours.card), ("Accent.TButton", colours.accent),
                            ("Toolbutton", colours.background)):  # fmt: skip
            pressed = colours.accent if name == "Accent.TButton" else colours.line
            over = colours.accent if name == "Accent.TButton" else colours.side
            barred = usual if name == "Toolbutton" else colours.side
            states = [("disabled", barred), ("pressed", pressed), ("active", over)]
            style.map(
                name, background=[*states, ("!disabled", usual)],
                lightcolor=states, darkcolor=states,
                bordercolor=[("disabled", usual if name == "Toolbutton" else colours.line),
                             ("focus", colours.accent)],
                foreground=[("disabled", colours.muted)],
            )  # fmt: skip

    def _box(self, ticked: bool) -> tkinter.PhotoImage:
        """The box of a checkbutton; the theme's own has a cross for a tick, which reads as "no"."""
        colours, side = self.colours, self.px(16)
        picture = tkinter.PhotoImage(master=self._root, width=side, height=side)
        edge, inside = (colours.accent,) * 2 if ticked else (colours.muted, colours.card)
        line = max(1, self.px(1))
        picture.put(edge, to=(0, 0, side, side))
        picture.put(inside, to=(line, line, side - line, side - line))
        if not ticked:
            return picture
        pen = max(2, self.px(2))
        for step in range(side):  # short down, long up: a third of the width, then the rest
            x = round(side * (0.2 + 0.6 * step / side))
            y = round(side * 0.68) - abs(x - round(side * 0.4))
            picture.put(colours.on_accent, to=(x, y, min(x + pen, side), min(y + pen, side)))
        return picture
