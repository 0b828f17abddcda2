"""The flags of a command, made from the declarations of its settings:

    parser = FlagParser(prog="python -m scripts.train", description="...")
    add_flags(parser, TrainSettings, also=["network_module"])
    given = read_flags(parser, words)    # what was given, by name

A command line that cannot be read is a SuiteError, as every other mistake of the user.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from scripts.core.declare import Declaration, declarations, show_value
from scripts.core.errors import SuiteError

SHORT = {"verbose": "-v"}
NEGATIVE = re.compile(r"-[\d.]")  # begins a number, or a list of them, and never a flag


class FlagParser(argparse.ArgumentParser):
    """An argparse parser whose errors are sentences; names cannot be shortened."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise SuiteError in place of printing the usage and ending the process."""
        raise SuiteError(f"The flags cannot be read: {message}. --help shows all flags.")


def add_flags(
    parser: argparse.ArgumentParser, settings_class: type, also: Iterable[str] = ()
) -> None:
    """Add one `--flag` a setting, grouped by page. Flags not given stay out of the result.

    A bool is `--name` (true), `--name false` or `--no-name`; a list takes several words. The
    other names of a setting, and the names in `also`, are flags that the help does not show.
    """
    groups: dict[str, Any] = {}
    for entry in declarations(settings_class).values():
        if entry.page not in groups:
            groups[entry.page] = parser.add_argument_group(entry.page)
        group = groups[entry.page]
        options = {**_words_of(entry), "default": argparse.SUPPRESS}
        text = _flag_help(entry).replace("%", "%%")
        short = [SHORT[entry.name]] if entry.name in SHORT else []
        group.add_argument(entry.flag, *short, dest=entry.name, help=text, **options)
        options["help"] = argparse.SUPPRESS
        for alias in entry.aliases:
            group.add_argument("--" + alias, dest=alias, **options)
        if entry.kind is bool:
            group.add_argument("--no-" + entry.name, dest=entry.name, action="store_const",
                               const=False, default=argparse.SUPPRESS,
                               help=argparse.SUPPRESS)  # fmt: skip
    for name in also:
        parser.add_argument("--" + name, dest=name, nargs="*", default=argparse.SUPPRESS,
                            help=argparse.SUPPRESS)  # fmt: skip


def _words_of(entry: Declaration) -> dict[str, Any]:
    """How many words follow the flag, for argparse."""
    if entry.kind is bool:
        return {"nargs": "?", "const": True, "metavar": "true|false"}
    several = {"nargs": "+"} if entry.kind in (tuple, list, dict) else {}
    return {"metavar": entry.name.upper(), **several}


def _flag_help(entry: Declaration) -> str:
    parts = [entry.help]
    if entry.choices:
        parts.append("One of: " + ", ".join(entry.choices) + ".")
    if entry.tells_usual:
        parts.append(f"Usual: {entry.usual.words()}.")
    if entry.default not in (None, (), {}, ""):
        parts.append(f"Default: {show_value(entry.default)}.")
    return " ".join(parts)


def read_flags(parser: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, Any]:
    """What the command line gives, by name; unknown flags too, so that they are named as errors.

    Raises SuiteError when a flag lacks its value or a word belongs to no flag.
    """
    # argparse takes a word such as -0.5,1 for a flag, but none that begins with a space.
    shielded = [f" {word}" if NEGATIVE.match(word) else word for word in words]
    known, rest = parser.parse_known_args(shielded)
    strangers: dict[str, list[str]] = {}
    for word in rest:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            strangers[name] = [value] if value else []
        elif not strangers:
            raise SuiteError(f'"{word}" belongs to no flag. Put quotes around a path with spaces, '
                             "and -- in front of the name of a flag.")  # fmt: skip
        else:
            strangers[name].append(word)
    plain = {name: words[0] if len(words) == 1 else words or True
             for name, words in strangers.items()}  # fmt: skip
    return {name: _as_given(value) for name, value in {**vars(known), **plain}.items()}


def _as_given(value: Any) -> Any:
    """Without the spaces that shielded numbers; a flag of another tool without words is on."""
    if isinstance(value, list):
        return [_as_given(word) for word in value] or True
    return value.strip() if isinstance(value, str) and NEGATIVE.match(value.strip()) else value
