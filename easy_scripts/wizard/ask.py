"""One question in a window of its own over the wizard's; `ask(...)` waits for the answer."""

from __future__ import annotations

import tkinter
from collections.abc import Sequence
from tkinter import ttk

from easy_scripts.wizard.catalogue import split_access_key
from easy_scripts.wizard.look import Look

TEXT_WIDTH = 420  # logical pixels


def ask(
    root: tkinter.Tk, theme: Look, heading: str, text: str, answers: Sequence[str], harmless: int
) -> int:
    """The index of the answer chosen. Escape and the cross give `harmless`, which has the focus."""
    question = tkinter.Toplevel(root, background=theme.colours.background, highlightthickness=1,
                                highlightbackground=theme.colours.line)  # fmt: skip
    question.withdraw()
    question.title(root.title())
    question.resizable(False, False)
    question.transient(root)
    chosen = harmless

    def choose(index: int) -> None:
        nonlocal chosen
        chosen = index
        question.destroy()

    frame = ttk.Frame(question, padding=theme.px(24))
    frame.grid(sticky="nsew")
    width = theme.px(TEXT_WIDTH)
    ttk.Label(frame, text=heading, style="Strong.TLabel", wraplength=width).grid(sticky="w")
    ttk.Label(frame, text=text, wraplength=width).grid(sticky="w", pady=(theme.px(8), theme.px(20)))
    row = ttk.Frame(frame)
    row.grid(sticky="e")
    for index, answer in enumerate(answers):
        label, place = split_access_key(answer)
        style = "Accent.TButton" if index == harmless else "Wide.TButton"
        button = ttk.Button(row, text=label, underline=place, style=style,
                            command=lambda index=index: choose(index))  # fmt: skip
        button.grid(row=0, column=index, padx=(theme.px(8), 0))
        button.bind("<Return>", lambda _, index=index: choose(index))
        if place >= 0:
            question.bind(f"<Alt-{label[place].lower()}>", lambda _, index=index: choose(index))
        if index == harmless:
            focused = button
    question.bind("<Escape>", lambda _: choose(harmless))
    question.protocol("WM_DELETE_WINDOW", lambda: choose(harmless))
    place_over(question, root)
    question.deiconify()
    question.wait_visibility()
    question.grab_set()
    focused.focus_force()
    root.wait_window(question)
    return chosen


def place_over(window: tkinter.Toplevel, root: tkinter.Tk) -> None:
    """Put a window over the wizard's, a little above its middle."""
    window.update_idletasks()
    x = root.winfo_rootx() + (root.winfo_width() - window.winfo_reqwidth()) // 2
    y = root.winfo_rooty() + (root.winfo_height() - window.winfo_reqheight()) // 3
    window.geometry(f"+{max(0, x)}+{max(0, y)}")
