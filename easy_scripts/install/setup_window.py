"""The window of set-up: what will be done, then how it goes, then the line that says it all.

It comes after a double-click on setup.bat, or on a tool before all is set up. Plain ttk, because
the packages that the wizards' windows are made of are what set-up is about to fetch. The work is
done by a child process.
"""

from __future__ import annotations

import queue
import threading
import time
import tkinter
from collections.abc import Callable, Sequence
from tkinter import ttk

from easy_scripts.install.make_environment import (
    AUTO,
    NothingFits,
    Wishes,
    describe_plan,
    unused_card,
)
from easy_scripts.install.skeleton import base_python
from easy_scripts.install.words import explain_error, split_unit
from easy_scripts.launcher.handover import open_window
from easy_scripts.launcher.judge import judge
from easy_scripts.launcher.project import Project
from easy_scripts.wizard.catalogue import Catalogue, split_access_key
from easy_scripts.wizard.child import Child, Ended, LogLine, Message
from easy_scripts.wizard.doctor_dialog import DoctorDialog
from easy_scripts.wizard.fold import Fold
from easy_scripts.wizard.plain_look import PlainLook
from easy_scripts.wizard.screen import open_root, show_in_front
from easy_scripts.wizard.time_left import TimeLeft
from scripts.core.errors import SuiteError
from scripts.core.events import Note, Problem, Stage
from scripts.core.exit_codes import DONE, STOPPED

POLL = 50  # milliseconds
WIDTH = 560  # logical pixels
LOG_LINES = 500


