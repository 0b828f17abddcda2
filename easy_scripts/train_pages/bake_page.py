"""While it bakes: how far, how long still, the loss, the previews; pause, save, stop."""

from __future__ import annotations

import time
from pathlib import Path
from tkinter import ttk
from typing import Any

from easy_scripts.bakes.kept import About, KeptBake, start_bake
from easy_scripts.queue.store import QueueStore
from easy_scripts.train_pages.figures import Figures
from easy_scripts.train_pages.loss_curve import LossCurve
from easy_scripts.train_pages.paused import forget_paused, keep_paused
from easy_scripts.train_pages.preview_pace import PreviewPace
from easy_scripts.train_pages.preview_strip import PreviewStrip
from easy_scripts.train_pages.start_page import OUTPUT_FOLDER
from easy_scripts.train_pages.trigger_word import trigger_word
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.attention import call_for_attention
from easy_scripts.wizard.child import Message
from easy_scripts.wizard.work_page import CODE_DONE, CODE_STOPPED, WorkPage
from scripts.core.events import Done, Event, Facts, Note, Preview, Saved, Start, Step

STEPS_BEFORE_TIME = 10  # steps before the time left is worth telling
GO_ON, STOP, CLOSE = 0, 1, 2
BAKE, PRACTICE, QUEUE = "bake", "practice", "queue"  # the kinds of bakes
BUTTONS = ("pause", "save", "preview", "after_epoch")


