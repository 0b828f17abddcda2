"""The end: the finished file, its previews over time in one grid, the offer to compare its versions
at several strengths, and what to do next."""

from __future__ import annotations

import tkinter
from functools import partial
from pathlib import Path
from tkinter import ttk

from easy_scripts.queue.store import DONE, FAILED, Bake, QueueStore
from easy_scripts.train_pages.compare_versions import CompareVersions
from easy_scripts.train_pages.preview_strip import load_picture, picture_button, rounds_of
from easy_scripts.train_pages.saved_versions import saved_versions, spread
from easy_scripts.train_pages.trigger_word import trigger_word
from easy_scripts.wizard.asking import short_path
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.reveal import open_file, show_in_folder
from easy_scripts.wizard.theme import CAPTION
from scripts.core.errors import SuiteError
from scripts.core.events import Done, Note, Preview, Saved

CELL = 118  # logical pixels
MOST_COLUMNS, MOST_ROWS = 5, 4
MOST_VERSIONS = 6
SHEET = 620


class FinishedPage(Page):
    """Built anew each time from the events of the bake."""

    name = "finished"
    next_text = None
    cancel_text = "frame.close"
    compare: CompareVersions | None = None

    @property
    def back_to_start(self) -> bool:
        """After the practice bake and the queue, whose settings are on no page."""
        return bool(self.wizard.facts.practised or self.wizard.facts.ran)

    @property
    def title_key(self) -> str:
        """As good as what came of it."""
        try:
            done = [bake.state == DONE for bake in self._ran()]
        except SuiteError:  # `enter` tells it
            return "queue.title"
        if len(done) <= 1 and all(done):
            return "finished.title"
        return f"finished.title_{'all' if all(done) else 'some' if any(done) else 'none'}"

    def _ran(self) -> list[Bake]:
        """The bakes of the queue that ran, if it was the queue. Raises SuiteError."""
        ran = self.wizard.facts.ran
        return [bake for bake in QueueStore().read().bakes if bake.id in ran] if ran else []

    def build(self, body: ttk.Frame) -> None:
        """An empty page; `enter` fills it."""
        self._content = ttk.Frame(body)
        self._content.pack(fill="x")
        self._pictures: list[tkinter.PhotoImage] = []

    def enter(self) -> None:
        """Show what the bake has made."""
        for child in self._content.winfo_children():
            child.destroy()
        self._pictures.clear()
        self.compare = None
        events = self.wizard.facts.events
        done = next((event for event in events if isinstance(event, Done)), Done())
        if self.wizard.facts.ran:
            self._show_warnings()
            try:
                self._show_queue(self._ran())
            except SuiteError as error:
                self._warn(self.texts.said(error), "Error.TLabel")
                self._show_buttons(None)
            return
        practised = self.wizard.facts.practised
        saved = [Path(event.path) for event in events
                 if isinstance(event, Saved) and event.what == "lora"]  # fmt: skip
        result = saved[-1] if saved else Path(done.path or "")
        self._show_file(result, done, len(saved))
        self._show_warnings()
        self._show_buttons(result)
        if practised:
            self._show_sheet(Path(done.path or ""), events)
        else:
            self._show_grid([event for event in events if isinstance(event, Preview)])
            self._offer_comparison(result)
            self._show_next(result)

    def _show_warnings(self) -> None:
        for text in self.wizard.facts.warnings:
            self._warn(text)

    def _warn(self, text: str, style: str = "Warning.TLabel") -> None:
        ttk.Label(self._content, text=text, style=style,
                  wraplength=self.theme.px(620)).pack(anchor="w", pady=(0, 6))  # fmt: skip

    def _show_queue(self, ran: list[Bake]) -> None:
        """One card for each bake of the queue that ran."""
        for bake in ran:
            card = ttk.Frame(self._content, style="Card.TFrame", padding=self.theme.px(12))
            card.pack(fill="x", pady=(0, self.theme.px(8)))
            ttk.Label(card, text=bake.name, style="Strong.TLabel",
                      wraplength=self.theme.px(600)).pack(
                anchor="w", padx=self.theme.px(4))  # fmt: skip
            for text, style in self._about(bake):
                ttk.Label(card, text=text, style=style, font=CAPTION,
                          wraplength=self.theme.px(600)).pack(
                    anchor="w", padx=self.theme.px(4))  # fmt: skip
        results = [Path(bake.result) for bake in ran if bake.result]
        self._show_buttons(results[-1] if results else None)

    def _about(self, bake: Bake) -> list[tuple[str, str]]:
        """Lines with their styles: what became of a bake, its file and where that lies."""
        texts, lines = self.texts, []
        if bake.state != DONE:
            style = "Error.TLabel" if bake.state == FAILED else "Warning.TLabel"
            said = texts.said(bake.error) if bake.error else texts(f"queue.is.{bake.state}")
            lines.append((said, style))
        if bake.result:
            path = Path(bake.result)
            took = texts("finished.took", time=texts.duration(bake.seconds or 0))
            lines += [(f"{short_path(path.name)} · {took}", "Muted.TLabel"),
                      (short_path(path.parent, 76), "Muted.TLabel")]  # fmt: skip
        return lines

    def _show_file(self, path: Path, done: Done, saves: int) -> None:
        theme, texts = self.theme, self.texts
        card = ttk.Frame(self._content, style="Card.TFrame", padding=theme.px(14))
        card.pack(fill="x", pady=(0, theme.px(10)))
        ttk.Label(card, text=path.name, style="Strong.TLabel", wraplength=theme.px(610)).pack(
            anchor="w", padx=theme.px(4))  # fmt: skip
        ttk.Label(card, text=str(path.parent), style="Muted.TLabel", font=CAPTION,
                  wraplength=theme.px(610)).pack(anchor="w", padx=theme.px(4))  # fmt: skip
        facts = [texts.size(path.stat().st_size)] if path.is_file() else []
        if done.seconds:
            facts.append(texts("finished.took", time=texts.duration(done.seconds)))
        if saves > 1:
            facts.append(texts("finished.versions", count=saves - 1))
        ttk.Label(card, text=" · ".join(facts), wraplength=theme.px(610)).pack(
            anchor="w", padx=theme.px(4), pady=(theme.px(4), 0))  # fmt: skip

    def _show_grid(self, previews: list[Preview]) -> None:
        """The rounds side by side, one row for each prompt."""
        rounds = rounds_of(previews)
        if not rounds:
            return
        theme = self.theme
        steps = spread(list(rounds), MOST_COLUMNS)
        ttk.Label(self._content, text=self.texts("finished.previews"), style="Strong.TLabel").pack(
            anchor="w", pady=(theme.px(4), 0))  # fmt: skip
        ttk.Label(self._content, text=self.texts("finished.previews_about"), style="Muted.TLabel",
                  font=CAPTION, wraplength=theme.px(620)).pack(anchor="w")  # fmt: skip
        grid = ttk.Frame(self._content)
        grid.pack(anchor="w", pady=theme.px(6))
        for column, step in enumerate(steps):
            for row, preview in enumerate(rounds[step][:MOST_ROWS]):
                picture = load_picture(preview.path, theme.px(CELL), self.wizard.root)
                if picture is None:
                    continue
                self._pictures.append(picture)
                button = picture_button(grid, theme, picture, partial(_open, preview.path))
                button.grid(row=row, column=column, padx=(0, theme.px(2)), pady=(0, theme.px(2)))
            ttk.Label(grid, text=self.texts("bake.at_step", step=f"{step:,}"), font=CAPTION,
                      style="Muted.TLabel").grid(row=MOST_ROWS, column=column)  # fmt: skip

    def _show_sheet(self, sheet: Path, events: list) -> None:
        notes = [event.text for event in events if isinstance(event, Note)]
        if notes:
            ttk.Label(self._content, text=notes[-1], wraplength=self.theme.px(620)).pack(
                anchor="w", pady=(self.theme.px(8), self.theme.px(8)))  # fmt: skip
        picture = load_picture(sheet, self.theme.px(SHEET), self.wizard.root)
        if picture is not None:
            self._pictures.append(picture)
            ttk.Label(self._content, image=picture).pack(anchor="w")

    def _offer_comparison(self, result: Path) -> None:
        versions = spread(saved_versions(result), MOST_VERSIONS)
        if versions:
            self.compare = CompareVersions(self._content, self.wizard, versions)
            self.compare.pack(fill="x", pady=(self.theme.px(8), 0))

    def may_leave(self) -> bool:
        """Ask whether a drawing that is under way may be ended."""
        drawing = self.compare is not None and self.compare.child is not None
        return not drawing or self.wizard.ask("finished.compare.ask") == 1

    def leave(self) -> None:
        """End the drawing, if there is one."""
        if self.compare:
            self.compare.close()

    closing = leave

    def _show_next(self, path: Path) -> None:
        word = trigger_word(self.wizard)
        word = f", {word}" if word else ""
        prompt = self.texts("finished.prompt", lora=path.stem, strength="0.8", word=word)
        lines = [self.texts("finished.copy"), prompt]
        ttk.Label(self._content, text=self.texts("finished.next"), style="Strong.TLabel").pack(
            anchor="w", pady=(self.theme.px(10), self.theme.px(2)))  # fmt: skip
        for line in lines:
            ttk.Label(self._content, text=line, style="Muted.TLabel",
                      wraplength=self.theme.px(620)).pack(anchor="w", pady=(0, 3))  # fmt: skip

    def _show_buttons(self, path: Path | None) -> None:
        theme = self.theme
        row = ttk.Frame(self._content)
        row.pack(fill="x", pady=(theme.px(2), theme.px(12)))
        self._buttons = []
        ways = [("finished.again", self._again)]
        if path:
            ways.insert(0, ("result.folder", lambda: show_in_folder(path)))
        for key, action in ways:
            label, place = self.wizard.access_key(self.texts(key), action)
            style = "Wide.TButton" if self._buttons else "Accent.TButton"
            button = ttk.Button(row, text=label, underline=place, command=action, style=style)
            button.pack(side="left", padx=(0, theme.px(8)))
            self._buttons.append(button)

    def _again(self) -> None:
        if self.may_leave():
            self.wizard.go_to(0)

    def focus_first(self) -> None:
        """The button that shows the file."""
        self._buttons[0].focus_set()


def _open(path: str) -> None:
    open_file(Path(path))
