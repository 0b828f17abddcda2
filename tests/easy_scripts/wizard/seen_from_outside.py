"""The training wizard as a program of its own that tells where its buttons are on the screen.

    python seen_from_outside.py MEMORY PLACES GIVEN

MEMORY is the folder of what it remembers, PLACES a file that it writes every now and then with what
can be seen, GIVEN a JSON file with settings filled in from the start.
"""

from __future__ import annotations

import json
import os
import sys
import tkinter
from pathlib import Path
from tkinter import ttk

from easy_scripts import train
from easy_scripts.train_pages import base_page
from easy_scripts.wizard import remembered
from easy_scripts.wizard.window import open_wizard

OFTEN = 150  # milliseconds
KINDS = ttk.Button | ttk.Entry | ttk.Radiobutton


def main(memory: str, places: str, given: str) -> None:
    """Show the wizard until it is closed."""
    remembered.memory_folder = lambda: Path(memory)
    base_page.find_base_models = list
    wizard = open_wizard(train.PLAN, json.loads(Path(given).read_text(encoding="utf-8")))

    def tell() -> None:
        content = {"page": wizard.page.name, "widgets": list(widgets(wizard.root)),
                   "busy": asking(wizard.page)}  # fmt: skip
        unfinished = Path(f"{places}.part")
        unfinished.write_text(json.dumps(content), encoding="utf-8")
        os.replace(unfinished, places)
        wizard.root.after(OFTEN, tell)

    tell()
    wizard.root.mainloop()


def asking(page) -> bool:
    """Whether the page still finds something out."""
    return bool(getattr(getattr(page, "_asking", None), "busy", False))


def widgets(parent: tkinter.Misc):
    """What can be clicked now: its text, and the middle of it on the screen."""
    for child in parent.winfo_children():
        if not child.winfo_viewable():
            continue
        if isinstance(child, KINDS) and not child.instate(["disabled"]):
            text = child.get() if isinstance(child, ttk.Entry) else str(child.cget("text"))
            yield {"kind": type(child).__name__, "text": text,
                   "x": child.winfo_rootx() + child.winfo_width() // 2,
                   "y": child.winfo_rooty() + child.winfo_height() // 2}  # fmt: skip
        yield from widgets(child)


if __name__ == "__main__":
    main(*sys.argv[1:])
