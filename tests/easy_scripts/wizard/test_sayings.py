"""All that the code says in English is shown in the language of the windows: none is forgotten."""

from __future__ import annotations

import errno
import os
import re

import pytest
from said_in_code import WORD, Text, texts_in_code

from easy_scripts.wizard.catalogue import LANGUAGES
from easy_scripts.wizard.sayings import read_sayings

OTHER_LANGUAGES = [language for language in LANGUAGES if language != "en"]
NAME = re.compile(r"\{(\w*)\}")
TEXTS = list(texts_in_code())
OF_THE_SYSTEM = {os.strerror(code) for code in errno.errorcode}

# Where texts stand that no window shows, and why.
NOT_SHOWN = {
    "scripts/console.py": "a terminal's",
    "easy_scripts/install/installer.py:install_silently": "goes into the log",
    "scripts/settings/document.py": "goes into docs/settings.md",
    "scripts/settings/memory_estimate.py": "sources of the numbers",
    "scripts/settings/import_config.py:lines": "a terminal's; the window lists the entries",
    "scripts/compare_models.py:_in_words": "a terminal's; the window has its own",
    "scripts/training/trial.py:in_words": "a terminal's; the window has its own",
    "scripts/lora/training_words.py": "a terminal's",
    "scripts/lora/merge.py:_report_result": "a terminal's",
    "scripts/lora/merge_checkpoint.py:_facts": "a terminal's",
    "scripts/drawing/versions.py:_finish": "a terminal's",
    "scripts/practice/bake.py:_write_sheet": "drawn into the picture",
    "scripts/lora/blocks.py:block_of": "an error of ours",
    "scripts/lora/names.py:original_path": "an error of ours",
    "easy_scripts/install/card_names.py": "patterns of names",
    "easy_scripts/install/command.py": "the console's",
    "easy_scripts/install/doctor.py": "the console's; the findings are those of other modules",
    "easy_scripts/install/make_environment.py:_in_words": "told below as two sentences",
    "easy_scripts/install/setup_lock.py:setup_lock": "with and without its {}, which begins so",
    "easy_scripts/install/kinds.py": "composed: test_said.py tries every choice",
    "easy_scripts/install/bitsandbytes_patch.py": "composed: test_said.py tries them",
    "easy_scripts/install/install_packages.py": "composed: test_said.py tries them",
    "easy_scripts/launcher/judge.py:_compare_with_stamp": "one of them says that all is well",
    "easy_scripts/launcher/python_version.py": "composed: tried below",
    "easy_scripts/launcher/handover.py": "there is no window to show it in",
    "easy_scripts/launcher/run_module.py": "a terminal's",
    "easy_scripts/queue/__main__.py": "a terminal's",
    "easy_scripts/verbs.py": "a terminal's",
    "easy_scripts/window.py": "there is no window to show it in",
    "easy_scripts/wizard/screen.py": "there is no window to show it in",
}


def anonymous(text: str) -> str:
    """The text with {} for whatever is filled in."""
    return re.sub(r"(\{\w*\})+", "{}", text)


def is_shown(text: Text) -> bool:
    return not any(text.place == place or text.place.startswith(f"{place}:") for place in NOT_SHOWN)


def is_known(sentence: str, patterns: set[str]) -> bool:
    """Whether it is translated: as it is, behind a name, or in front of what follows."""
    alone = sentence.removeprefix("{}: ").removesuffix(": {}")
    ways = [sentence, alone, alone[:1].lower() + alone[1:], alone.rstrip("."), f"{alone}."]
    return any(way in patterns for way in ways)


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_every_message_of_the_code_is_translated(language):
    patterns = {anonymous(english) for english in read_sayings(language)}
    messages = [text for text in TEXTS if text.is_message and is_shown(text)]
    assert len(messages) > 600
    missing = [
        f"{text.place}:{text.line}: {sentence}"
        for text in messages
        for sentence in map(anonymous, text.sentences)
        if not is_known(sentence, patterns)
    ]
    assert not missing, "\n".join(missing)


def test_what_is_left_out_is_still_there():
    places = {text.place for text in TEXTS}
    for place in NOT_SHOWN:
        assert any(one == place or one.startswith(f"{place}:") for one in places), place


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_every_entry_still_stands_in_the_code(language):
    """Whole, as a sentence of a text, or piece by piece where it is put together."""
    whole = {anonymous(text.text) for text in TEXTS}
    whole |= {anonymous(sentence) for text in TEXTS for sentence in text.sentences}
    source, dead = "\n".join(whole), []
    for english in read_sayings(language).keys() - OF_THE_SYSTEM:
        if anonymous(english) not in whole:
            pieces = re.split(r"\{\w+\}|(?<=[.:,;]) (?:but )?| \(|(?<=[a-z]), (?:but )?", english)
            dead += [(english, piece) for piece in pieces if piece.strip(" .,;:)") not in source]
    assert not dead, dead


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_an_entry_and_its_translation_have_the_same_names(language):
    for english, other in read_sayings(language).items():
        names = NAME.findall(english)
        assert len(names) == len(set(names)), english
        assert sorted(names) == sorted(set(NAME.findall(other))), english
        if english.endswith(".") and ":" not in other:
            assert other.endswith("。"), english
        assert WORD.search(NAME.sub("", english)) or " x " in english, english
