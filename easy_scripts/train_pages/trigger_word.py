"""The trigger word: in the prefix of the captions or in the captions themselves."""

from __future__ import annotations

import re
from typing import Any

from easy_scripts.wizard.window import Wizard


def trigger_word(wizard: Wizard) -> str:
    """The word that calls up the LoRA of these answers; "" when none is known."""
    return word_of_prefix(wizard.answers["caption_prefix"]) or wizard.facts.trigger


def word_of_prefix(prefix: Any) -> str:
    """The words of a caption_prefix: "sks" of "sks, "."""
    return str(prefix or "").strip().rstrip(",").rstrip()


def says(caption: str, word: str) -> bool:
    """Whether a caption has the word as a whole: "category" has no "cat".

    In scripts without spaces no end of a word can be seen: there any place counts.
    """
    if not word.isascii():
        return word.lower() in caption.lower()
    return bool(re.search(rf"(?<![a-z0-9_]){re.escape(word)}(?![a-z0-9_])", caption, re.I | re.A))
