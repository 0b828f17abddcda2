"""The catalogue: every text that is asked for is there, in every language, with the same names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Formatter

import pytest

from easy_scripts.wizard.catalogue import FOLDER, LANGUAGES, Catalogue, split_access_key
from scripts.core.declare import declarations
from scripts.settings.extract import ExtractSettings
from scripts.settings.merge import MergeSettings
from scripts.settings.resize import ResizeSettings
from scripts.settings.train import TrainSettings

ROOT = Path(__file__).resolve().parents[3]
TEXTS = {
    language: json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    for language in LANGUAGES
}
OTHER_LANGUAGES = [language for language in LANGUAGES if language != "en"]
ADVICE = ("below", "above", "beware")
OF_SETTINGS = ("label.", "help.", "choice.", *(f"{what}." for what in ADVICE))
SETTINGS = {
    "train": TrainSettings,
    "resize": ResizeSettings,
    "merge": MergeSettings,
    "extract": ExtractSettings,
}


def names(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def choices(text: str) -> int:
    """How many choices a text offers, not counting those between a noun's forms."""
    return sum(literal.count("|") for literal, _, _, _ in Formatter().parse(text))


def facts(text: str) -> set[str]:
    """The numbers and the file endings in a text."""
    return set(re.findall(r"\d+(?:\.\d+)?|\.[a-z]{2,}", text))


def sources() -> str:
    folders = ("easy_scripts/wizard", "easy_scripts/lora_pages", "easy_scripts/train_pages")
    files = [path for folder in folders for path in (ROOT / folder).glob("*.py")]
    files += [
        ROOT / "easy_scripts" / f"{name}.py"
        for name in ("resize", "merge", "extract", "train", "install/setup_window",
                     "install/installer_window")
    ]  # fmt: skip
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_text_that_the_code_names_is_in_the_catalogue():
    asked = set(re.findall(r'texts\(\s*"([a-z_.]+)"', sources()))
    asked |= set(re.findall(r'(?:add_fold\(body, |next_text = |cancel_text = )"([a-z_.]+)"',
                            sources()))  # fmt: skip
    assert len(asked) > 50
    assert asked <= TEXTS["en"].keys(), asked - TEXTS["en"].keys()


def test_a_number_has_the_right_form_of_its_noun():
    texts = Catalogue(language="en")
    one, many = (texts("finished.versions", count=count) for count in (1, 1200))
    assert (one, many) == ("1 earlier version beside it", "1,200 earlier versions beside it")


def test_every_page_has_a_title_and_a_step():
    pages = set(re.findall(r'^    name = "([a-z_]+)"$', sources(), re.M))
    assert len(pages) >= 8
    for page in pages:
        assert f"{page}.title" in TEXTS["en"] and f"{page}.step" in TEXTS["en"], page


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_a_translation_is_whole(language):
    english, other = TEXTS["en"], TEXTS[language]
    assert english.keys() <= other.keys(), english.keys() - other.keys()
    assert all(key.startswith(OF_SETTINGS) for key in other.keys() - english.keys())
    for key in english:
        assert names(english[key]) == names(other[key]), key
        assert choices(english[key]) == choices(other[key]), key
        assert ("&" in english[key]) == ("&" in other[key]), key


@pytest.mark.parametrize("wizard", SETTINGS)
@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_every_setting_is_translated(language, wizard):
    english, other = Catalogue(wizard, "en"), Catalogue(wizard, language)
    for name, entry in declarations(SETTINGS[wizard]).items():
        for what in ("label", "help"):
            keys = {f"{what}.{name}", f"{what}.{wizard}.{name}"}
            assert keys & TEXTS[language].keys(), f"{what} of {name}"
        assert other.label(entry).strip(), name
        told, wanted = facts(other.help(entry)), facts(english.help(entry))
        assert wanted <= told, f"{name}: {wanted - told} is not told"
        for what in ADVICE:
            if getattr(entry, what):
                keys = {f"{what}.{name}", f"{what}.{wizard}.{name}"}
                assert keys & TEXTS[language].keys(), f"{what} of {name}"
                texts = [catalogue.advice(what, entry) for catalogue in (english, other)]
                assert facts(texts[0]) <= facts(texts[1]), f"{what} of {name}"


@pytest.mark.parametrize("what", ADVICE)
def test_what_differs_between_wizards_is_translated_for_each(what):
    told: dict[tuple[str, str], str] = {}
    for wizard, settings_class in SETTINGS.items():
        japanese = Catalogue(wizard, "ja")
        for name, entry in declarations(settings_class).items():
            if english := getattr(entry, what):
                other = told.setdefault((name, english), japanese.advice(what, entry))
                assert other == japanese.advice(what, entry), name
    names = [name for name, _ in told]
    for name in {name for name in names if names.count(name) > 1}:
        texts = [text for (other, _), text in told.items() if other == name]
        assert len(set(texts)) == len(texts), f"{what} of {name}"


