"""What a command tells a window, in the window's language.

    for message in heard(texts, child): ...

What the windows compare with, such as the names of stages and the fates of keys, stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol

from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.child import Ended, Message
from scripts.core.events import Facts, Note, Planned, Problem

# The keys of facts and plans under which there are sentences, alone, in a list or by name.
SENTENCES = frozenset(("warnings", "guesses", "notes", "note", "problem", "problems", "summary",
                       "text", "broken", "merged", "unusable"))  # fmt: skip


class Speaker(Protocol):
    """A child, or a bake that is no child of this window."""

    def messages(self) -> Iterable[Message]:
        """What has come since the last call."""


def heard(texts: Catalogue, speaker: Speaker) -> Iterator[Message]:
    """The messages that have come, with what is for people in the language of the texts."""
    for message in speaker.messages():
        yield in_language(texts, message)


def pass_on(
    texts: Catalogue, speaker: Speaker, take: Callable[[Message], None]
) -> int | None:  # fmt: skip
    """Give `take` what has come; the exit code when that was all."""
    code = None
    for message in heard(texts, speaker):
        if isinstance(message, Ended):
            code = message.code
        else:
            take(message)
    return code


def in_language(texts: Catalogue, message: Message) -> Message:
    """The message with its sentences in the language of the texts."""
    if texts.language == "en":
        return message
    if isinstance(message, Note):
        return replace(message, text=texts.said(message.text))
    if isinstance(message, Problem):
        return replace(message, message=texts.said(message.message))
    if isinstance(message, Facts):
        return replace(message, facts=_said_in(texts, message.facts))
    if isinstance(message, Planned):
        return replace(message, plan=_said_in(texts, message.plan))
    return message


def _said_in(texts: Catalogue, content: Any, sentences: bool = False) -> Any:
    """The content with its sentences translated; `sentences`: each text in it is one."""
    if isinstance(content, dict):
        return {key: _said_in(texts, value, sentences or key in SENTENCES)
                for key, value in content.items()}  # fmt: skip
    if isinstance(content, list | tuple):
        return [_said_in(texts, item, sentences) for item in content]
    return texts.said(content) if sentences and isinstance(content, str) else content