class SetupWindow:
    """The window; `code` is the exit code of the set-up that ran last.

    reason: why a tool has opened it in place of its own window, which comes afterwards.
    """

    def __init__(
        self, root: tkinter.Tk, project: Project, arguments: Sequence[str],
        texts: Catalogue | None = None, reason: str | None = None,
    ) -> None:  # fmt: skip
        self.root, self.project = root, project
        self.texts = texts or Catalogue()
        self.look = PlainLook(root, self.texts.language)
        self.code = STOPPED
        self._arguments = [*arguments, "--events"]
        self._reason = reason
        self._child: Child | None = None
        self._stopping = False
        self._time_left = TimeLeft()
        self._unused = ""  # what `unused_card` says
        self._results: queue.SimpleQueue[tuple[Callable, str]] = queue.SimpleQueue()
        root.protocol("WM_DELETE_WINDOW", self.close)
        root.bind("<Escape>", lambda event: self.close())
        root.bind("<Return>", self._press)
        self._build()
        self._later(self._look, self._show_plan)
        self._poll()

    # --- building --------------------------------------------------------------------------

    def _build(self) -> None:
        look, texts = self.look, self.texts
        width = look.px(WIDTH)
        frame = ttk.Frame(self.root, padding=look.px(28))
        frame.pack(fill="both", expand=True)
        ttk.Frame(frame, width=width).pack()  # as wide in every state
        ttk.Label(frame, style="Title.TLabel", text=texts("setup.title")).pack(anchor="w")
        self.stage = ttk.Label(frame, text=texts("setup.looking"), wraplength=width)
        self.stage.pack(anchor="w", pady=(look.px(14), 0))
        self._progress = ttk.Frame(frame)
        self._progress.pack(fill="x")
        self.bar = ttk.Progressbar(self._progress, mode="indeterminate", length=width)
        self.bar.pack(fill="x", pady=look.px(10))
        self.bar.start(15)
        self.time = ttk.Label(self._progress, style="Muted.TLabel")
        self.time.pack(anchor="w")
        self.notes = ttk.Label(frame, wraplength=width)
        self.notes.pack(anchor="w", pady=look.px(10))
        self.problem = ttk.Label(frame, style="Error.TLabel", wraplength=width)
        self.problem.pack(anchor="w")
        self._build_log(frame)
        self._build_buttons(frame)

    def _build_log(self, frame: ttk.Frame) -> None:
        look = self.look
        fold = Fold(frame, look, self.texts("work.log"))
        fold.pack(fill="both", expand=True, pady=(look.px(6), 0))
        self.log = tkinter.Text(fold.content, height=9, width=1, wrap="word", relief="flat",
                                state="disabled", font="TkFixedFont", padx=look.px(6),
                                background=look.colours.card, foreground=look.colours.text,
                                highlightthickness=0)  # fmt: skip
        self.log.pack(fill="both", expand=True)

    def _build_buttons(self, frame: ttk.Frame) -> None:
        buttons = ttk.Frame(frame)
        buttons.pack(fill="x", pady=(self.look.px(18), 0))
        self.doctor = self._button(buttons, "Wide.TButton", self._open_doctor, "left")
        self.leave = self._button(buttons, "Wide.TButton", self.close)
        self.start = self._button(buttons, "Accent.TButton", self.run)
        self.onward = self._button(buttons, "Accent.TButton", self._go_onward)
        self.processor = self._button(buttons, "Wide.TButton", lambda: self._use("cpu"))
        self.card = self._button(buttons, "Wide.TButton", lambda: self._use(AUTO))
        for button in (self.onward, self.processor, self.card):
            button.pack_forget()
        self._label(self.doctor, "doctor.button")
        self._label(self.leave, "frame.close")
        self._label(self.start, "setup.start")
        self._label(self.onward, "setup.go_on" if self._reason else "setup.train")
        self.start.state(["disabled"])

    def _button(
        self, parent: ttk.Frame, style: str, action: Callable[[], None], side: str = "right"
    ) -> ttk.Button:
        button = ttk.Button(parent, style=style, command=action)
        gap = self.look.px(8)
        button.pack(side=side, padx=(0, gap) if side == "left" else (gap, 0))
        return button

    def _label(self, button: ttk.Button, key: str) -> None:
        """Give a button the text `key` and its access key, in place of what it had."""
        label, place = split_access_key(self.texts(key))
        before = getattr(button, "access_key", None)
        if before:
            self.root.unbind(before)
        button.configure(text=label, underline=place)
        button.access_key = f"<Alt-{label[place].lower()}>" if place >= 0 else None
        if button.access_key:
            self.root.bind(button.access_key, lambda _: button.invoke())

    def _press(self, event: tkinter.Event) -> None:
        """Return presses the button that has the focus, else starts."""
        focused = isinstance(event.widget, ttk.Button)
        (event.widget if focused else self.start).invoke()

    # --- before ----------------------------------------------------------------------------

    def _later(self, work: Callable[[], str], then: Callable[[str], None]) -> None:
        """Do slow work in a thread and give its text, or its error's, to `then` in this one."""

        def run() -> None:
            try:
                self._results.put((then, work()))
            except NothingFits as error:
                self._results.put((self._show_refusal, str(error)))
            except Exception as error:  # noqa: BLE001 - else the bar would run for ever
                sentence = explain_error(error, self.project.root, self.project.logs)
                self._results.put((self._show_problem, sentence))

        threading.Thread(target=run, daemon=True).start()

    def _look(self) -> str:
        """In a thread: the plan, and what is found but left unused."""
        plan = describe_plan(self.project, Wishes())
        self._unused = unused_card(self.project, Wishes())
        return f"{plan}\n\n{self._unused}".rstrip()

    def _show_plan(self, plan: str) -> None:
        self._rest("setup.ready_to_start")
        reason = f"{self.texts.said(self._reason)}\n\n" if self._reason else ""
        self.notes["text"] = reason + self.texts.said(plan)
        if self._unused:
            self._label(self.card, "setup.card")
            self._show_button(self.card)
        self._let_start()

    def _let_start(self) -> None:
        self.start.state(["!disabled"])
        self.start.focus_set()

    def _show_problem(self, message: str) -> None:
        self._rest("work.failed")
        self.problem["text"] = self.texts.said(message)
        self._let_start()

    def _show_refusal(self, message: str) -> None:
        """The card cannot be used as it is: the processor can."""
        self._show_problem(message)
        self._label(self.processor, "setup.processor")
        self._show_button(self.processor)

    def _show_button(self, button: ttk.Button) -> None:
        button.pack(side="right", padx=(self.look.px(8), 0), before=self.start)

    def _use(self, kind: str) -> None:
        self._arguments += ["--kind", kind]
        self.processor.pack_forget()
        self.card.pack_forget()
        self.run()

    def _rest(self, key: str) -> None:
        self.stage["text"] = self.texts(key)
        self.bar.stop()
        self._progress.pack_forget()

    # --- running ---------------------------------------------------------------------------

    def run(self) -> None:
        """Start set-up as a child process."""
        self.start.state(["disabled"])
        for button in (self.doctor, self.processor, self.card):
            button.state(["disabled"])
        self.onward.pack_forget()
        self.problem["text"] = self.notes["text"] = ""
        self._stopping = False
        self.notes.configure(style="TLabel")
        self.stage["text"] = self.texts("work.starting")
        self._progress.pack(fill="x", after=self.stage)
        self._wait()
        self._label(self.leave, "work.stop")
        # with .venv's own Python, set-up could not replace it
        self._child = Child(
            "easy_scripts", ["setup", *self._arguments], self.project.root, base_python()
        )

    def _poll(self) -> None:
        while not self._results.empty():
            then, text = self._results.get()
            then(text)
        for message in self._child.messages() if self._child else ():
            self._show(message)
        self.root.after(POLL, self._poll)

    def _show(self, message: Message) -> None:
        if isinstance(message, Ended):
            self._ended(message.code)
        elif isinstance(message, LogLine):
            self._write(message.text)
        elif isinstance(message, Stage):
            self._show_stage(message)
        elif isinstance(message, Note):
            self.notes["text"] = self.texts.said(message.text)
            self._write(message.text)
        elif isinstance(message, Problem):
            self.problem["text"] = self.texts.said(message.message)
            self._write(message.message)

    def _show_stage(self, stage: Stage) -> None:
        name, unit = split_unit(stage.name)
        if not self._stopping:
            self.stage["text"] = self.texts.said(name)
        if not stage.total or stage.done is None:
            self._write(stage.name)
            self._wait()
            return
        self.bar.stop()
        self.bar.configure(mode="determinate", value=100 * stage.done / stage.total)
        text = self.texts("work.of", done=stage.done, total=f"{stage.total} {unit}".strip())
        left = self._time_left.seconds(stage.name, stage.done, stage.total, time.monotonic())
        if left is not None:
            text += " · " + self.texts("work.left", time=self.texts.duration(left))
        self.time["text"] = text

    def _wait(self) -> None:
        """Show that something goes on, for nobody knows how long."""
        self.time["text"] = ""
        self.bar.configure(mode="indeterminate")
        self.bar.start(15)

    def _ended(self, code: int) -> None:
        self._child, self.code = None, code
        usable = code == DONE or judge(self.project).whole  # but for the bake
        self._label(self.leave, "frame.close")
        for button in (self.doctor, self.processor, self.card):
            button.state(["!disabled"])
        self._label(self.start, "setup.check_again" if code == DONE else "setup.try_again")
        self._rest("setup.done" if code == DONE else "setup.usable" if usable else "setup.not_done")
        self._let_start()
        if code == DONE:
            self.notes.configure(style="Strong.TLabel")
        self.start.configure(style="Wide.TButton" if usable else "Accent.TButton")
        if usable:
            self.processor.pack_forget()
            self.card.pack_forget()
            self._show_button(self.onward)
            self.onward.focus_set()

    def _write(self, text: str) -> None:
        self.log.configure(state="normal")
        self.log.insert("end", text + "\n")
        self.log.delete("1.0", f"end-{LOG_LINES}l")
        self.log.see("end")
        self.log.configure(state="disabled")

    # --- after -----------------------------------------------------------------------------

    def _open_doctor(self) -> None:
        DoctorDialog(self.root, self.look, self.texts, self.run, project=self.project)

    def _go_onward(self) -> None:
        """Let the tool that waits open its window, or open the training wizard; then leave."""
        if self._reason:
            self.code = DONE
            self.close()
            return
        self.stage["text"] = self.texts("setup.opening")

        def start() -> str:
            stamp = judge(self.project).stamp
            if open_window(self.project, "easy_scripts.window", ["train"], stamp):
                raise SuiteError(self.texts("setup.did_not_open"))
            return ""

        self._later(start, lambda _: self.close())

    def stay(self) -> int:
        """Wait until it is closed: 0 when all is set up, else 2; what went wrong was read in it."""
        self.root.mainloop()
        return DONE if self.code == DONE else STOPPED

    def close(self) -> None:
        """Stop what runs, else leave."""
        if self._child:
            self._child.ask("stop")
            self._stopping = True
            self.stage["text"] = self.texts("work.stopping")
            return
        self.root.destroy()


def open_setup_window(
    project: Project, arguments: Sequence[str], reason: str | None = None
) -> SetupWindow:
    """The window, on the screen. Raises SuiteError when there is no screen.

    reason: as in SetupWindow.
    """
    texts = Catalogue()
    root = open_root(texts("setup.title"), texts("setup.without_window"))
    window = SetupWindow(root, project, arguments, texts, reason)
    root.resizable(False, False)
    show_in_front(root)
    return window
