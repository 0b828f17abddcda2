"""The field of the trigger word: found in the captions, or put in front of them while training."""

from __future__ import annotations

import tkinter
from tkinter import ttk
from typing import Any

from easy_scripts.train_pages.trigger_word import says, word_of_prefix
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.tips import add_tip
from easy_scripts.wizard.window import Wizard

PREFIX = "caption_prefix"


class TriggerField(ttk.Frame):
    """The word, and what becomes of it. A prefix that was opened stays until it is edited here."""

    def __init__(self, parent: tkinter.Misc, wizard: Wizard) -> None:
        super().__init__(parent)
        self._wizard, self._texts, self._answers = wizard, wizard.texts, wizard.answers
        theme = wizard.theme
        self.columnconfigure(0, weight=1)
        title = ttk.Label(self, text=self._texts("pictures.trigger"))
        title.grid(row=0, sticky="w")
        self._about = ttk.Label(self, style="Muted.TLabel", font=CAPTION,
                                wraplength=theme.px(420))  # fmt: skip
        self._about.grid(row=1, sticky="w")
        self._shown = ""
        self.variable = tkinter.StringVar(self)
        self.entry = ttk.Entry(self, textvariable=self.variable, width=24)
        self.entry.grid(row=0, column=1, rowspan=2, sticky="e")
        for widget in (self, title, self._about, self.entry):
            add_tip(widget, self._texts("pictures.trigger_tip"), theme)
        self.variable.trace_add("write", lambda *_: self._typed())
        self._answers.watch(self._follow_prefix, PREFIX)

    @property
    def word(self) -> str:
        """The word in the field."""
        return self.variable.get().strip(" ,")

    def propose(self, dataset: dict[str, Any]) -> None:
        """Begin with what the captions of another folder share, if nobody has chosen a word; where
        no prefix was chosen, that is only told if the captions say it anyway."""
        word = (dataset["trigger_word"] or {}).get("word", "")
        if not self._answers.is_open(PREFIX) and (self._answers[PREFIX] or self._needed(word)):
            self._follow_prefix()
            return
        self._show(word)
        self._wizard.facts.trigger = word
        self._answers.propose(PREFIX, self._prefix_for(word))
        self._explain()

    def _prefix_for(self, word: str) -> str | None:
        return f"{word}, " if word and self._needed(word) else None

    def _needed(self, word: str) -> bool:
        """Whether the word has to be put in front: not when the captions say it anyway."""
        pictures = self._wizard.facts.dataset.get("pictures", [])
        return not all(says(one["caption"], word) for one in pictures if not one["is_reg"])

    def _show(self, word: str) -> None:
        self._shown = word
        self.variable.set(word)

    def _typed(self) -> None:
        word = self.word
        if word != self._shown:
            self._shown, facts = word, self._wizard.facts
            facts.trigger = word
            facts.of_folder[PREFIX] = self._prefix_for(word)
            self._answers.by_hand.add(PREFIX)
            self._answers[PREFIX] = facts.of_folder[PREFIX]
        self._explain()

    def _follow_prefix(self) -> None:
        """The prefix was set elsewhere."""
        prefix = self._answers[PREFIX]
        if prefix != self._wizard.facts.of_folder.get(PREFIX, ""):
            word = word_of_prefix(prefix)
            if word or self._needed(self.word):
                self._wizard.facts.trigger = word
                self._show(word)
        self._explain()

    def _explain(self) -> None:
        if not self.word:
            text = self._texts("pictures.trigger_none")
        else:
            front = "front" if self._answers[PREFIX] else "there"
            text = self._texts(f"pictures.trigger_{front}", word=self.word)
        self._about.configure(text=text)
