"""The first page of extracting: the two models, what they are, and whether they are related."""

from __future__ import annotations

from tkinter import ttk

from easy_scripts.lora_pages.model_info import ModelInfo
from easy_scripts.wizard.asking import Answer, Asking
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.window import Wizard

MODELS = ("model_org", "model_tuned")


class ModelsPage(Page):
    """Two rows, a line below each, and one about both."""

    name = "models"

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self.info = ModelInfo(self, MODELS, ("single_file", "ckpt"), self._tell_relation)
        self.reader = self.info.reader
        self.asking = Asking(wizard, "scripts.compare_models")
        self._compared: list[str] = []

    def build(self, body: ttk.Frame) -> None:
        """The rows, and how the models are related."""
        for name in MODELS:
            self.add_row(body, name)
        self._relation = ttk.Label(body, wraplength=self.theme.px(640))
        self._relation.pack(anchor="w", pady=self.theme.px(6))
        self.info.tell()

    def _families(self) -> list[str]:
        """The kinds of the two models, as far as they are known and can be used."""
        known = [self.info.of(name) for name in MODELS if not self.info.refusal(name)]
        return [one.facts["family"] for one in known if one and one.facts]

    def _tell_relation(self) -> None:
        if self.frame is None:
            return
        families, paths = self._families(), [str(self.answers[name]) for name in MODELS]
        if len(families) == 2 and paths == self._compared:
            return
        self._compared = []
        self.asking.close()
        if len(families) < 2 or paths[0] == paths[1]:
            self._say("")
        elif families[0] != families[1]:
            self._say("models.unrelated", "Error.TLabel")
        else:
            self._compared = paths
            self._say("models.comparing", "Muted.TLabel")
            self.asking.ask(paths, self._take)

    def _take(self, answer: Answer) -> None:
        facts = answer.facts
        if answer.problems:  # of the comparison; the extraction itself looks again
            self._relation.configure(text=answer.problem, style="Warning.TLabel")
        elif facts["equal"] == facts["layers"]:
            self._say("models.equal", "Warning.TLabel")
        else:
            key = "models.related" if facts["equal"] else "models.all_differ"
            style = "Good.TLabel"
            if not facts["related"]:
                key, style = "models.strangers", "Warning.TLabel"
            self._say(key, style, title=facts["family_title"],
                      equal=self.texts.percent(facts["equal"] / facts["layers"]),
                      difference=self.texts.percent(facts["difference"], 1))  # fmt: skip

    def _say(self, key: str, style: str = "TLabel", **values: str) -> None:
        self._relation.configure(text=self.texts(key, **values) if key else "", style=style)

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
        self.asking.close()
