"""The last page before the bake: what, where, how long, what is unusual."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tkinter import filedialog, ttk
from typing import Any

from easy_scripts.bakes.kept import kept_bakes
from easy_scripts.queue.store import QueueStore
from easy_scripts.train_pages.graphics_card import find_card
from easy_scripts.train_pages.opened import PREVIEW_PACE, PROMPTS, begin_new
from easy_scripts.train_pages.plan_cost import cost_lines
from easy_scripts.train_pages.trigger_word import trigger_word
from easy_scripts.wizard.asking import Answer, Asking, short_path, show_page
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.rows import TextRow
from easy_scripts.wizard.theme import CAPTION
from scripts.core.errors import SuiteError
from scripts.core.events import Problem
from scripts.core.files import FORBIDDEN_IN_NAMES, write_text
from scripts.settings.calibration import PLACE

LONGEST_NAME = 60
LONGEST_PROMPT = 160


class SummaryPage(Page):
    """Name and place, the plan as `scripts.train --plan` tells it, and the ways onward."""

    name = "summary"
    next_text = "frame.start"

    def build(self, body: ttk.Frame) -> None:
        """Rows of name, place and preview prompt; the plan; buttons."""
        theme = self.theme
        self._asking = Asking(self.wizard, "scripts.train")
        self._problem, self._problem_setting = "", None
        self._plan: dict[str, Any] | None = None
        for name in ("output_name", "output_dir"):
            self.add_row(body, name)
        row = TextRow(body, self.wizard, self.answers.declared[PROMPTS])
        row.frame.pack(fill="x", pady=(0, theme.px(12)))
        row.input().configure(width=38)
        self.rows[PROMPTS] = row
        self.answers.watch(self._propose_when, PROMPTS)
        self._card = ttk.Frame(body, style="Card.TFrame", padding=theme.px(14))
        self._card.pack(fill="x", pady=(0, theme.px(10)))
        self._unusual = ttk.Frame(body)
        self._unusual.pack(fill="x")
        buttons = ttk.Frame(body)
        buttons.pack(fill="x", pady=(theme.px(10), 0))
        for key, action in (("summary.all", self._to_all), ("summary.save", self._save_config),
                            ("summary.queue", self._to_queue)):  # fmt: skip
            label, place = self.wizard.access_key(self.texts(key), lambda act=action: self._do(act))
            button = ttk.Button(buttons, text=label, underline=place, style="Wide.TButton",
                                command=action)  # fmt: skip
            button.pack(side="left", padx=(0, theme.px(8)))
        self._queue_button = button
        self._said = ttk.Label(body, style="Good.TLabel", wraplength=theme.px(620))
        label, place = self.wizard.access_key(self.texts("summary.next"), self._to_next)
        self._next = ttk.Button(body, text=label, underline=place, style="Wide.TButton",
                                command=self._to_next)  # fmt: skip
        self.answers.watch(self._changed)

    def _do(self, action: Any) -> None:
        if self.wizard.page is self:
            action()

    def enter(self) -> None:
        """Propose what is not chosen yet, and ask for the plan."""
        self._propose()
        key = "summary.queue_back" if self.wizard.facts.queued else "summary.queue"
        label, place = self.wizard.access_key(self.texts(key), lambda: self._do(self._to_queue))
        self._queue_button.configure(text=label, underline=place)
        self._said.pack_forget()
        self._next.pack_forget()
        self._ask()
        find_card(self.wizard, lambda _: self._show_facts())

    def leave(self) -> None:
        """The plan is not wanted any more."""
        self._asking.close()

    # --- proposals -----------------------------------------------------------------------

    def _propose(self) -> None:
        answers, dataset = self.answers, self.wizard.facts.dataset
        name = trigger_word(self.wizard) or _class_words(dataset)
        folder = Path(str(answers["train_data_dir"] or "lora"))
        answers.propose("output_name", _file_name(name or folder.name))
        prompt = _prompt(dataset, str(answers["caption_prefix"] or ""))
        if prompt and not self.wizard.facts.kind:
            answers.propose(PROMPTS, prompt)
        self._propose_when()

    def _propose_when(self) -> None:
        """When to draw previews; what was opened says that itself, unless the prompt was typed."""
        answers = self.answers
        opened = self.wizard.facts.kind and PROMPTS not in answers.by_hand
        if opened or self.wizard.page is not self:
            return
        if not answers[PROMPTS]:
            if answers.is_open(PREVIEW_PACE):
                answers.withdraw(PREVIEW_PACE)
        elif not (answers["sample_every_n_steps"] or answers["sample_at_first"]):
            answers.propose(PREVIEW_PACE, answers["save_every_n_epochs"] or 1)

    # --- the plan ------------------------------------------------------------------------

    def _changed(self) -> None:
        if self.wizard.page is self:
            self._ask()

    def _ask(self) -> None:
        self._problem, self._problem_setting = "", None
        if not self._card.winfo_children():
            self._fill([(self.texts("summary.reading"), "")])
        self._asking.ask_about(self.answers.config(), "--plan", self._take)

    def _take(self, answer: Answer) -> None:
        for child in self._unusual.winfo_children():
            child.destroy()
        if answer.problems:
            self._plan, self._problem = None, answer.problem
            self._problem_setting = answer.problems[0].setting
            self._fill([(self.texts("summary.not_yet"), "")])
            self._list([(self._named(problem), "Error.TLabel") for problem in answer.problems])
            self.answered()
            return
        self._plan = self.wizard.facts.planned = plan = answer.facts
        self._show_facts()
        lines = [(text, "Warning.TLabel") for text in plan["warnings"]]
        if any(bake.running for bake in kept_bakes()):
            lines.insert(0, (self.texts("summary.running"), "Warning.TLabel"))
        lines += [(text, "Muted.TLabel") for text in (*plan["guesses"], *plan["notes"])]
        self._list(lines)
        self.answered()

    def _named(self, problem: Problem) -> str:
        """What is wrong, with the name of the setting as its row has it."""
        entry = self.answers.declared.get(problem.setting)
        return f"{self.texts.label(entry)}: {problem.message}" if entry else problem.message

    def _show_facts(self) -> None:
        if self._plan:
            self._fill(self._facts(self._plan))

    def _facts(self, plan: dict[str, Any]) -> list[tuple[str, str]]:
        texts, settings = self.texts, plan["settings"]
        kind = "LoCon" if settings.get("conv_dim") else "LoRA"
        pictures = sum(one["pictures"] for one in plan["folders"] if not one["is_reg"])
        dim, alpha = settings["network_dim"], settings.get("network_alpha", 0)
        side = "\u00a0×\u00a0".join(str(number) for number in settings.get("resolution", []))
        return [
            (texts("summary.what"), texts("summary.what_text", kind=kind, dim=dim,
                                          alpha=f"{alpha:g}")),
            (texts("summary.base"), f"{Path(plan['base_model']['path']).name} · "
                                    f"{plan['base_model']['title']}"),
            (texts("summary.pictures"), texts("summary.pictures_text", pictures=pictures,
                                              side=side)),
            (texts("summary.amount"), texts("summary.amount_text", steps=plan["steps"],
                                            epochs=plan["epochs"],
                                            batch=settings["train_batch_size"])),
            *cost_lines(self.wizard, plan, PLACE),
            (texts("summary.how"), texts("summary.how_text",
                                         optimizer=settings["optimizer_type"],
                                         rate=f"{settings['learning_rate']:g}")),
            (texts("summary.where"), short_path(Path(settings["output_dir"]) /
                                                f"{settings['output_name']}.safetensors", 64)),
        ]  # fmt: skip

    def _fill(self, lines: list[tuple[str, str]]) -> None:
        theme = self.theme
        for child in self._card.winfo_children():
            child.destroy()
        self._card.columnconfigure(1, weight=1)
        for row, (name, text) in enumerate(lines):
            ttk.Label(self._card, text=name, style="Muted.TLabel").grid(
                row=row, column=0, sticky="nw", padx=theme.px(4), pady=theme.px(2))  # fmt: skip
            ttk.Label(self._card, text=text, wraplength=theme.px(470)).grid(
                row=row, column=1, sticky="w", padx=theme.px(16), pady=theme.px(2))  # fmt: skip

    def _list(self, lines: list[tuple[str, str]]) -> None:
        for text, style in lines:
            ttk.Label(self._unusual, text=text, style=style, font=CAPTION,
                      wraplength=self.theme.px(620)).pack(anchor="w", pady=(0, 3))  # fmt: skip

    # --- ways onward ---------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """While the plan is made."""
        return self._asking.busy

    def check(self) -> bool:
        """Nothing is wrong, as far as the plan can tell."""
        errors = self.wizard.errors()
        for name, message in errors.items():
            self.wizard.show_error(name, message)
            return False
        if not super().check():
            return False
        if self._problem:
            self.wizard.show_error(self._problem_setting, self._problem)
            return False
        return True

    def _to_all(self) -> None:
        show_page(self.wizard, "all_settings")

    def choose_file(self) -> str:
        """Where to save the config, or "". Tests replace this."""
        return filedialog.asksaveasfilename(
            parent=self.wizard.root, initialfile=f"{self.answers['output_name']}.json",
            defaultextension=".json", filetypes=[("JSON", "*.json")],
        )  # fmt: skip

    def _save_config(self) -> None:
        path = self.choose_file()
        if path:
            try:
                write_text(Path(path), json.dumps(self.answers.config(), indent=2,
                                                  ensure_ascii=False) + "\n")  # fmt: skip
                self._say(self.texts("summary.saved", path=path))
            except SuiteError as error:
                self._say(self.texts.said(error), "Error.TLabel")

    def _to_queue(self) -> None:
        if not (self.check() and self.ready(self._to_queue)):
            return
        self.wizard.draft.count()
        store, config = QueueStore(), self.answers.config()
        try:
            if queued := self.wizard.facts.queued:
                store.edit(queued, config, str(self.answers["output_name"]))
                show_page(self.wizard, "queue")
                return
            store.add(config)
            self.wizard.facts.spent = True
            waiting = sum(bake.state == "waiting" for bake in store.read().bakes)
            self._say(self.texts("summary.queued", count=waiting))
            self._next.pack(anchor="w", pady=(self.theme.px(8), 0), after=self._said)
            self.frame.show(self._next)
        except SuiteError as error:
            self._say(self.texts.said(error), "Error.TLabel")

    def _to_next(self) -> None:
        if self.wizard.page is self and self._next.winfo_manager():
            begin_new(self.wizard)
            show_page(self.wizard, "base")

    def _say(self, text: str, style: str = "Good.TLabel") -> None:
        self._said.configure(text=text, style=style)
        self._said.pack(anchor="w", pady=(self.theme.px(10), 0))
        self.frame.show(self._said)

    def focus_first(self) -> None:
        """The button that starts."""
        self.wizard.footer.next.focus_set()

    def closing(self) -> None:
        """End the child that plans."""
        if self.frame:
            self._asking.close()


def _class_words(dataset: dict[str, Any]) -> str:
    folders = [one for one in dataset.get("folders", []) if not one["is_reg"]]
    return folders[0]["class_tokens"] if folders else ""


def _file_name(text: str) -> str:
    """The text as a file name that every system takes."""
    name = "".join("_" if letter in FORBIDDEN_IN_NAMES else letter for letter in text)
    return re.sub(r"\s+", " ", name).strip(" .")[:LONGEST_NAME] or "lora"


def _prompt(dataset: dict[str, Any], prefix: str) -> str:
    """What to draw as a preview: as the first caption says, the trigger word in front."""
    captions = [one["caption"] for one in dataset.get("pictures", []) if not one["is_reg"]]
    words = re.sub(r"\s+", " ", prefix + (captions[0] if captions else "")).strip(" ,")
    return words[:LONGEST_PROMPT].replace(" --", " ")
