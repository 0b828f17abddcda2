"""Every setting of a training: by group or searched for, changed ones marked, each reset alone."""

from __future__ import annotations

import tkinter
from tkinter import ttk

from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.rows import Row, TextRow, row_for
from easy_scripts.wizard.tips import add_tip

MOST_FOUND = 20  # rows shown for a search
AS_TEXT = ("sample_prompts",)  # prompts are typed, though they may also be the path of a file


class AllSettingsPage(Page):
    """A field to search, a list of groups, and the rows of the group chosen."""

    name = "all_settings"
    passed_over = True
    row_wait = 250  # milliseconds after the last letter

    def build(self, body: ttk.Frame) -> None:
        """The head; the rows come when their group is chosen."""
        theme = self.theme
        self._groups: dict[str, list[str]] = {}
        for name, entry in self.answers.declared.items():
            self._groups.setdefault(entry.page, []).append(name)
        head = ttk.Frame(body)
        head.pack(fill="x", pady=(0, theme.px(16)))
        ttk.Label(head, text=self.texts("all_settings.search")).pack(side="left")
        self._sought = tkinter.StringVar(head)
        self.search = ttk.Entry(head, textvariable=self._sought, width=22)
        self.search.pack(side="left", padx=(theme.px(8), theme.px(20)))
        ttk.Label(head, text=self.texts("all_settings.group")).pack(side="left")
        self._group: int | None = None  # 0: what is changed
        self._chooser = ttk.Combobox(head, state="readonly", width=24)
        self._chooser.pack(side="left", padx=theme.px(8))
        self._chooser.bind("<<ComboboxSelected>>",
                           lambda _: self.show_group(self._chooser.current()))  # fmt: skip
        self._none = ttk.Label(body, style="Muted.TLabel", wraplength=theme.px(620))
        self._list = ttk.Frame(body)
        self._list.pack(fill="x")
        self._holders: dict[str, ttk.Frame] = {}
        self._resets: dict[str, ttk.Button] = {}
        self._job: str | None = None
        self._sought.trace_add("write", lambda *_: self._soon())
        self.answers.watch(self._mark)

    def enter(self) -> None:
        """Count what is changed; begin with that, if anything is."""
        if self._group is None:
            self._group = 0 if self._changed() else 1
        self._name_groups()
        self._fill()

    def leave(self) -> None:
        """Let go of a search that has not begun."""
        if self._job:
            self.wizard.root.after_cancel(self._job)
            self._job = None

    def setting_names(self) -> tuple[str, ...]:
        """All of them can be changed here."""
        return tuple(self.answers.declared)

    def check(self) -> bool:
        """Nothing that is wrong may stay; each error is shown at its row."""
        wrong = [name for name in self.answers.declared if self.answers.error(name)]
        errors = {**{name: self.answers.error(name) for name in wrong}, **self.wizard.errors()}
        for name in [name for name in errors if name in self.answers.declared][:1]:
            self.show_error(name, errors[name])
            return False
        return True

    def show_error(self, name: str, message: str) -> None:
        """Bring the row of the setting up, wherever it is, and show the error there."""
        if name not in self._shown():
            self.show_group(1 + list(self._groups).index(self.answers.declared[name].page))
        super().show_error(name, message)

    def show_group(self, number: int) -> None:
        """Show a group, 0 being what is changed, in place of what was searched for."""
        self._group = number
        self._sought.set("")
        self.leave()
        self._fill()

    def go_to_row(self, name: str) -> None:
        """Give the keyboard to the row."""
        self.rows[name].focus()
        self.frame.show(self._holders[name])

    def focus_first(self) -> None:
        """The search."""
        self.search.focus_set()

    def proceed(self) -> None:
        """On to the summary."""
        show_page(self.wizard, "summary")

    # --- what is shown -------------------------------------------------------------------

    def _changed(self) -> list[str]:
        entered = self.answers.entered()
        return [name for name in self.answers.declared if name in entered]

    def _name_groups(self) -> None:
        names = [self.texts("all_settings.changed", count=len(self._changed()))]
        for page in self._groups:
            key = f"group.{page}"
            names.append(self.texts(key) if key in self.texts else page)
        self._chooser.configure(values=names)

    def _wanted(self) -> list[str]:
        words = self._sought.get().lower().split()
        if words:
            return [name for name in self.answers.declared if self._matches(name, words)]
        return list(self._groups.values())[self._group - 1] if self._group else self._changed()

    def _matches(self, name: str, words: list[str]) -> bool:
        entry = self.answers.declared[name]
        text = " ".join((name, self.texts.label(entry), self.texts.help(entry), *entry.aliases))
        return all(word in text.lower() for word in words)

    def _soon(self) -> None:
        self.leave()
        self._job = self.wizard.root.after(self.row_wait, self._fill)

    def _fill(self) -> None:
        """Show the rows that are wanted now; each is made when it is first wanted."""
        self._job = None
        wanted = [name for name in self._wanted() if self.answers.applies(name)]
        if self._sought.get().strip():
            self._chooser.set(self.texts("all_settings.found", count=len(wanted)))
            wanted = wanted[:MOST_FOUND]
        else:
            self._chooser.current(self._group)
        for name in self._shown():
            self._holders[name].pack_forget()
        for name in wanted:
            if name not in self._holders:
                self._make(name)
            self._holders[name].pack(fill="x", pady=(0, self.theme.px(16)))
        self._none.pack_forget()
        if not wanted:
            key = "all_settings.not_found" if self._sought.get() else "all_settings.none_changed"
            self._none.configure(text=self.texts(key))
            self._none.pack(anchor="w", before=self._list)
        self._mark()
        self.frame.to_top()

    def _shown(self) -> list[str]:
        return [name for name, holder in self._holders.items() if holder.winfo_manager()]

    def _make(self, name: str) -> Row:
        theme = self.theme
        holder = ttk.Frame(self._list)
        holder.columnconfigure(0, weight=1)
        entry = self.answers.declared[name]
        make = TextRow if name in AS_TEXT else row_for
        row = make(holder, self.wizard, entry)
        row.frame.grid(row=0, column=0, sticky="ew")
        reset = ttk.Button(holder, text="↺", style="Toolbutton", width=2,
                           command=lambda: self._reset(name))  # fmt: skip
        reset.grid(row=0, column=1, sticky="n", padx=(theme.px(6), 0))
        holder.columnconfigure(1, minsize=theme.px(44))
        add_tip(reset, self.texts("all_settings.reset"), theme)
        self._holders[name], self._resets[name], self.rows[name] = holder, reset, row
        return row

    def _reset(self, name: str) -> None:
        self.rows[name].write(self.answers.declared[name].default)
        self.rows[name].show_error(None)

    def _mark(self) -> None:
        """Changed settings have their label in colour and a button that resets them."""
        if self.wizard.page is not self:
            return
        entered = self.answers.entered()
        for name in self._shown():
            changed = name in entered
            self.rows[name].label.configure(style="Accent.TLabel" if changed else "TLabel")
            if changed:
                self._resets[name].grid()
            else:
                self._resets[name].grid_remove()
