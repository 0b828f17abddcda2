"""The page on which the command runs: stage, bar, time left, cancel, the log folded away."""

from __future__ import annotations

import time
import tkinter
from contextlib import suppress
from functools import partial
from pathlib import Path
from tkinter import ttk
from typing import Any

from easy_scripts.wizard.child import Child, LogLine, Message
from easy_scripts.wizard.fold import Fold
from easy_scripts.wizard.heard import pass_on
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.reveal import open_file
from easy_scripts.wizard.time_left import TimeLeft
from scripts.core.errors import SuiteError
from scripts.core.events import Done, Event, Note, Problem, Saved, Stage
from scripts.core.exit_codes import DONE, MENDABLE
from scripts.core.files import LOG_FOLDER

POLL = 40  # milliseconds
GRACE = 6000  # milliseconds before a stop may be forced
LOG_LINES = 2000
FILES_SHOWN = 8


class WorkPage(Page):
    """Runs `module` with the answers as its config, and shows how it goes.

    Subclasses set `module`, and may change `run_config` and `take`.
    """

    name = "work"
    module = ""
    can_go_back = False
    passed_over = True
    next_text = None

    def build(self, body: ttk.Frame) -> None:
        """Stage, bar, line about the time, problem, notes, log."""
        theme = self.theme
        width = theme.px(620)
        self._stage = ttk.Label(body, wraplength=width)
        self._stage.pack(anchor="w", pady=(0, theme.px(10)))
        self._bar = ttk.Progressbar(body, maximum=1000)
        self._time = ttk.Label(body, style="Muted.TLabel")
        self._problem = ttk.Label(body, style="Error.TLabel", wraplength=width)
        self._to_setting = ttk.Button(body, style="Wide.TButton")
        self._notes = ttk.Label(body, wraplength=width)
        self._notes.pack(anchor="w", pady=(0, theme.px(12)))
        fold = Fold(body, theme, self.texts("work.log"))
        fold.pack(fill="x")
        self._help = ttk.Frame(body)
        for key, action in (("work.open_log", lambda: open_file(self._log_file())),
                            ("doctor.button", self.wizard.open_doctor)):  # fmt: skip
            button = ttk.Button(self._help, text=self.texts(key), style="Wide.TButton",
                                command=action)  # fmt: skip
            button.pack(side="left", padx=(0, theme.px(8)))
        colours = theme.colours
        self._log = tkinter.Text(fold.content, height=10, wrap="word", relief="flat",
                                 state="disabled", font="TkFixedFont", background=colours.card,
                                 foreground=colours.text)  # fmt: skip
        self._log.pack(fill="x", padx=(0, theme.px(12)))
        theme.changed.append(self._recolour)

    def _recolour(self) -> None:
        colours = self.theme.colours
        self._log.configure(background=colours.card, foreground=colours.text)

    # --- running -------------------------------------------------------------------------

    def run_config(self) -> dict[str, Any]:
        """The settings that the command gets."""
        config = self.answers.config()
        if self.wizard.facts.take("overwrite"):
            config["overwrite"] = True
        if result := self.wizard.facts.take("result"):
            config["save_to"] = result
        return config

    def enter(self) -> None:
        """Start the command."""
        self.wizard.draft.keep()
        self.events: list[Event] = []
        self._trouble: list[Problem] = []
        self._time_left, self._begun = TimeLeft(), time.monotonic()
        self._stopping = self._close_after = False
        self._saved: list[str] = []
        self._reset_looks()
        try:
            self._child = self.start_child(self.run_config())
        except (OSError, SuiteError) as error:
            self._not_started(self.texts.said(error))
            return
        self._set_busy(True)
        self._poll()

    def _not_started(self, problem: str) -> None:
        """The command could not be started; the ways out are open."""
        self._set_busy(False)
        self._ended_looks()
        self._stage.configure(text=self.texts("work.failed"))
        self._show_problem(problem)
        self._show_help()

    def start_child(self, config: dict[str, Any]) -> Child:
        """Start the command with `config`; subclasses may start another one."""
        path = self.wizard.own_files.write("run", config)
        return Child(self.module, ["--config", str(path), "--events"])

    def _set_busy(self, busy: bool) -> None:
        self.busy = busy
        self.can_go_back = not busy
        self.next_text = None
        self.cancel_text = "work.stop" if busy else "frame.close"
        self.wizard.refresh_footer()
        self.wizard.footer.cancel.state(["!disabled"])

    def _poll(self) -> None:
        code: int | None = None
        try:
            code = pass_on(self.texts, self._child, self._show)
            self.polled()
        finally:  # after an error of ours too: else the window could never be closed
            if code is None:
                self._job = self.wizard.root.after(POLL, self._poll)
            else:
                self._end(code)

    def _end(self, code: int) -> None:
        try:
            self._finish(code)
        except Exception:
            self._set_busy(False)
            raise

    def _show(self, message: Message) -> None:
        if isinstance(message, LogLine):
            self._write_log(message.text)
            return
        self.events.append(message)
        if isinstance(message, Stage):
            self._show_stage(message)
        elif isinstance(message, Problem):
            self._trouble.append(message)
            self._show_problem(message.message)
        elif isinstance(message, Note):
            notes = self._notes.cget("text")
            self._notes.configure(text=f"{notes}\n{message.text}".strip())
        elif isinstance(message, Saved):
            self._saved.append(message.path)
            self._write_log(f"saved {message.path}")
        self.take(message)

    def take(self, event: Event) -> None:
        """An event has come; for subclasses that show more."""

    def polled(self) -> None:
        """All that had come was taken; for subclasses that need not show each."""

    def _show_stage(self, stage: Stage) -> None:
        if not self._stopping:
            self._stage.configure(text=self.texts.said(stage.name))
        self._show_share(stage)

    def _show_share(self, stage: Stage) -> None:
        """How much of a stage is done."""
        if not stage.total or stage.done is None:
            self._bar.configure(mode="indeterminate")
            self._bar.start(15)
            self._time.configure(text="")
            return
        self._bar.stop()
        self._bar.configure(mode="determinate", value=1000 * stage.done / stage.total)
        left = self._time_left.seconds(stage.name, stage.done, stage.total, time.monotonic())
        text = self.texts("work.of", done=stage.done, total=stage.total)
        if left is not None:
            text += " · " + self.texts("work.left", time=self.texts.duration(left))
        self._time.configure(text=text)

    # --- stopping ------------------------------------------------------------------------

    def leave_busy(self) -> None:
        """Ask once whether to stop; a second wish, after a while, ends the child at once."""
        if self._stopping:
            if self._may_kill:
                self._child.kill()
            return
        if self.wizard.ask("work.ask_stop") == 1 and self.busy:
            self._stop()

    def _stop(self) -> None:
        self._stopping, self._may_kill = True, False
        self._child.ask("stop")
        self._stage.configure(text=self.texts("work.stopping"))
        self.wizard.footer.cancel.state(["disabled"])
        self.wizard.root.after(GRACE, self._allow_kill)

    def _allow_kill(self) -> None:
        if self.busy and self._stopping:
            self._may_kill = True
            self.cancel_text = "work.kill"
            self.wizard.refresh_footer()
            self.wizard.footer.cancel.state(["!disabled"])

    def closing(self) -> None:
        """The window goes: a child that still runs is ended (its stdin's end says stop)."""
        if self.busy:
            with suppress(tkinter.TclError):
                self.wizard.root.after_cancel(self._job)
            self._child.ask("stop")

    # --- the end -------------------------------------------------------------------------

    def _finish(self, code: int) -> None:
        self._set_busy(False)
        self._bar.stop()
        if code == DONE and any(isinstance(event, Done) for event in self.events):
            self.wizard.facts.events = self.events
            self.wizard.go_on()
            return
        self._ended_looks()
        if self._stopping:
            self._stage.configure(text=self._stopped_text())
            return
        self._stage.configure(text=self.texts("work.failed"))
        if not self._trouble:
            self._show_problem(self.texts("work.bug"))
        if code != MENDABLE or not self._trouble or not self._offer_setting():
            self._show_help()
        self.frame.to_top()

    def _stopped_text(self) -> str:
        """What lies on the disk after a stop."""
        if not self._saved:
            return self.texts("work.stopped")
        more = ["…"] if len(self._saved) > FILES_SHOWN else []
        return "\n".join([self.texts("work.stopped_with"), *self._saved[:FILES_SHOWN], *more])

    def _show_help(self) -> None:
        """The ways to the log and to the doctor, below what is wrong."""
        self._help.pack(anchor="w", pady=(0, self.theme.px(12)), after=self._problem)

    def _offer_setting(self) -> bool:
        """A button back to the field that is wrong; False if none is."""
        for problem in self._trouble:
            name = problem.setting
            if name and any(name in page.setting_names() for page in self.wizard.pages):
                label = self.texts.label(self.answers.declared[name])
                self._to_setting.configure(
                    text=self.texts("work.to_setting", label=label),
                    command=partial(self.wizard.show_error, name, problem.message),
                )
                self._to_setting.pack(anchor="w", pady=(0, self.theme.px(12)),
                                      after=self._problem)  # fmt: skip
                self._to_setting.focus_set()
                return True
        return False

    def _reset_looks(self) -> None:
        self._stage.configure(text=self.texts("work.starting"))
        self._pack_bar()
        self._time.pack(anchor="w", pady=(self.theme.px(8), self.theme.px(16)), after=self._bar)
        for label in (self._time, self._notes):
            label.configure(text="")
        for widget in (self._problem, self._to_setting, self._help):
            widget.pack_forget()
        self._log.configure(state="normal")
        self._log.delete("1.0", "end")
        self._log.configure(state="disabled")

    def _pack_bar(self) -> None:
        """Show the bar, of work that has not told how much it is."""
        self._bar.pack(fill="x", padx=(0, self.theme.px(12)), after=self._stage)
        self._bar.configure(mode="indeterminate", value=0)
        self._bar.start(15)

    def _ended_looks(self) -> None:
        self._bar.pack_forget()
        self._time.pack_forget()
        self.wizard.footer.back.focus_set()

    def _show_problem(self, message: str) -> None:
        known = self._problem.cget("text") if self._problem.winfo_manager() else ""
        self._problem.configure(text=f"{known}\n{message}".strip())
        self._problem.pack(anchor="w", pady=(0, self.theme.px(12)), after=self._stage)

    def _write_log(self, text: str) -> None:
        log = self._log
        log.configure(state="normal")
        log.insert("end", text + "\n")
        log.delete("1.0", f"end-{LOG_LINES}l")
        log.see("end")
        log.configure(state="disabled")

    def _log_file(self) -> Path:
        """The newest log of the command, else the folder of the logs."""
        name = self.module.rsplit(".", 1)[-1]
        logs = sorted(LOG_FOLDER.glob(f"{name}-*.log"), key=lambda path: path.stat().st_mtime)
        return logs[-1] if logs else LOG_FOLDER

    def focus_first(self) -> None:
        """Nothing here takes the keyboard but the buttons."""
        self.wizard.footer.cancel.focus_set()
