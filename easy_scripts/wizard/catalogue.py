"""The texts of the windows in the user's language: `texts("frame.next")`.

Texts lie in texts/LANGUAGE.json; what a language lacks is shown in English. A "&" in the text of a
button marks its access key: "&Next" is reached by Alt+N. The labels of settings come from their
declarations; "label.NAME", "help.NAME", "below.NAME", "above.NAME", "beware.NAME" and
"choice.NAME.VALUE" translate them, with "WIZARD." in front of NAME where the wizards mean different
things by a name. What the work, set-up and the doctor say is English in the code; `said` translates
it (see `sayings`). Tk ends a line at a space if it can; Japanese has few, so a long text has line
ends of its own between its sentences. "{count:picture|pictures}" is said as "1 picture" or
"2 pictures". EASY_LORA_LANGUAGE overrides the system's language.
"""

from __future__ import annotations

import ctypes
import json
import locale
import os
import sys
from pathlib import Path
from string import Formatter
from typing import Any

from easy_scripts.wizard.sayings import Sayings
from scripts.core.declare import Declaration

FOLDER = Path(__file__).with_name("texts")
LANGUAGES = ("en", "ja")


class Catalogue:
    """The texts of one language, over the English ones, for the wizard named `wizard`."""

    def __init__(self, wizard: str = "", language: str | None = None) -> None:
        self._wizard = wizard
        self.language = language or system_language()
        self._texts = english = _read("en")
        self._sayings: Sayings | None = None  # only another language needs them
        if self.language != "en":
            self._sayings = Sayings(self.language)
            self._texts = english | _read(self.language)

    def __call__(self, key: str, **values: Any) -> str:
        """The text of `key` with its {names} filled in. Raises KeyError for an unknown key."""
        text = self._texts[key]
        return _FORMATTER.vformat(text, (), values) if values else text

    def __contains__(self, key: str) -> bool:
        return key in self._texts

    def label(self, setting: Declaration) -> str:
        """What the setting is called on screen."""
        return self._translated("label", setting.name, setting.label)

    def help(self, setting: Declaration) -> str:
        """The sentence that explains the setting."""
        return self._translated("help", setting.name, setting.help)

    def advice(self, what: str, setting: Declaration) -> str | None:
        """What goes wrong with the setting: "below" or "above" what is usual, or else "beware"."""
        declared = getattr(setting, what)
        return declared and self._translated(what, setting.name, declared)

    def choice(self, setting: Declaration, value: str) -> str:
        """How one of the setting's choices is shown."""
        return self._translated("choice", f"{setting.name}.{value}", value)

    def _translated(self, what: str, name: str, declared: str) -> str:
        general = self._texts.get(f"{what}.{name}", declared)
        return self._texts.get(f"{what}.{self._wizard}.{name}", general)

    def said(self, what: str | Exception) -> str:
        """What the code says in English, in the language of the texts: a message, an error.

        What is not known, and what is translated already, stays as it is.
        """
        return self._sayings.translate(str(what)) if self._sayings else str(what)

    def size(self, number: float) -> str:
        """A file size as people say it: 73 kB, 18.4 MB, 6.9 GB."""
        for unit, limit in (("GB", 1e9), ("MB", 1e6)):
            if number >= limit * 0.9995:
                value = number / limit
                return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
        return f"{max(1, round(number / 1e3)) if number else 0} kB"

    def percent(self, share: float, digits: int = 0) -> str:
        """A share as people say it: 88 %."""
        return f"{100 * share:.{digits}f} %"

    def duration(self, seconds: float) -> str:
        """A time as people say it: 8 s, 3 min, 1 h 20 min."""
        if seconds < 60:
            return self("frame.seconds", seconds=max(1, round(seconds)))
        minutes = round(seconds / 60)
        if minutes < 60:
            return self("frame.minutes", minutes=minutes)
        return self("frame.hours", hours=minutes // 60, minutes=minutes % 60)


class _Counting(Formatter):
    """Knows the form of a number with its noun, "{count:one|many}"."""

    def format_field(self, value: Any, form: str) -> str:
        one, either, many = form.partition("|")
        if not either:
            return super().format_field(value, form)
        return f"{value:,} {one if value == 1 else many}"


_FORMATTER = _Counting()


def split_access_key(text: str) -> tuple[str, int]:
    """The text without its "&", and the place of the letter behind it (-1: none)."""
    place = text.find("&")
    if place < 0:
        return text, -1
    return text[:place] + text[place + 1 :], place


def system_language() -> str:
    """The language to use: the one asked for, else the system's, else English."""
    asked = os.environ.get("EASY_LORA_LANGUAGE", "")[:2].lower()
    if asked in LANGUAGES:
        return asked
    if sys.platform == "win32":
        number = ctypes.windll.kernel32.GetUserDefaultUILanguage()
        name = locale.windows_locale.get(number, "en")
    else:
        names = (os.environ.get(key) for key in ("LC_ALL", "LC_MESSAGES", "LANG"))
        name = next((name for name in names if name), "en")
    return name[:2] if name[:2] in LANGUAGES else "en"


def _read(language: str) -> dict[str, str]:
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
