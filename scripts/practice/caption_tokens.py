"""Captions as token ids, and the noise put into them so that an unknown word does no harm."""

from __future__ import annotations

import numpy as np
import torch

from scripts.models.tokenizer import ClipTokenizer
from scripts.practice.draw import Scene, all_scenes

CONTEXT = 77  # tokens, begin and end included
SHORT_CONTEXT = 18  # room for every caption here with its added words; trains faster
BEGIN, END = 49406, 49407

EMPTY_SHARE = 0.12  # captions replaced by nothing: guidance needs an unconditional answer
UNKNOWN_SHARE = 0.14  # captions with one to three random tokens put somewhere before the figure
UNKNOWN_ONLY_SHARE = 0.08  # random tokens in the figure's place: "zyx, red background"


class CaptionTokens:
    """Token ids of captions, by the real CLIP tokenizer; remembers what it has seen."""

    def __init__(self) -> None:
        self._tokenizer = ClipTokenizer.load(pad_id=END)
        self._seen: dict[str, list[int]] = {}
        words = {i for scene in all_scenes() for i in self.bare(scene.caption)}
        self._unknown = np.setdiff1d(np.arange(BEGIN), sorted(words))

    def bare(self, text: str) -> list[int]:
        """Ids without begin and end."""
        if text not in self._seen:
            self._seen[text] = self._tokenizer.ids(text)
        return self._seen[text]

    def padded(self, captions: list[list[int]], context: int = CONTEXT) -> torch.Tensor:
        """Begin, ids, end, then padding with end: (captions, context) int64."""
        rows = np.full((len(captions), context), END, dtype=np.int64)
        rows[:, 0] = BEGIN
        for row, ids in zip(rows, captions, strict=True):
            row[1 : 1 + len(ids)] = ids
        return torch.from_numpy(rows)

    def encode(self, captions: list[str], context: int = CONTEXT) -> torch.Tensor:
        return self.padded([self.bare(caption) for caption in captions], context)

    def disturbed(self, scene: Scene, rng: np.random.Generator) -> list[int]:
        """The scene's caption for one training step: as it is, emptied, or with unknown tokens."""
        luck = rng.random()
        if luck < EMPTY_SHARE:
            return []
        luck -= EMPTY_SHARE
        if luck > UNKNOWN_SHARE + UNKNOWN_ONLY_SHARE:
            return self.bare(scene.caption)
        unknown = rng.choice(self._unknown, size=rng.integers(1, 4)).tolist()
        if luck < UNKNOWN_ONLY_SHARE:
            return unknown + self.bare(f", {scene.background} background")
        if rng.random() < 0.5:
            return unknown + self.bare(",") + self.bare(scene.caption)
        return unknown + self.bare(scene.caption)
