"""What is usual for a setting, said in words: in the tip of its row, and under its field.

What it does stands in the row already, so the tip tells the rest. The note under the field comes
when a value lies outside what is usual, and is no error: it may be meant. What the note says, the
tip leaves out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easy_scripts.wizard.answers import Answers
from easy_scripts.wizard.catalogue import Catalogue
from scripts.core.declare import Declaration, show_value
from scripts.core.usual import Range, short_number

if TYPE_CHECKING:
    from easy_scripts.wizard.rows import Row

NOTE_WAIT = 500  # milliseconds after the last letter: what is half typed is not judged


def tip(setting: Declaration, texts: Catalogue, answers: Answers) -> str:
    """What is usual as the other settings are, what goes wrong, and how guides call the setting."""
    ends = setting.usual.ends(answers.value) if setting.tells_usual else None
    side = _side(setting, answers)
    lines = [texts("tip.usual", range=_range(ends, texts))] if ends and not side else []
    for what in ("below", "above"):
        if what != side and (advice := texts.advice(what, setting)):
            lines.append(texts(f"tip.{what}", text=advice))
    if advice := texts.advice("beware", setting):
        lines.append(advice)
    facts = [setting.name]
    if None not in (setting.low, setting.high) and ends != (setting.low, setting.high):
        facts.append(texts("tip.limits", range=_range((setting.low, setting.high), texts)))
    if setting.default not in (None, (), {}, ""):
        facts.append(texts("tip.default", value=_value(setting, texts)))
    return "\n".join([*lines, " · ".join(facts)])


def note(setting: Declaration, texts: Catalogue, answers: Answers) -> str | None:
    """What to know of the value entered, when it lies outside what is usual."""
    side = _side(setting, answers)
    if side is None:
        return None
    ends = setting.usual.ends(answers.value)
    advice = texts.advice(side, setting) or ""
    return texts(f"tip.note.{side}", range=_range(ends, texts), text=advice).strip()


class UsualNote:
    """Keeps the note under the field of `row` true."""

    def __init__(self, row: Row) -> None:
        self._row, self._job = row, None
        usual = row.setting.usual
        others = [name for name in (usual.times, usual.by[0]) if name]
        row.answers.watch(self._soon, row.setting.name, *others)
        self._tell()

    def _soon(self) -> None:
        if self._job:
            self._row.frame.after_cancel(self._job)
        self._job = self._row.frame.after(NOTE_WAIT, self._tell)

    def _tell(self) -> None:
        self._job = None
        self._row.show_info(note(self._row.setting, self._row.texts, self._row.answers))


def _side(setting: Declaration, answers: Answers) -> str | None:
    if setting.usual is None:
        return None
    return setting.usual.side(answers.value(setting.name), answers.value)


def _range(ends: Range, texts: Catalogue) -> str:
    low, high = map(short_number, ends)
    return low if low == high else texts("tip.range", low=low, high=high)


def _value(setting: Declaration, texts: Catalogue) -> Any:
    value = setting.default
    if isinstance(value, bool):
        return texts("tip.on" if value else "tip.off")
    if isinstance(value, int | float):
        return short_number(value)
    return texts.choice(setting, show_value(value))
