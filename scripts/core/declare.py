"""Declare a setting once; get its config key, flag, help text, check and wizard row from that.

A settings class is a frozen dataclass whose fields are made by `setting(...)`:

    @dataclass(frozen=True)
    class ResizeSettings:
        new_rank: int = setting(32, label="New size (dim)", help="...", page="size", low=1)

`read_value` turns what a config file or a flag holds into the field's type, `build` makes the
whole object and reports every error at once; `scripts.core.flags` makes the flags. The rest of
a declaration (label, page, path kind, aliases) is for the wizard, the import of other tools'
files and the generated docs.
"""

from __future__ import annotations

import dataclasses
import difflib
import shlex
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scripts.core.errors import SettingError, SettingErrors
from scripts.core.usual import Range, Usual

MISSING = object()
S = TypeVar("S")


@dataclass(frozen=True)
class Declaration:
    """All that is declared of one setting. `kind` is the Python type without None."""

    name: str
    kind: type
    item_kind: type | None
    optional: bool
    default: Any
    label: str
    help: str
    page: str
    choices: tuple[str, ...] | None = None
    suggestions: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None
    usual: Usual | None = None
    below: str | None = None
    above: str | None = None
    beware: str | None = None
    path: str | None = None
    shown_when: tuple[str, tuple[Any, ...]] | None = None
    aliases: tuple[str, ...] = ()
    read: Callable[[Any], Any] | None = None
    advanced: bool = False

    @property
    def flag(self) -> str:
        """The command-line flag: the name itself, as sd-scripts spells it."""
        return "--" + self.name

    @property
    def tells_usual(self) -> bool:
        """Whether a range is usual that says more than the limits do."""
        limits = Usual(self.low, self.high)
        return self.usual not in (None, limits)


def setting(
    default: Any,
    *,
    label: str,
    help: str,
    page: str,
    choices: Sequence[str] | None = None,
    suggestions: Sequence[str] | None = None,
    low: float | None = None,
    high: float | None = None,
    usual: Range | Usual | None = None,
    below: str | None = None,
    above: str | None = None,
    beware: str | None = None,
    path: str | None = None,
    shown_when: tuple[str, Sequence[Any]] | None = None,
    aliases: Sequence[str] = (),
    read: Callable[[Any], Any] | None = None,
    advanced: bool = False,
) -> Any:
    """A dataclass field that carries the declaration of a setting.

    Args:
        default: the value when nothing is given; None means "not set".
        label: what a person would call it.
        help: one sentence in a user's words, with a sensible range where there is one.
        page: the wizard page, and the heading in the docs.
        choices: the only values allowed; `suggestions` are offered but others are allowed.
        low, high: the least and the greatest value allowed (numbers).
        usual: the range that is usual, and `below` and `above`: what goes wrong outside it.
        beware: what can go wrong with the setting, or what it costs.
        path: "file", "folder" or "output folder" when the value is one.
        shown_when: (other setting, values): the row is shown only when the other has one of them.
        aliases: the names by which other tools know the setting.
        read: turns a raw value into the final one; raises ValueError with a plain sentence.
        advanced: folded away in the wizard.
    """
    facts = {
        "label": label, "help": help, "page": page, "low": low, "high": high, "path": path,
        "usual": Usual(*usual) if isinstance(usual, tuple) else usual,
        "below": below, "above": above, "beware": beware,
        "choices": tuple(choices) if choices else None,
        "suggestions": tuple(suggestions) if suggestions else None,
        "shown_when": (shown_when[0], tuple(shown_when[1])) if shown_when else None,
        "aliases": tuple(aliases), "read": read, "advanced": advanced,
    }  # fmt: skip
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=facts)
    return dataclasses.field(default=default, metadata=facts)


def declarations(settings_class: type) -> dict[str, Declaration]:
    """The declarations of a settings class by name, in the order written."""
    hints = typing.get_type_hints(settings_class)
    found = {}
    for field in dataclasses.fields(settings_class):
        kind, item_kind, optional = _unpack_hint(hints[field.name])
        default = field.default
        if default is dataclasses.MISSING:
            default = field.default_factory()
        found[field.name] = Declaration(
            field.name, kind, item_kind, optional, default, **field.metadata
        )
    return found


