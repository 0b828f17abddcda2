"""The trial on the page of kinds: ten steps that tell how long it takes and what batch fits.

A part of that page: a button, a line that says how far it is, what was found, and a button that
takes the largest batch that fits. What was found is shown while the settings are those tried.
"""

from __future__ import annotations

import math
import time
import tkinter
from collections.abc import Callable
from tkinter import ttk
from typing import Any

from easy_scripts.wizard.asking import Answer, Asking
from easy_scripts.wizard.catalogue import split_access_key
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.time_left import TimeLeft
from easy_scripts.wizard.window import Wizard
from scripts.core.declare import read_value
from scripts.core.errors import SettingError
from scripts.core.events import Stage
from scripts.core.files import OUTPUT_FOLDER

TEXT_WIDTH = 600  # logical pixels
BATCH = "train_batch_size"
# Settings that change neither the time of a step nor its memory.
NOT_OF_A_STEP = ("max_train_epochs", "max_train_steps", "folder_repeats", "output_dir",
                 "output_name", "save_every_n_epochs", "save_every_n_steps", "sample_prompts",
                 "sample_every_n_epochs", "sample_every_n_steps", "sample_at_first")  # fmt: skip
# How stages of `scripts.train --trial` are told; the others load models.
STAGES = {"Trying ten steps": "kind.trial.steps",
          "Looking for the largest batch": "kind.trial.sizes"}  # fmt: skip


