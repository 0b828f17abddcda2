"""The row of buttons under a page: Back, Next, Cancel."""

from __future__ import annotations

import tkinter
from collections.abc import Callable
from tkinter import ttk

from easy_scripts.wizard.catalogue import Catalogue, split_access_key
from easy_scripts.wizard.theme import Theme

Action = Callable[[], None]


class Footer(ttk.Frame):
    """Three buttons at the right; their access keys follow their texts."""

    def __init__(
        self, parent: tkinter.Tk, theme: Theme, texts: Catalogue,
        back: Action, forward: Action, cancel: Action,
    ) -> None:  # fmt: skip
        super().__init__(parent, padding=(theme.px(32), theme.px(14), theme.px(32), theme.px(20)))
        self._window = parent
        self._keys: list[str] = []
        self.columnconfigure(0, weight=1)
        self.back = ttk.Button(self, style="Wide.TButton", command=back)
        self.next = ttk.Button(self, style="Accent.TButton", command=forward)
        self.cancel = ttk.Button(self, style="Wide.TButton", command=cancel)
        self._back_text = texts("frame.back")
        for column, button in enumerate((self.back, self.next, self.cancel), start=1):
            button.grid(row=0, column=column, padx=(theme.px(8), 0))

    def show(self, back: bool, next_text: str | None, cancel_text: str) -> None:
        """Say what each button does; a button without a text is hidden, Back is only greyed."""
        for key in self._keys:
            self._window.unbind(key)
        self._keys.clear()
        self._label(self.back, self._back_text)
        self.back.state(["!disabled" if back else "disabled"])
        if next_text:
            self._label(self.next, next_text)
            self.next.grid()
        else:
            self.next.grid_remove()
        self._label(self.cancel, cancel_text)

    def _label(self, button: ttk.Button, text: str) -> None:
        label, place = split_access_key(text)
        button.configure(text=label, underline=place)
        if place >= 0:
            key = f"<Alt-{label[place].lower()}>"
            self._window.bind(key, lambda _: button.invoke())
            self._keys.append(key)
