"""The offer to draw all versions at several strengths, the drawing, and the choice of the best.

The drawing is a child process (`scripts.draw_versions`); it ends with the page.
"""

from __future__ import annotations

import time
import tkinter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tkinter import ttk
from typing import Any

from easy_scripts.train_pages.action_card import ActionCard
from easy_scripts.train_pages.saved_versions import SavedVersion
from easy_scripts.train_pages.trigger_word import trigger_word
from easy_scripts.train_pages.version_grid import VersionGrid, chosen_text
from easy_scripts.wizard.attention import call_for_attention
from easy_scripts.wizard.awake import keep_awake
from easy_scripts.wizard.child import Child, Message
from easy_scripts.wizard.heard import pass_on
from easy_scripts.wizard.reveal import show_in_folder
from easy_scripts.wizard.time_left import TimeLeft
from easy_scripts.wizard.window import Wizard
from scripts.core.declare import declarations, read_value
from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Preview, Problem, Stage
from scripts.core.exit_codes import DONE
from scripts.settings.draw_versions import STRENGTHS, DrawSettings

POLL = 40  # milliseconds
WIDTH = 620  # logical pixels
LOADING = 10  # seconds, about, before the first picture is begun


class CompareVersions(ttk.Frame):
    """A card with a button; when it is pressed, progress and grid; below it what was chosen."""

    def __init__(self, parent: tkinter.Misc, wizard: Wizard,
                 versions: Sequence[SavedVersion]) -> None:  # fmt: skip
        super().__init__(parent)
        self._wizard, self._versions = wizard, versions
        self.child: Child | None = None
        self._grid: VersionGrid | None = None
        self._stopping = False
        self._total = len(versions) * len(STRENGTHS)
        self._folder = versions[-1].path.with_name(f"{versions[-1].path.stem}-versions")
        theme = wizard.theme
        self._head = ttk.Frame(self)
        self._head.pack(fill="x")
        self.card = ActionCard(self._head, wizard, "finished.compare", self.start, self._about())
        self._said = ttk.Label(self._head, wraplength=theme.px(WIDTH))
        self._progress = self._make_progress()
        self._arrange(self.card)
        self._place = ttk.Frame(self)

    def _arrange(self, *widgets: tkinter.Misc) -> None:
        """Show these at the head, and nothing else."""
        for widget in (self.card, self._said, self._progress):
            widget.pack_forget()
        for widget in widgets:
            widget.pack(fill="x", pady=(0, self._wizard.theme.px(8)))

    def _about(self) -> str:
        texts = self._wizard.texts
        text = texts("finished.compare.about", pictures=self._total, versions=len(self._versions),
                     strengths=", ".join(f"{one:g}" for one in STRENGTHS))  # fmt: skip
        seconds = self._wizard.facts.preview_seconds
        if seconds:
            about = texts.duration(LOADING + seconds * self._total)
            text += " " + texts("finished.compare.time", time=about)
        return text

    def _make_progress(self) -> ttk.Frame:
        theme = self._wizard.theme
        frame = ttk.Frame(self._head)
        frame.columnconfigure(0, weight=1)
        self._line = ttk.Label(frame)
        self._line.grid(row=0, column=0, sticky="w")
        self._bar = ttk.Progressbar(frame, maximum=1000)
        self._bar.grid(row=1, column=0, sticky="ew", pady=(theme.px(6), 0))
        self.stop = self._button(frame, "work.stop", self._stop)
        self.stop.grid(row=0, column=1, rowspan=2, padx=(theme.px(16), theme.px(4)))
        return frame

    def _fill_details(self, card: ttk.Frame) -> None:
        """What is told of the chosen picture."""
        theme = self._wizard.theme
        width = theme.px(WIDTH - 60)
        self._which = ttk.Label(card, style="Strong.TLabel", wraplength=width)
        self._prompt = ttk.Label(card, style="Muted.TLabel", wraplength=width)
        for label in (self._which, self._prompt):
            label.pack(anchor="w", padx=theme.px(4), pady=(0, theme.px(4)))
        self.show_chosen = self._button(card, "finished.show_chosen", self._show_chosen)
        self.show_chosen.pack(anchor="w", padx=theme.px(4), pady=(theme.px(6), 0))

    def _button(self, parent: tkinter.Misc, key: str, action: Any) -> ttk.Button:
        def press() -> None:
            if button.winfo_exists() and button.winfo_ismapped():
                button.invoke()

        label, place = self._wizard.access_key(self._wizard.texts(key), press)
        button = ttk.Button(parent, text=label, underline=place, style="Wide.TButton",
                            command=action)  # fmt: skip
        return button

    # --- drawing -------------------------------------------------------------------------

    def start(self) -> None:
        """Draw all pictures, in the background."""
        if self.child:
            return
        self._stopping, self._trouble = False, ""
        self._time_left = TimeLeft()
        try:
            path = self._wizard.own_files.write("versions", self._config())
            self.child = Child("scripts.draw_versions", ["--config", str(path), "--events"])
        except (OSError, SuiteError) as error:
            self._said.configure(text=self._wizard.texts.said(error), style="Error.TLabel")
            self._arrange(self.card, self._said)
            return
        self._show_drawing()
        keep_awake(True)
        self._poll()

    def _config(self) -> dict[str, Any]:
        """The settings of the drawing: those of the training, as far as it has them."""
        answers = self._wizard.answers
        config = {name: answers[name] for name in declarations(DrawSettings)
                  if name in answers.declared}  # fmt: skip
        with suppress(SettingError):  # it was baked with, so it can be read
            size = read_value(answers.declared["resolution"], answers["resolution"])
            config["width"], config["height"] = size or (None, None)
        words = trigger_word(self._wizard) or str(answers["output_name"])
        return {
            **config,
            "model": answers["pretrained_model_name_or_path"],
            "loras": [str(version.path) for version in self._versions],
            "strengths": list(STRENGTHS),
            "prompts": answers["sample_prompts"] or [words],
            "most_prompts": 1,
            "sampler": answers["sample_sampler"],
            "save_to": str(self._folder),
        }

    def _show_drawing(self) -> None:
        theme, texts = self._wizard.theme, self._wizard.texts
        self._arrange(self._progress)
        for child in self._place.winfo_children():
            child.destroy()
        self._line.configure(text=texts("finished.compare.loading"))
        self._bar.configure(mode="indeterminate", value=0)
        self._bar.start(15)
        self.stop.state(["!disabled"])
        self._grid = VersionGrid(self._place, self._wizard, self._versions, STRENGTHS, self._choose)
        self._grid.pack(anchor="w")
        self._fill_details(self._grid.details)
        self._place.pack(fill="x", pady=(theme.px(4), theme.px(8)))
        self.stop.focus_set()

    def _poll(self) -> None:
        code: int | None = None
        try:
            code = pass_on(self._wizard.texts, self.child, self._take)
        finally:  # after an error of ours too: else the window could never be closed
            if code is None:
                self._job = self._wizard.root.after(POLL, self._poll)
            else:
                self._finish(code)

    def _take(self, message: Message) -> None:
        if isinstance(message, Preview) and message.lora is not None:
            self._grid.put(message.lora, message.strength, message.path)
        elif isinstance(message, Problem):
            self._trouble = f"{self._trouble}\n{message.message}".strip()
        elif isinstance(message, Stage) and message.total:
            self._show_progress(message)

    def _show_progress(self, stage: Stage) -> None:
        self._bar.stop()
        self._bar.configure(mode="determinate", value=1000 * stage.done / stage.total)
        left = self._time_left.seconds(stage.name, stage.done, stage.total, time.monotonic())
        texts = self._wizard.texts
        number = min(self._total, self._grid.pictures + 1)
        text = texts("finished.compare.progress", done=number, total=self._total)
        if left is not None:
            text += " · " + texts("work.left", time=texts.duration(left))
        if not self._stopping:
            self._line.configure(text=text)

    def _stop(self) -> None:
        self._stopping = True
        self.stop.state(["disabled"])
        self._line.configure(text=self._wizard.texts("work.stopping"))
        self.child.ask("stop")

    def close(self) -> None:
        """The page goes: end what still draws; the pictures that are there stay."""
        if self._grid:
            self._grid.close()
        if self.child:
            self._wizard.root.after_cancel(self._job)
            self.child.kill()
            self._ended()

    def _ended(self) -> None:
        self.child = None
        keep_awake(False)

    # --- the end -------------------------------------------------------------------------

    def _finish(self, code: int) -> None:
        self._ended()
        # The keyboard goes on only from the button that vanishes, not from a picture.
        follow = self.focus_get() is self.stop
        self._bar.stop()
        if code == DONE:
            text = self._wizard.texts("finished.compare.pick", folder=self._folder.name)
            self._said.configure(text=text, style="TLabel")
            self._arrange(self._said)
            goal = self._grid.first
        else:
            self._say_what_kept_it()
            self._arrange(self.card, self._said)
            goal = self.card.button
        if follow:
            goal.focus_set()
            self.after_idle(self._wizard.page.frame.show, self._head)
        if not self._grid.pictures:
            self._place.pack_forget()
        if not self._stopping:
            call_for_attention(self._wizard.root)

    def _say_what_kept_it(self) -> None:
        texts = self._wizard.texts
        if not self._stopping:
            self._said.configure(text=self._trouble or texts("work.bug"), style="Error.TLabel")
            return
        text = texts("work.stopped")
        if self._grid.pictures:
            text = texts("finished.compare.stopped", folder=self._folder.name)
        self._said.configure(text=text, style="TLabel")

    def _choose(self, version: SavedVersion, strength: float) -> None:
        word = trigger_word(self._wizard)
        self._file = version.path
        self._which.configure(text=chosen_text(self._wizard, version, strength))
        self._prompt.configure(
            text=self._wizard.texts("finished.prompt", lora=version.path.stem,
                                    strength=f"{strength:g}", word=f", {word}" if word else "")
        )  # fmt: skip

    def _show_chosen(self) -> None:
        show_in_folder(Path(self._file))