class BakePage(WorkPage):
    """Runs the training, the practice bake or the queue, as was chosen on the first page; or shows
    one that runs already (the fact `attach`)."""

    name = "bake"
    module = "scripts.train"
    _let_go = False

    def build(self, body: ttk.Frame) -> None:
        """Below stage and bar: figures, curve, previews, buttons; then what every work shows."""
        theme = self.theme
        super().build(body)
        self._bake = ttk.Frame(body)
        self._bake.pack(fill="x", before=self._notes, padx=(0, theme.px(12)))
        self._figures = Figures(self._bake, self.wizard)
        self._figures.pack(fill="x")
        self._curve = LossCurve(self._bake, theme, self.texts)
        self._curve.pack(fill="x", pady=(theme.px(12), theme.px(8)))
        self._warning = ttk.Label(self._bake, style="Warning.TLabel", wraplength=theme.px(640))
        self._strip = PreviewStrip(self._bake, theme, self.texts)
        self._buttons = ttk.Frame(self._bake)
        self._button: dict[str, ttk.Button] = {}
        for key in BUTTONS:
            label, place = self.wizard.access_key(
                self.texts(f"bake.{key}"), lambda key=key: self._button[key].invoke())  # fmt: skip
            button = ttk.Button(self._buttons, text=label, underline=place, style="Wide.TButton",
                                command=getattr(self, f"_{key}"))  # fmt: skip
            button.pack(side="left", padx=(0, theme.px(8)))
            self._button[key] = button
        self._after = ttk.Frame(self._bake)

    # --- running -------------------------------------------------------------------------

    def run_config(self) -> dict[str, Any]:
        """The answers, and the state to go on from."""
        config = super().run_config()
        if self._resume:
            config["resume"] = self._resume
        return config

    def enter(self) -> None:
        """Start the bake, or show the one that runs already."""
        facts = self.wizard.facts
        self._attached: KeptBake | None = facts.take("attach")
        kind = facts.take("bake_kind") or BAKE
        self._kind = self._attached.about.kind if self._attached else kind
        self._resume = facts.take("resume")
        self._first_step: int | None = None
        self._newest: Step | None = None
        self._pausing = self._save_asked = self._let_go = False
        self._state, self._name, self._ran = "", str(self.answers["output_name"]), []
        self._pace = PreviewPace()
        if self._attached:
            self._name = self._attached.about.name
            self.answers.update(self._attached.about.config)
        elif self._kind == BAKE and not self._resume:
            self.wizard.memory.keep("last", self.answers.config())
            self.wizard.memory.keep("last_trigger", trigger_word(self.wizard))
            facts.baked = True
        self._catching_up = bool(self._attached)  # all its events so far come at once
        super().enter()
        self._catching_up = False

    def start_child(self, config: Path) -> KeptBake:
        """The training; or the practice bake, which has a folder in place of a config; or all
        that waits in the queue."""
        if self._attached:
            return self._attached
        module, arguments = {
            BAKE: (self.module, ["--config", str(config)]),
            PRACTICE: ("scripts.practice", [str(OUTPUT_FOLDER / "practice")]),
            QUEUE: ("easy_scripts.queue", ["run", "--folder", str(QueueStore().folder)]),
        }[self._kind]
        settings = self.answers.config() if self._kind == BAKE else {}
        about = About(self._kind, self._name, settings)
        return start_bake(about, module, arguments)

    def _reset_looks(self) -> None:
        super()._reset_looks()
        if self._resume:
            self._curve.go_on()
        else:
            self._curve.clear()
            self._strip.clear()
            self._strip.pack_forget()
        self._figures.clear()
        self._warning.configure(text="")
        self._warning.pack_forget()
        self._after.pack_forget()
        self._buttons.pack(fill="x", after=self._figures, pady=(self.theme.px(14), 0))
        self._let_buttons(False)

    def _let_buttons(self, usable: bool) -> None:
        for key, button in self._button.items():
            can = usable and not (key == "preview" and self._kind == BAKE
                                  and not self.answers["sample_prompts"])  # fmt: skip
            can = can and not (key == "pause" and self._kind == QUEUE)
            button.state(["!disabled" if can and self._kind != PRACTICE else "disabled"])

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
        told = self._warning.cget("text")
        self._warning.configure(text=f"{told}\n{text}".strip())
        self._warning.pack(anchor="w", after=self._curve, pady=(0, self.theme.px(8)))

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
            self._first_step = None
        self._figures.begin(start.steps, start.epochs)

    def _take_step(self, step: Step) -> None:
        if self._first_step is None:
            self._first_step = step.done
            self._let_buttons(not self._stopping)
        if not self._stopping:
            named = self.texts("bake.baking_name", name=self._name)
            self._stage.configure(text=self.texts("bake.baking") if self._kind == PRACTICE
                                  else named)  # fmt: skip
        self._curve.add(step.done, step.loss)
        self._newest = step

    def polled(self) -> None:
        """Show the newest step; of a bake that went on without a window very many come at once."""
        step, self._newest = self._newest, None
        if step is None:
            return
        self._bar.stop()
        self._bar.configure(mode="determinate", value=1000 * step.done / step.total)
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
        self._button["after_epoch"].state(["disabled"])
        self._notes.configure(text=self.texts("bake.after_epoch_asked"))

    def leave_busy(self) -> None:
        """Ask once whether to stop; a second wish, after a while, ends the child at once."""
        if self._stopping:
            if self._may_kill:
                self._child.kill()
            return
        answer = self.wizard.ask("bake.ask_stop")
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
        done = code == CODE_DONE and any(isinstance(event, Done) for event in self.events)
        if done and self._kind == BAKE:
            forget_paused(self.wizard)
        self.wizard.facts.practised = self._kind == PRACTICE
        self.wizard.facts.preview_seconds = self._pace.seconds
        self.wizard.facts.ran = self._ran
        self._let_buttons(False)
        self._child.forget()
        if not self._stopping:
            call_for_attention(self.wizard.root)
        super()._finish(code)
        if done:
            return
        self._buttons.pack_forget()
        if self._kind != BAKE:
            self._state = ""
        if self._state and (problem := keep_paused(self.wizard, self._state)):
            self._warn(problem)
        if code == CODE_STOPPED:
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
        ways = [("bake.to_start", lambda: show_page(self.wizard, "start"))]
        if self._state:
            ways.insert(0, ("bake.continue", self._continue))
        for index, (key, action) in enumerate(ways):
            label, place = self.wizard.access_key(self.texts(key), action)
            style = "Wide.TButton" if index or not self._state else "Accent.TButton"
            ttk.Button(self._after, text=label, underline=place, style=style,
                       command=action).pack(side="left", padx=(0, self.theme.px(8)))  # fmt: skip
        self._after.pack(fill="x", after=self._figures, pady=(self.theme.px(14), 0))
        self._after.winfo_children()[0].focus_set()

    def _continue(self) -> None:
        if self.wizard.page is self and not self.busy:
            self.wizard.facts.resume = self._state
            self.enter()

    def closing(self) -> None:
        """The window goes: the bake saves and stops, unless it was let go."""
        if not self._let_go:
            super().closing()
