"""Propose the trigger word of a data set: a word that its captions share and no language has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scripts.dataset.summary import tags_of

LEAST_SHARE = 0.8  # of the captions that must have it
# What taggers and captioners write into every caption, which triggers nothing.
COMMON = frozenset(
    """1girl 1boy 2girls 2boys solo male female woman man girl boy person looking at viewer
    simple background white background smile standing sitting portrait upper body full body
    breasts long hair short hair blush open mouth closed mouth shirt dress photo picture image
    painting drawing illustration anime realistic highres masterpiece best quality absurdres
    monochrome greyscale no humans original indoors outdoors commentary artist name signature
    a an the of in on with and is are his her its at to from by for this that style close up"""
    .replace("\n", " ").split()
)  # fmt: skip


@dataclass(frozen=True)
class TriggerWord:
    """A proposal: the word, the share of captions that have it, and where it was found."""

    word: str
    share: float
    found_in: str  # "captions" or "folder name"


def propose_trigger_word(
    captions: Sequence[str], folder_words: Sequence[str] = ()
) -> TriggerWord | None:
    """The best proposal from the captions, else from the class words of the folders, else None.

    A tag wins that most captions have, the more the nearer to their start; then a single word.
    """
    captions = [caption for caption in captions if caption.strip()]
    if len(captions) > 1:
        tags = [tags_of(caption) for caption in captions]
        words = [[word for tag in row for word in tag.split()] for row in tags]
        for rows in (tags, words):
            found = _shared(rows)
            if found is not None:
                return TriggerWord(found[0], found[1], "captions")
    names = [words.strip() for words in folder_words if words.strip()]
    if names and not all(word in COMMON for word in names[0].lower().split()):
        return TriggerWord(names[0], 0.0, "folder name")
    return None


def _shared(rows: Sequence[Sequence[str]]) -> tuple[str, float] | None:
    """The uncommon entry that most rows have, and nearest to the start among equals."""
    counts = Counter(entry for row in rows for entry in set(row))
    places = {
        entry: sum(list(row).index(entry) for row in rows if entry in row) / count
        for entry, count in counts.items()
        if count >= LEAST_SHARE * len(rows)
    }
    good = [entry for entry in places if not all(word in COMMON for word in entry.split())]
    if not good:
        return None
    best = min(good, key=lambda entry: (places[entry], -counts[entry], entry))
    return best, counts[best] / len(rows)
