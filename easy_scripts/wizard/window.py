"""The window of a wizard: steps at the side, a page that scrolls, buttons below.

    show_wizard(Plan("resize", ResizeSettings, (FilesPage, SizePage, ...)), {"model": [...]})

Return goes on, Escape and the cross leave, Alt and the underlined letter reach every button.
What was entered is kept as a draft and offered at the next start.
"""

from __future__ import annotations

import gc
import tempfile
import time
import tkinter
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tkinter import ttk
from types import TracebackType
from typing import Any

from easy_scripts.launcher.handover import open_setup
from easy_scripts.launcher.project import Project
from easy_scripts.launcher.window_sign import give_sign
from easy_scripts.wizard.answers import Answers
from easy_scripts.wizard.ask import ask
from easy_scripts.wizard.catalogue import Catalogue, split_access_key
from easy_scripts.wizard.draft import Draft
from easy_scripts.wizard.drop import enable_drops
from easy_scripts.wizard.findings import Findings
from easy_scripts.wizard.footer import Footer
from easy_scripts.wizard.own_files import OwnFiles
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.place import keep_place, maximise_again, place_window
from easy_scripts.wizard.remembered import Memory
from easy_scripts.wizard.reveal import open_file
from easy_scripts.wizard.screen import open_root, show_in_front
from easy_scripts.wizard.scrolled import Scrolled
from easy_scripts.wizard.step_list import StepList
from easy_scripts.wizard.theme import Theme
from scripts.core.errors import SettingErrors, SuiteError
from scripts.core.files import LOG_FOLDER, write_text

Read = Callable[[Mapping[str, Any]], Any]
LOOK_AROUND = 4000  # milliseconds between looks whether light became dark
BUG_AGAIN = 2.0  # seconds within which an error of ours counts as the same one going on


@dataclass(frozen=True)
class Plan:
    """A wizard: its name (which its texts and its memory bear), its settings and its pages."""

    name: str
    settings_class: type
    pages: tuple[type[Page], ...]
    read: Read | None = None  # raw values -> settings; raises SettingErrors: checks all together
    takes: tuple[str, ...] = ()  # the settings that files on the command line stand for, or
    sort: Callable[[Sequence[str]], dict[str, str]] | None = None  # which by what each is
    file_types: tuple[tuple[str, str], ...] = ()  # key of a text, patterns: for choosing files
    findings: type[Findings] = Findings  # the class of `wizard.facts`


