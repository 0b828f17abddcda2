"""What is it, and how careful: two choices that become settings, told in a plain sentence."""

from __future__ import annotations

import math
import tkinter
from tkinter import ttk
from typing import Any

from easy_scripts.train_pages.card_line import CardLine
from easy_scripts.train_pages.graphics_card import Card, find_card
from easy_scripts.train_pages.kind_words import in_words, time_in_words
from easy_scripts.train_pages.opened import APPLIED, keep_opened
from easy_scripts.train_pages.trial_part import BATCH, TrialPart
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.tips import add_tip
from scripts.core.declare import show_value
from scripts.core.machine import why_no_eight_bit
from scripts.settings.advice import Advice, Situation, advise
from scripts.settings.advice_tables import EFFORTS, KINDS, PRESETS
from scripts.settings.calibration import PLACE

REPEATS = "folder_repeats"
OWN = "own"  # the settings stay as they were opened


class KindPage(Page):
    """Kind, effort, card; below them what follows from these."""

    name = "kind"

    def build(self, body: ttk.Frame) -> None:
        """The choices, the sentence, the reasons folded away."""
        theme, kept = self.theme, self.wizard.memory.get("choices", {})
        self._found: str | None = None  # the memory of the card; None: not looked for yet
        self._kind = tkinter.StringVar(body, self._kept_kind())
        effort = kept.get("effort")
        self._effort = tkinter.StringVar(body, effort if effort in EFFORTS else EFFORTS[1])
        self._preset = tkinter.StringVar(body, kept.get("preset", "standard"))
        self._memory = tkinter.StringVar(body)
        self._own = self._choices(body, "kind.what", self._kind, KINDS, columns=2)
        self._add_own()
        self._efforts = self._choices(body, "kind.effort", self._effort, EFFORTS, columns=3)
        self._card_line = CardLine(body, self.wizard, self._memory)
        self._card_line.pack(fill="x", pady=(0, theme.px(14)))
        card = ttk.Frame(body, style="Card.TFrame", padding=theme.px(14))
        card.pack(fill="x", pady=(theme.px(4), theme.px(8)))
        self._sentence = ttk.Label(card, style="Strong.TLabel", wraplength=theme.px(610))
        self._sentence.pack(anchor="w", padx=theme.px(4))
        self._warning = ttk.Label(card, style="Warning.TLabel", wraplength=theme.px(610))
        self._trial = TrialPart(card, self.wizard, self._apply)
        content = self.add_fold(body, "kind.reasons")
        self._reasons = ttk.Label(content, style="Muted.TLabel", font=CAPTION,
                                  wraplength=theme.px(620))  # fmt: skip
        self._reasons.pack(anchor="w")
        self._make_way(content)
        link = ttk.Button(content, text=self.texts("kind.all"), style="Wide.TButton",
                          command=self._to_all)  # fmt: skip
        link.pack(anchor="w", pady=(theme.px(10), 0))
        self._memory.trace_add("write", lambda *_: self._keep_memory())
        for variable in (self._kind, self._effort, self._preset, self._memory):
            variable.trace_add("write", lambda *_: self._apply())

    def _choices(self, body: ttk.Frame, key: str, variable: tkinter.StringVar,
                 names: tuple[str, ...], columns: int) -> ttk.Frame:  # fmt: skip
        theme = self.theme
        ttk.Label(body, text=self.texts(key), style="Strong.TLabel").pack(anchor="w")
        grid = ttk.Frame(body)
        grid.pack(fill="x", pady=(theme.px(4), theme.px(14)))
        for index, name in enumerate(names):
            cell = ttk.Frame(grid)
            cell.grid(row=index // columns, column=index % columns, sticky="nw",
                      padx=(0, theme.px(20)), pady=theme.px(3))  # fmt: skip
            grid.columnconfigure(index % columns, weight=1, uniform="cells")
            label, place = self.wizard.access_key(
                self.texts(f"kind.{name}"), lambda name=name: variable.set(name))  # fmt: skip
            button = ttk.Radiobutton(cell, text=label, underline=place, value=name,
                                     variable=variable)  # fmt: skip
            button.pack(anchor="w")
            about = ttk.Label(cell, text=self.texts(f"kind.{name}.about"), style="Muted.TLabel",
                              font=CAPTION, wraplength=theme.px(600 // columns - 40))  # fmt: skip
            about.pack(anchor="w", padx=(theme.px(28), 0))
            for widget in (cell, button, about):
                add_tip(widget, self.texts(f"kind.{name}.tip"), theme)
        return grid

    def _add_own(self) -> None:
        """The choice to keep what was opened; shown only when something was."""
        label, place = self.wizard.access_key(
            self.texts("kind.own"), lambda: self._kind.set(OWN))  # fmt: skip
        self._own_button = ttk.Radiobutton(self._own, text=label, underline=place, value=OWN,
                                           variable=self._kind)  # fmt: skip
        self._own_button.grid(row=9, column=0, columnspan=2, sticky="w", pady=self.theme.px(3))
        add_tip(self._own_button, self.texts("kind.own.tip"), self.theme)
        self._own_button.grid_remove()

    def _make_way(self, parent: ttk.Frame) -> None:
        """The choice among presets."""
        names = {self.texts(f"kind.preset.{name}"): name for name in PRESETS}
        shown = next((text for text, name in names.items() if name == self._preset.get()), "")
        line = ttk.Frame(parent)
        line.pack(fill="x", pady=(self.theme.px(10), 0))
        title = ttk.Label(line, text=self.texts("kind.preset"))
        title.pack(side="left")
        self._way = ttk.Combobox(line, values=list(names), state="readonly", width=18)
        self._way.set(shown)
        self._way.pack(side="left", padx=self.theme.px(8))
        for widget in (title, self._way):
            add_tip(widget, self.texts("kind.preset.tip"), self.theme)
        self._way.bind("<<ComboboxSelected>>",
                       lambda _: self._preset.set(names[self._way.get()]))  # fmt: skip

    def enter(self) -> None:
        """Look for the card, and apply the choices to what is known now."""
        opened = self.wizard.facts.kind
        if opened:
            self._kind.set(opened)
            self._own_button.grid()
        else:
            self._own_button.grid_remove()
            if self._kind.get() == OWN:
                self._kind.set(self._kept_kind())
        find_card(self.wizard, self._take_card)

    def _kept_kind(self) -> str:
        """The kind that was chosen last time."""
        kind = self.wizard.memory.get("choices", {}).get("kind")
        return kind if kind in KINDS else KINDS[0]

    def may_leave(self) -> bool:
        """Ask whether a trial that runs may be ended."""
        return not self._trial.running or self.wizard.ask("kind.trial.ask") == 1

    def leave(self) -> None:
        """A trial tells nothing to another page."""
        self._trial.close()

    def closing(self) -> None:
        """End the trial that still runs."""
        if self.frame:
            self._trial.close()

    def _take_card(self, card: Card) -> None:
        self._card_line.name(card.name if card.present else self.texts("kind.no_card"))
        typed = self._memory.get() if self._found is None else ""
        self._found = f"{card.memory_gb:g}" if card.memory_gb else ""
        kept = self.wizard.memory.get("card_memory", {})
        known = str(kept.get("gb", "")) if kept.get("card") == card.name else self._found
        self._memory.set(typed or known)
        self._apply()

    def _keep_memory(self) -> None:
        """What a person says of the memory of this very card."""
        if self._found is None or self._card_line.problem:
            return
        text, card = self._memory.get(), self.wizard.facts.card
        kept = {} if text == self._found else {"card": card.name, "gb": text}
        self.wizard.memory.keep("card_memory", kept)

    # --- from choices to settings --------------------------------------------------------

    def _situation(self) -> Situation:
        facts = self.wizard.facts
        base, dataset, card = facts.base_model, facts.dataset, facts.card
        memory = self._card_line.gigabytes
        no_card = not card.present and memory is None
        return Situation(
            kind=self._kind.get(), effort=self._effort.get(), family=base.get("family", "sd1"),
            pictures=sum(one["pictures"] for one in facts.folders) or 1, memory_gb=memory,
            preset=self._preset.get() if self._preset.get() in PRESETS else "standard",
            v_prediction=bool(base.get("v_prediction")), has_tags=_has_tags(dataset),
            model_name=base.get("path", ""), bf16=card.bf16, no_card=no_card,
            device="CPU" if no_card else card.name, eight_bit=why_no_eight_bit() is None,
        )  # fmt: skip

    def _apply(self) -> None:
        if self.wizard.facts.card is None:
            return
        own = self._kind.get() == OWN
        self.wizard.memory.keep("choices", {
            "kind": self._kept_kind() if own else self._kind.get(), "effort": self._effort.get(),
            "preset": self._preset.get()})  # fmt: skip
        if self.wizard.facts.kind:
            keep_opened(self.wizard, self._kind.get())
        self._warning.pack_forget()
        situation = self._situation()
        if own:
            self._show_trial()
            self._sentence.configure(text=self._own_sentence(situation))
            self._reasons.configure(text="")
            return
        advice = advise(situation)
        values = self._with_folders(advice, situation)
        self._fill(values)
        measured = self._trial.measured()
        self._sentence.configure(text=in_words(self.wizard, advice, situation, PLACE, measured))
        declared = self.answers.declared
        reasons = [f"{self.texts.label(declared[name])} – {self.texts.said(reason)}"
                   for name, reason in advice.reasons.items()
                   if _same(self.answers[name], advice.values.get(name))]  # fmt: skip
        self._reasons.configure(text="\n".join(f"•  {reason}" for reason in reasons))
        if advice.warnings:
            self._warning.configure(text="\n".join(map(self.texts.said, advice.warnings)))
            self._warning.pack(anchor="w", padx=self.theme.px(4), pady=(self.theme.px(6), 0),
                               after=self._sentence)  # fmt: skip
        self._show_trial()

    def _show_trial(self) -> None:
        """The trial at the end of the card, once base model and pictures are known."""
        if self._trial.possible:
            self._trial.show()
            self._trial.pack(fill="x", padx=self.theme.px(4), pady=(self.theme.px(12), 0))
        else:
            self._trial.pack_forget()

    def _own_sentence(self, situation: Situation) -> str:
        text, seconds = self.texts("kind.own_sentence"), self._trial.whole_training()
        if seconds is None:
            return text
        return f"{text} {time_in_words(self.wizard, situation.no_card, seconds)}"

    def _with_folders(self, advice: Advice, situation: Situation) -> dict[str, Any]:
        """Repeats go to folders that ask for none themselves; else the rounds make up for it."""
        values = dict(advice.values)
        facts, folders = self.wizard.facts, self.wizard.facts.folders
        looks = advice.values["max_train_epochs"] * advice.repeats * situation.pictures
        entered, advised = self.answers[REPEATS], facts.advised_repeats
        free = not entered and all(one["repeats"] == 1 for one in folders)
        if folders and (free or _same(entered, advised or None)):
            values[REPEATS] = {one["name"]: advice.repeats for one in folders}
            facts.advised_repeats = facts.of_folder[REPEATS] = values[REPEATS]
        else:
            uses = sum(one["repeats"] * one["pictures"] for one in folders) or 1
            values["max_train_epochs"] = max(1, round(looks / uses))
        return values

    def _fill(self, values: dict[str, Any]) -> None:
        """Enter the advice, but leave alone what was set by hand or came from a config."""
        applied = self.wizard.memory.get(APPLIED, {})
        fresh, declared = {}, self.answers.declared
        stale = {name: declared[name].default for name in applied
                 if name in declared and name not in (*values, REPEATS)}  # fmt: skip
        for name, value in {**stale, **values}.items():
            now, entry = self.answers[name], declared[name]
            if name == BATCH and self._batch_is_chosen(now):
                continue
            untouched = now in (None, entry.default) and name not in self.answers.by_hand
            if untouched or _same(now, applied.get(name)):
                fresh[name] = value
        if "network_dim" not in fresh and "network_alpha" in fresh:
            fresh["network_alpha"] = None  # half of the size that was set by hand
        self._follow_amount(fresh)
        self.answers.update(fresh)
        self.wizard.memory.keep(APPLIED, {**applied, **fresh})

    def _batch_is_chosen(self, now: Any) -> bool:
        """Whether a trial's finding was taken; one that was changed since then counts no more."""
        if _same(now, self.wizard.facts.chosen_batch):
            return True
        self.wizard.facts.forget("chosen_batch")
        return False

    def _follow_amount(self, fresh: dict[str, Any]) -> None:
        """Few rounds of many pictures are all kept; of many rounds about ten."""
        epochs = fresh.get("max_train_epochs")
        if epochs and "save_every_n_epochs" in fresh:
            fresh["save_every_n_epochs"] = max(1, math.ceil(epochs / 10))

    # --- going on ------------------------------------------------------------------------

    def check(self) -> bool:
        """The memory of the card must be a number."""
        return super().check() and self._card_line.check()

    def proceed(self) -> None:
        """Past the page with all settings, which few need."""
        show_page(self.wizard, "summary")

    def _to_all(self) -> None:
        if self.check() and self.may_leave():
            show_page(self.wizard, "all_settings")

    def focus_first(self) -> None:
        """The button that goes on: most need change nothing."""
        self.wizard.footer.next.focus_set()


def _same(one: Any, other: Any) -> bool:
    return other is not None and (one == other or show_value(one) == show_value(other))


def _has_tags(dataset: dict[str, Any]) -> bool:
    """Whether the captions are tags: several short parts between commas."""
    tags = dataset.get("tags") or []
    captions = [one["caption"] for one in dataset.get("pictures", []) if one["caption"]]
    parts = sum(caption.count(",") for caption in captions)
    return bool(tags) and bool(captions) and parts >= 2 * len(captions)