def _unpack_hint(hint: Any) -> tuple[type, type | None, bool]:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = [argument for argument in arguments if argument is not type(None)]
        kind, item_kind, _ = _unpack_hint(inner[0])
        return kind, item_kind, len(inner) < len(arguments)
    if arguments:
        return typing.get_origin(hint), arguments[0], False
    return hint, None, False


def read_value(declaration: Declaration, raw: Any) -> Any:
    """The value of a setting from what a config file or a flag holds.

    Numbers may be strings ("1e-4") and whole floats (8.0), as other tools write them; an empty
    string, None and "None" mean "not set", and give the default where something must be set.

    Raises SettingError naming the setting, the value seen and what is allowed.
    """
    if is_unset(raw):
        return None if declaration.optional else _default_of(declaration)
    try:
        value = declaration.read(raw) if declaration.read else _convert(declaration, raw)
    except (ValueError, TypeError) as error:
        raise SettingError(declaration.name, str(error)) from error
    _check_range(declaration, value)
    return value


def is_unset(raw: Any) -> bool:
    """Whether a raw value says "not set"."""
    return raw is None or (isinstance(raw, str) and raw.strip() in ("", "None", "null"))


def is_off(raw: Any) -> bool:
    """Whether a raw value is not set, false, zero or empty."""
    return is_unset(raw) or raw in (False, 0, [], {})


def _default_of(declaration: Declaration) -> Any:
    default = declaration.default
    return type(default)(default) if isinstance(default, dict | list) else default


def _convert(declaration: Declaration, raw: Any) -> Any:
    kind = declaration.kind
    if kind is bool:
        return _read_bool(raw)
    if kind is int:
        return read_int(raw)
    if kind is float:
        return read_float(raw)
    if kind is Path:
        return read_path(str(raw))
    if kind is str:
        return _read_choice(declaration, str(raw))
    if kind in (tuple, list):
        items = raw if isinstance(raw, list | tuple) else str(raw).split(",")
        return tuple(item.strip() if isinstance(item, str) else item for item in items)
    raise TypeError(f"A value of this kind cannot be read: {raw!r}.")


