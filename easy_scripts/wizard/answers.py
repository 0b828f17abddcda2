"""What the user has entered so far: raw values by setting name, with watchers.

Rows write here and read from here, pages look at it, the draft and the run's config are made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from scripts.core.declare import declarations, read_value
from scripts.core.errors import SettingError

Watcher = Callable[[], None]
OUTPUTS = ("output folder", "output file")  # kinds of paths without which nothing can be saved


class Answers:
    """Raw values of the settings of `settings_class`; what is not entered has its default."""

    def __init__(self, settings_class: type, values: Mapping[str, Any] | None = None) -> None:
        # Names that a person wrote, here or in a config, be it to the default or to nothing.
        self.by_hand: set[str] = set()
        self.declared = declarations(settings_class)
        self._values: dict[str, Any] = {}
        self._proposed: dict[str, Any] = {}
        self._watchers: list[tuple[frozenset[str], Watcher]] = []
        self.update(values or {})

    def __getitem__(self, name: str) -> Any:
        """The value entered, else the default."""
        return self._values.get(name, self.declared[name].default)

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, values: Mapping[str, Any]) -> None:
        """Enter several values, then tell the watchers. Names that are no settings are dropped."""
        changed = {
            name for name, value in values.items() if name in self.declared and self[name] != value
        }
        for name in changed:
            self._values[name] = values[name]
        for names, watcher in list(self._watchers):
            if changed & names or (changed and not names):
                watcher()

    def propose(self, name: str, value: Any) -> None:
        """Enter what nobody has chosen; a later proposal follows, as long as it is left alone."""
        if self.is_open(name):
            self._proposed[name] = value
            self[name] = value

    def is_open(self, name: str) -> bool:
        """Whether nobody has chosen this value: it is unset, or as it was proposed."""
        entry, value = self.declared[name], self[name]
        if value in ("", None) and (entry.path in OUTPUTS or not entry.optional):
            return True  # it must be something
        return name not in self.by_hand and value == self._proposed.get(name, entry.default)

    def withdraw(self, name: str) -> None:
        """Forget what was entered or proposed for a setting."""
        self._proposed.pop(name, None)
        self.by_hand.discard(name)
        self[name] = self.declared[name].default

    def replace(self, values: Mapping[str, Any], by_hand: Iterable[str] = ()) -> None:
        """Forget everything entered and proposed, and enter `values`; `by_hand` are the names that
        a person wrote."""
        self._proposed.clear()
        self.by_hand = set(by_hand)
        defaults = {name: entry.default for name, entry in self.declared.items()}
        self.update({**defaults, **values})

    def watch(self, watcher: Watcher, *names: str) -> None:
        """Call `watcher` whenever one of `names` (none: any setting) has changed."""
        self._watchers.append((frozenset(names), watcher))

    def chosen(self) -> dict[str, Any]:
        """What was entered and is no proposal."""
        return {name: value for name, value in self.entered().items() if not self.is_open(name)}

    def entered(self) -> dict[str, Any]:
        """What differs from the defaults."""
        return {
            name: value
            for name, value in self._values.items()
            if value != self.declared[name].default and value not in ("", [], {}, None)
        }

    def applies(self, name: str) -> bool:
        """Whether the setting is to be shown, by what the settings it depends on say."""
        condition = self.declared[name].shown_when
        if condition is None:
            return True
        other, values = condition
        value = self[other]
        with suppress(SettingError):  # what is wrong stays as it was entered
            value = read_value(self.declared[other], value)
        return self.applies(other) and value in values

    def value(self, name: str) -> Any:
        """The value as the run would take it; None when it is not set or cannot be read."""
        with suppress(SettingError):
            return read_value(self.declared[name], self[name])
        return None

    def error(self, name: str) -> str | None:
        """What is wrong with the value entered, in a sentence; None when nothing is."""
        if not self.applies(name):
            return None
        try:
            read_value(self.declared[name], self[name])
        except SettingError as error:
            return str(error)
        return None

    def config(self) -> dict[str, Any]:
        """The settings for the run, by name: what was entered and applies."""
        return {name: value for name, value in self.entered().items() if self.applies(name)}
