"""A config of another tool while it is being read: what is still to do, and what was said.

The rules of `import_rules` take keys out of a draft and give settings for them; whatever no rule
took is read under its own name by `finish`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from scripts.core.declare import (
    Declaration,
    declarations,
    is_off,
    is_unset,
    names_by_alias,
    read_value,
    show_value,
)
from scripts.core.errors import SettingError
from scripts.settings.import_tables import LEFT_BEHIND
from scripts.settings.train import TrainSettings
from scripts.settings.train_reading import read_foreign

ZEROS_COUNT = ("unet_lr", "text_encoder_lr", "network_alpha", "conv_alpha")


class Fate(str, Enum):
    """What became of a key of the file."""

    USED = "used"
    RENAMED = "renamed"
    CHANGED = "changed in meaning"
    ADDED = "added"  # not in the file: the other tool's own default, which is another one here
    NOT_SET = "not set"
    NOT_NEEDED = "not needed"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(frozen=True)
class Entry:
    """One line of the report. `setting` is the name here, "" where there is none."""

    key: str
    fate: Fate
    setting: str = ""
    note: str = ""


@dataclass
class Draft:
    """`raw`: keys that nobody took yet; `given`: raw values by the names of settings."""

    raw: dict[str, Any]
    declared: dict[str, Declaration] = field(default_factory=lambda: declarations(TrainSettings))
    given: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.aliases = names_by_alias(self.declared)
        self.first_keys: dict[str, str] = {}

    def peek(self, key: str) -> Any:
        """The raw value of a key, None when it is missing, empty or taken."""
        raw = self.raw.get(key)
        return None if is_unset(raw) else raw

    def number(self, key: str) -> float:
        """The number at a key, 0 when there is none."""
        try:
            return float(self.peek(key) or 0)
        except (TypeError, ValueError):
            return 0.0

    def tell(self, key: str, fate: Fate, note: str = "", setting: str = "") -> None:
        """Take a key out of the draft and say what became of it."""
        self.raw.pop(key, None)
        self.entries.append(Entry(key, fate, setting, note))

    def give(self, key: str, name: str, value: Any, fate: Fate, note: str = "") -> None:
        """Take a key and give the setting `name` a raw value for it; say so."""
        self.raw.pop(key, None)
        try:
            read_value(self.declared[name], value)
        except SettingError as error:
            self.entries.append(Entry(key, Fate.REFUSED, name, f"{error} It was left out."))
            return
        if name in self.given and self.given[name] != value:
            other = self.first_keys[name]
            note = f"{other} says {name} too and was taken; this one was left out."
            self.entries.append(Entry(key, Fate.NOT_NEEDED, "", note))
            return
        self.given[name] = value
        self.first_keys.setdefault(name, key)
        self.entries.append(Entry(key, fate, name, note))

    def finish(self) -> None:
        """Read every key that is left, under its own name or another one."""
        # What bears the setting's own name goes first and wins over other names of it.
        for key in sorted(self.raw, key=lambda key: key not in self.declared):
            self._read(key, self.raw[key])

    def _read(self, key: str, raw: Any) -> None:
        name = key if key in self.declared else self.aliases.get(key)
        if name is None:
            self._read_unknown(key, raw)
        elif is_unset(raw) or self._means_nothing(name, raw):
            self.tell(key, Fate.NOT_SET, "", name)
        elif name == key:
            self.give(key, name, raw, Fate.USED)
        else:
            self.give(key, name, raw, Fate.RENAMED, f"It is called {name} here.")

    def _means_nothing(self, name: str, raw: Any) -> bool:
        """Whether a zero or an empty list is how other tools write "not set". An alpha of 0 is one:
        as much as dim."""
        entry = self.declared[name]
        if raw in ([], {}):
            return True
        if entry.kind not in (int, float) or name in ZEROS_COUNT:
            return False
        zero = not isinstance(raw, bool) and str(raw).strip() in ("0", "0.0")
        return zero and (entry.optional or bool(entry.low))

    def _read_unknown(self, key: str, raw: Any) -> None:
        if key in LEFT_BEHIND and not is_off(raw):
            self.tell(key, Fate.NOT_NEEDED, _sentence(LEFT_BEHIND[key]))
        elif is_off(raw):
            self.tell(key, Fate.NOT_SET, "It is not known here; it was off, so nothing is lost.")
        else:
            self._read_foreign(key, raw)

    def _read_foreign(self, key: str, raw: Any) -> None:
        try:
            note = read_foreign(key, raw)
        except SettingError as error:
            self.tell(key, Fate.REFUSED, str(error))
            return
        if note is None:
            shown = f"There is no such setting here; what it asked for ({show_value(raw)}) is lost."
            self.tell(key, Fate.UNKNOWN, shown)
        else:
            self.tell(key, Fate.NOT_NEEDED, _sentence(note.partition(": ")[2]))


def _sentence(text: str) -> str:
    is_name = "_" in text.partition(" ")[0]
    return text if is_name else text[:1].upper() + text[1:]