class TrialPart(ttk.Frame):
    """`changed` is called when something was found out, or when the batch was chosen by it."""

    def __init__(self, parent: tkinter.Misc, wizard: Wizard, changed: Callable[[], None]) -> None:
        super().__init__(parent)
        self._wizard, self._texts, self._theme = wizard, wizard.texts, wizard.theme
        self._answers, self._changed = wizard.answers, changed
        self._asking = Asking(wizard, "scripts.train")
        self._running: dict[str, Any] | None = None  # the config being tried
        self._tried: dict[str, Any] = {}  # what was tried last
        self._answer = Answer()
        self._take_batch = 0
        self._build()
        wizard.answers.watch(self._follow_answers)

    def _build(self) -> None:
        theme, texts = self._theme, self._texts
        self.columnconfigure(1, weight=1)
        self._button = ttk.Button(self, style="Wide.TButton", command=self._press)
        self._button.grid(row=0, column=0, sticky="nw", padx=(0, theme.px(12)))
        self._wizard.access_key(texts("kind.trial.button"), self._press)
        self._line = ttk.Label(self, style="Muted.TLabel", font=CAPTION, wraplength=theme.px(400))
        self._line.grid(row=0, column=1, sticky="w")
        self._bar = ttk.Progressbar(self, maximum=1000)
        self._bar.grid(row=1, columnspan=2, sticky="ew", pady=(theme.px(8), 0))
        self._found = ttk.Label(self, wraplength=theme.px(TEXT_WIDTH))
        self._found.grid(row=2, columnspan=2, sticky="w", pady=(theme.px(8), 0))
        self._problem = ttk.Label(self, style="Error.TLabel", wraplength=theme.px(TEXT_WIDTH))
        self._problem.grid(row=3, columnspan=2, sticky="w", pady=(theme.px(8), 0))
        self._take = ttk.Button(self, style="Wide.TButton", command=self._choose_batch)
        self._take.grid(row=4, columnspan=2, sticky="w", pady=(theme.px(8), 0))
        self._wizard.access_key(texts("kind.trial.take", count=1), self._choose_by_key)
        self.show()

    # --- trying --------------------------------------------------------------------------

    @property
    def possible(self) -> bool:
        """Whether base model and pictures are known, as far as the answers tell."""
        answers = self._answers
        names = ["pretrained_model_name_or_path",
                 "train_data_dir" if answers["train_data_dir"] else "dataset_config"]  # fmt: skip
        return all(answers[name] and not answers.error(name) for name in names)

    @property
    def running(self) -> bool:
        """Whether a trial runs."""
        return self._running is not None

    def _press(self) -> None:
        if not self.winfo_ismapped():
            return
        if self.running:
            self.close()
            return
        config = self._answers.config()
        self._running, self._answer, self._time_left = config, Answer(), TimeLeft()
        self._line.configure(text=self._texts("kind.trial.loading"))
        self.show()
        self._bar.configure(mode="indeterminate")
        self._bar.start(15)
        question = {**config, "output_dir": config.get("output_dir") or str(OUTPUT_FOLDER)}
        self.after_idle(self._come_into_view)
        self._asking.ask_about(question, "--trial", self._take_answer, stage=self._take_stage)

    def _take_stage(self, stage: Stage) -> None:
        key = STAGES.get(stage.name)
        text = self._texts(key or "kind.trial.loading")
        if key and stage.total:
            self._bar.stop()
            self._bar.configure(mode="determinate", value=1000 * stage.done / stage.total)
            text += " " + self._texts("work.of", done=stage.done, total=stage.total)
            left = self._time_left.seconds(stage.name, stage.done, stage.total, time.monotonic())
            if left is not None:
                text += " · " + self._texts("work.left", time=self._texts.duration(left))
        self._line.configure(text=text)

    def _take_answer(self, answer: Answer) -> None:
        self._tried, self._running, self._answer = self._running or {}, None, answer
        self._bar.stop()
        self._changed()
        self.after_idle(self._come_into_view)

    def _come_into_view(self) -> None:
        if self.winfo_ismapped():
            self._wizard.page.frame.show(self)

    def close(self) -> None:
        """End the trial that still runs."""
        self._asking.close()
        self._bar.stop()
        self._running = None
        self.show()

    def _follow_answers(self) -> None:
        """Other settings than those being tried: the trial would tell nothing of them."""
        if self._running is None:
            return
        now = self._answers.config()
        if not _same_step(now, self._running) or now.get(BATCH) != self._running.get(BATCH):
            self.close()

    # --- what was found ------------------------------------------------------------------

    @property
    def _facts(self) -> dict[str, Any]:
        """What the trial found, if the settings are still those that it tried."""
        same = _same_step(self._answers.config(), self._tried)
        return self._answer.facts if same else {}

    @property
    def _batch(self) -> int:
        entry = self._answers.declared[BATCH]
        try:
            return read_value(entry, self._answers[BATCH])
        except SettingError:  # its row tells it
            return entry.default

    def measured(self) -> tuple[float, int | None] | None:
        """Seconds and bytes of a step at the batch that is set now; None: not tried."""
        facts, batch = self._facts, self._batch
        if facts.get("batch") == batch and facts["seconds_per_step"] is not None:
            return facts["seconds_per_step"], facts["memory_bytes"]
        for one in facts.get("tried", ()):
            if one["batch"] == batch and one["verdict"] == "fits":
                seconds = one["seconds_per_picture"] * batch * facts["batches_in_step"]
                return seconds, one["memory_bytes"]
        return None

    def whole_training(self) -> float | None:
        """Seconds of the whole training at the batch that is set now; None: not tried."""
        measured, facts = self.measured(), self._facts
        if measured is None:
            return None
        steps = facts["steps"]
        if self._batch != facts["batch"] and self._answers["max_train_epochs"]:
            steps = math.ceil(steps * facts["batch"] / self._batch)
        return measured[0] * steps

    def show(self) -> None:
        """Show what can be done now and what is known."""
        running = self.running
        label, place = split_access_key(
            self._texts("kind.trial.cancel" if running else "kind.trial.button"))  # fmt: skip
        self._button.configure(text=label, underline=place)
        if not running:
            self._line.configure(text=self._texts("kind.trial.about"))
        config = self._answers.config()
        same = _same_step(config, self._tried) and config.get(BATCH) == self._tried.get(BATCH)
        self._put(self._bar, running)
        self._put(self._found, not running and self._in_words())
        self._put(self._problem, not running and same and self._answer.problem)
        largest, batch = self._facts.get("largest_batch") or 0, self._batch
        self._take_batch = 0 if running or largest == batch else largest
        take = self._texts("kind.trial.take", count=self._take_batch) if self._take_batch else ""
        label, place = split_access_key(take)
        self._put(self._take, label)
        self._take.configure(underline=place)

    def _put(self, widget: tkinter.Widget, shown: object) -> None:
        """Show a widget, with this text if it is one, or hide it."""
        if not shown:
            widget.grid_remove()
            return
        if isinstance(shown, str):
            widget.configure(text=shown)
        widget.grid()

    def _in_words(self) -> str:
        texts, facts, measured = self._texts, self._facts, self.measured()
        parts = []
        if measured is not None:
            seconds, memory = measured
            step = f"{seconds:.2g}" if seconds < 10 else f"{seconds:.0f}"
            if memory is None:
                parts.append(texts("kind.trial.found_time", seconds=step))
            else:
                parts.append(texts("kind.trial.found", seconds=step, gb=f"{memory / 1e9:.1f}"))
        largest = facts.get("largest_batch")
        if largest is None:
            parts += [texts("kind.trial.processor")] if facts else []
            return " ".join(parts)
        if measured is not None and self._batch > largest:
            parts.append(texts("kind.trial.spills"))
        keys = {0: "kind.trial.fit_none", 1: "kind.trial.fit_one"}
        parts.append(texts(keys.get(largest, "kind.trial.fit"), count=largest))
        return " ".join(parts)

    # --- the largest batch ---------------------------------------------------------------

    def _choose_by_key(self) -> None:
        if self._take.winfo_ismapped():
            self._choose_batch()

    def _choose_batch(self) -> None:
        """Train with the largest batch that fits; no advice overrules that."""
        self._wizard.facts.chosen_batch = self._take_batch
        self._answers[BATCH] = self._take_batch
        self._changed()
        self._wizard.footer.next.focus_set()


def _same_step(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two configs have the same steps, but for the batch size."""
    apart = (*NOT_OF_A_STEP, BATCH)
    return all(one.get(name) == other.get(name) for name in {*one, *other} if name not in apart)
