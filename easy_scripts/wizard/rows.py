"""One row for each declared setting: label and help at the left, the field at the right.

`row_for` chooses the kind of row by the declaration. A row writes what is entered into the
answers and follows them; an error stands in red under the field, and goes when it is mended.
"""

from __future__ import annotations

import tkinter
from tkinter import ttk
from typing import TYPE_CHECKING, Any

from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.tips import add_tip
from easy_scripts.wizard.usual import UsualNote, tip
from scripts.core.declare import Declaration, show_value

if TYPE_CHECKING:
    from easy_scripts.wizard.window import Wizard

NUMBER_WIDTH = 10  # letters
TEXT_WIDTH = 28
HELP_WIDTH, WIDE_HELP = 420, 600  # logical pixels


class Row:
    """A row; subclasses make the field and say how a value looks in it."""

    wide = False  # the field has a line of its own

    def __init__(self, parent: tkinter.Misc, wizard: Wizard, setting: Declaration) -> None:
        self.wizard, self.setting = wizard, setting
        self.theme, self.texts, self.answers = wizard.theme, wizard.texts, wizard.answers
        self.frame = ttk.Frame(parent)
        self.frame.columnconfigure(0, weight=1)
        self._error: str | None = None
        self._info: tuple[str, str] | None = None
        self._make_texts()
        self.field = self.make_field(self.frame)
        gap = self.theme.px(6)
        if self.wide:
            self.field.grid(row=2, column=0, columnspan=2, sticky="ew", pady=(gap, 0))
        else:
            self.field.grid(row=0, column=1, rowspan=2, sticky="e", padx=(self.theme.px(24), 0))
        self._message = ttk.Label(self.frame)
        self.frame.bind("<Configure>", self._wrap_texts, add="+")
        for widget in (self.frame, *self.frame.winfo_children(), *self.field.winfo_children()):
            add_tip(widget, self.tip, self.theme, under=self.frame)
        if setting.usual:
            UsualNote(self)
        self._follow_answer()
        self.answers.watch(self._follow_answer, setting.name)
        self.input().bind("<FocusOut>", self._left, add="+")

    # --- for subclasses ------------------------------------------------------------------

    def make_field(self, parent: tkinter.Misc) -> tkinter.Misc:
        """The widget with the field."""
        raise NotImplementedError

    def input(self) -> tkinter.Misc:
        """The widget that takes the keyboard."""
        return self.field

    def put(self, value: Any) -> None:
        """Show `value` in the field."""
        raise NotImplementedError

    # --- what pages use ------------------------------------------------------------------

    @property
    def shown(self) -> bool:
        """Whether the row is on the page now."""
        return self.answers.applies(self.setting.name)

    def follow_condition(self) -> None:
        """Come and go with the setting that this one depends on."""
        if self.setting.shown_when is None:
            return
        options = self.frame.pack_info()
        options.pop("in", None)
        holder = ttk.Frame(self.frame.master)
        holder.pack(fill="x", after=self.frame)
        self.frame.pack_forget()

        def follow() -> None:
            if self.shown:
                self.frame.pack(in_=holder, **options)
                self.frame.lift()  # the holder is younger and would cover it
            else:
                self.frame.pack_forget()
                holder.configure(height=1)

        follow()
        self.answers.watch(follow, self.setting.shown_when[0])

    def focus(self) -> None:
        """Give the keyboard to the field."""
        self.input().focus_set()

    def check(self) -> bool:
        """Show what is wrong with the value, if anything; whether all is well."""
        error = self.answers.error(self.setting.name)
        self.show_error(error)
        return error is None

    def show_error(self, message: str | None) -> None:
        """Put `message` in red under the field; None takes it away."""
        self._error = message and self.texts.said(message)
        self._say()
        state = "invalid" if message else "!invalid"
        if isinstance(self.input(), ttk.Entry):
            self.input().state([state])

    def show_info(self, message: str | None, style: str = "Muted.TLabel") -> None:
        """Put a line about the value under the field; an error, while there is one, goes before."""
        self._info = (message, style) if message else None
        self._say()

    def tip(self) -> str:
        """What the tooltip says now."""
        return tip(self.setting, self.texts, self.answers)

    # --- inside --------------------------------------------------------------------------

    def _say(self) -> None:
        line = (self._error, "Error.TLabel") if self._error else self._info
        if line:
            self._message.configure(text=line[0], style=line[1])
            self._message.grid(row=3, column=0, columnspan=2, sticky="w",
                               pady=(self.theme.px(4), 0))  # fmt: skip
        else:
            self._message.grid_remove()

    def _make_texts(self) -> None:
        self.label = ttk.Label(self.frame, text=self.texts.label(self.setting))
        self.label.grid(row=0, sticky="w")
        text = self.texts.help(self.setting)
        self._help = ttk.Label(self.frame, text=text, style="Muted.TLabel", font=CAPTION,
                               wraplength=self.theme.px(HELP_WIDTH))  # fmt: skip
        self._help.grid(row=1, sticky="w")

    def _wrap_texts(self, event: tkinter.Event) -> None:
        """The help takes what the field leaves free beside it; the message has the whole width."""
        taken = 0 if self.wide else self.field.winfo_reqwidth() + self.theme.px(28)
        most = self.theme.px(WIDE_HELP if self.wide else HELP_WIDTH)
        least = self.theme.px(120)
        self._help.configure(wraplength=max(least, min(most, event.width - taken)))
        whole = min(self.theme.px(WIDE_HELP), event.width)
        self._message.configure(wraplength=max(least, whole))

    def write(self, value: Any) -> None:
        """Take over what was entered."""
        self.answers.by_hand.add(self.setting.name)
        self.answers[self.setting.name] = value
        if self._error:
            self.check()

    def _follow_answer(self) -> None:
        self.put(self.answers[self.setting.name])

    def _left(self, _event: tkinter.Event) -> None:
        filled = self.answers[self.setting.name] not in (None, "", ())
        if self.shown and filled and not self._error:
            self.check()