@pytest.mark.parametrize("wizard", SETTINGS)
def test_japanese_help_is_whole_sentences(wizard):
    japanese = Catalogue(wizard, "ja")
    for name, entry in declarations(SETTINGS[wizard]).items():
        advice = [japanese.advice(what, entry) for what in ADVICE]
        for text in filter(None, (japanese.help(entry), *advice)):
            lines = text.split("\n")
            assert lines[-1].endswith("。"), name
            for line in lines:
                assert re.search("[ぁ-ん]", line) and line == line.strip(), (name, line)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_entry_of_a_setting_is_shown_somewhere(language):
    texts = TEXTS[language]
    shown = set()
    for wizard, settings_class in SETTINGS.items():
        for name, entry in declarations(settings_class).items():
            values = (*(entry.choices or ()), *(entry.suggestions or ()))
            asked = [("label", name), ("help", name), *(("choice", f"{name}.{v}") for v in values)]
            asked += [(what, name) for what in ADVICE if getattr(entry, what)]
            for what, end in asked:
                special = f"{what}.{wizard}.{end}"
                shown.add(special if special in texts else f"{what}.{end}")
    entries = {key for key in texts if key.startswith(OF_SETTINGS)}
    assert len(entries) > 10
    assert entries <= shown, entries - shown


def test_access_keys_on_one_page_differ():
    for texts in TEXTS.values():
        footer = [texts[f"frame.{key}"] for key in ("back", "next")]
        for page in (["files.add", "files.add_folder", "frame.draft_use"],
                     ["merge_target.lora", "merge_target.checkpoint"],
                     [key for key, text in texts.items()
                      if key.startswith("kind.") and "&" in text and key != "kind.trial.cancel"],
                     [f"kind.{key}" for key in ("character", "style", "concept", "outfit", "own",
                                                "quick", "balanced", "careful", "trial.cancel",
                                                "trial.take")]):  # fmt: skip
            marked = [*footer, *(texts[key] for key in page)]
            letters = [split_access_key(text)[0][split_access_key(text)[1]] for text in marked]
            assert len({letter.lower() for letter in letters}) == len(marked), marked
        finished = ("result.folder", "finished.again", "finished.compare.button", "work.stop",
                    "finished.show_chosen")  # fmt: skip
        for page in (["result.folder", "result.again"], finished):
            marked = [texts[key] for key in ("frame.back", "frame.close", *page)]
            letters = [split_access_key(text)[0][split_access_key(text)[1]] for text in marked]
            assert len({letter.lower() for letter in letters}) == len(marked), marked


OF_PAGES = {
    "start": ["frame.back", "frame.draft_use", "start.to_base",
              *(f"start.{key}.button" for key in ("new", "resume", "running", "ended", "again",
                                                  "open", "queue", "practice"))],
    "start, config read": ["frame.back", "frame.draft_use", "start.to_summary",
                           *(f"start.{key}.button" for key in ("new", "again", "open", "queue"))],
    "summary": ["frame.back", "frame.start", "summary.all", "summary.save", "summary.queue"],
    "summary of the queue": ["frame.back", "frame.start", "summary.all", "summary.save",
                             "summary.queue_back"],
    "bake": ["frame.back", "work.stop", "bake.pause", "bake.save", "bake.preview",
             "bake.after_epoch", "bake.continue", "bake.to_start"],
    "bake, stopped": ["frame.back", "frame.close", "bake.continue", "bake.to_start"],
    "queue": ["frame.back", "queue.bake", "queue.add", "queue.add_folder", "queue.pause",
              "queue.clear"],
    "queue, paused": ["frame.back", "queue.bake", "queue.add", "queue.add_folder",
                      "queue.go_on", "queue.clear"],
}  # fmt: skip


@pytest.mark.parametrize("page", OF_PAGES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_buttons_of_a_page_have_the_same_access_key(language, page):
    letters = {}
    for key in OF_PAGES[page]:
        label, place = split_access_key(TEXTS[language][key])
        assert place >= 0, key
        letters.setdefault(label[place].lower(), []).append(key)
    assert all(len(keys) == 1 for keys in letters.values()), letters


def test_the_language_is_the_one_asked_for_else_that_of_the_system(monkeypatch):
    monkeypatch.setenv("EASY_LORA_LANGUAGE", "ja")
    assert Catalogue()("frame.cancel") == "キャンセル"
    monkeypatch.setenv("EASY_LORA_LANGUAGE", "de")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("LC_ALL", "ja_JP.UTF-8")
    assert Catalogue().language == "ja"
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert Catalogue()("frame.cancel") == "Cancel"


def test_sizes_times_and_shares_are_told_as_people_say_them():
    texts = Catalogue("", "en")
    assert [texts.size(n) for n in (0, 900, 73_200, 9_440_000, 151_000_000, 6_938_000_000)] == [
        "0 kB", "1 kB", "73 kB", "9.4 MB", "151 MB", "6.9 GB",
    ]  # fmt: skip
    assert [texts.duration(s) for s in (0.2, 42, 90, 3599, 4800)] == [
        "1 s", "42 s", "2 min", "1 h 0 min", "1 h 20 min",
    ]  # fmt: skip
    assert texts.percent(0.8754) == "88 %" and texts.percent(0.8754, 1) == "87.5 %"


def test_the_access_key_is_found():
    assert split_access_key("S&top") == ("Stop", 1)
    assert split_access_key("次へ(&N)") == ("次へ(N)", 3)
    assert split_access_key("Cancel") == ("Cancel", -1)
