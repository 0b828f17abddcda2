"""The window of set-up: what will be done, then how it goes, then the line that says it all.

It comes after a double-click on setup.bat. Plain Tk, because the packages that the wizards' windows
are made of are what set-up is about to fetch. The work is done by a child process.
"""

from __future__ import annotations

import queue
import threading
import time
import tkinter
from collections.abc import Callable, Sequence
from tkinter import ttk

from easy_scripts.install.doctor import examine, write_report
from easy_scripts.install.make_environment import Wishes, describe_plan
from easy_scripts.install.words import in_words
from easy_scripts.launcher.handover import open_window
from easy_scripts.launcher.judge import judge
from easy_scripts.launcher.project import Project
from easy_scripts.wizard.child import Child, Ended, LogLine, Message
from easy_scripts.wizard.screen import open_root
from easy_scripts.wizard.time_left import TimeLeft
from scripts.core.errors import SuiteError
from scripts.core.events import Note, Problem, Stage

POLL = 50  # milliseconds
WIDTH = 520  # pixels of an ordinary screen
LOG_LINES = 500
DONE, STOPPED = 0, 2
ADVICE = "Use: python -m easy_scripts setup"


class SetupWindow:
    """The window; `code` is the exit code of the set-up that ran last."""

    def __init__(self, root: tkinter.Tk, project: Project, arguments: Sequence[str]) -> None:
        self.root, self.project = root, project
        self.code = STOPPED
        self._arguments = [*arguments, "--events"]
        self._child: Child | None = None
        self._time_left = TimeLeft()
        self._results: queue.SimpleQueue[tuple[Callable, str]] = queue.SimpleQueue()
        root.protocol("WM_DELETE_WINDOW", self.close)
        root.bind("<Escape>", lambda event: self.close())
        root.bind("<Return>", self._press)
        self._build()
        self._later(lambda: describe_plan(project, Wishes()), self._show_plan)
        self._poll()

    def _build(self) -> None:
        width = round(WIDTH * self.root.winfo_fpixels("1i") / 96)
        frame = ttk.Frame(self.root, padding=24)
        frame.pack(fill="both", expand=True)
        self.stage = ttk.Label(frame, text="Looking at this computer…", wraplength=width)
        self.stage.pack(anchor="w")
        self.bar = ttk.Progressbar(frame, mode="indeterminate", length=width)
        self.bar.pack(fill="x", pady=12)
        self.bar.start()
        self.time = ttk.Label(frame)
        self.time.pack(anchor="w")
        self.notes = ttk.Label(frame, wraplength=width)
        self.notes.pack(anchor="w", pady=8)
        self.problem = ttk.Label(frame, wraplength=width, foreground="#b00020")
        self.problem.pack(anchor="w")
        self.log = tkinter.Text(frame, height=8, width=70, state="disabled", relief="flat")
        self.log.pack(fill="both", expand=True, pady=8)
        buttons = ttk.Frame(frame)
        buttons.pack(anchor="e")
        self.doctor = ttk.Button(buttons, text="What is wrong?", command=self._examine)
        self.start = ttk.Button(buttons, text="Set up", command=self.run)
        self.start.state(["disabled"])
        self.train = ttk.Button(buttons, text="Train a LoRA", command=self._open_training)
        self.leave = ttk.Button(buttons, text="Close", command=self.close)
        for button in (self.doctor, self.start, self.leave):
            button.pack(side="left", padx=(8, 0))

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
            except (SuiteError, OSError) as error:
                self._results.put((self._show_problem, str(error)))

        threading.Thread(target=run, daemon=True).start()

    def _show_plan(self, plan: str) -> None:
        self._rest("Ready to set up Easy LoRA. Nothing outside its folder is changed.")
        self.notes["text"] = plan
        self.start.state(["!disabled"])
        self.start.focus_set()

    def _show_problem(self, message: str) -> None:
        self._rest("This did not work.")
        self.problem["text"] = message
        self.start.state(["!disabled"])

    def _rest(self, text: str) -> None:
        self.stage["text"] = text
        self.bar.stop()
        self.bar.configure(mode="determinate", value=0)
        self.time["text"] = ""

    # --- running ---------------------------------------------------------------------------

    def run(self) -> None:
        """Start set-up as a child process."""
        self.start.state(["disabled"])
        self.doctor.state(["disabled"])
        self.problem["text"] = self.notes["text"] = ""
        self.leave["text"] = "Stop"
        self._child = Child("easy_scripts", ["setup", *self._arguments], self.project.root)

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
            self.notes["text"] = message.text
            self._write(message.text)
        elif isinstance(message, Problem):
            self.problem["text"] = message.message

    def _show_stage(self, stage: Stage) -> None:
        self.stage["text"] = stage.name
        if not stage.total or stage.done is None:
            self._write(stage.name)
            self.time["text"] = ""
            self.bar.configure(mode="indeterminate")
            self.bar.start()
            return
        self.bar.stop()
        self.bar.configure(mode="determinate", value=100 * stage.done / stage.total)
        left = self._time_left.seconds(stage.name, stage.done, stage.total, time.monotonic())
        wait = f", about {in_words(left)} left" if left is not None else ""
        self.time["text"] = f"{stage.done} of {stage.total}{wait}"

    def _ended(self, code: int) -> None:
        self._child, self.code = None, code
        self.leave["text"] = "Close"
        self.doctor.state(["!disabled"])
        self.start.state(["!disabled"])
        self.start["text"] = "Check again" if code == 0 else "Try again"
        self._rest("Easy LoRA is ready." if code == 0 else "Set-up has not come to its end.")
        if code == 0:
            self.bar["value"] = 100
            self.train.pack(side="left", padx=(8, 0), before=self.leave)
            self.train.focus_set()

    def _write(self, text: str) -> None:
        self.log.configure(state="normal")
        self.log.insert("end", text + "\n")
        self.log.delete("1.0", f"end-{LOG_LINES}l")
        self.log.see("end")
        self.log.configure(state="disabled")

    # --- after -----------------------------------------------------------------------------

    def _examine(self) -> None:
        """Let the doctor look, and show what it says."""
        self.stage["text"] = "The doctor looks at everything…"
        self.bar.configure(mode="indeterminate")
        self.bar.start()

        def look() -> str:
            seen = examine(self.project, with_windows=False)  # Tk must stay in its own thread
            return f"{seen.text()}\nTo ask for help, send {write_report(self.project, seen)}"

        self._later(look, self._show_report)

    def _show_report(self, report: str) -> None:
        self._rest("What the doctor found")
        self._write(report)

    def _open_training(self) -> None:
        """Open the training wizard, and leave when it is there."""
        self.stage["text"] = "Opening the training wizard…"

        def start() -> str:
            stamp = judge(self.project).stamp
            if open_window(self.project, "easy_scripts.window", ["train"], stamp):
                raise SuiteError("The training wizard did not open. Ask the doctor.")
            return ""

        self._later(start, lambda _: self.close())

    def close(self) -> None:
        """Stop what runs, else leave."""
        if self._child:
            self._child.ask("stop")
            self.stage["text"] = "Stopping…"
            return
        self.root.destroy()


def show(project: Project, arguments: Sequence[str]) -> int:
    """Show the window and stay until it is closed: 0 when all is set up, else 2.

    What went wrong was read in the window. Raises SuiteError when there is no screen.
    """
    window = SetupWindow(open_root("Easy LoRA - Set-up", ADVICE), project, arguments)
    window.root.deiconify()
    window.root.mainloop()
    return DONE if window.code == DONE else STOPPED