class Wizard:
    """One open wizard. Pages find here: texts, theme, answers, memory, and the ways onward."""

    def __init__(
        self, root: tkinter.Tk, plan: Plan, texts: Catalogue, memory: Memory,
        given: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.root, self.plan, self.texts, self.memory = root, plan, texts, memory
        self.theme = Theme(root, texts.language)
        self.answers = Answers(plan.settings_class)
        self.facts = plan.findings()  # what pages found out, for other pages
        self._bugs: dict[tuple, float] = {}  # when each was last seen, by kind and place
        self._access_keys: dict[Page, dict[str, Callable[[], None]]] = {}
        self.drops = enable_drops(root)
        self.draft, self.own_files = Draft(root, self.answers, memory), OwnFiles()
        self._build()
        self.pages = [page(self) for page in plan.pages]
        self._path = [page for page in self.pages if not page.off_path]
        self._steps.fill([self.texts(f"{page.name}.step") for page in self._path])
        self.answers.update(given)
        self.current = -1
        self._bind_keys()
        place_window(root, self.theme, memory)
        self.go_to(0)
        self.draft.follow()
        if self.draft.before and (self.page.offers_always or not given):
            begun = self.answers.chosen()
            self.page.offer(texts("frame.draft"), texts("frame.draft_use"),
                            lambda: self.draft.use(begun))  # fmt: skip

    # --- building ------------------------------------------------------------------------

    def _build(self) -> None:
        theme, root = self.theme, self.root
        root.configure(background=theme.colours.background)
        root.columnconfigure(1, weight=1)
        root.rowconfigure(0, weight=1)
        self._steps = StepList(root, theme, self.texts(f"{self.plan.name}.title"))
        self._steps.grid(row=0, column=0, rowspan=2, sticky="ns")
        content = ttk.Frame(root, padding=(theme.px(32), theme.px(28), theme.px(16), 0))
        content.grid(row=0, column=1, sticky="nsew")
        content.columnconfigure(0, weight=1)
        content.rowconfigure(2, weight=1)
        self._title = ttk.Label(content, style="Title.TLabel")
        self._title.grid(sticky="w")
        self._intro = ttk.Label(content, style="Muted.TLabel")
        self._intro.grid(row=1, sticky="ew", pady=(theme.px(4), theme.px(22)))
        self._intro.bind("<Configure>", lambda event: self._wrap_intro(event.width))
        self._holder = ttk.Frame(content)
        self._holder.grid(row=2, sticky="nsew")
        self._holder.columnconfigure(0, weight=1)
        self._holder.rowconfigure(0, weight=1)
        self.footer = Footer(root, theme, self.texts, self.back, self.next, self.close)
        self.footer.grid(row=1, column=1, sticky="ew")
        theme.changed.append(lambda: root.configure(background=theme.colours.background))

    def _wrap_intro(self, width: int) -> None:
        self._intro.configure(wraplength=max(200, width))

    def _bind_keys(self) -> None:
        root = self.root
        root.report_callback_exception = self._tell_bug
        root.protocol("WM_DELETE_WINDOW", self.close)
        root.bind("<Escape>", lambda _: self.close())
        for key in ("<Return>", "<KP_Enter>"):
            root.bind(key, self._return_pressed)
        root.bind_all("<FocusIn>", self._focus_moved, add="+")
        root.bind_all("<MouseWheel>", lambda event: self._wheel(-event.delta / 120))
        root.bind_all("<Button-4>", lambda _: self._wheel(-1))
        root.bind_all("<Button-5>", lambda _: self._wheel(1))
        for kind in ("TCombobox", "TSpinbox"):  # scrolling past a field must not change it
            for wheel in ("<MouseWheel>", "<Button-4>", "<Button-5>"):
                root.unbind_class(kind, wheel)
        root.after(LOOK_AROUND, self._look_around)

    def access_key(self, text: str, action: Callable[[], None]) -> tuple[str, int]:
        """Bind Alt and the letter marked by "&" to `action` while the page on screen is shown;
        label and underline for the widget."""
        label, place = split_access_key(text)
        if place >= 0:
            key = f"<Alt-{label[place].lower()}>"
            self._access_keys.setdefault(self.page, {})[key] = action
            self.root.bind(key, lambda _: action())
        return label, place

    def _bind_access_keys(self) -> None:
        """The keys of the page on screen, over those of the buttons below."""
        for key, action in self._access_keys.get(self.page, {}).items():
            self.root.bind(key, lambda _, action=action: action())

    def file_types(self, types: Sequence[tuple[str, str]] = ()) -> list[tuple[str, str]]:
        """What the system's window for choosing files offers to show: `types`, else the plan's."""
        kinds = [(self.texts(key), patterns) for key, patterns in types or self.plan.file_types]
        return [*kinds, (self.texts("frame.all_files"), "*")]

    def show(self) -> None:
        """Show the window in front of all others, once."""
        show_in_front(self.root)
        maximise_again(self.root, self.memory)
        self.page.focus_first()

    # --- going from page to page ---------------------------------------------------------

    @property
    def page(self) -> Page:
        """The page on screen."""
        return self.pages[self.current]

    def go_to(self, index: int) -> None:
        """Show page `index`, building it when it is first seen."""
        if self.current >= 0:
            self.page.leave()
            self.page.forget_wish()
            self.page.frame.grid_remove()
        self.current = index
        page = self.page
        if page.frame is None:
            page.frame = Scrolled(self._holder, self.theme)
            page.build(page.frame.body)
        self._title.configure(text=self.texts(page.title_key))
        intro = f"{page.name}.intro"
        self._intro.configure(text=self.texts(intro) if intro in self.texts else "")
        page.frame.grid(row=0, column=0, sticky="nsew")
        page.frame.to_top()
        self._steps.mark(self._path.index(page) if page in self._path else 0)
        page.enter()
        self.refresh_footer()
        page.focus_first()

    def refresh_footer(self) -> None:
        """Let the buttons say what the page on screen allows."""
        page = self.page
        for key in {key for keys in self._access_keys.values() for key in keys}:
            self.root.unbind(key)
        self.footer.show(
            back=page.can_go_back and self.current > 0,
            next_text=self.texts(page.next_text) if page.next_text else None,
            cancel_text=self.texts(page.cancel_text),
        )
        self._bind_access_keys()

    def back(self) -> None:
        """One page back, whatever is wrong on this one."""
        before = [i for i in range(self.current) if not self.pages[i].passed_over]
        if self.page.can_go_back and before and self.page.may_leave():
            self.go_to(before[0 if self.page.back_to_start else -1])

    def next(self) -> None:
        """One page on, if nothing is wrong on this one."""
        page = self.page
        if page.next_text and page.check() and page.ready(self.next) and page.may_leave():
            self.draft.count()
            page.proceed()

    def go_on(self) -> None:
        """Show the next page on the way."""
        after = range(self.current + 1, len(self.pages))
        self.go_to(next(index for index in after if not self.pages[index].off_path))

    def errors(self) -> dict[str, str]:
        """What is wrong with the settings taken together: messages by setting."""
        try:
            if self.plan.read:
                self.plan.read(self.answers.config())
        except SettingErrors as errors:
            return {error.setting: self.texts.said(error) for error in errors.errors}
        return {}

    def show_error(self, name: str | None, message: str) -> bool:
        """Go to the page that has the setting and show the error there; False if none has."""
        for index, page in enumerate(self.pages):
            if name and name in page.setting_names():
                self.go_to(index)
                page.show_error(name, message)
                return True
        return False

    def close(self) -> None:
        """Leave the wizard; asks once if work would be lost by that."""
        if self.page.busy:
            self.page.leave_busy()
        elif self.page.may_leave():
            self.end()

    def end(self) -> None:
        """Keep draft and place, and close the window."""
        self.draft.keep()
        root = self.root
        keep_place(root, self.memory)
        for page in self.pages:
            page.closing()
        self.own_files.close()
        for job in root.tk.splitlist(root.tk.call("after", "info")):
            root.tk.call("after", "cancel", job)
        root.destroy()

    def ask(self, key: str, harmless: int = 0, **values: Any) -> int:
        """Ask the question `key` of the catalogue (KEY.heading, .text, .answers split by |)."""
        texts = self.texts
        return ask(
            self.root, self.theme, texts(f"{key}.heading", **values),
            texts(f"{key}.text", **values), texts(f"{key}.answers").split("|"), harmless,
        )  # fmt: skip

    # --- keys ----------------------------------------------------------------------------

    def _return_pressed(self, event: tkinter.Event) -> None:
        widget = event.widget
        if isinstance(widget, ttk.Button | ttk.Checkbutton | ttk.Radiobutton):
            widget.invoke()
        elif not isinstance(widget, tkinter.Text):
            self.next()

    def _focus_moved(self, event: tkinter.Event) -> None:
        frame = self.page.frame if self.current >= 0 else None
        if str(event.widget) != str(self.root.tk.call("focus")):
            return  # Tk tells the frames around it too; a tall one would be scrolled to its top
        if frame and str(event.widget).startswith(str(frame.body)) and frame.scrolls:
            frame.show(event.widget)

    def _wheel(self, notches: float) -> None:
        if self.current >= 0 and self.page.frame:
            self.page.frame.wheel(notches)

    def _tell_bug(self, kind: type, error: BaseException, trace: TracebackType) -> None:
        """An error of ours in the window: one sentence, and the log. What fails again and again,
        as a look at a child every few milliseconds does, is told of once."""
        place, now = (kind, *traceback.extract_tb(trace)[-1][:2]), time.monotonic()
        before, self._bugs[place] = self._bugs.get(place), now
        if before is not None and now - before < BUG_AGAIN:
            return
        path = _write_bug("".join(traceback.format_exception(kind, error, trace)))
        log = self.texts("frame.bug_log", path=path) if path else self.texts("frame.bug_no_log")
        answer = self.ask("frame.bug", log=log)
        if answer == 1 and path:
            open_file(path)
        elif answer == 2:
            self.open_doctor()

    def open_doctor(self) -> None:
        """Let the doctor look at everything; it offers to mend what it can."""
        # loaded here because a window opens without it
        from easy_scripts.wizard.doctor_dialog import DoctorDialog

        busy = self.page.busy
        about = self.texts("doctor.busy") if busy else self.texts("doctor.closes")
        DoctorDialog(self.root, self.theme, self.texts, self._mend, about, busy)

    def _mend(self) -> None:
        """Set-up cannot work while this window is open: it opens its own, and this one goes."""
        open_setup(Project())
        self.end()

    def _look_around(self) -> None:
        self.theme.follow_system()
        gc.collect()
        self.root.after(LOOK_AROUND, self._look_around)


def _write_bug(text: str) -> Path | None:
    """Write a log where one can be written, else nowhere; its path."""
    name = f"window-{time.strftime('%Y%m%d-%H%M%S')}.log"
    for folder in (LOG_FOLDER, Path(tempfile.gettempdir()) / "easy_lora_logs"):
        with suppress(SuiteError):
            write_text(folder / name, text)
            return folder / name
    return None


def show_wizard(plan: Plan, given: Mapping[str, Any] | None = None) -> Wizard:
    """Open the wizard with what is `given` filled in, and stay until it is closed.

    Raises SuiteError when there is no screen.
    """
    wizard = open_wizard(plan, given)
    wizard.root.update()  # its first page is drawn
    give_sign()
    wizard.root.mainloop()
    return wizard


def open_wizard(plan: Plan, given: Mapping[str, Any] | None = None) -> Wizard:
    """The wizard on screen, its main loop not yet running."""
    # Python frees garbage in whatever thread is running, and Tcl aborts the process when something
    # of Tk's is freed in another thread than its own: so only this thread may, in _look_around.
    gc.disable()
    texts = Catalogue(plan.name)
    root = open_root(texts(f"{plan.name}.title"), texts(f"{plan.name}.without_window"))
    wizard = Wizard(root, plan, texts, Memory(plan.name), given or {})
    wizard.show()
    return wizard
