"""Which base model: what it is, told at once, and the ones used before or found on this PC."""

from __future__ import annotations

import threading
from pathlib import Path
from tkinter import ttk
from typing import Any

from easy_scripts.train_pages.usual_folders import MOST, find_base_models
from easy_scripts.wizard.asking import Answer, Asking, short_path
from easy_scripts.wizard.drop import clean_path
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.theme import CAPTION

SETTING = "pretrained_model_name_or_path"
POLL = 100  # milliseconds


class BasePage(Page):
    """The file, a card that says what it is, and others to choose from."""

    name = "base"

    def build(self, body: ttk.Frame) -> None:
        """The row of the file, its card, the list of others."""
        theme = self.theme
        self._asking = Asking(self.wizard, "scripts.inspect_model")
        self._asked, self._problem = "", ""
        row = self.add_row(body, SETTING)
        row.frame.pack_configure(pady=(0, theme.px(12)))
        self._card = ttk.Frame(body, style="Card.TFrame", padding=theme.px(14))
        self._title = ttk.Label(self._card, style="Strong.TLabel", wraplength=theme.px(620))
        self._title.pack(anchor="w", padx=theme.px(4))
        self._about = ttk.Label(self._card, style="Muted.TLabel", font=CAPTION,
                                wraplength=theme.px(620))  # fmt: skip
        self._others = ttk.Frame(body)
        self._others.pack(fill="x", pady=(theme.px(10), 0))
        self._found: list[Path] = []
        search = threading.Thread(target=self._search, daemon=True)
        search.start()
        self._wait_for(search)
        self.answers.watch(self._look, SETTING)

    def enter(self) -> None:
        """Look at the file, and list the others."""
        self._look()
        self._list()

    # --- the file chosen -----------------------------------------------------------------

    def _look(self) -> None:
        path = clean_path(str(self.answers[SETTING] or ""))
        if path == self._asked and (self._asking.busy or self._problem or self.wizard.facts.base):
            return
        self._asked, self._problem = path, ""
        self.wizard.facts.forget("base")
        self._card.pack_forget()
        self._asking.close()
        if path and Path(path).exists():
            self._show(self.texts("base.reading"), "")
            self._asking.ask([path], self._take)

    def _take(self, answer: Answer) -> None:
        if answer.problems:
            self._problem = answer.problem
            self._card.pack_forget()
            self.rows[SETTING].show_error(self._problem)
        else:
            facts = answer.facts
            self.wizard.facts.base = facts
            self.rows[SETTING].show_error(None)
            is_v2 = facts["family"] == "sd2"
            if self.answers["v2"] not in (None, is_v2):
                self.answers["v2"] = None  # a config that was made for another model
            self._show(facts["title"], self._words(facts))
        self.answered()

    def _words(self, facts: dict[str, Any]) -> str:
        lines = [self.texts("base.resolution", side=facts["resolution"])]
        if facts["v_prediction"]:
            key = "base.v_guess" if facts["v_prediction_is_guess"] else "base.v"
            lines.append(self.texts(key))
        return "\n".join([*lines, *facts["notes"]])

    def _show(self, title: str, about: str) -> None:
        self._title.configure(text=title)
        self._about.configure(text=about)
        if about:
            self._about.pack(anchor="w", padx=self.theme.px(4), pady=(self.theme.px(2), 0))
        else:
            self._about.pack_forget()
        self._card.pack(fill="x", before=self._others)

    @property
    def waits(self) -> bool:
        """While the file is looked at."""
        return self._asking.busy

    def check(self) -> bool:
        """A file, looked at and found to be a base model."""
        if not self.answers[SETTING]:
            self.show_error(SETTING, self.texts("base.needed"))
            return False
        if not super().check():
            return False
        if self._problem:
            self.show_error(SETTING, self._problem)
            return False
        return True

    # --- others --------------------------------------------------------------------------

    def _search(self) -> None:
        self._found = find_base_models()

    def _wait_for(self, search: threading.Thread) -> None:
        if search.is_alive():
            self.wizard.root.after(POLL, lambda: self._wait_for(search))
        else:
            self._list()

    def _list(self) -> None:
        theme = self.theme
        for child in self._others.winfo_children():
            child.destroy()
        recent = [Path(path) for path in self.wizard.memory.recent(SETTING)]
        paths = list(dict.fromkeys([*recent, *self._found]))[:MOST]
        if not paths:
            return
        ttk.Label(self._others, text=self.texts("base.others"), style="Strong.TLabel").pack(
            anchor="w", pady=(theme.px(8), theme.px(6)))  # fmt: skip
        for path in paths:
            line = ttk.Frame(self._others)
            line.pack(fill="x")
            ttk.Button(line, text=short_path(path.name, 36), style="Toolbutton",
                       command=lambda path=path: self._choose(path)).pack(side="left")  # fmt: skip
            ttk.Label(line, text=short_path(path.parent, 34), style="Muted.TLabel",
                      font=CAPTION).pack(side="left", padx=theme.px(8))  # fmt: skip

    def _choose(self, path: Path) -> None:
        self.answers[SETTING] = str(path)
        self.rows[SETTING].check()

    def closing(self) -> None:
        """End the child that looks at the file."""
        if self.frame:
            self._asking.close()
