"""What the code says in English, in another language: errors, notes, advice, stages.

    Sayings("ja").translate("There is no file C:/a.toml. Choose it again.")

texts/LANGUAGE_said.json holds one sentence an entry: the English of the code, with a {name} where
something is filled in, and its translation. What stands in the place of a name is translated in the
same way; a name that begins with "count" or "number" stands for a number alone. What no entry knows
stays as it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path

FOLDER = Path(__file__).with_name("texts")
SENTENCE_END = re.compile(r"(?<=[.?!]) ")
CONTINUES = re.compile(r"^[a-z]|[/\\]|^\S*$")  # no sentence, but more of the path in front of it
JAPANESE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")  # kana and kanji
LATIN_MEETS_JAPANESE = re.compile(f"[A-Za-z]{JAPANESE.pattern}|{JAPANESE.pattern}[A-Za-z]")
MOST_TOGETHER = 6  # pieces of a text that may be one sentence, with ". " in a path or a name
MOST_TRIED = 4  # joints at which a part is taken apart, each time
LONGEST = 2000  # letters of a text whose parts are still looked at
JOINTS = {"; ": "、", " + ": " + ", " - ": " - ", " and ": "と", ", ": "、"}
REMEMBERED = 2000

Told = tuple[str, int]  # a translation, and how many letters of the original were known


@dataclass(frozen=True)
class Saying:
    """One entry. `literals` are what the English has around its names."""

    english: str
    translation: str

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """The English between the names."""
        return tuple(re.split(r"\{\w+\}", self.english))

    @cached_property
    def weight(self) -> int:
        """How much of it is literal: the more, the less it is taken for something else."""
        return sum(len(literal) for literal in self.literals)

    @cached_property
    def longest(self) -> str:
        """Its longest literal: a text without it is none of these."""
        return max(self.literals, key=len)

    @cached_property
    def pattern(self) -> re.Pattern:
        """What it looks like when it is said."""
        parts = re.split(r"\{(\w+)\}", self.english)  # text, name, text, name, ..., text
        odd = [_name_pattern(part) if index % 2 else re.escape(part)
               for index, part in enumerate(parts)]  # fmt: skip
        return re.compile("".join(odd), re.DOTALL)


def _name_pattern(name: str) -> str:
    letters = r"[-+\d.,e]+" if name.startswith(("count", "number")) else ".*?"
    return f"(?P<{name}>{letters})"


class Sayings:
    """All entries of a language, the most specific first; read when something is first said."""

    def __init__(self, language: str) -> None:
        self._language = language
        self.translate = lru_cache(REMEMBERED)(self._translate)
        self._known = lru_cache(REMEMBERED)(self._find_in_any_case)
        self._joined = lru_cache(REMEMBERED)(self._join)
        self._behind_name = lru_cache(REMEMBERED)(self._look_behind_name)

    @cached_property
    def _sayings(self) -> list[Saying]:
        sayings = [
            Saying(english, other) for english, other in read_sayings(self._language).items()
        ]
        return sorted(sayings, key=lambda saying: -saying.weight)

    def _translate(self, text: str) -> str:
        """The text in the language, as far as it is known."""
        lines = [self._line(line) for line in text.split("\n")]
        told = "\n".join(line for line, _ in lines), sum(known for _, known in lines)
        whole = self._line(text) if len(lines) > 1 else told  # a name may hold a line end
        return _best([told, whole])[0]

    def _line(self, text: str) -> Told:
        """Of all ways to see the text as sentences, the one of which most is known.

        Paths, names and numbers may hold ". ", so neighbouring pieces may be one sentence.
        """
        pieces = SENTENCE_END.split(text) if len(text) <= LONGEST else [text]
        best: list[Told] = [("", 0)]  # of the pieces before
        for end in range(1, len(pieces) + 1):
            ways = []
            begins = range(max(0, end - MOST_TOGETHER), end)
            for begin in begins if end < len(pieces) or 0 in begins else (0, *begins):
                told, known = self._sentence(" ".join(pieces[begin:end]))
                before, known_before = best[begin]
                gap = "\n" if before.endswith("。") else " "
                ways.append((before + gap * bool(before) + told, known_before + known))
            best.append(max(reversed(ways), key=lambda way: way[1]))  # the shortest, if alike
        return best[-1]

    def _sentence(self, text: str) -> Told:
        told = self._known(text)
        if len(text) <= LONGEST:
            told = _best([told, self._behind_name(text)])
        return told or (text, -1 if CONTINUES.search(text) else 0)

    def _find_in_any_case(self, text: str) -> Told | None:
        """A sentence or a part of one, with a capital or without."""
        found = self._find(text)
        return found if found or not text[:1].isupper() else self._find(text[0].lower() + text[1:])

    def _find(self, text: str) -> Told | None:
        for saying in self._sayings:
            found = saying.longest in text and saying.pattern.fullmatch(text)
            if found:
                parts = {name: self._part(part) for name, part in found.groupdict().items()}
                known = saying.weight + sum(known for _, known in parts.values())
                return _filled(saying.translation, parts), known
        return None

    def _look_behind_name(self, text: str) -> Told | None:
        """NAME: SENTENCE, where the name may be anything, such as a setting, a file or a place."""
        for found in islice(re.finditer(": ", text), MOST_TRIED):
            rest = text[found.end() :]
            told = _best([self._known(rest), self._behind_name(rest)])
            if told:
                name, known = self._part(text[: found.start()])
                return f"{name}: {told[0]}", told[1] + known
        return None

    def _join(self, text: str) -> Told | None:
        """ONE, OTHER and THIRD, where all are known."""
        for joint, other in JOINTS.items():
            pieces = text.split(joint)
            told = [self._of_several(piece) for piece in pieces]
            if all(told) and len(pieces) > 1:
                return _all_joined(told, other)
            for place in range(1, min(len(pieces), MOST_TRIED)):  # the joint may be in a name too
                halves = (joint.join(pieces[:place]), joint.join(pieces[place:]))
                told = [self._of_several(half) for half in halves]
                if all(told):
                    return _all_joined(told, other)
        return None

    def _of_several(self, text: str) -> Told | None:
        return self._known(text) or self._behind_name(text)

    def _part(self, text: str) -> Told:
        """A part of a sentence: perhaps a whole one without its full stop, or several joined."""
        if len(text) > LONGEST:
            return text, 0
        told = _best([self._joined(text), self._known(text), self._behind_name(text)])
        if told:
            return told
        if text.endswith((".", "?", "!")):
            return self._line(text)
        told, known = self._line(f"{text}.")
        return (told.rstrip(".。"), known) if known > 0 else (text, 0)


def _filled(translation: str, parts: dict[str, Told]) -> str:
    """The translation with its parts put in."""
    pieces = re.split(r"\{(\w+)\}", translation)  # text, name, text, name, ..., text
    for index in range(1, len(pieces), 2):
        pieces[index], known = parts[pieces[index]]
        if known > 0:  # names, numbers and paths stay as they are
            for place in (index, index + 1):
                pieces[place - 1], pieces[place] = _seam(pieces[place - 1], pieces[place])
    return "".join(pieces)


def _seam(left: str, right: str) -> tuple[str, str]:
    """Two texts to be joined: a space stands between Japanese and Latin letters, and only there."""
    if JAPANESE.search(left.rstrip(" ")[-1:]) and JAPANESE.search(right.lstrip(" ")[:1]):
        return left.rstrip(" "), right.lstrip(" ")
    if LATIN_MEETS_JAPANESE.fullmatch(left[-1:] + right[:1]):
        return left, f" {right}"
    return left, right


def _all_joined(parts: list[Told], joint: str) -> Told:
    told, known = parts[0]
    for other, more in parts[1:]:
        told = "".join(_seam("".join(_seam(told, joint)), other))
        known += more
    return told, known


def _best(ways: list[Told | None]) -> Told | None:
    """The one of which most is known; the first of those alike."""
    return max((way for way in ways if way), key=lambda way: way[1], default=None)


def read_sayings(language: str) -> dict[str, str]:
    """The entries of a language by their English."""
    return json.loads((FOLDER / f"{language}_said.json").read_text(encoding="utf-8"))
