"""One step of a wizard, and the page that is built from declared settings alone."""

from __future__ import annotations

import tkinter
from collections.abc import Callable, Iterable
from tkinter import ttk
from typing import TYPE_CHECKING

from easy_scripts.wizard.fold import Fold
from easy_scripts.wizard.rows import Row, row_for

if TYPE_CHECKING:
    from easy_scripts.wizard.scrolled import Scrolled
    from easy_scripts.wizard.window import Wizard


class Page:
    """A step: subclasses say what is on it (`build`) and what must hold to go on (`check`).

    `name` is the first part of its texts: NAME.title (`title_key` may say otherwise), NAME.step,
    NAME.intro (may be missing).
    """

    name = ""
    next_text: str | None = "frame.next"
    cancel_text = "frame.cancel"
    can_go_back = True
    busy = False
    passed_over = False  # Back goes past this page
    back_to_start = False  # Back goes to the first page: those between were not filled in
    off_path = False  # no step on the way: the list at the side does without it
    offers_always = False  # the draft, even when files were dropped on the .bat
    handles: tuple[str, ...] = ()  # settings of the page that have no row of their own

    def __init__(self, wizard: Wizard) -> None:
        self.wizard = wizard
        self.texts, self.theme, self.answers = wizard.texts, wizard.theme, wizard.answers
        self.frame: Scrolled | None = None
        self.rows: dict[str, Row] = {}
        self._wish: Callable[[], None] | None = None

    @property
    def title_key(self) -> str:
        """The text that is the title."""
        return f"{self.name}.title"

    def build(self, body: ttk.Frame) -> None:
        """Put the content into `body`; called when the page is first shown."""
        raise NotImplementedError

    def enter(self) -> None:
        """The page is on screen now, for the first time or again."""

    def leave(self) -> None:
        """The page goes off the screen."""

    def closing(self) -> None:
        """The wizard ends; end what still runs."""

    def may_leave(self) -> bool:
        """Whether the page may be left now; asks, where something runs that would be lost."""
        return True

    def leave_busy(self) -> None:
        """Someone wants to close the wizard while `busy`."""

    def proceed(self) -> None:
        """What Next does when nothing is wrong."""
        self.wizard.go_on()

    # --- waiting for an answer -----------------------------------------------------------

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come without which the page cannot be left forwards."""
        return False

    def ready(self, wish: Callable[[], None]) -> bool:
        """Whether nothing is waited for; else `wish` is done when the answer has come."""
        self._wish = wish if self.waits else None
        return self._wish is None

    def answered(self) -> None:
        """What was waited for has come: do what was wished meanwhile."""
        wish, self._wish = self._wish, None
        if wish and self.wizard.page is self:
            wish()

    def forget_wish(self) -> None:
        """Nothing goes on by itself any more."""
        self._wish = None

    # --- errors --------------------------------------------------------------------------

    def setting_names(self) -> Iterable[str]:
        """The settings that can be changed on this page."""
        return (*self.handles, *self.rows)

    def check(self) -> bool:
        """Whether the page may be left forwards; shows every error and goes to the first."""
        errors = self.wizard.errors()
        wrong = [name for name, row in self.rows.items() if row.shown and not row.check()]
        together = [name for name in self.setting_names() if name in errors and name not in wrong]
        for name in reversed(together):  # the first one is shown last and gets the keyboard
            self.show_error(name, errors[name])
        if wrong and not together:
            self.go_to_row(wrong[0])
        return not wrong and not together

    def show_error(self, name: str, message: str) -> None:
        """Show what is wrong with a setting of this page."""
        self.rows[name].show_error(message)
        self.go_to_row(name)

    def go_to_row(self, name: str) -> None:
        """Give the keyboard to a row and bring it into view."""
        row = self.rows[name]
        parent = row.frame.master
        while parent is not self.frame.body:
            if isinstance(parent, Fold):
                parent.unfold()
            parent = parent.master
        row.focus()
        self.frame.show(row.frame)

    # --- content -------------------------------------------------------------------------

    def focus_first(self) -> None:
        """Give the keyboard to the first thing to fill in, else to the Next button."""
        for row in self.rows.values():
            if row.shown:
                row.focus()
                return
        self.wizard.footer.next.focus_set()

    def add_row(self, parent: tkinter.Misc, name: str) -> Row:
        """The row of a declared setting, at the end of `parent`."""
        row = row_for(parent, self.wizard, self.answers.declared[name])
        row.frame.pack(fill="x", pady=(0, self.theme.px(18)))
        self.rows[name] = row
        row.follow_condition()
        return row

    def add_fold(self, parent: tkinter.Misc, key: str) -> ttk.Frame:
        """A section that is folded away, titled by the text `key`; its content frame."""
        fold = Fold(parent, self.theme, self.texts(key))
        fold.pack(fill="x", pady=(self.theme.px(4), self.theme.px(12)))
        return fold.content

    def offer(self, text: str, answer: str, action: Callable[[], None]) -> None:
        """A line at the top of the page with one button; it goes away when used."""
        theme = self.theme
        bar = ttk.Frame(self.frame.body, style="Card.TFrame", padding=theme.px(10))
        first = self.frame.body.pack_slaves()
        bar.pack(fill="x", pady=(0, theme.px(16)), **({"before": first[0]} if first else {}))
        label = ttk.Label(bar, text=text)
        label.pack(side="left", padx=(theme.px(4), theme.px(12)))

        def use() -> None:
            bar.destroy()
            action()

        def drop() -> None:
            bar.destroy()
            self.focus_first()

        ttk.Button(bar, text="✕", style="Toolbutton", command=drop, width=2).pack(side="right")
        label, place = self.wizard.access_key(answer, lambda: bar.winfo_exists() and use())
        button = ttk.Button(bar, text=label, underline=place, command=use)
        button.pack(side="right", padx=theme.px(4))


class SettingsPage(Page):
    """A page made of declared settings: `settings` by name; advanced ones are folded away."""

    settings: tuple[str, ...] = ()

    def build(self, body: ttk.Frame) -> None:
        """One row a setting, in order."""
        declared = self.answers.declared
        for name in self.settings:
            if not declared[name].advanced:
                self.add_row(body, name)
        advanced = [name for name in self.settings if declared[name].advanced]
        if advanced:
            content = self.add_fold(body, "frame.more")
            for name in advanced:
                self.add_row(content, name)
