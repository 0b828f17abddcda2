"""The row of a setting that is a file or a folder: typed, pasted, dropped, browsed or recent."""

from __future__ import annotations

import os
import tkinter
from pathlib import Path
from tkinter import filedialog, ttk
from typing import Any

from easy_scripts.wizard.drop import clean_path, take_drops
from easy_scripts.wizard.rows import VariableRow

FOLDER, OUTPUT_FOLDER, OUTPUT_FILE = "folder", "output folder", "output file"


class PathRow(VariableRow):
    """A field over the whole width, the recent paths in its list, and a button to browse."""

    wide = True
    path_kind: str | None = None  # a page may know better than the declaration
    file_types: tuple[tuple[str, str], ...] = ()  # and than the plan

    @property
    def kind(self) -> str:
        """What is to be chosen: a file, a folder, or what is to be written."""
        return self.path_kind or self.setting.path

    def make_field(self, parent: tkinter.Misc) -> ttk.Frame:
        """The field with its button."""
        field = ttk.Frame(parent)
        field.columnconfigure(0, weight=1)
        variable = self.make_variable(tkinter.StringVar(parent))
        self._entry = ttk.Combobox(field, textvariable=variable, postcommand=self._offer_recent)
        self._entry.grid(row=0, column=0, sticky="ew")
        self._entry.bind("<FocusOut>", lambda _: self._clean(), add="+")
        self._entry.bind("<<Paste>>", lambda _: self._entry.after_idle(self._clean), add="+")
        browse = self.texts("frame.browse")
        button = ttk.Button(field, text=browse, style="Wide.TButton", command=self.browse)
        button.grid(row=0, column=1, padx=(self.theme.px(8), 0))
        for widget in (field, self._entry, self.frame):
            take_drops(widget, self._dropped)
        return field

    def input(self) -> ttk.Combobox:
        """The field itself."""
        return self._entry

    def put(self, value: Any) -> None:
        """Show the end of a path that did not come from typing."""
        super().put(value)
        self.show_end()

    def shown_as(self, value: Any) -> str:
        """A path as it stands."""
        return "" if value is None else str(value)

    def focus(self) -> None:
        """Give the keyboard to the field, at the end of the path."""
        super().focus()
        self.show_end()

    def browse(self) -> None:
        """Let the user choose in the system's window."""
        chosen = self.choose()
        if chosen:
            self._take(chosen)

    def choose(self) -> str:
        """The path chosen in the system's window; empty when it was closed. Tests replace this."""
        options: dict[str, Any] = {"parent": self.wizard.root, "initialdir": self._start_folder(),
                                   "title": self.texts.label(self.setting)}  # fmt: skip
        if self.kind in (FOLDER, OUTPUT_FOLDER):
            return filedialog.askdirectory(**options)
        if self.kind == OUTPUT_FILE:
            name, ending = Path(self.read()).name, Path(self.read()).suffix
            return filedialog.asksaveasfilename(initialfile=name, defaultextension=ending,
                                                confirmoverwrite=False, **options)  # fmt: skip
        return filedialog.askopenfilename(
            filetypes=self.wizard.file_types(self.file_types), **options
        )

    def _start_folder(self) -> str:
        for text in (self.read(), *self.wizard.memory.recent(self.setting.name)):
            path = Path(clean_path(text))
            for folder in (path, path.parent):
                if text and os.path.isdir(folder):  # False, no error, where access is denied
                    return str(folder)
        return str(Path.home())

    def _take(self, path: str) -> None:
        self.variable.set(str(Path(clean_path(path))))
        self.show_end()
        self.check()

    def show_end(self) -> None:
        """Scroll a long path so that its name is seen, unless someone is typing."""
        entry = self._entry
        if entry.get() and (entry.index("insert") == 0 or self.wizard.root.focus_get() != entry):
            entry.icursor("end")
            entry.after_idle(lambda: entry.winfo_exists() and entry.xview_moveto(1))

    def _dropped(self, paths: list[str]) -> None:
        if paths:
            path = clean_path(paths[0])
            is_folder = self.kind in (FOLDER, OUTPUT_FOLDER)
            self._take(os.path.dirname(path) if is_folder and os.path.isfile(path) else path)

    def _clean(self) -> None:
        text = clean_path(self.read())
        if text != self.read():
            self.variable.set(text)

    def _offer_recent(self) -> None:
        self._entry.configure(values=self.wizard.memory.recent(self.setting.name))

    def check(self) -> bool:
        """Also see that what is to be read is there; note it as used."""
        self._clean()
        text = clean_path(str(self.answers[self.setting.name] or ""))
        good = super().check()
        if good and text:
            missing = self._missing(Path(text))
            self.show_error(missing)
            good = missing is None
            if good and os.path.exists(text):
                self.wizard.memory.note_path(self.setting.name, text)
        return good

    def _missing(self, path: Path) -> str | None:
        if self.setting.path == FOLDER and not os.path.isdir(path):
            return self.texts("frame.no_folder", path=path)
        if self.setting.path == "file" and not os.path.exists(path):
            return self.texts("frame.no_file", path=path)
        return None