def _read_bool(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    text = str(raw).strip().lower()
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
    raise ValueError(f'"{raw}" is neither true nor false. Write true or false.')


def read_int(raw: Any) -> int:
    """A whole number from a number or a string. Raises ValueError with a plain sentence."""
    try:
        number = float(raw)
        if not isinstance(raw, bool) and number == int(number):
            return int(number)
    except (ValueError, TypeError, OverflowError):
        pass
    raise ValueError(f'"{raw}" is not a whole number. Write one, such as 8.')


def read_float(raw: Any) -> float:
    """A finite number from a number or a string. Raises ValueError with a plain sentence."""
    try:
        number = float(raw)
        if not isinstance(raw, bool) and number - number == 0:
            return number
    except (ValueError, TypeError):
        pass
    raise ValueError(f'"{raw}" is not a number. Write one, such as 0.5 or 1e-4.')


def read_path(text: str) -> Path:
    """A path from a text, which may stand in quotes. Raises ValueError with a plain sentence."""
    text = text.strip().strip('"')
    if any(letter in text for letter in "\a\b\f\n\r\t\v"):  # C:\new: C:, a line end, ew
        raise ValueError(
            "A backslash and the letter behind it were read as one sign. In a config file write "
            "the backslash twice, or use /: C:/models/x.safetensors."
        )
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~name, and nobody here is called so: a file's name
        return Path(text)


def _read_choice(declaration: Declaration, text: str) -> str:
    if not declaration.choices:
        return text
    for choice in declaration.choices:
        if text.strip().lower() == choice.lower():
            return choice
    raise ValueError(f'"{text}" is not possible here. Choose one of: '
                     f"{', '.join(declaration.choices)}.")  # fmt: skip


def _check_range(declaration: Declaration, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    low, high = declaration.low, declaration.high
    if (low is not None and value < low) or (high is not None and value > high):
        if low is not None and high is not None:
            allowed = f"between {low:g} and {high:g}"
        else:
            allowed = f"{low:g} or more" if low is not None else f"{high:g} or less"
        raise SettingError(declaration.name, f"{value:g} is out of range: it must be {allowed}.")


def build(
    settings_class: type[S],
    values: Mapping[str, Any],
    checks: Callable[[S], list[SettingError]] | None = None,
    foreign: Callable[[str, Any], str | None] | None = None,
) -> tuple[S, list[str]]:
    """The settings object from raw values by name, and notes on what was renamed or left out.

    `checks` looks at settings together. `foreign(key, raw)` knows keys of other tools: it gives a
    note why a key means nothing here, raises SettingError with advice, or gives None for a key
    that it does not know either. An unknown key that was off is left out with a note.

    Raises SettingErrors with every error that was found.
    """
    declared = declarations(settings_class)
    by_alias = names_by_alias(declared)
    errors: list[SettingError] = []
    notes: list[str] = []
    final: dict[str, Any] = {}
    given_as: dict[str, str] = {}
    for key, raw in values.items():
        name = key if key in declared else by_alias.get(key)
        try:
            if name is None:
                notes.append(_read_unknown(key, raw, foreign, [*declared, *by_alias]))
                continue
            value = read_value(declared[name], raw)
        except SettingError as error:
            errors.append(error)
            continue
        if name != key:
            notes.append(f"{key} was read as {name}.")
        if is_unset(raw):
            final.setdefault(name, value)
            continue
        if name in given_as and final[name] != value:
            other = key if key != name else given_as[name]
            errors.append(SettingError(other, f"{other} is another name of {name}, and both are "
                                       "given with different values. Keep one."))  # fmt: skip
            continue
        final[name], given_as[name] = value, key
    settings = settings_class(**final)
    if checks:
        named = {error.setting for error in errors}
        errors += [error for error in checks(settings) if error.setting not in named]
    if errors:
        raise SettingErrors(errors)
    return settings, notes


def notes_on(not_needed: Mapping[str, str]) -> Callable[[str, Any], str | None]:
    """A `foreign` for `build`, from a table: keys of other tools, and why each is not needed."""

    def note(key: str, _raw: Any) -> str | None:
        return f"{key} is not needed: {not_needed[key]}" if key in not_needed else None

    return note


def overridden(
    settings_class: type, values: Mapping[str, Any], winners: Mapping[str, Any]
) -> dict[str, Any]:
    """Raw `values` with `winners` (flags) in their place.

    What a winner overrules is left out under its other names too, whichever was used.
    """
    declared = declarations(settings_class)
    by_alias = names_by_alias(declared)
    names = {by_alias.get(key, key) for key in winners}
    beaten = names | {alias for name in names & declared.keys() for alias in declared[name].aliases}
    return {**{key: raw for key, raw in values.items() if key not in beaten}, **winners}


def names_by_alias(declared: Mapping[str, Declaration]) -> dict[str, str]:
    """The names of the settings by the names that other tools use for them."""
    return {alias: name for name, entry in declared.items() for alias in entry.aliases}


def _read_unknown(
    key: str, raw: Any, foreign: Callable[[str, Any], str | None] | None, known: Sequence[str]
) -> str:
    """A note on a key that is no setting. Raises SettingError when it may have been meant."""
    if is_off(raw):
        return f"{key} is not known here; it was off, so nothing is lost."
    note = foreign(key, raw) if foreign else None
    if note is None:
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
        advice = f"Did you mean {close[0]}?" if close else "Remove it, or correct its name."
        raise SettingError(key, f"There is no setting called {key}. {advice}")
    return note


def names_of_tables(settings_class: type) -> set[str]:
    """The settings whose value is a table (a dict) of its own."""
    return {name for name, entry in declarations(settings_class).items() if entry.kind is dict}


def show_value(value: Any) -> str:
    """A value as a person would write it in a config."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ",".join(show_value(item) for item in value)
    if isinstance(value, Mapping):
        return shlex.join(f"{name}={show_value(item)}" for name, item in value.items())
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def as_config(settings: Any) -> dict[str, Any]:
    """The settings as a JSON-able dict; what equals its default is kept too, None is left out."""
    plain: dict[str, Any] = {}
    for name in declarations(type(settings)):
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, Path):
            value = str(value)
        plain[name] = list(value) if isinstance(value, tuple) else value
    return plain
