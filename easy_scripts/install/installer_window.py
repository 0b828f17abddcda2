"""The window of the installer: one page with the folder, two ticks and a button.

Made of plain ttk: the packages of the wizards are not there yet when it runs.
"""

from __future__ import annotations

import tempfile
import threading
import tkinter
from collections.abc import Callable
from pathlib import Path
from tkinter import filedialog, ttk

from easy_scripts.install.installer_entries import make_entries
from easy_scripts.install.installer_files import notices, payload, unpack
from easy_scripts.install.installer_start import start_setup
from easy_scripts.install.words import explain_error
from easy_scripts.launcher.project import dated_version
from easy_scripts.wizard.catalogue import Catalogue, split_access_key
from easy_scripts.wizard.plain_look import PlainLook
from easy_scripts.wizard.screen import open_root, show_in_front
from scripts.core.exit_codes import DONE, MENDABLE

POLL = 50  # milliseconds
WIDTH = 560  # logical pixels


class InstallerWindow:
    """Asks, unpacks in a thread, and starts set-up. `code` is the exit code."""

    def __init__(self, root: tkinter.Tk, folder: Path, texts: Catalogue | None = None) -> None:
        self.root, self.code = root, MENDABLE
        self.texts = texts or Catalogue()
        self.look = PlainLook(root, self.texts.language)
        self._worked, self._error = False, ""
        self.folder = tkinter.StringVar(root, str(folder))
        self.menu = tkinter.BooleanVar(root, True)
        self.desktop = tkinter.BooleanVar(root, False)
        self._build()
        root.bind("<Return>", self._press)
        root.bind("<Escape>", lambda event: root.destroy())

    def _build(self) -> None:
        look, texts = self.look, self.texts
        width = look.px(WIDTH)
        frame = ttk.Frame(self.root, padding=look.px(28))
        frame.pack(fill="both", expand=True)
        ttk.Label(frame, style="Title.TLabel", text=texts("installer.title")).pack(anchor="w")
        version = ttk.Label(frame, style="Muted.TLabel", text=dated_version())
        version.pack(anchor="w")
        about = ttk.Label(frame, text=texts("installer.about"), wraplength=width)
        about.pack(anchor="w", pady=look.px(14))
        row = ttk.Frame(frame)
        row.pack(fill="x", pady=(0, look.px(12)))
        self.entry = ttk.Entry(row, textvariable=self.folder, width=48, font="TkTextFont")
        self.entry.pack(side="left", fill="x", expand=True)
        browse = ttk.Button(row, style="Wide.TButton", text=texts("frame.browse"),
                            command=self._choose)  # fmt: skip
        browse.pack(side="left", padx=(look.px(8), 0))
        self.notice = ttk.Label(frame, wraplength=width)
        self.notice.pack(anchor="w")
        self.folder.trace_add("write", lambda *_: self._show_notices())
        self._show_notices()
        for key, variable in (("installer.menu", self.menu), ("installer.desktop", self.desktop)):
            tick = ttk.Checkbutton(frame, variable=variable)
            self._label(tick, key)
            tick.pack(anchor="w")
        self.message = ttk.Label(frame, style="Error.TLabel", wraplength=width)
        self.message.pack(anchor="w", pady=(look.px(10), 0))
        self.bar = ttk.Progressbar(frame, mode="indeterminate")
        buttons = ttk.Frame(frame)
        buttons.pack(side="bottom", fill="x", pady=(look.px(16), 0))
        cancel = self._button(buttons, "frame.cancel", "Wide.TButton", self.root.destroy)
        self.button = self._button(buttons, "installer.start", "Accent.TButton", self.install)
        self.button.lower(cancel)  # the keyboard comes to it first
        self.button.focus_set()

    def _button(
        self, parent: ttk.Frame, key: str, style: str, action: Callable[[], None]
    ) -> ttk.Button:
        """A button, to the left of those that are there."""
        button = ttk.Button(parent, style=style, command=action)
        self._label(button, key)
        button.pack(side="right", padx=(self.look.px(8), 0))
        return button

    def _label(self, widget: ttk.Button | ttk.Checkbutton, key: str) -> None:
        label, place = split_access_key(self.texts(key))
        widget.configure(text=label, underline=place)
        if place >= 0:
            self.root.bind(f"<Alt-{label[place].lower()}>", lambda _: widget.invoke())

    def _press(self, event: tkinter.Event) -> None:
        """Return presses the button that has the focus, else installs."""
        focused = isinstance(event.widget, ttk.Button)
        (event.widget if focused else self.button).invoke()

    def _choose(self) -> None:
        chosen = filedialog.askdirectory(parent=self.root, initialdir=self.folder.get())
        if chosen:
            self.folder.set(str(Path(chosen)))

    def _chosen(self) -> Path:
        return Path(self.folder.get().strip().strip('"')).absolute()

    def _show_notices(self) -> None:
        """What is to be known of the folder, while it is being typed."""
        self.notice["text"] = "\n".join(self.texts.said(text) for text in notices(self._chosen()))

    def install(self) -> None:
        """Unpack without blocking the window."""
        folder, wanted = self._chosen(), (self.menu.get(), self.desktop.get())
        self.message["text"] = ""
        self.button.state(["disabled"])
        self.bar.pack(fill="x", pady=(self.look.px(12), 0))
        self.bar.start(15)
        work = threading.Thread(target=self._work, args=(folder, *wanted), daemon=True)
        work.start()
        self._wait(work)

    def _work(self, folder: Path, menu: bool, desktop: bool) -> None:
        self._worked = False
        try:
            unpack(payload(), folder)
            make_entries(folder, menu, desktop)
            start_setup(folder)
            self._worked = True
        except Exception as error:  # noqa: BLE001 - a window without a console
            self._error = explain_error(error, folder, Path(tempfile.gettempdir()))

    def _wait(self, work: threading.Thread) -> None:
        if work.is_alive():
            self.root.after(POLL, self._wait, work)
            return
        self.bar.stop()
        self.bar.pack_forget()
        if self._worked:
            self.code = DONE
            self.root.destroy()
            return
        self.message["text"] = self.texts.said(self._error)
        self.button.state(["!disabled"])


def ask_and_install(folder: Path) -> int:
    """Show the window; the exit code: 0 when Easy LoRA was unpacked and set-up started."""
    texts = Catalogue()
    root = open_root(texts("installer.title"), texts("installer.without_window"))
    window = InstallerWindow(root, folder, texts)
    root.resizable(False, False)
    show_in_front(root)
    root.mainloop()
    return window.code