class VariableRow(Row):
    """A row whose field shows a Tk variable."""

    def make_variable(self, variable: tkinter.Variable) -> tkinter.Variable:
        """Let what the user does to the variable reach the answers."""
        self.variable = variable
        variable.trace_add("write", lambda *_: self._typed())
        return variable

    def _typed(self) -> None:
        value = self.read()
        if value != self.shown_as(self.answers[self.setting.name]):
            self.write(None if value == "" and self.setting.optional else value)

    def read(self) -> Any:
        """The value in the field."""
        return self.variable.get()

    def shown_as(self, value: Any) -> Any:
        """How a value looks in the field."""
        return "" if value is None else show_value(value)

    def put(self, value: Any) -> None:
        """Show `value`, unless it is there already: the cursor stays where it is."""
        wanted = self.shown_as(value)
        if self.read() != wanted:
            self.variable.set(wanted)


class SwitchRow(VariableRow):
    """Yes or no."""

    def make_field(self, parent: tkinter.Misc) -> ttk.Checkbutton:
        """A switch."""
        variable = self.make_variable(tkinter.BooleanVar(parent))
        return ttk.Checkbutton(parent, style="Switch.TCheckbutton", variable=variable)

    def shown_as(self, value: Any) -> bool:
        """Anything but true is off."""
        return value is True or value == "true"


class ChoiceRow(VariableRow):
    """One of several."""

    def make_field(self, parent: tkinter.Misc) -> ttk.Combobox:
        """A list to choose from; where others are allowed, also to type into."""
        names = list(self.setting.choices or self.setting.suggestions or ())
        self._names = {self.texts.choice(self.setting, name): name for name in names}
        values = list(self._names)
        if self.setting.optional and self.setting.choices:
            self._names[self.texts("frame.not_set")] = ""
            values = list(self._names)[-1:] + values
        variable = self.make_variable(tkinter.StringVar(parent))
        width = max([len(value) for value in values] + [NUMBER_WIDTH])
        return ttk.Combobox(parent, textvariable=variable, values=values, width=width + 2,
                            state="readonly" if self.setting.choices else "normal")  # fmt: skip

    def read(self) -> str:
        """The choice by its name."""
        text = self.variable.get()
        return self._names.get(text, text)

    def put(self, value: Any) -> None:
        """Show the choice as people call it."""
        wanted = self.shown_as(value)
        text = next((text for text, name in self._names.items() if name == wanted), wanted)
        if self.variable.get() != text:
            self.variable.set(text)


class NumberRow(VariableRow):
    """A number, typed or stepped."""

    def make_field(self, parent: tkinter.Misc) -> ttk.Entry:
        """Whole numbers have arrows."""
        variable = self.make_variable(tkinter.StringVar(parent))
        if self.setting.kind is int:
            low, high = self.setting.low, self.setting.high
            return ttk.Spinbox(parent, textvariable=variable, width=NUMBER_WIDTH,
                               from_=0 if low is None else low,
                               to=1e9 if high is None else high)  # fmt: skip
        return ttk.Entry(parent, textvariable=variable, width=NUMBER_WIDTH + 3)


class TextRow(VariableRow):
    """A text; a table of names and values is written name=value name=value."""

    def make_field(self, parent: tkinter.Misc) -> ttk.Entry:
        """A plain field."""
        variable = self.make_variable(tkinter.StringVar(parent))
        return ttk.Entry(parent, textvariable=variable, width=TEXT_WIDTH)


def row_for(parent: tkinter.Misc, wizard: Wizard, setting: Declaration) -> Row:
    """The row that suits the setting."""
    from easy_scripts.wizard.path_row import PathRow

    if setting.path:
        return PathRow(parent, wizard, setting)
    if setting.kind is bool:
        return SwitchRow(parent, wizard, setting)
    if setting.choices or setting.suggestions:
        return ChoiceRow(parent, wizard, setting)
    if setting.kind in (int, float):
        return NumberRow(parent, wizard, setting)
    return TextRow(parent, wizard, setting)
