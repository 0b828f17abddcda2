"""The last page before the work: where the result goes, and what will be written."""

from __future__ import annotations

import os
from pathlib import Path
from tkinter import ttk

from easy_scripts.wizard.page import Page
from easy_scripts.wizard.path_row import OUTPUT_FILE, PathRow
from easy_scripts.wizard.theme import CAPTION
from scripts.core.errors import SettingError, SuiteError
from scripts.core.files import as_safetensors


class SavePage(Page):
    """Subclasses say by `proposal` where that may be, and by `results` what will be written."""

    name = "save"
    next_text = "frame.start"

    def proposal(self) -> str:
        """A path to propose for save_to."""
        raise NotImplementedError

    def results(self) -> list[Path]:
        """The files that will be written: here the one of save_to, whose ending may be left out; in
        a folder it has the proposed name. Raises SettingError for a place where no file can be."""
        path = Path(str(self.answers["save_to"] or self.proposal()))
        if os.path.isdir(path):
            return [path / Path(self.proposal()).name]
        return [as_safetensors(path)]

    def left_out(self) -> list[str]:
        """What will not be made although it was asked for, and why, in sentences."""
        return []

    def build(self, body: ttk.Frame) -> None:
        """The row of the path, and the list of results."""
        theme = self.theme
        self.add_row(body, "save_to")
        ttk.Label(body, text=self.texts("save.list"), style="Strong.TLabel").pack(anchor="w")
        self._list = ttk.Frame(body)
        self._list.pack(fill="x", pady=(theme.px(6), theme.px(16)))
        self.answers.watch(self._list_results)

    @property
    def row(self) -> PathRow:
        """The row of save_to."""
        return self.rows["save_to"]

    def enter(self) -> None:
        """Propose a place where the user has not chosen one."""
        self.answers.propose("save_to", self.proposal())
        self.row.show_end()
        self.wizard.facts.forget("overwrite", "result")
        self._list_results()

    def _list_results(self) -> None:
        if self.wizard.page is not self:
            return
        for child in self._list.winfo_children():
            child.destroy()
        try:
            results, left_out = self.results(), self.left_out()
        except SuiteError:  # in the middle of typing
            return
        for path in results:
            exists, text = os.path.exists(path), path.name
            if exists:
                text += " · " + self.texts("save.exists")
            self._add_line(text, "Warning.TLabel" if exists else "Muted.TLabel")
        for text in left_out:
            self._add_line(text, "TLabel", self.theme.px(6))

    def _add_line(self, text: str, style: str, gap: int = 0) -> None:
        ttk.Label(self._list, text=text, style=style, font=CAPTION,
                  wraplength=self.theme.px(640)).pack(anchor="w", pady=(gap, 0))  # fmt: skip

    def check(self) -> bool:
        """Also whether results can be where they were said to go."""
        if not super().check():
            return False
        try:
            self.results()
        except SettingError as error:
            self.show_error("save_to", self.texts.said(error))
            return False
        return True

    def proceed(self) -> None:
        """Ask before an older file is replaced. The command gets the file that is promised, where a
        folder was given for it."""
        results = self.results()
        if self.row.kind == OUTPUT_FILE:
            self.wizard.facts.result = str(results[0])
        older = [path for path in results if os.path.exists(path)]
        if older:
            names = ", ".join(path.name for path in older[:3]) + (" …" if older[3:] else "")
            if self.wizard.ask("save.ask", names=names) == 0:
                self.row.focus()
                return
            self.wizard.facts.overwrite = True
        self.wizard.go_on()
