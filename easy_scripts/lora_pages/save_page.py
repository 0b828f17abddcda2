"""The last page before the work: where the result goes, and what will be written."""

from __future__ import annotations

from pathlib import Path
from tkinter import ttk

from easy_scripts.wizard.page import Page
from easy_scripts.wizard.path_row import PathRow
from easy_scripts.wizard.theme import CAPTION


class SavePage(Page):
    """Subclasses say what will be written by `proposal` and `results`."""

    name = "save"
    next_text = "frame.start"
    more: tuple[str, ...] = ()

    def proposal(self) -> str:
        """A path to propose for save_to."""
        raise NotImplementedError

    def results(self) -> list[tuple[Path, str]]:
        """The files that will be written, each with a remark."""
        raise NotImplementedError

    def build(self, body: ttk.Frame) -> None:
        """The row of the path, the list of results, further settings."""
        theme = self.theme
        self.add_row(body, "save_to")
        ttk.Label(body, text=self.texts("save.list"), style="Strong.TLabel").pack(anchor="w")
        self._list = ttk.Frame(body)
        self._list.pack(fill="x", pady=(theme.px(6), theme.px(16)))
        for name in self.more:
            self.add_row(body, name)
        self.answers.watch(self._list_results)

    @property
    def row(self) -> PathRow:
        """The row of save_to."""
        return self.rows["save_to"]

    def enter(self) -> None:
        """Propose a place where the user has not chosen one."""
        before = self.wizard.facts.get("proposed")
        if str(self.answers["save_to"] or "") in ("", before):
            self.answers["save_to"] = self.wizard.facts["proposed"] = self.proposal()
        self.wizard.facts.pop("overwrite", None)
        self._list_results()

    def _list_results(self) -> None:
        if self.wizard.page is not self:
            return
        for child in self._list.winfo_children():
            child.destroy()
        for path, remark in self.results():
            exists = path.exists()
            text = path.name + (f" · {remark}" if remark else "")
            style = "Warning.TLabel" if exists else "Muted.TLabel"
            if exists:
                text += " · " + self.texts("save.exists")
            ttk.Label(self._list, text=text, style=style, font=CAPTION,
                      wraplength=self.theme.px(640)).pack(anchor="w")  # fmt: skip

    def proceed(self) -> None:
        """Ask before an older file is replaced."""
        older = [path for path, _ in self.results() if path.exists()]
        if older:
            names = ", ".join(path.name for path in older[:3]) + (" …" if older[3:] else "")
            if self.wizard.ask("save.ask", names=names) == 0:
                self.row.focus()
                return
            self.wizard.facts["overwrite"] = True
        self.wizard.go_on()
