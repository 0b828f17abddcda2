"""The window of the installer: one page with the folder, two ticks and a button.

Made of plain Tk: the packages of the wizards are not there yet when it runs.
"""

from __future__ import annotations

import threading
import tkinter
from pathlib import Path
from tkinter import filedialog, ttk

from easy_scripts.install.installer import (
    DONE,
    MENDABLE,
    make_shortcuts,
    payload,
    run_setup,
    shortcut_places,
    unpack,
)
from easy_scripts.wizard.screen import open_root
from scripts.core.errors import SuiteError

POLL = 50  # milliseconds
WIDTH = 480  # pixels of an ordinary screen
ADVICE = "Use: EasyLoRA-Setup --silent --folder FOLDER"
EXPLANATION = (
    "Easy LoRA is unpacked into a folder of its own, and then fetches Python and PyTorch into it: "
    "up to 3 GB to download, 8 GB on the disk. No administrator is needed, and nothing else on "
    "this computer is changed."
)


class InstallerWindow:
    """Asks, unpacks in a thread, and starts set-up. `code` is the exit code."""

    def __init__(self, root: tkinter.Tk, folder: Path) -> None:
        self.root, self.code = root, MENDABLE
        self._error: str | None = None
        width = round(WIDTH * root.winfo_fpixels("1i") / 96)
        frame = ttk.Frame(root, padding=24)
        frame.pack(fill="both", expand=True)
        ttk.Label(frame, text=EXPLANATION, wraplength=width).pack(anchor="w")
        row = ttk.Frame(frame)
        row.pack(fill="x", pady=16)
        self.folder = tkinter.StringVar(root, str(folder))
        ttk.Entry(row, textvariable=self.folder, width=52).pack(side="left", fill="x", expand=True)
        ttk.Button(row, text="Choose…", command=self._choose).pack(side="left", padx=(8, 0))
        self.menu = tkinter.BooleanVar(root, True)
        self.desktop = tkinter.BooleanVar(root, False)
        ttk.Checkbutton(frame, text="Add to the start menu", variable=self.menu).pack(anchor="w")
        ttk.Checkbutton(frame, text="Add to the desktop", variable=self.desktop).pack(anchor="w")
        self.message = ttk.Label(frame, wraplength=width, foreground="#b00020")
        self.message.pack(anchor="w", pady=(12, 0))
        self.bar = ttk.Progressbar(frame, mode="indeterminate")
        self.button = ttk.Button(frame, text="Install", command=self.install)
        self.button.pack(anchor="e", pady=(16, 0))
        root.bind("<Return>", lambda event: self.button.invoke())
        root.bind("<Escape>", lambda event: root.destroy())

    def _choose(self) -> None:
        chosen = filedialog.askdirectory(parent=self.root, initialdir=self.folder.get())
        if chosen:
            self.folder.set(str(Path(chosen)))

    def install(self) -> None:
        """Unpack without blocking the window."""
        folder = Path(self.folder.get().strip()).absolute()
        places = shortcut_places(self.desktop.get()) if self.menu.get() else []
        self.message["text"] = ""
        self.button.state(["disabled"])
        self.bar.pack(fill="x", pady=(12, 0))
        self.bar.start()
        work = threading.Thread(target=self._work, args=(folder, places), daemon=True)
        work.start()
        self._wait(work, folder)

    def _work(self, folder: Path, places: list[Path]) -> None:
        self._error = None
        try:
            unpack(payload(), folder)
            make_shortcuts(folder, places)
        except (SuiteError, OSError) as error:
            self._error = str(error)

    def _wait(self, work: threading.Thread, folder: Path) -> None:
        if work.is_alive():
            self.root.after(POLL, self._wait, work, folder)
            return
        self.bar.stop()
        self.bar.pack_forget()
        if self._error:
            self.message["text"] = self._error
            self.button.state(["!disabled"])
            return
        self.code = run_setup(folder, silently=False)
        self.root.destroy()


def ask_and_install(folder: Path) -> int:
    """Show the window; the exit code: 0 when Easy LoRA was unpacked and set-up started."""
    window = InstallerWindow(open_root("Easy LoRA", ADVICE), folder)
    window.root.deiconify()
    window.root.mainloop()
    return DONE if window.code == DONE else MENDABLE
