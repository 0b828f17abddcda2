"""While it bakes: how far, how long still, the loss, the previews; pause, save, stop."""

from __future__ import annotations

import time
from pathlib import Path
from tkinter import ttk
from typing import Any

from easy_scripts.bakes.kept import About, KeptBake, start_bake
from easy_scripts.queue.store import QueueStore
from easy_scripts.train_pages.bake_bars import BakeBars
from easy_scripts.train_pages.bake_buttons import BakeButtons
from easy_scripts.train_pages.figures import Figures, rates_of
from easy_scripts.train_pages.loss_curve import LossCurve
from easy_scripts.train_pages.paused import forget_paused, keep_paused, saved_as
from easy_scripts.train_pages.preview_pace import PreviewPace
from easy_scripts.train_pages.preview_strip import PreviewStrip
from easy_scripts.train_pages.trigger_word import trigger_word
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.attention import call_for_attention
from easy_scripts.wizard.child import Message
from easy_scripts.wizard.work_page import WorkPage
from scripts.core.events import Done, Event, Facts, Note, Preview, Saved, Stage, Start, Step
from scripts.core.exit_codes import DONE, STOPPED
from scripts.core.files import OUTPUT_FOLDER

STEPS_BEFORE_TIME = 10  # steps before the time left is worth telling
GO_ON, STOP, CLOSE = 0, 1, 2
BAKE, PRACTICE, QUEUE = "bake", "practice", "queue"  # the kinds of bakes
REQUESTS = ("pause", "save", "preview", "after_epoch")  # of the bake in hand


