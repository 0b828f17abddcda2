"""How the windows look: the Sun Valley theme in the system's light or dark, at the screen's scale.

sv-ttk draws with pictures and pixel sizes made for 96 dots an inch. For finer screens its own
definition is read with every size multiplied, and its pictures enlarged, before Tk sees it.

For tests and pictures: EASY_LORA_THEME=light|dark, EASY_LORA_SCALE=200 (per cent).
"""

from __future__ import annotations

import base64
import ctypes
import io
import re
import sys
import tkinter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tkinter import font, ttk

import sv_ttk

from easy_scripts.wizard.colours import DARK, LIGHT, Colours, system_is_dark
from easy_scripts.wizard.screen import font_family, screen_scale

SIZES = re.compile(r"(-(?:border|padding|width|height|size)) (\{[\d ]+\}|-?\d+)")
SHEET = "-file $imgfile -format png"
BARRED_TOOL = re.compile(r"(element create Toolbutton\.button [^]]*?disabled \$I)\(button-dis\)")
FONT_SIZES = {  # logical pixels
    "SunValleyCaptionFont": 12, "SunValleyBodyFont": 14, "SunValleyBodyStrongFont": 14,
    "SunValleyBodyLargeFont": 18, "SunValleySubtitleFont": 20, "SunValleyTitleFont": 26,
}  # fmt: skip
BOLD = {"SunValleyBodyStrongFont", "SunValleySubtitleFont", "SunValleyTitleFont"}
CAPTION, BODY, STRONG, TITLE = (
    "SunValleyCaptionFont", "SunValleyBodyFont", "SunValleyBodyStrongFont", "SunValleyTitleFont",
)  # fmt: skip


class Theme:
    """The look of one root window; `changed` is called after light and dark were swapped."""

    def __init__(self, root: tkinter.Tk, language: str = "en") -> None:
        self.root = root
        self.scale = screen_scale(root)
        self.changed: list = []
        root.tk.call("tk", "scaling", self.scale * 96 / 72)
        self._loaded: set[str] = set()
        _load_common(root, self.scale)
        _choose_fonts(root, self.scale, language)
        self.dark = system_is_dark()
        self._apply()

    @property
    def colours(self) -> Colours:
        """The colours in force."""
        return DARK if self.dark else LIGHT

    def px(self, logical: float) -> int:
        """Screen pixels for a length at 100 %."""
        return round(logical * self.scale)

    def follow_system(self) -> None:
        """Swap light and dark if the system did."""
        dark = system_is_dark()
        if dark != self.dark:
            self.dark = dark
            self._apply()
            for tell in self.changed:
                tell()

    def _apply(self) -> None:
        name = "dark" if self.dark else "light"
        if name not in self._loaded:  # few ever see both, and loading one takes its time
            _load(self.root, self.scale, name)
            self._loaded.add(name)
        sv_ttk.set_theme(name, self.root)
        colours, style = self.colours, ttk.Style(self.root)
        for name, background in (("", colours.background), ("Side.", colours.side),
                                 ("Inner.", colours.card)):  # fmt: skip
            style.configure(f"{name}TFrame", background=background)
            style.configure(f"{name}TLabel", background=background, foreground=colours.text)
            for kind, colour in (("Muted", colours.muted), ("Error", colours.error),
                                 ("Good", colours.good), ("Warning", colours.warning),
                                 ("Accent", colours.accent)):  # fmt: skip
                style.configure(f"{name}{kind}.TLabel", background=background, foreground=colour)
        style.configure("Title.TLabel", font=TITLE)
        style.configure("Strong.TLabel", font=STRONG)
        style.configure("Inner.Strong.TLabel", font=STRONG, background=colours.card)
        style.configure("Side.Strong.TLabel", font=STRONG, background=colours.side)
        wide = (self.px(16), self.px(4), self.px(16), self.px(5))
        style.configure("Wide.TButton", padding=wide)
        style.configure("Accent.TButton", padding=wide)
        style.configure("Switch.TCheckbutton", padding=self.px(4))
        barred = style.lookup("TButton", "foreground", ["disabled"])
        style.map("Toolbutton", foreground=[("disabled", barred)])
        line = font.nametofont(BODY, self.root).metrics("linespace")
        style.configure("Treeview", rowheight=line + self.px(6))
        self._colour_lists()
        _darken_title_bar(self.root, self.dark)

    def _colour_lists(self) -> None:
        """The lists of combo boxes are no ttk widgets: those to come, and those there are."""
        colours = self.colours
        looks = {"background": colours.card, "foreground": colours.text,
                 "selectBackground": colours.accent, "selectForeground": colours.on_accent,
                 "highlightThickness": 0, "borderWidth": 0, "font": BODY}  # fmt: skip
        for option, value in looks.items():
            self.root.option_add(f"*TCombobox*Listbox.{option}", value)
        for box in _boxes(self.root):
            popdown = self.root.tk.call("ttk::combobox::PopdownWindow", box)
            words = [word for pair in looks.items() for word in (f"-{pair[0].lower()}", pair[1])]
            self.root.tk.call(f"{popdown}.f.l", "configure", *words)


