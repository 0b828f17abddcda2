"""A window of another process, seen and used as a person does: xdotool moves the mouse and types, X
itself closes it. Where things are is asked through Tk's own `send`, so the program is the one that
everybody gets, without anything added for the tests.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import secrets
import signal
import struct
import subprocess
import time
import tkinter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from easy_scripts.wizard.catalogue import Catalogue

PATIENCE = 180  # seconds, on a machine that is busy
# What is on top: of a question only itself. One list for each widget: class, text, whether it can
# be used, the middle of it on the screen.
LOOK = """
proc ::easy_lora_look {parent} {
    set found {}
    foreach child [winfo children $parent] {
        if {![winfo viewable $child]} continue
        set class [winfo class $child]
        set text {}
        if {$class in {TLabel TButton TRadiobutton TCheckbutton}} {
            set text [$child cget -text]
        } elseif {$class in {TEntry TCombobox TSpinbox}} {
            set text [$child get]
        }
        set off [expr {[string match T* $class] && ![catch {$child instate disabled} off] && $off}]
        lappend found [list $class $text [expr {!$off}] \\
            [expr {[winfo rootx $child] + [winfo width $child] / 2}] \\
            [expr {[winfo rooty $child] + [winfo height $child] / 2}] [expr {[focus] eq $child}]]
        lappend found {*}[::easy_lora_look $child]
    }
    return $found
}
set top [grab current]
::easy_lora_look [expr {$top eq {} ? {.} : $top}]
"""
FIELDS = ("TEntry", "TCombobox", "TSpinbox")
TEXTS = Catalogue("train", "en")


@cache
def guarded_screen() -> dict[str, str]:
    """The variables of a new screen that Tk finds safe enough for `send`. It stays until the end:
    Tk would die with a screen it has used."""
    authority = Path(os.environ.get("TMPDIR", "/tmp")) / f"easy-lora-{secrets.token_hex(8)}"
    fields = (b"", b"", b"MIT-MAGIC-COOKIE-1", secrets.token_bytes(16))
    entry = b"".join(struct.pack(">H", len(field)) + field for field in fields)
    authority.write_bytes(struct.pack(">H", 0xFFFF) + entry)  # for any address
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1366x768x24", "-dpi", "96",
         "-nolisten", "tcp", "-auth", str(authority)],
        pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    atexit.register(authority.unlink)
    atexit.register(server.terminate)
    os.close(write)
    with os.fdopen(read) as answer:
        return {"DISPLAY": f":{answer.readline().strip()}", "XAUTHORITY": str(authority)}


class Window:
    """The training wizard that `process` has opened or will open, and a person before it."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process, self.clicks = process, 0
        self._ear = tkinter.Tk(className="ear")
        self._ear.withdraw()
        self._name = ""
        self.on("start")
        self.pid = int(self._ask("pid"))

    def _ask(self, script: str) -> str:
        self._ear.update()
        return self._ear.tk.call("send", self._name, script)

    # --- looking -------------------------------------------------------------------------

    def seen(self) -> list[tuple]:
        """What is on the screen: (class, text, usable, x, y, has the keyboard) for each widget."""
        self._ear.update()
        own = self._ear.tk.call("tk", "appname")
        others = [name for name in self._ear.tk.splitlist(self._ear.tk.call("winfo", "interps"))
                  if name != own]  # fmt: skip
        if not others:
            return []
        self._name = others[0]
        try:
            lines = self._ear.tk.splitlist(self._ask(LOOK))
        except tkinter.TclError:  # it is just going, or not there yet
            return []
        found = [self._ear.tk.splitlist(line) for line in lines]
        return [(kind, text, usable == "1", int(x), int(y), keyboard == "1")
                for kind, text, usable, x, y, keyboard in found]  # fmt: skip

    def texts(self) -> str:
        """Every text on the screen."""
        return "\n".join(one[1] for one in self.seen() if one[1])

    def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, f"it ended before {what}"
            assert time.monotonic() < end, f"waited in vain for {what}; seen: {self.texts()}"
            time.sleep(0.1)

    def on(self, page: str) -> None:
        """Wait until this page is on the screen."""
        self.sees(TEXTS(f"{page}.title"))

    def sees(self, text: str) -> None:
        """Wait until this text is on the screen."""
        self.until(lambda: text in self.texts(), text)

    def can_click(self, text: str, kind: str = "TButton") -> list[tuple]:
        """What bears this text and can be used now."""
        return [one for one in self.seen() if one[:3] == (kind, text, True)]

    # --- doing ---------------------------------------------------------------------------

    def click(self, text: str, kind: str = "TButton") -> None:
        """Click on what bears this text, with the screen's mouse."""

        self.until(lambda: self.can_click(text, kind), text)
        x, y = self.can_click(text, kind)[0][3:5]
        xdotool("mousemove", str(x), str(y), "click", "1")
        self.clicks += 1

    def press(self, *keys: str) -> None:
        """Press keys where the keyboard is."""
        xdotool("key", "--delay", "30", *keys)

    def type(self, text: object) -> None:
        """Type a text into the field that has the keyboard; it is there when this ends."""
        self.until(lambda: any(one[5] and one[0] in FIELDS for one in self.seen()), "a field")
        xdotool("type", "--delay", "5", str(text))
        self.until(lambda: str(text) in self.texts(), str(text))

    def tab_to(self, text: str) -> None:
        """Press Tab until the keyboard is in the field with this text."""
        for _ in range(30):
            if any(one[1] == text and one[5] for one in self.seen()):
                return
            self.press("Tab")
            time.sleep(0.1)
        raise AssertionError(f"no Tab leads to the field with {text!r}; seen: {self.seen()}")

    # --- the end -------------------------------------------------------------------------

    def close(self, how: str) -> None:
        """The window goes: by its cross, torn off the screen, or by a signal to its process."""
        if how == "cross":
            press_cross(int(self._ask("wm frame ."), 16))
        elif how == "torn off":
            xdotool("windowkill", str(int(self._ask("wm frame ."), 16)))
        else:
            os.kill(self.pid, {"ended": signal.SIGTERM, "killed": signal.SIGKILL}[how])

    def gone(self) -> int:
        """Wait until the program has ended; its exit code."""
        code = self.process.wait(timeout=PATIENCE)
        self.let_go()
        return code

    def let_go(self) -> None:
        """Look no longer."""
        if self._ear:
            self._ear.destroy()
            self._ear = None


def xdotool(*words: str) -> None:
    subprocess.run(["xdotool", *words], check=True, timeout=60)


class ClientMessage(ctypes.Structure):
    """Xlib's XClientMessageEvent, as large as its largest event."""

    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int),
                ("display", ctypes.c_void_p), ("window", ctypes.c_ulong),
                ("message_type", ctypes.c_ulong), ("format", ctypes.c_int),
                ("data", ctypes.c_long * 5), ("rest", ctypes.c_long * 24)]  # fmt: skip


def press_cross(window: int) -> None:
    """What a window manager sends when somebody presses a window's cross: WM_DELETE_WINDOW."""
    x = ctypes.CDLL("libX11.so.6")
    x.XOpenDisplay.restype = ctypes.c_void_p
    x.XInternAtom.restype = ctypes.c_ulong
    screen = ctypes.c_void_p(x.XOpenDisplay(None))
    protocols, delete = (x.XInternAtom(screen, name, 0)
                         for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))  # fmt: skip
    client_message = 33
    message = ClientMessage(type=client_message, window=window, message_type=protocols, format=32)
    message.data[0] = delete
    x.XSendEvent(screen, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(message))
    x.XCloseDisplay(screen)
