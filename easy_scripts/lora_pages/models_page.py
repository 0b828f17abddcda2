"""The first page of extracting: the two models, what they are, and whether they are related."""

from __future__ import annotations

from tkinter import ttk

from easy_scripts.lora_pages.model_info import ModelInfo
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.window import Wizard

MODELS = ("model_org", "model_tuned")


class ModelsPage(Page):
    """Two rows, a line below each, and one about both."""

    name = "models"

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self.info = ModelInfo(self, MODELS, self._tell_relation)
        self.reader = self.info.reader

    def build(self, body: ttk.Frame) -> None:
        """The rows, and how the models are related."""
        for name in MODELS:
            self.add_row(body, name)
        self._relation = ttk.Label(body, wraplength=self.theme.px(640))
        self._relation.pack(anchor="w", pady=self.theme.px(6))
        self.info.tell()

    def _families(self) -> list[str]:
        """The kinds of the two models, as far as they are known."""
        known = [self.info.of(name) for name in MODELS]
        return [found.facts["family"] for found in known if found and found.facts]

    def _tell_relation(self) -> None:
        if self.frame is None:
            return
        families = self._families()
        if len(families) < 2:
            self._relation.configure(text="")
        elif families[0] == families[1]:
            self._relation.configure(text=self.texts("models.related"), style="Good.TLabel")
        else:
            self._relation.configure(text=self.texts("models.unrelated"), style="Error.TLabel")

    def check(self) -> bool:
        """Two models, usable, different files, of one family."""
        for name in reversed(MODELS):
            if not self.answers[name]:
                self.show_error(name, self.texts("models.needed"))
        if not all(self.answers[name] for name in MODELS):
            return False
        if not super().check() or not self.info.check():
            return False
        if str(self.answers[MODELS[0]]) == str(self.answers[MODELS[1]]):
            self.show_error(MODELS[1], self.texts("models.same"))
            return False
        return len(set(self._families())) < 2

    def closing(self) -> None:
        """End the children that look at the models."""
        self.reader.close()
