"""Open the one Tk window of a process, or say in a plain sentence why there is none."""

from __future__ import annotations

import ctypes
import sys
import tkinter
from contextlib import suppress

from scripts.core.errors import SuiteError

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
