"""A robot that uses a wizard as a person does: looks, clicks, types, waits.

Clicks and keys go through Tk's own event queue to the widget under the pointer or with the
keyboard, so that bindings, focus and states count. An error of ours in a callback fails the test.
"""

from __future__ import annotations

import time
import tkinter
from collections.abc import Callable, Iterator
from tkinter import ttk

from easy_scripts.wizard.window import Plan, open_wizard

PATIENCE = 180  # seconds, on a machine that is very busy


class Robot:
    """An open wizard and the hands on it."""

    def __init__(self, plan: Plan, given: dict | None = None) -> None:
        self.wizard = open_wizard(plan, given)
        self.root = self.wizard.root
        self.errors: list[BaseException] = []
        self.root.report_callback_exception = lambda kind, error, trace: self.errors.append(error)
        self.pump()

    # --- time ----------------------------------------------------------------------------

    def pump(self, seconds: float = 0.05) -> None:
        """Let the window do what it has to do."""
        end = time.monotonic() + seconds
        while self.open:
            self.root.update()
            if time.monotonic() > end:
                break
            time.sleep(0.005)
        if self.errors:
            raise self.errors[0]

    def until(self, holds: Callable[[], object], what: str = "it") -> None:
        """Wait until something holds."""
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, f"waited in vain until {what}; seen: {self.seen()}"
            self.pump(0.02)

    @property
    def open(self) -> bool:
        """Whether the window is still there."""
        try:
            return bool(self.root.winfo_exists())
        except tkinter.TclError:
            return False

    def end(self) -> None:
        """Close everything, whatever it is doing."""
        if not self.open:
            return
        for page in self.wizard.pages:
            child = getattr(page, "_child", None)
            if child:
                child.kill()
        self.wizard.end()

    # --- looking -------------------------------------------------------------------------

    @property
    def page(self):
        """The page on screen."""
        return self.wizard.page

    def widgets(self, parent: tkinter.Misc | None = None) -> Iterator[tkinter.Misc]:
        """All widgets that can be seen."""
        for child in (parent or self.root).winfo_children():
            if child.winfo_ismapped():
                yield child
                yield from self.widgets(child)

    def seen(self) -> str:
        """Every text on the screen."""
        texts = []
        for widget in self.widgets():
            if isinstance(widget, ttk.Label | ttk.Button | ttk.Radiobutton | ttk.Checkbutton):
                texts.append(str(widget.cget("text")))
            elif isinstance(widget, ttk.Entry):
                texts.append(widget.get())
        return "\n".join(text for text in texts if text)

    def find(self, text: str, kind: type = ttk.Button, nth: int = 0) -> tkinter.Misc:
        """The nth widget with this text."""
        found = [w for w in self.widgets() if isinstance(w, kind) and w.cget("text") == text]
        assert len(found) > nth, f"no {kind.__name__} {text!r}; seen: {self.seen()}"
        return found[nth]

    # --- doing ---------------------------------------------------------------------------

    def click(self, target: str | tkinter.Misc, kind: type = ttk.Button, nth: int = 0) -> None:
        """Click on a widget, given by its text or itself, in its middle (a tick: on its box)."""
        widget = self.find(target, kind, nth) if isinstance(target, str) else target
        self.pump()
        frame = self.page.frame
        if str(widget).startswith(str(frame.body)):
            frame.show(widget)
        self.pump()
        y = widget.winfo_height() // 2
        x = min(12, widget.winfo_width() // 2) if kind is not ttk.Button else (
            widget.winfo_width() // 2)  # fmt: skip
        under = self.root.winfo_containing(widget.winfo_rootx() + x, widget.winfo_rooty() + y)
        assert under is widget, f"{widget} {target!r} is covered by {under}"
        for event in ("<Enter>", "<Motion>", "<ButtonPress-1>", "<ButtonRelease-1>"):
            widget.event_generate(event, x=x, y=y)
        self.pump()

    def press(self, keys: str) -> None:
        """Press a key such as <Return> or <Alt-n> where the keyboard is."""
        focused = self.root.focus_get() or self.root
        focused.focus_force()
        self.root.update()
        focused.event_generate(keys)
        if self.open:
            self.pump()

    def type(self, text: str) -> None:
        """Type a text where the keyboard is."""
        for letter in text:
            focused = self.root.focus_get()
            focused.focus_force()
            focused.event_generate("<KeyPress>", keysym=_keysym(letter))
            focused.event_generate("<KeyRelease>", keysym=_keysym(letter))
        self.pump()

    def fill(self, name: str, text: str) -> None:
        """Replace what is in the row of a setting by typing."""
        field = self.page.rows[name].input()
        field.focus_force()
        field.selection_range(0, "end")
        self.press("<BackSpace>") if field.get() else None
        self.type(text)

    def answer(self, index: int) -> Callable[[], None]:
        """Answer the next question by its button `index`; a function that tells it was asked."""
        asked = []

        def look() -> None:
            windows = [w for w in self.root.winfo_children() if isinstance(w, tkinter.Toplevel)]
            questions = [w for w in windows if w.winfo_viewable() and w.grab_status()]
            buttons = [w for question in questions for w in self.widgets(question)
                       if isinstance(w, ttk.Button)]  # fmt: skip
            if len(buttons) <= index:  # it is still being put on the screen
                self.root.after(20, look)
                return
            asked.append(self.texts_of(questions[0]))
            buttons[index].invoke()

        self.root.after(20, look)
        return lambda: asked

    def texts_of(self, window: tkinter.Misc) -> str:
        """The texts of one window."""
        return "\n".join(w.cget("text") for w in self.widgets(window) if isinstance(w, ttk.Label))


def _keysym(letter: str) -> str:
    names = {" ": "space", ".": "period", "/": "slash", "-": "minus", "_": "underscore",
             "+": "plus", ":": "colon", "\\": "backslash", '"': "quotedbl", ",": "comma",
             "%": "percent"}  # fmt: skip
    return names.get(letter, letter)