class BakePage(WorkPage):
    """Runs the training, the practice bake or the queue, as was chosen on the first page; or shows
    one that runs already (the fact `attach`)."""

    name = "bake"
    module = "scripts.train"
    _let_go = False
    _state = ""  # what was saved last, to go on from

    @property
    def back_to_start(self) -> bool:
        """Only the settings of a bake are on the pages before."""
        return self._kind != BAKE

    def build(self, body: ttk.Frame) -> None:
        """Below stage and bars: figures, curve, previews, buttons; then what every work shows."""
        theme = self.theme
        super().build(body)
        self._bars = BakeBars(body, theme, self.texts)
        self._bake = ttk.Frame(body)
        self._bake.pack(fill="x", before=self._notes, padx=(0, theme.px(12)))
        self._warning = ttk.Label(self._bake, style="Warning.TLabel", wraplength=theme.px(640))
        self._figures = Figures(self._bake, theme, self.texts)
        self._figures.pack(fill="x", pady=(theme.px(8), 0))
        self._curve = LossCurve(self._bake, theme, self.texts)
        self._curve.pack(fill="x", pady=(theme.px(12), theme.px(8)))
        self._strip = PreviewStrip(self._bake, theme, self.texts)
        self._buttons = BakeButtons(self._bake, self.wizard, {
            "pause": self._pause, "queue": lambda: show_page(self.wizard, "queue"),
            "save": self._save, "preview": self._preview, "after_epoch": self._after_epoch,
        })  # fmt: skip
        self._after = ttk.Frame(body)

    # --- running -------------------------------------------------------------------------

    @property
    def _resumed(self) -> str:
        """The state that the bake goes on from: of a pause, or set by hand."""
        return self._resume or str(self.answers["resume"] or "")

    def run_config(self) -> dict[str, Any]:
        """The answers, and the state to go on from, under the name that it has."""
        config = super().run_config()
        if self._resume:
            config["resume"] = self._resume
            config["output_name"] = self._name
        return config

    def enter(self) -> None:
        """Start the bake, or show the one that runs already; one that was started goes on."""
        if self.busy:
            return
        facts = self.wizard.facts
        self._attached: KeptBake | None = facts.take("attach")
        kind = facts.take("bake_kind") or BAKE
        self._kind = self._attached.about.kind if self._attached else kind
        self.module = "scripts.practice" if self._kind == PRACTICE else type(self).module
        self._resume = facts.take("resume")
        self._goes_on = bool(self._resume) and self._resume == self._state
        self._first_step: int | None = None
        self._newest: Step | None = None
        self._pausing = self._save_asked = self._let_go = False
        self._state, self._ran = "", []
        self._name = saved_as(self._resume, self.answers["output_name"])
        self._pace = PreviewPace()
        if self._attached:
            about = self._attached.about
            self._name, self._resume = about.name, about.resume
            self.answers.update(about.config)
        elif self._kind == BAKE and not self._resume:
            self.wizard.memory.keep("last", self.answers.config())
            self.wizard.memory.keep("last_trigger", trigger_word(self.wizard))
            facts.spent = True
        self._catching_up = bool(self._attached)  # all its events so far come at once
        super().enter()
        self._catching_up = False

    def start_child(self, config: dict[str, Any]) -> KeptBake:
        """The training; or the practice bake, which has a folder in place of a config; or all
        that waits in the queue."""
        if self._attached:
            return self._attached
        module, arguments = {
            BAKE: (self.module, []),
            PRACTICE: (self.module, [str(OUTPUT_FOLDER / "practice")]),
            QUEUE: ("easy_scripts.queue", ["run", "--folder", str(QueueStore().folder)]),
        }[self._kind]
        if self._kind != BAKE:
            return start_bake(About(self._kind, self._name), module, arguments)
        about = About(self._kind, self._name, self.answers.config(), resume=self._resumed)
        return start_bake(about, module, arguments, config)

    def _not_started(self, problem: str) -> None:
        super()._not_started(problem)
        self._buttons.pack_forget()
        self._show_ways()

    def _reset_looks(self) -> None:
        super()._reset_looks()
        self._bars.pack_forget()
        if self._goes_on:  # curve and previews are its own
            self._curve.go_on()
        else:
            self._curve.clear()
            self._strip.clear()
            self._strip.pack_forget()
        self._figures.clear()
        self._warnings: list[str] = []
        self._warning.pack_forget()
        self._after.pack_forget()
        self._buttons.show({*REQUESTS, "queue"} - {"pause"} if self._kind == QUEUE else REQUESTS)
        self._buttons.pack(fill="x", after=self._figures, pady=(self.theme.px(14), 0))
        self._let_buttons(False)

    def _let_buttons(self, usable: bool) -> None:
        """Let the bake be asked for something, or not."""
        usable = usable and self._kind != PRACTICE
        can = {*REQUESTS} if usable else set()
        if self._kind == BAKE and not self.answers["sample_prompts"]:
            can.discard("preview")
        if not self._stopping:
            can.add("queue")
        self._buttons.let(can)

    # --- what comes ----------------------------------------------------------------------

    def _show(self, message: Message) -> None:
        if isinstance(message, Note):  # there are many: the newest is shown, all are in the log
            self.events.append(message)
            self._write_log(message.text)
            if message.warning:
                self._warn(message.text)
            elif self._first_step is not None:
                self._notes.configure(text=message.text)
            return
        super()._show(message)

    def _warn(self, text: str) -> None:
        """Above the figures, and there to stay; in a queue with the name of the bake."""
        text = f"{self._name}: {text}" if self._kind == QUEUE else text
        if text not in self._warnings:
            self._warnings.append(text)
        self._warning.configure(text="\n".join(self._warnings))
        self._warning.pack(anchor="w", before=self._figures, pady=(self.theme.px(8), 0))

    def take(self, event: Event) -> None:
        """Figures, curve and pictures follow the events."""
        if not self._catching_up:
            self._pace.take(event, time.monotonic())
        if isinstance(event, Facts) and self._kind == QUEUE:
            self._name = event.facts.get("begins", self._name)
            self._ran += [event.facts["ended"]] if "ended" in event.facts else []
        elif isinstance(event, Start):
            self._begin(event)
        elif isinstance(event, Step):
            self._take_step(event)
        elif isinstance(event, Preview):
            self._strip.add(event)
            self._strip.pack(fill="x", pady=(0, self.theme.px(10)))
        elif isinstance(event, Saved):
            if event.what == "state":
                self._state = event.path
            elif self._save_asked:
                self._save_asked = False
                self._notes.configure(text=self.texts("bake.saved", name=Path(event.path).name))

    def _begin(self, start: Start) -> None:
        if self._kind == QUEUE:
            self._curve.clear()
            self._strip.clear()
            self._strip.pack_forget()
            self._figures.clear()
            self._first_step = self._newest = None
            self._bars.pack_forget()
            self._pack_bar()
        self._bars.begin(start)

    def _show_share(self, stage: Stage) -> None:
        """With the bar while the bake is prepared; later the bars are those of its steps."""
        if self._first_step is None:
            super()._show_share(stage)
        elif stage.total and stage.done is not None and not self._stopping:
            share = self.texts("work.of", done=stage.done, total=stage.total)
            self._stage.configure(text=f"{self._stage.cget('text')} · {share}")

    def _take_step(self, step: Step) -> None:
        if self._first_step is None:
            self._first_step = step.done
            self._bar.stop()
            self._bar.pack_forget()
            self._bars.pack(fill="x", after=self._stage, padx=(0, self.theme.px(12)))
            self._let_buttons(not self._stopping)
        if not self._stopping:
            named = self.texts("bake.baking_name", name=self._name)
            self._stage.configure(text=self.texts("bake.baking") if self._kind == PRACTICE
                                  else named)  # fmt: skip
        self._curve.add(step.done, step.loss, rates_of(step)[0] or 0.0)
        self._newest = step

    def polled(self) -> None:
        """Show the newest step; of a bake that went on without a window very many come at once."""
        step, self._newest = self._newest, None
        if step is None:
            return
        self._bars.show(step)
        self._time.configure(text=self._time_text(step))
        self._figures.show(step)

    def _time_text(self, step: Step) -> str:
        if step.seconds_left is None or step.done - self._first_step < STEPS_BEFORE_TIME:
            return self.texts("bake.time_soon")
        end = time.strftime("%H:%M", time.localtime(time.time() + step.seconds_left))
        left = self.texts.duration(step.seconds_left)
        return self.texts("bake.time", left=left, end=end)

    # --- buttons -------------------------------------------------------------------------

    def _pause(self) -> None:
        self._pausing = True
        self._stop()

    def _save(self) -> None:
        self._save_asked = True
        self._child.ask("save")

    def _preview(self) -> None:
        self._child.ask("preview")
        self._notes.configure(text=self.texts("bake.preview_soon"))

    def _after_epoch(self) -> None:
        self._child.ask("stop_after_epoch")
        self._buttons.bar("after_epoch")
        self._notes.configure(text=self.texts("bake.after_epoch_asked"))

    def leave_busy(self) -> None:
        """Ask once whether to stop; a second wish, after a while, ends the child at once."""
        if self._stopping:
            if self._may_kill:
                self._child.kill()
            return
        begins = self._kind == BAKE and not self._resumed
        early = self._kind == PRACTICE or (begins and self._first_step is None)
        answer = self.wizard.ask("bake.ask_stop_early" if early else "bake.ask_stop")
        if answer == STOP and self.busy:
            self._stop()
        elif answer == CLOSE and self.busy:
            self._let_go = True
            self._child.let_go()
            self.wizard.end()

    def _stop(self) -> None:
        self._let_buttons(False)
        super()._stop()

    # --- the end -------------------------------------------------------------------------

    def _finish(self, code: int) -> None:
        if self.wizard.page is not self:  # it is the queue that is being looked at
            show_page(self.wizard, self.name)
        done = code == DONE and any(isinstance(event, Done) for event in self.events)
        if done and self._kind == BAKE:
            forget_paused(self.wizard.memory, self._resumed)
        self.wizard.facts.practised = self._kind == PRACTICE
        self.wizard.facts.preview_seconds = self._pace.seconds
        self.wizard.facts.ran, self.wizard.facts.warnings = self._ran, self._warnings
        self._let_buttons(False)
        self._child.forget()
        if not self._stopping:
            call_for_attention(self.wizard.root)
        super()._finish(code)
        if done:
            return
        self._buttons.pack_forget()
        self._figures.end()
        if self._kind != BAKE:
            self._state = ""
        if self._state:
            problem = keep_paused(self.wizard, self._state, self._resumed)
            if problem:
                self._warn(problem)
        if code == STOPPED:
            self._show_stopped()
        self._show_ways()

    def _show_stopped(self) -> None:
        self._problem.pack_forget()
        self._help.pack_forget()
        loras = [event.path for event in self.events
                 if isinstance(event, Saved) and event.what == "lora"]  # fmt: skip
        if self._pausing and self._state:
            self._stage.configure(text=self.texts("bake.paused"))
        elif loras:
            name = Path(loras[-1]).name
            self._stage.configure(text=self.texts("bake.stopped", name=name))
        else:
            self._stage.configure(text=self.texts("work.stopped"))
        self._notes.configure(text="")

    def _show_ways(self) -> None:
        """Buttons to go on, and to begin anew."""
        for child in self._after.winfo_children():
            child.destroy()
        ways = [("bake.to_start", self._to_start)]
        if self._state:
            ways.insert(0, ("bake.continue", self._continue))
        for index, (key, action) in enumerate(ways):
            label, place = self.wizard.access_key(self.texts(key), action)
            style = "Wide.TButton" if index or not self._state else "Accent.TButton"
            ttk.Button(self._after, text=label, underline=place, style=style,
                       command=action).pack(side="left", padx=(0, self.theme.px(8)))  # fmt: skip
        above = (self._help, self._to_setting, self._problem, self._stage)
        last = next(widget for widget in above if widget.winfo_manager())
        self._after.pack(fill="x", after=last, pady=(0, self.theme.px(12)))
        if not self._to_setting.winfo_manager():
            self._after.winfo_children()[0].focus_set()

    @property
    def _has_ended(self) -> bool:
        """Whether the ways are those of what is on screen: their keys outlive them."""
        return self.wizard.page is self and not self.busy

    def _to_start(self) -> None:
        if self._has_ended:
            show_page(self.wizard, "start")

    def _continue(self) -> None:
        if self._has_ended:
            self.wizard.facts.resume = self._state
            self.enter()

    def closing(self) -> None:
        """The window goes: the bake saves and stops, unless it was let go."""
        if not self._let_go:
            super().closing()