def _boxes(widget: tkinter.Misc) -> Iterator[ttk.Combobox]:
    for child in widget.winfo_children():
        if child.winfo_class() == "TCombobox":
            yield child
        yield from _boxes(child)


def _darken_title_bar(root: tkinter.Tk, dark: bool) -> None:
    if sys.platform != "win32":
        return
    root.update_idletasks()
    with suppress(OSError, AttributeError):
        handle = ctypes.windll.user32.GetParent(root.winfo_id())
        value = ctypes.c_int(int(dark))
        dwm_use_dark_title_bar = 20
        ctypes.windll.dwmapi.DwmSetWindowAttribute(
            handle, dwm_use_dark_title_bar, ctypes.byref(value), ctypes.sizeof(value)
        )


def _load(root: tkinter.Tk, scale: float, name: str) -> None:
    """Give Tk sv-ttk's definition of light or dark, enlarged."""
    folder = Path(sv_ttk.__file__).parent / "theme"
    text = (folder / f"{name}.tcl").read_text(encoding="utf-8")
    sprites = (folder / f"sprites_{name}.tcl").read_text(encoding="utf-8")
    sheet = (folder / f"spritesheet_{name}.png").read_bytes()
    if scale != 1:
        sprites, sheet = _enlarge(sprites, sheet, scale)
    root.tk.eval(sprites)
    root.tk.setvar("easy_lora_sheet", base64.b64encode(sheet).decode())
    text = _without_sources(text).replace(SHEET, "-data $::easy_lora_sheet -format png")
    text = BARRED_TOOL.sub(r"\1(empty)", text)  # else more of a button than one that works
    root.tk.eval(multiply_sizes(text, scale))


def _load_common(root: tkinter.Tk, scale: float) -> None:
    """Give Tk what light and dark share; sv-ttk itself then finds it loaded."""
    main = (Path(sv_ttk.__file__).parent / "sv.tcl").read_text(encoding="utf-8")
    root.tk.eval(multiply_sizes(_without_sources(main), scale))
    # sv-ttk would give every label a colour of its own, over the one of its style
    root.tk.eval("proc tk_setPalette {args} {}")
    root._sv_ttk_loaded = True  # the sign by which sv-ttk knows


def _without_sources(definition: str) -> str:
    """The Tcl text without the lines that read other files."""
    lines = definition.splitlines()
    return "\n".join(line for line in lines if not line.startswith("source "))


def multiply_sizes(definition: str, scale: float) -> str:
    """The Tcl text with the numbers of its size options multiplied."""

    def larger(found: re.Match) -> str:
        numbers = re.sub(r"-?\d+", lambda n: str(round(int(n[0]) * scale)), found[2])
        return f"{found[1]} {numbers}"

    return SIZES.sub(larger, definition)


def _enlarge(sprites: str, sheet: bytes, scale: float) -> tuple[str, bytes]:
    """The list of pictures and the sheet that holds them, each picture enlarged by itself."""
    from PIL import Image  # only finer screens pay for loading it

    picture = Image.open(io.BytesIO(sheet)).convert("RGBa")
    boxes = {name: tuple(map(int, numbers)) for name, *numbers in
             re.findall(r"([\w-]+) (\d+) (\d+) (\d+) (\d+)", sprites)}  # fmt: skip
    sizes = {name: (round(width * scale), round(height * scale))
             for name, (_, _, width, height) in boxes.items()}  # fmt: skip
    places, whole = _on_shelves(sizes, round(picture.width * scale))
    larger = Image.new("RGBa", whole)
    for name, (x, y, width, height) in boxes.items():
        sprite = picture.crop((x, y, x + width, y + height))
        larger.paste(sprite.resize(sizes[name], Image.Resampling.BICUBIC), places[name])
    file = io.BytesIO()
    larger.convert("RGBA").save(file, "png", compress_level=1)
    listed = (f"{name} {x} {y} {sizes[name][0]} {sizes[name][1]}"
              for name, (x, y) in places.items())  # fmt: skip
    return f"set ::spriteinfo [list {' '.join(listed)}]", file.getvalue()


Size = tuple[int, int]


def _on_shelves(sizes: dict[str, Size], across: int) -> tuple[dict[str, Size], Size]:
    """Where pictures go side by side on a sheet so wide, the tallest first, and the sheet's size: a
    small sheet is written and read quickly."""
    places, x, y, shelf = {}, 0, 0, 0
    for name, (width, height) in sorted(sizes.items(), key=lambda entry: -entry[1][1]):
        if x + width > across:
            x, y, shelf = 0, y + shelf, 0
        places[name] = (x, y)
        x, shelf = x + width, max(shelf, height)
    return places, (across, y + shelf)


def _choose_fonts(root: tkinter.Tk, scale: float, language: str) -> None:
    family = font_family(root, language)
    for name, size in FONT_SIZES.items():
        font.nametofont(name, root).configure(
            family=family, size=-round(size * scale), weight="bold" if name in BOLD else "normal"
        )
    for name in ("TkDefaultFont", "TkTextFont", "TkMenuFont", "TkHeadingFont", "TkTooltipFont"):
        font.nametofont(name, root).configure(family=family, size=-round(14 * scale))
