"""The buttons of a running bake, in a row."""

from __future__ import annotations

import tkinter
from collections.abc import Callable, Collection, Mapping
from tkinter import ttk

from easy_scripts.wizard.window import Wizard


class BakeButtons(ttk.Frame):
    """A button for each of `actions`, by the name that its text bake.NAME bears."""

    def __init__(
        self, parent: tkinter.Misc, wizard: Wizard, actions: Mapping[str, Callable[[], None]]
    ) -> None:
        super().__init__(parent)
        self._gap = wizard.theme.px(8)
        self._buttons: dict[str, ttk.Button] = {}
        for name, action in actions.items():
            label, place = wizard.access_key(wizard.texts(f"bake.{name}"), self._by_key(name))
            self._buttons[name] = ttk.Button(self, text=label, underline=place, command=action,
                                             style="Wide.TButton")  # fmt: skip

    def _by_key(self, name: str) -> Callable[[], None]:
        def press() -> None:
            if self._buttons[name].winfo_ismapped():
                self._buttons[name].invoke()

        return press

    def show(self, names: Collection[str]) -> None:
        """Show these, and no others."""
        for name, button in self._buttons.items():
            button.pack_forget()
            if name in names:
                button.pack(side="left", padx=(0, self._gap))

    def let(self, names: Collection[str]) -> None:
        """Let these be pressed, and no others."""
        for name, button in self._buttons.items():
            button.state(["!disabled" if name in names else "disabled"])

    def bar(self, name: str) -> None:
        """Let this one be pressed no more."""
        self._buttons[name].state(["disabled"])
