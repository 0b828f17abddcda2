"""The doctor in a window of its own: what it finds, what to do, and a button that mends it.

The wizards and set-up open it: DoctorDialog(root, look, texts, mend). It looks in the background,
which takes some ten seconds, and keeps its report in a file that can be sent to somebody.
"""

from __future__ import annotations

import queue
import threading
import tkinter
from collections.abc import Callable, Sequence
from pathlib import Path
from tkinter import ttk

from easy_scripts.install.doctor import RUN_SETUP, Examination, examine, write_report
from easy_scripts.install.place_checks import Finding
from easy_scripts.install.words import explain_error
from easy_scripts.launcher.project import Project
from easy_scripts.wizard.catalogue import Catalogue, split_access_key
from easy_scripts.wizard.fold import Fold
from easy_scripts.wizard.look import Look
from easy_scripts.wizard.reveal import open_file
from easy_scripts.wizard.scrolled import Scrolled

POLL = 50  # milliseconds
WIDTH, TALLEST = 560, 340  # logical pixels of the findings
Result = tuple[Examination, Path] | str


class DoctorDialog:
    """Looks at everything as soon as it is open.

    mend: closes what has to be closed and lets set-up put things in order; about_mending: a
    sentence about that, if any; barred: whether it cannot be now.
    """

    def __init__(
        self, root: tkinter.Tk, look: Look, texts: Catalogue, mend: Callable[[], None],
        about_mending: str = "", barred: bool = False, project: Project | None = None,
    ) -> None:  # fmt: skip
        self._root, self._look, self._texts = root, look, texts
        self._mend, self._about_mending, self._barred = mend, about_mending, barred
        self._project = project or Project()
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self.window = tkinter.Toplevel(root, background=look.colours.background,
                                       highlightthickness=1,
                                       highlightbackground=look.colours.line)  # fmt: skip
        self.window.withdraw()
        self.window.title(texts("doctor.title"))
        self.window.transient(root)
        self._build()
        self.window.protocol("WM_DELETE_WINDOW", self.close)
        self.window.bind("<Escape>", lambda _: self.close())
        self._show_window()
        threading.Thread(target=self._examine, daemon=True).start()
        self._job = root.after(POLL, self._poll)

    def _build(self) -> None:
        look, texts = self._look, self._texts
        self._frame = frame = ttk.Frame(self.window, padding=look.px(24))
        frame.pack(fill="both", expand=True)
        width = look.px(WIDTH)
        self.heading = ttk.Label(frame, style="Strong.TLabel", wraplength=width,
                                 text=texts("doctor.looking"))  # fmt: skip
        self.heading.pack(anchor="w")
        self._bar = ttk.Progressbar(frame, mode="indeterminate", length=width)
        self._bar.pack(fill="x", pady=look.px(16))
        self._bar.start(15)
        self._found = ttk.Frame(frame)
        self._found.pack(fill="both", expand=True)
        self._buttons = ttk.Frame(frame)
        self._buttons.pack(fill="x", pady=(look.px(16), 0))
        self._leave = self._button("frame.close", self.close)

    def _button(
        self, key: str, action: Callable[[], None], style: str = "Wide.TButton"
    ) -> ttk.Button:
        """A button, to the left of those that are there."""
        label, place = split_access_key(self._texts(key))
        button = ttk.Button(self._buttons, text=label, underline=place, style=style, command=action)
        button.pack(side="right", padx=(self._look.px(8), 0))
        button.bind("<Return>", lambda _: button.invoke())
        if place >= 0:
            self.window.bind(f"<Alt-{label[place].lower()}>", lambda _: button.invoke())
        return button

    def _show_window(self) -> None:
        window, root = self.window, self._root
        window.update_idletasks()
        x = root.winfo_rootx() + (root.winfo_width() - window.winfo_reqwidth()) // 2
        y = root.winfo_rooty() + (root.winfo_height() - window.winfo_reqheight()) // 4
        window.geometry(f"+{max(0, x)}+{max(0, y)}")
        window.deiconify()
        window.wait_visibility()
        window.grab_set()
        self._leave.focus_force()

    # --- looking -------------------------------------------------------------------------

    def _examine(self) -> None:
        """In a thread of its own: nothing of Tk may be touched here."""
        try:
            seen = examine(self._project, with_windows=False)
            self._results.put((seen, write_report(self._project, seen)))
        except Exception as error:  # noqa: BLE001 - else the bar would run for ever
            self._results.put(explain_error(error, self._project.root, self._project.logs))

    def _poll(self) -> None:
        if self._results.empty():
            self._job = self._root.after(POLL, self._poll)
            return
        result = self._results.get()
        self._bar.stop()
        self._bar.pack_forget()
        if isinstance(result, str):
            self.heading.configure(text=self._texts("doctor.failed"))
            self._sentence(self._found, self._texts.said(result), "Error.TLabel")
        else:
            self._show(*result)
        self._fit()

    # --- showing -------------------------------------------------------------------------

    def _show(self, seen: Examination, report: Path) -> None:
        texts, look = self._texts, self._look
        count = len(seen.problems)
        key = "doctor.in_order" if not count else "doctor.one" if count == 1 else "doctor.several"
        self.heading.configure(text=texts(key, count=count) if count > 1 else texts(key))
        self._scrolled = Scrolled(self._found, look)
        self._scrolled.pack(fill="both", expand=True, pady=look.px(12))
        body = self._scrolled.body
        self._show_findings(body, seen.problems)
        if seen.hints:
            self._sentence(body, texts("doctor.hints"), "Muted.TLabel")
            self._show_findings(body, seen.hints)
        facts = Fold(body, look, texts("doctor.facts"))
        facts.pack(fill="x", pady=(look.px(8), 0))
        for title, value in seen.facts:
            self._sentence(facts.content, f"{title}: {value}", gap=2)
        self._sentence(self._found, texts("doctor.report", path=report), "Muted.TLabel")
        self._button("doctor.open_report", lambda: open_file(report))
        if seen.mendable:
            self._offer_to_mend()
        for wheel, notches in (("<Button-4>", -1), ("<Button-5>", 1)):
            self.window.bind(wheel, lambda _, notches=notches: self._wheel(notches))
        self.window.bind("<MouseWheel>", lambda event: self._wheel(-event.delta / 120))

    def _wheel(self, notches: float) -> str:
        self._scrolled.wheel(notches)
        return "break"  # what lies behind does not scroll too

    def _show_findings(self, parent: ttk.Frame, findings: Sequence[Finding]) -> None:
        for finding in findings:
            self._sentence(parent, self._texts.said(finding.cause), "Strong.TLabel", gap=2)
            remedy = self._texts.said(finding.remedy)
            if finding.remedy == RUN_SETUP:
                remedy = self._texts("doctor.by_setup")
            self._sentence(parent, remedy)

    def _sentence(
        self, parent: tkinter.Misc, text: str, style: str = "TLabel", gap: int = 12
    ) -> None:
        look = self._look
        label = ttk.Label(parent, text=text, style=style, wraplength=look.px(WIDTH))
        label.pack(anchor="w", pady=(0, look.px(gap)))

    def _offer_to_mend(self) -> None:
        button = self._button("doctor.mend", self._start_mending, "Accent.TButton")
        if self._about_mending:
            self._sentence(self._found, self._about_mending, gap=0)
        if self._barred:
            button.state(["disabled"])
        else:
            button.focus_set()

    def _fit(self) -> None:
        """As tall as the findings, up to a height; the rest scrolls."""
        self.window.update_idletasks()
        if hasattr(self, "_scrolled"):
            height = min(self._scrolled.body.winfo_reqheight(), self._look.px(TALLEST))
            width = self._look.px(WIDTH + 20)
            self._scrolled.set_size(width, height)
        self.window.update_idletasks()
        self.window.geometry("")

    # --- ways out ------------------------------------------------------------------------

    def _start_mending(self) -> None:
        self.close()
        self._mend()

    def close(self) -> None:
        """Close the window; what is still being looked at is forgotten."""
        self._root.after_cancel(self._job)
        self.window.destroy()
