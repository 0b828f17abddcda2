"""The last page: what was made, how much smaller it is, what was kept, and where it lies."""

from __future__ import annotations

import tkinter
from pathlib import Path
from tkinter import ttk

from easy_scripts.wizard.page import Page
from easy_scripts.wizard.reveal import show_in_folder
from easy_scripts.wizard.theme import CAPTION
from scripts.core.events import Facts, Note, Saved

BAR_HEIGHT = 10  # logical pixels
LINE_HEIGHT = 22


class ResultPage(Page):
    """Built anew each time from the events of the run."""

    name = "result"
    next_text = None
    cancel_text = "frame.close"

    def build(self, body: ttk.Frame) -> None:
        """An empty page; `enter` fills it."""
        self._content = ttk.Frame(body)
        self._content.pack(fill="x")

    def enter(self) -> None:
        """Show what the latest run has made."""
        theme = self.theme
        for child in self._content.winfo_children():
            child.destroy()
        events = self.wizard.facts.events
        reports: dict[Path, dict] = {}
        for event in events:
            if isinstance(event, Saved):
                reports[Path(event.path)] = {}
            elif isinstance(event, Facts):  # they are told after the file that they are about
                reports[[*reports][-1]] = event.facts
        for path, report in reports.items():
            self._show_file(path, report)
        for note in (event for event in events if isinstance(event, Note)):
            ttk.Label(self._content, text=note.text, style="Muted.TLabel",
                      wraplength=theme.px(640)).pack(anchor="w", pady=(0, theme.px(8)))  # fmt: skip
        self._show_buttons([*reports])

    def _show_file(self, path: Path, report: dict) -> None:
        theme = self.theme
        card = ttk.Frame(self._content, style="Card.TFrame", padding=theme.px(14))
        card.pack(fill="x", pady=(0, theme.px(10)))
        ttk.Label(card, text=path.name, style="Strong.TLabel", wraplength=theme.px(620)).pack(
            anchor="w", padx=theme.px(4))  # fmt: skip
        ttk.Label(card, text=str(path.parent), style="Muted.TLabel", font=CAPTION,
                  wraplength=theme.px(620)).pack(anchor="w", padx=theme.px(4))  # fmt: skip
        about = ttk.Label(card, text=" · ".join(self._about(path, report)),
                          wraplength=theme.px(620))  # fmt: skip
        about.pack(anchor="w", padx=theme.px(4), pady=(theme.px(4), 0))
        if report.get("kept_by_block"):
            ttk.Label(card, text=self.texts("result.blocks"), style="Muted.TLabel",
                      font=CAPTION).pack(anchor="w", padx=theme.px(4),
                                         pady=(theme.px(10), theme.px(2)))  # fmt: skip
            BlockBars(card, self, report["kept_by_block"]).pack(fill="x", padx=theme.px(4))

    def _about(self, path: Path, report: dict) -> list[str]:
        """What was merged, sizes before and after, what was kept: as far as the command tells."""
        texts = self.texts
        parts = [report["merged"]] if "merged" in report else []
        size = texts.size(path.stat().st_size) if path.exists() else ""
        if "before" in report:
            before, after = self._dim(report["before"]), self._dim(report["after"])
            parts.append(texts("result.dims", before=before, after=after))
            whole = texts.size(report["before"]["size_bytes"])
            size = texts("result.sizes", before=whole, after=size)
        parts.append(size)
        if "kept" in report:
            parts.append(texts("size.keeps", share=texts.percent(report["kept"], 1)))
        return parts

    def _dim(self, facts: dict) -> str:
        """The dim; where layers differ the command has a word for it in place of a number."""
        return facts["dim"] if facts["dim"].isdigit() else self.texts("result.mixed")

    def _show_buttons(self, saved: list[Path]) -> None:
        theme = self.theme
        row = ttk.Frame(self._content)
        row.pack(fill="x", pady=(theme.px(8), 0))
        actions = [("result.again", lambda: self.wizard.go_to(0))]
        if saved:
            actions.insert(0, ("result.folder", lambda: show_in_folder(saved[0])))
        self._buttons = []
        for key, action in actions:
            label, place = self.wizard.access_key(self.texts(key), action)
            style = "Wide.TButton" if self._buttons else "Accent.TButton"
            button = ttk.Button(row, text=label, underline=place, command=action, style=style)
            button.pack(side="left", padx=(0, theme.px(8)))
            self._buttons.append(button)

    def focus_first(self) -> None:
        """The button that shows the file; but the page is read from its top."""
        self._buttons[0].focus_set()
        self.wizard.root.after_idle(self.frame.to_top)


class BlockBars(tkinter.Canvas):
    """A small bar for each block: how much of it was kept."""

    def __init__(self, parent: tkinter.Misc, page: Page, kept: dict[str, float]) -> None:
        self._theme, self._texts, self._kept = page.theme, page.texts, kept
        self._columns = 3 if len(kept) > 8 else 1
        lines = -(-len(kept) // self._columns)
        height = page.theme.px(LINE_HEIGHT) * lines
        super().__init__(parent, height=height, highlightthickness=0, borderwidth=0, takefocus=0)
        self.bind("<Configure>", lambda _: self._draw())
        page.theme.changed.append(lambda: self.winfo_exists() and self._draw())

    def _draw(self) -> None:
        theme, colours = self._theme, self._theme.colours
        self.configure(background=colours.background)
        self.delete("all")
        width = self.winfo_width() / self._columns
        lines = -(-len(self._kept) // self._columns)
        name_width, bar, line = theme.px(66), theme.px(BAR_HEIGHT), theme.px(LINE_HEIGHT)
        for index, (name, share) in enumerate(self._kept.items()):
            x, y = width * (index // lines), line * (index % lines) + line / 2
            left, right = x + name_width, x + width - theme.px(64)
            self.create_text(x, y, text=name, anchor="w", font=CAPTION, fill=colours.text)
            self.create_rectangle(left, y - bar / 2, right, y + bar / 2, width=0, fill=colours.line)
            self.create_rectangle(left, y - bar / 2, left + (right - left) * min(1, share),
                                  y + bar / 2, width=0, fill=colours.accent)  # fmt: skip
            self.create_text(
                right + theme.px(8),
                y,
                text=self._texts.percent(share),
                anchor="w",
                font=CAPTION,
                fill=colours.muted,
            )
