"""The one Tk window of a process, or a plain sentence why there is none; its scale and its font."""

from __future__ import annotations

import ctypes
import os
import sys
import tkinter
from contextlib import suppress
from tkinter import font

from scripts.core.errors import SuiteError

FAMILIES = {
    "en": ("Segoe UI Variable Text", "Segoe UI", "Noto Sans", "Cantarell", "DejaVu Sans"),
    "ja": ("Yu Gothic UI", "Meiryo UI", "Noto Sans CJK JP", "Hiragino Sans", "DejaVu Sans"),
}
NO_SCREEN = "There is no screen to show a window on. {advice}"


def open_root(title: str, advice: str) -> tkinter.Tk:
    """The root window, still hidden. `advice` says how the work is done without a window.

    Raises SuiteError when there is no screen.
    """
    if sys.platform == "win32":
        _speak_to_windows()
    try:
        root = tkinter.Tk(className=title)
    except tkinter.TclError as error:
        raise SuiteError(NO_SCREEN.format(advice=advice)) from error
    root.withdraw()
    root.title(title)
    root.iconphoto(True, _icon(root))
    return root


def show_in_front(root: tkinter.Tk) -> None:
    """Show the window in front of all others, once."""
    root.deiconify()
    root.lift()
    root.attributes("-topmost", True)
    root.after(300, lambda: root.attributes("-topmost", False))
    root.focus_force()


def _speak_to_windows() -> None:
    """Ask for real pixels in place of stretched ones, and for a taskbar entry of our own."""
    with suppress(OSError, AttributeError):
        ctypes.OleDLL("shcore").SetProcessDpiAwareness(1)
    with suppress(OSError, AttributeError):
        ctypes.windll.shell32.SetCurrentProcessExplicitAppUserModelID("EasyLoRA")


def _icon(root: tkinter.Tk) -> tkinter.PhotoImage:
    """A blue tile with two thin bars: a large matrix made of two small ones."""
    icon = tkinter.PhotoImage(master=root, width=32, height=32)
    icon.put("#005fb8", to=(3, 1, 29, 31))
    icon.put("#005fb8", to=(1, 3, 31, 29))
    icon.put("#ffffff", to=(8, 7, 12, 25))
    icon.put("#9fd0ff", to=(15, 21, 25, 25))
    return icon


def screen_scale(root: tkinter.Tk) -> float:
    """The screen's scale: 1 at 96 dots an inch; in quarters, from 1 to 3."""
    with suppress(ValueError, KeyError):
        return min(3.0, max(1.0, float(os.environ["EASY_LORA_SCALE"]) / 100))
    return min(3.0, max(1.0, round(root.winfo_fpixels("1i") / 96 * 4) / 4))


def font_family(root: tkinter.Tk, language: str) -> str:
    """The best font family that is there for the texts of a language."""
    present = set(font.families(root))
    return next((name for name in FAMILIES[language] if name in present), "TkDefaultFont")
