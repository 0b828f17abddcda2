"""The queue as a list that one can see and change: order, settings, copies, what is held."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tkinter import filedialog, ttk
from typing import Any

from easy_scripts.queue.store import (
    DONE,
    FAILED,
    HELD,
    RUNNING,
    STOPPED,
    WAITING,
    Bake,
    Queue,
    QueueStore,
    configs_in,
)
from easy_scripts.train_pages.opened import open_settings
from easy_scripts.wizard.asking import short_path, show_page
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.reveal import show_in_folder
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard
from scripts.core.errors import SuiteError
from scripts.settings.import_config import Imported
from scripts.settings.import_draft import Fate

LOOK_AROUND = 1000  # milliseconds between looks whether somebody else changed the queue
TEXT_WIDTH = 610  # logical pixels
STYLES = {WAITING: "Accent.TLabel", HELD: "Muted.TLabel", RUNNING: "Accent.TLabel",
          DONE: "Good.TLabel", FAILED: "Error.TLabel", STOPPED: "Warning.TLabel"}  # fmt: skip
# What can be done with a bake, by its state; each is a button with the text queue.NAME.
ACTIONS = {
    WAITING: ("up", "down", "edit", "duplicate", "hold", "remove"),
    HELD: ("up", "down", "edit", "duplicate", "let_go", "remove"),
    RUNNING: ("duplicate",),
    DONE: ("show", "duplicate", "remove"),
    FAILED: ("again", "edit", "duplicate", "remove"),
    STOPPED: ("again", "edit", "duplicate", "remove"),
}


class QueuePage(Page):
    """A card for each bake; whatever is pressed is on the disk at once.

    While this window bakes, the way onward is back to the page of the bake.
    """

    name = "queue"
    off_path = passed_over = True

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self._store = QueueStore()
        self._job: str | None = None
        self._shown: Queue | None = None
        self._focus = ("", "")  # of a bake's id and the action pressed last

    @property
    def busy(self) -> bool:
        """Whether this window bakes."""
        return any(page.name == "bake" and page.busy for page in self.wizard.pages)

    @property
    def can_go_back(self) -> bool:
        """Not while it bakes: another bake could be begun there."""
        return not self.busy

    @property
    def next_text(self) -> str:
        """To the bake that runs, or to begin one."""
        return "queue.to_bake" if self.busy else "queue.bake"

    @property
    def cancel_text(self) -> str:
        """What would be cancelled is the bake, if there is one."""
        return "work.stop" if self.busy else "frame.cancel"

    def build(self, body: ttk.Frame) -> None:
        """Buttons for the whole queue, and the list."""
        theme = self.theme
        head = ttk.Frame(body)
        head.pack(fill="x", pady=(0, theme.px(12)))
        self._head: dict[str, ttk.Button] = {}
        for key, action in (("add", self._add_files), ("add_folder", self._add_folder),
                            ("pause", self._pause), ("clear", self._clear)):  # fmt: skip
            label, place = self.wizard.access_key(self.texts(f"queue.{key}"), action)
            button = ttk.Button(head, text=label, underline=place, command=action,
                                style="Wide.TButton")  # fmt: skip
            button.pack(side="left", padx=(0, theme.px(8)))
            self._head[key] = button
        self._said = ttk.Label(body, wraplength=theme.px(TEXT_WIDTH))
        self._list = ttk.Frame(body)
        self._list.pack(fill="x")

    def enter(self) -> None:
        """Show the queue as it is now, and follow it."""
        self._shown = None
        self._say("")
        self._look()

    def leave(self) -> None:
        """Follow it no longer."""
        if self._job:
            self.wizard.root.after_cancel(self._job)
            self._job = None

    def focus_first(self) -> None:
        """The button that bakes, or the one that adds."""
        button = self.wizard.footer.next if self.busy or self._waiting() else self._head["add"]
        button.focus_set()

    # --- showing -------------------------------------------------------------------------

    def _look(self) -> None:
        self._job = self.wizard.root.after(LOOK_AROUND, self._look)
        try:
            self._store.take_up_what_was_cut_off()
            queue = self._store.read()
        except SuiteError as error:
            self._say(self.texts.said(error), "Error.TLabel")
            return
        if queue != self._shown:
            self._show(queue)

    def _show(self, queue: Queue) -> None:
        self._shown = queue
        for child in self._list.winfo_children():
            child.destroy()
        key = "queue.pause_after" if self.busy else "queue.pause"
        key = "queue.go_on" if queue.paused else key
        label, place = self.wizard.access_key(self.texts(key), self._pause)
        self._head["pause"].configure(text=label, underline=place)
        done = any(bake.state == DONE for bake in queue.bakes)
        self._head["clear"].state(["!disabled" if done else "disabled"])
        if not queue.bakes:
            ttk.Label(self._list, text=self.texts("queue.empty"), style="Muted.TLabel",
                      wraplength=self.theme.px(TEXT_WIDTH)).pack(anchor="w")  # fmt: skip
        for place, bake in enumerate(queue.bakes):
            self._card(bake, place, len(queue.bakes))

    def _card(self, bake: Bake, place: int, count: int) -> None:
        theme, texts = self.theme, self.texts
        card = ttk.Frame(self._list, style="Card.TFrame", padding=theme.px(10))
        card.pack(fill="x", pady=(0, theme.px(8)))
        card.columnconfigure(0, weight=1)
        name = ttk.Label(card, text=f"{place + 1}.  {short_path(bake.name, 48)}",
                         style="Strong.TLabel")  # fmt: skip
        name.grid(row=0, column=0, sticky="w", padx=theme.px(6))
        ttk.Label(card, text=texts(f"queue.is.{bake.state}"), style=STYLES[bake.state]).grid(
            row=0, column=1, sticky="e", padx=theme.px(6))  # fmt: skip
        about, style = self._about(bake)
        ttk.Label(card, text=about, style=style, font=CAPTION,
                  wraplength=theme.px(TEXT_WIDTH - 30)).grid(
            row=1, column=0, columnspan=2, sticky="w", padx=theme.px(6))  # fmt: skip
        row = ttk.Frame(card)
        row.grid(row=2, column=0, columnspan=2, sticky="w", pady=(theme.px(4), 0))
        barred = {"up": place == 0, "down": place == count - 1, "edit": self.busy,
                  "show": not (bake.result and Path(bake.result).exists())}  # fmt: skip
        for action in ACTIONS[bake.state]:
            press = partial(self._press, action, bake, place)
            button = ttk.Button(row, text=texts(f"queue.{action}"), style="Toolbutton",
                                command=press)  # fmt: skip
            button.state(["disabled" if barred.get(action) else "!disabled"])
            button.pack(side="left")
            if self._focus == (bake.id, action):
                button.focus_set()

    def _about(self, bake: Bake) -> tuple[str, str]:
        """What became of it, else what it is made from."""
        if bake.error:
            return self.texts.said(bake.error), "Error.TLabel"
        if bake.state == DONE and bake.result:
            took = self.texts("finished.took", time=self.texts.duration(bake.seconds or 0))
            return f"{short_path(bake.result, 60)} · {took}", "Muted.TLabel"
        settings = bake.settings
        base = Path(str(settings.get("pretrained_model_name_or_path", ""))).name
        parts = (base, short_path(settings.get("train_data_dir", ""), 50))
        about = " · ".join(part for part in parts if part)
        if bake.resume_from and bake.state in (WAITING, HELD):
            about = f"{about}\n{self.texts('queue.resumes')}"
        return about, "Muted.TLabel"

    def _say(self, text: str, style: str = "Good.TLabel") -> None:
        if text:
            self._said.configure(text=text, style=style)
            self._said.pack(anchor="w", pady=(0, self.theme.px(10)), before=self._list)
        else:
            self._said.pack_forget()

    # --- doing ---------------------------------------------------------------------------

    def _do(self, work: Callable[[], Any]) -> None:
        """Change the queue and show it, or say why that is not possible."""
        if self.wizard.page is not self:
            return
        self._say("")
        try:
            work()
        except SuiteError as error:
            self._say(self.texts.said(error), "Error.TLabel")
        self.leave()
        self._look()

    def _press(self, action: str, bake: Bake, place: int) -> None:
        self._focus = (bake.id, action)
        store = self._store
        if action == "edit":
            self._edit(bake)
        elif action == "show":
            show_in_folder(Path(bake.result))
        elif action in ("up", "down"):
            self._do(lambda: store.move(bake.id, place + (1 if action == "down" else -1)))
        else:
            self._do(lambda: getattr(store, action)(bake.id))

    def _edit(self, bake: Bake) -> None:
        """Its settings become the answers; the summary saves them back."""
        open_settings(self.wizard, bake.settings)
        self.wizard.facts.queued = bake.id
        show_page(self.wizard, "summary")

    def _pause(self) -> None:
        self._do(lambda: self._store.pause(not self._store.read().paused))

    def _clear(self) -> None:
        self._do(self._store.clear)

    def choose_files(self) -> tuple[str, ...]:
        """Configs chosen in the system's window. Tests replace this."""
        kinds = [(self.texts("start.configs"), "*.json *.toml"),
                 (self.texts("frame.all_files"), "*")]  # fmt: skip
        return filedialog.askopenfilenames(parent=self.wizard.root, filetypes=kinds) or ()

    def choose_folder(self) -> str:
        """A folder of configs, or "". Tests replace this."""
        return filedialog.askdirectory(parent=self.wizard.root)

    def _add_files(self) -> None:
        self._add(list(self.choose_files()))

    def _add_folder(self) -> None:
        folder = self.choose_folder()
        self._add([folder] if folder else [])

    def _add(self, paths: list[str]) -> None:
        """Add all that can be; what cannot is told and keeps out no other. What is worth knowing of
        one that was added is told, too."""
        added, wrong, known = 0, [], []
        for path in paths:
            try:
                for config in configs_in(Path(path)):
                    try:
                        imported = self._store.add_file(config)
                        added += 1
                        known += [
                            f"{config.name}: {line}" for line in self._worth_knowing(imported)
                        ]
                    except SuiteError as error:
                        wrong.append(f"{config.name}: {self.texts.said(error)}")
            except SuiteError as error:
                wrong.append(self.texts.said(error))
        self._do(lambda: None)
        if added:
            known.insert(0, self.texts("queue.added", count=added))
        if wrong or known:
            good = "Warning.TLabel" if known[1:] else "Good.TLabel"
            self._say("\n".join([*wrong, *known]), "Error.TLabel" if wrong else good)

    def _worth_knowing(self, imported: Imported) -> list[str]:
        """What a config asks for that there is not here: settings, files and folders."""
        unknown = [f"{entry.key}: {self.texts.said(entry.note)}"
                   for entry in imported.of(Fate.UNKNOWN)]  # fmt: skip
        labels = [self.texts.label(self.answers.declared[name]) for name in imported.missing]
        return [*unknown, *(self.texts("start.missing", label=label) for label in labels)]

    # --- baking --------------------------------------------------------------------------

    def _waiting(self) -> bool:
        return self._shown is not None and self._shown.next() is not None

    def check(self) -> bool:
        """Something must wait, and the queue must not be paused; unless this window bakes."""
        if self.busy:
            return True
        self._do(lambda: None)
        if not self._waiting():
            self._say(self.texts("queue.nothing"), "Error.TLabel")
            return False
        if self._shown.paused:
            self._say(self.texts("queue.is_paused"), "Error.TLabel")
            return False
        return True

    def proceed(self) -> None:
        """Bake what waits, or show what bakes."""
        if not self.busy:
            self.wizard.facts.bake_kind = "queue"
        show_page(self.wizard, "bake")

    def leave_busy(self) -> None:
        """The bake's page asks whether to stop."""
        show_page(self.wizard, "bake")
        self.wizard.page.leave_busy()
