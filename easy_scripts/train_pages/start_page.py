"""The first page: a new bake, the last one again, a config, or the practice bake."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tkinter import filedialog, ttk
from typing import Any

from easy_scripts.bakes.kept import KeptBake, kept_bakes
from easy_scripts.queue.store import WAITING, QueueStore
from easy_scripts.train_pages.action_card import ActionCard
from easy_scripts.train_pages.bake_findings import OF_LORA
from easy_scripts.train_pages.opened import (
    APPLIED,
    PROMPTS,
    begin_new,
    keep_opened,
    open_settings,
)
from easy_scripts.train_pages.paused import Paused, forget_paused, paused_bakes, saved_as
from easy_scripts.wizard.asking import Answer, Asking, short_path, show_page
from easy_scripts.wizard.fold import Fold
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.theme import CAPTION
from scripts.core.errors import SuiteError
from scripts.core.files import OUTPUT_FOLDER

CONFIG_ENDINGS = (".json", ".toml")
MODEL_ENDINGS = (".safetensors", ".ckpt")
NAMES_SHOWN = 4
SPOKEN_OF = ("refused", "unknown", "changed in meaning", "added", "not needed")  # fates of keys
QUIET = ("renamed", "used", "not set")  # fates of keys that are folded away
STYLES = {"refused": "Error.TLabel", "unknown": "Warning.TLabel"}


def is_config(path: str) -> bool:
    """Whether it is the file of a config, by its name."""
    return path.lower().endswith(CONFIG_ENDINGS) and os.path.isfile(path)


def sort_dropped(paths: Sequence[str]) -> dict[str, str]:
    """The settings that what was dropped on the .bat stands for, in any order: a config, which the
    first page opens, else a base model and the pictures. A picture stands for its folder."""
    given: dict[str, str] = {}
    for path in sorted(paths, key=is_config, reverse=True):
        if path.lower().endswith(MODEL_ENDINGS) and not os.path.isdir(path):
            given.setdefault("pretrained_model_name_or_path", path)
        elif os.path.isfile(path) and not is_config(path):
            given.setdefault("train_data_dir", os.path.dirname(path))
        else:
            given.setdefault("train_data_dir", path)
    return given


class StartPage(Page):
    """Ways to begin; each fills the answers and goes on."""

    name = "start"
    next_text = None
    offers_always = True

    def build(self, body: ttk.Frame) -> None:
        """A card for each way, and the place for the report of a config."""
        self._importing = Asking(self.wizard, "scripts.import_config")
        self._body = body
        self._cards: dict[str, ActionCard] = {}
        self._report = ttk.Frame(body)
        self._fill()

    def _fill(self) -> None:
        for card in self._cards.values():
            card.destroy()
        memory = self.wizard.memory
        last = memory.get("last", {})
        self._cards = {}
        for number, bake in enumerate(kept_bakes()):
            self._add_kept(bake, number)
        for number, paused in enumerate(paused_bakes(memory)):
            self._add("resume", partial(self._resume, paused), _name_of(paused),
                      accent=not self._cards,
                      place=f"resume{number}", dismiss=partial(self._forget, paused))  # fmt: skip
        self._add("new", self._new, accent=not self._cards)
        if last:
            self._add("again", self._again, _describe(last))
        self._add("open", self._choose_config)
        self._add("queue", lambda: show_page(self.wizard, "queue"), self._about_queue())
        self._add("practice", self._practice)
        for card in reversed(self._cards.values()):  # of several of a kind the newest has the key
            card.take_access_key()

    def _add_kept(self, bake: KeptBake, number: int) -> None:
        """A bake that goes on without a window, or ended unseen."""
        key = "running" if bake.running else "ended"
        since = time.strftime("%H:%M", time.localtime(bake.about.started))
        name = self.texts(f"start.kept.{bake.about.kind}", name=bake.about.name)
        about = self.texts(f"start.{key}_since", name=name, time=since)
        self._add(key, partial(self._attach, bake), about, accent=True, place=f"{key}{number}")

    def _about_queue(self) -> str:
        """What waits in the queue."""
        try:
            waiting = [bake.name for bake in QueueStore().read().bakes if bake.state == WAITING]
        except SuiteError as error:
            return self.texts.said(error)
        if not waiting:
            return self.texts("start.queue.about")
        names = ", ".join(waiting[:NAMES_SHOWN]) + (" …" if waiting[NAMES_SHOWN:] else "")
        return self.texts("start.queue_waits", count=len(waiting), names=names)

    def _add(self, key: str, action: Callable[[], None], about: str | None = None,
             accent: bool = False, place: str = "",
             dismiss: Callable[[], None] | None = None) -> None:  # fmt: skip
        card = ActionCard(self._body, self.wizard, f"start.{key}", action, about, accent, dismiss)
        card.pack(fill="x", pady=(0, self.theme.px(10)))
        self._cards[place or key] = card

    def enter(self) -> None:
        """Look whether there is something to go on with; take a config that was dropped."""
        self.wizard.facts.queued = ""
        self._fill()
        self._open_dropped(str(self.answers["train_data_dir"] or ""))

    def _open_dropped(self, path: str) -> None:
        """Open the config that `sort_dropped` has found."""
        if is_config(path):
            self.answers["train_data_dir"] = None
            self.open_config(path)

    def focus_first(self) -> None:
        """The way that most will take."""
        first = next((card for card in self._cards.values() if card.accent), self._cards["new"])
        first.button.focus_set()

    def offer(self, text: str, answer: str, action: Callable[[], None]) -> None:
        """The draft: not offered when it is the last bake, which has its own card."""
        last = self.wizard.memory.get("last", {})
        draft = self.wizard.draft.before
        if any(last.get(name) != value for name, value in draft.items()):
            super().offer(text, answer, lambda: self._use_draft(action))

    def _use_draft(self, action: Callable[[], None]) -> None:
        self.wizard.facts.forget(*OF_LORA)
        keep_opened(self.wizard, self.wizard.draft.kind_before)
        action()
        self.wizard.go_on()

    # --- ways ----------------------------------------------------------------------------

    def _new(self) -> None:
        begin_new(self.wizard)
        self.wizard.go_on()

    def _again(self) -> None:
        open_settings(self.wizard, self.wizard.memory.get("last", {}))
        show_page(self.wizard, "summary")

    def _resume(self, paused: Paused) -> None:
        if paused not in paused_bakes(self.wizard.memory):  # another window has gone on with it
            self._fill()
            self.focus_first()
            return
        open_settings(self.wizard, paused["config"])
        self.wizard.facts.resume = paused["state"]
        show_page(self.wizard, "bake")

    def _forget(self, paused: Paused) -> None:
        label = self.texts.label(self.answers.declared["resume"])
        name = _name_of(paused)
        if self.wizard.ask("start.forget", name=name, label=label, state=paused["state"]) == 1:
            forget_paused(self.wizard.memory, paused["state"])
            self._fill()
            self.focus_first()

    def _attach(self, bake: KeptBake) -> None:
        if bake.about.config:
            open_settings(self.wizard, bake.about.config)
        self.wizard.facts.attach = bake
        show_page(self.wizard, "bake")

    def _practice(self) -> None:
        self.wizard.facts.bake_kind = "practice"
        show_page(self.wizard, "bake")

    def _choose_config(self) -> None:
        chosen = self.choose_file()
        if chosen:
            self.open_config(chosen)

    def choose_file(self) -> str:
        """The file chosen in the system's window, or "". Tests replace this."""
        kinds = [(self.texts("start.configs"), "*.json *.toml"),
                 (self.texts("frame.all_files"), "*")]  # fmt: skip
        return filedialog.askopenfilename(parent=self.wizard.root, filetypes=kinds)

    def open_config(self, path: str) -> None:
        """Read a config of any tool; tell what became of its keys."""
        self._show_report([(self.texts("start.reading"), "Muted.TLabel")])
        self._importing.ask([path], lambda answer: self._imported(path, answer))

    def _imported(self, path: str, answer: Answer) -> None:
        if answer.problems:
            self._show_report([(answer.problem, "Error.TLabel")])
            return
        settings = answer.facts["settings"]
        open_settings(self.wizard, settings)
        # What it says was somebody's choice; a prompt in it was not typed to be drawn.
        self.answers.by_hand.update(settings.keys() - {PROMPTS})
        self.wizard.memory.keep(APPLIED, {})  # and no advice, even where that was the same
        facts = answer.facts
        lines = [(f"{Path(path).name}: {facts['summary']}", "TLabel")]
        lines += [(f"{name}: {text}", "Error.TLabel") for name, text in facts["problems"].items()]
        lines += [(self.texts("start.missing", label=self.texts.label(self.answers.declared[name])),
                   "Warning.TLabel") for name in facts["missing"]]  # fmt: skip
        for fate in SPOKEN_OF:
            style = STYLES.get(fate, "Muted.TLabel")
            lines += [(f"{entry['key']}: {entry['note']}", style) for entry in facts["report"]
                      if entry["fate"] == fate and entry["note"]]  # fmt: skip
        needed = ("pretrained_model_name_or_path", "train_data_dir")
        lacking = [name for name in needed if not self.answers[name] or name in facts["missing"]]
        self._show_report(lines, goes_on="start.to_base" if lacking else "start.to_summary")
        self._fold_keys(facts["report"])

    def _fold_keys(self, entries: list[dict[str, str]]) -> None:
        """At the end of the report, folded away: the keys that ask for no attention."""
        lines = []
        for fate in QUIET:
            keys = [f"{entry['key']} → {entry['setting']}" if fate == "renamed" else entry["key"]
                    for entry in entries if entry["fate"] == fate]  # fmt: skip
            key = f"start.keys_{fate.replace(' ', '_')}"
            lines += [self.texts(key, keys=", ".join(keys))] if keys else []
        if not lines:
            return
        fold = Fold(self._report, self.theme, self.texts("start.keys"))
        fold.pack(fill="x")
        for text in lines:
            ttk.Label(fold.content, text=text, style="Muted.TLabel", font=CAPTION,
                      wraplength=self.theme.px(620)).pack(anchor="w", pady=(0, 3))  # fmt: skip

    def _show_report(self, lines: list[tuple[str, str]], goes_on: str = "") -> None:
        theme, report = self.theme, self._report
        for child in report.winfo_children():
            child.destroy()
        report.pack_forget()
        report.pack(fill="x", pady=(theme.px(6), theme.px(12)))
        for text, style in lines:
            ttk.Label(report, text=text, style=style, font=CAPTION,
                      wraplength=theme.px(640)).pack(anchor="w", pady=(0, theme.px(3)))  # fmt: skip
        if goes_on:
            to_summary = goes_on == "start.to_summary"
            action = self._to_summary if to_summary else self.wizard.go_on
            label, place = self.wizard.access_key(self.texts(goes_on), action)
            button = ttk.Button(report, text=label, underline=place, style="Accent.TButton",
                                command=action)  # fmt: skip
            button.pack(anchor="w", pady=theme.px(8))
            button.focus_set()
        self.frame.show(report)

    def _to_summary(self) -> None:
        if self.wizard.page is self:
            show_page(self.wizard, "summary")

    def leave(self) -> None:
        """A place to save to is proposed from the start, so that nobody has to think of one. A
        config that is still being read is let go: it would replace what is entered later."""
        self.answers.propose("output_dir", str(OUTPUT_FOLDER))
        if self._importing.busy:
            self._importing.close()
            self._report.pack_forget()

    def closing(self) -> None:
        """End the child that reads a config."""
        if self.frame:
            self._importing.close()


def _name_of(paused: Paused) -> str:
    return saved_as(paused["state"], paused["config"].get("output_name"))


def _describe(last: dict[str, Any]) -> str:
    """Such as "hero · animefull.safetensors · …pictures\\hero"."""
    base = Path(str(last.get("pretrained_model_name_or_path", ""))).name
    parts = (last.get("output_name"), base, short_path(last.get("train_data_dir", ""), 40))
    return " · ".join(str(part) for part in parts if part)
