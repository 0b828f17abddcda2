"""The first page of extracting: the two models, what they are, and whether they are related."""

from __future__ import annotations

from tkinter import ttk

from easy_scripts.lora_pages.file_facts import FactsReader
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.window import Wizard

MODELS = ("model_org", "model_tuned")


class ModelsPage(Page):
    """Two rows, a line below each, and one about both."""

    name = "models"

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self.reader = FactsReader(wizard)
        self.reader.watch(lambda _: self._tell())

    def build(self, body: ttk.Frame) -> None:
        """The rows, and how the models are related."""
        for name in MODELS:
            self.add_row(body, name)
        self._relation = ttk.Label(body, wraplength=self.theme.px(640))
        self._relation.pack(anchor="w", pady=self.theme.px(6))
        self.answers.watch(self._tell, *MODELS)
        self._tell()

    def _tell(self) -> None:
        known = {}
        for name in MODELS:
            path, row = str(self.answers[name] or ""), self.rows.get(name)
            if not path or row is None:
                continue
            facts = known[name] = self.reader.ask(path)
            if facts.reading:
                row.show_info(self.texts("files.reading"))
            elif facts.facts:
                row.show_info(self._about(facts.facts))
            else:
                row.show_info(None)
        self._tell_relation(known)

    def _about(self, facts: dict) -> str:
        parts = [facts.get("family_title"), self.texts.size(facts["size_bytes"])]
        return " · ".join(part for part in parts if part)
