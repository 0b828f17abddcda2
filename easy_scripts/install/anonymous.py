"""Taking folders and names of people out of a text, so that it can be posted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

SHORTEST_NAME = 3  # letters: hiding shorter names would garble ordinary words
# The folder of any user, on any system: a report may tell of one who was here before.
HOME = re.compile(
    r"""(?:[A-Z]:[\\/]+(?:Users|Documents[ ]and[ ]Settings)|/home|/Users)[\\/]+
        (?:[^\\/:*?"<>|\r\n]+(?=[\\/]) | [^\s\\/:*?"<>|,;]+)""",
    re.IGNORECASE | re.VERBOSE,
)


def without_names(text: str, places: Mapping[str, str], names: Sequence[str]) -> str:
    """`text` with "<home>" for every user's folder and "<name>" for `names`.

    places: more folders, and what stands for each; names: whole words only, and very short ones
    stay.
    """
    for place in sorted(places, key=len, reverse=True):
        if len(place.strip("\\/")) < SHORTEST_NAME:  # a whole drive
            continue
        for spelling in {place, place.replace("\\", "/"), place.replace("\\", "\\\\")}:
            text = _replace(re.escape(spelling), places[place], text)
    text = HOME.sub("<home>", text)
    for name in sorted(names, key=len, reverse=True):
        if len(name) >= SHORTEST_NAME or not name.isascii():
            text = _replace(rf"(?<![a-z0-9]){re.escape(name)}(?![a-z0-9])", "<name>", text)
    return text


def _replace(pattern: str, word: str, text: str) -> str:
    return re.sub(pattern, lambda _: word, text, flags=re.IGNORECASE)
