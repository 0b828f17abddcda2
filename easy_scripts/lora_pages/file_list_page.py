"""A page with a list of LoRA files: added by button, drop or paste, each with what it is."""

from __future__ import annotations

import os
import tkinter
from pathlib import Path
from tkinter import filedialog, ttk

from easy_scripts.lora_pages.file_card import FileCard
from easy_scripts.lora_pages.file_facts import INSPECT_LORA, FactsReader
from easy_scripts.wizard.drop import clean_path, split_paths, take_drops, with_files_of_folders
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard
from scripts.core.errors import SuiteError
from scripts.core.files import WEIGHT_ENDINGS

LORA_FILES = (("files.type_lora", " ".join(f"*{ending}" for ending in WEIGHT_ENDINGS)),)


class FileListPage(Page):
    """The files are the value of the setting `setting`; `use` is what becomes of them, "resize" or
    "merge"."""

    setting = use = ""

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self.handles = (self.setting,)
        self.reader = FactsReader(wizard, INSPECT_LORA)
        self.cards: dict[str, FileCard] = {}
        self._from_folders: set[str] = set()  # taken off again when they turn out to be no LoRA

    @property
    def files(self) -> list[str]:
        """The files listed now."""
        return [str(path) for path in self.answers[self.setting]]

    def build(self, body: ttk.Frame) -> None:
        """Buttons, the list, and what is wrong with it."""
        theme = self.theme
        buttons = ttk.Frame(body)
        buttons.pack(fill="x", pady=(0, theme.px(12)))
        for key, action in (("files.add", self.add_files), ("files.add_folder", self.add_folder)):
            label, place = self.wizard.access_key(self.texts(key), action)
            button = ttk.Button(buttons, text=label, underline=place, style="Wide.TButton",
                                command=action)  # fmt: skip
            button.pack(side="left", padx=(0, theme.px(8)))
        self._add_button = buttons.winfo_children()[0]
        self._error = ttk.Label(body, style="Error.TLabel", wraplength=theme.px(600))
        self._holder = ttk.Frame(body)
        self._holder.pack(fill="x", pady=(0, theme.px(12)))
        self._left_out = ttk.Label(body, style="Muted.TLabel", wraplength=theme.px(600),
                                   font=CAPTION)  # fmt: skip
        self._list = ttk.Frame(self._holder)
        self._empty = self._make_empty(self._holder)
        self.build_below(body)
        for widget in (self.wizard.root, self._empty):
            take_drops(widget, self.dropped)
        self.wizard.root.bind("<Control-v>", self._paste, add="+")
        self.reader.watch(self._known)
        self.answers.watch(self.follow, self.setting)
        self.follow()

    def build_below(self, body: ttk.Frame) -> None:
        """What comes below the list; for subclasses."""

    def _make_empty(self, body: ttk.Frame) -> ttk.Frame:
        theme = self.theme
        empty = ttk.Frame(body, style="Card.TFrame", padding=theme.px(56))
        key = "files.drop_here" if self.wizard.drops else "files.none_yet"
        text = ttk.Label(empty, text=self.texts(key), style="Muted.TLabel", justify="center",
                         anchor="center")  # fmt: skip
        text.pack(fill="x")
        return empty

    # --- adding and removing -------------------------------------------------------------

    def add_files(self) -> None:
        """Let the user choose files."""
        self.add(list(self.choose_files()))

    def choose_files(self) -> tuple[str, ...]:
        """The files chosen in the system's window. Tests replace this."""
        recent = self.wizard.memory.recent(self.setting)
        return filedialog.askopenfilenames(
            parent=self.wizard.root, filetypes=self.wizard.file_types(),
            title=self.texts("files.add").replace("&", ""),
            initialdir=recent[0] if recent else None,
        ) or ()  # fmt: skip

    def add_folder(self) -> None:
        """Let the user choose a folder; the LoRA files in it are added."""
        recent = self.wizard.memory.recent(self.setting)
        folder = filedialog.askdirectory(parent=self.wizard.root,
                                         initialdir=recent[0] if recent else None)  # fmt: skip
        self.add([folder] if folder else [])

    def dropped(self, paths: list[str]) -> None:
        """Files or folders were dropped anywhere on the window."""
        if self.wizard.page is self:
            self.add(paths)

    def _paste(self, event: tkinter.Event) -> None:
        if self.wizard.page is not self or isinstance(event.widget, ttk.Entry):
            return
        try:
            text = self.wizard.root.clipboard_get()
        except tkinter.TclError:
            return
        self.add(split_paths(text))

    def add(self, paths: list[str]) -> None:
        """Add files and the files of folders, each once."""
        chosen = [clean_path(path) for path in paths]
        self._from_folders -= set(chosen)
        self._put_on_list([*self.files, *chosen])

    def _put_on_list(self, paths: list[str]) -> None:
        refused: list[SuiteError] = []
        files = with_files_of_folders(paths, WEIGHT_ENDINGS, refused)
        self._from_folders |= set(files) - set(paths)
        new = [file for file in files if file not in self.files]
        if new:
            self.wizard.memory.note_path(self.setting, str(Path(new[0]).parent))
        self.list_files(files)
        for file in new:  # one that was on the list before may be known already
            self._known(file)
        folders = [path for path in paths if os.path.isdir(path)]
        if refused:
            self._say("\n".join(map(self.texts.said, refused)))
        elif folders and not new:
            self._say(self.texts("files.none_in_folder", name=Path(folders[0]).name))

    def remove(self, path: str) -> None:
        """Take a file off the list; on the disk nothing happens."""
        self._take_off(path)
        self._add_button.focus_set()

    def _take_off(self, path: str) -> None:
        self.list_files([other for other in self.files if other != path])

    def list_files(self, files: list[str]) -> None:
        """Let the list be of these files."""
        self.answers[self.setting] = files

    # --- showing -------------------------------------------------------------------------

    def follow(self) -> None:
        """Show a card for each file listed. What was given at the start may be folders."""
        files = self.files
        if files != with_files_of_folders(files, WEIGHT_ENDINGS):
            self._put_on_list(files)
            return  # this method was called again by that
        self._say(None)
        for path in [path for path in self.cards if path not in files]:
            self.cards.pop(path).destroy()
        for path in files:
            if path not in self.cards:
                card = FileCard(self._list, self.wizard, path, lambda path=path: self.remove(path))
                card.pack(fill="x", pady=(0, self.theme.px(8)))
                self.cards[path] = card
                self._show(path)
        if files:
            self._empty.pack_forget()
            self._list.pack(fill="x")
        else:
            self._list.pack_forget()
            self._empty.pack(fill="x")

    def _show(self, path: str) -> None:
        self.cards[path].show(self.reader.ask(path), self._unusable(path) is not None)

    def _unusable(self, path: str) -> str | None:
        """Why the file cannot be used, as far as it is known."""
        known = self.reader.ask(path)
        return next(iter(known.facts.get("unusable", {}).get(self.use, ())), known.problem)

    def _known(self, path: str) -> None:
        if path not in self.cards:
            return
        self._show(path)
        reason = self._unusable(path)
        if reason and path in self._from_folders:
            self._take_off(path)
            told = self._left_out.cget("text")
            line = self.texts("files.left_out", name=Path(path).name, reason=reason)
            self._left_out.configure(text=f"{told}\n{line}".strip())
            self._left_out.pack(anchor="w", after=self._holder, pady=(0, self.theme.px(12)))

    def _say(self, message: str | None) -> None:
        if message:
            self._error.configure(text=message)
            self._error.pack(anchor="w", pady=(0, self.theme.px(12)), before=self._holder)
        else:
            self._error.pack_forget()

    # --- checking ------------------------------------------------------------------------

    def wrong(self) -> str | None:
        """What keeps the user from going on, in a sentence; None when nothing does."""
        if not self.files:
            return self.texts("files.needed")
        for path in self.files:
            if self._unusable(path):
                self.frame.show(self.cards[path])
                return self.texts("files.one_wrong")
        return None

    def check(self) -> bool:
        """No file that cannot be used may stay on the list."""
        message = self.wrong()
        self._say(message)
        return message is None and super().check()

    def show_error(self, name: str, message: str) -> None:
        """Show what is wrong with the files or a row."""
        if name in self.rows:
            super().show_error(name, message)
        else:
            self._say(message)
            self.frame.to_top()

    def focus_first(self) -> None:
        """The way to add files, or onwards."""
        (self.wizard.footer.next if self.files else self._add_button).focus_set()

    def closing(self) -> None:
        """End the children that look at files."""
        self.reader.close()
