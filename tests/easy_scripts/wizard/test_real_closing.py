"""Windows that go at any moment: closed by their cross, torn off the screen, their process ended or
killed. Nothing is stuck, what was entered is kept, a bake is saved or goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from own_copy import OwnCopy
from seen_from_outside import Window
from test_train_wizard import BASE, TINY

pytestmark = pytest.mark.slow
CODES = {"cross": 0, "Cancel": 0, "torn off": 1, "ended": 143, "killed": 137}
SOON = 1.0  # seconds; a draft is on the disk sooner after a change
ON_PAGES = [
    ("start", "cross"), ("start", "Cancel"), ("queue", "cross"), ("queue", "Cancel"),
    ("base", "Cancel"), ("base", "killed"), ("pictures", "ended"), ("pictures", "Cancel"),
    ("kind", "torn off"), ("kind", "Cancel"), ("all_settings", "cross"),
    ("all_settings", "Cancel"), ("summary", "killed"), ("summary", "Cancel"),
]  # fmt: skip
# Seconds after the click on Start, or the number of steps that have been seen.
WHILE_IT_BAKES = [
    (0.0, "stop"), (0.3, "killed"), (1.0, "torn off"), (2.0, "close only"), (3.0, "ended"),
    (4.5, "stop"), ("3 steps", "killed"), ("10 steps", "close only"), ("20 steps", "torn off"),
    ("30 steps", "ended"),
]  # fmt: skip


@pytest.fixture
def bake_of(own_copy, drawn_pictures):
    """A function: the settings of a bake of so many rounds, and the program knows them as its
    last."""

    def remember(rounds: int) -> dict:
        settings = {**TINY, "max_train_epochs": str(rounds), "output_name": "hero",
                    "output_dir": str(own_copy.output), "train_data_dir": str(drawn_pictures),
                    "pretrained_model_name_or_path": str(BASE)}  # fmt: skip
        own_copy.remember(last=settings)
        return settings

    return remember


def to_page(window: Window, last: str) -> None:
    """From the first page to the page `last`; base model and pictures were dropped onto it."""
    if last == "queue":
        window.click("Look at it")
    ways = {"base": "Start here", "pictures": "Next", "kind": "Next", "summary": "Next",
            "all_settings": "Change any setting…"}  # fmt: skip
    for page, button in ways.items():
        if last in ("start", "queue") or (page == "all_settings" and last == "summary"):
            break
        window.click(button)
        window.on(page)
        if page == last:
            break
    window.on(last)


def leave(window: Window, how: str) -> None:
    window.click("Cancel") if how == "Cancel" else window.close(how)


@pytest.mark.parametrize(("page", "how"), ON_PAGES)
def test_on_any_page_what_was_entered_is_kept(own_copy, open_window, drawn_pictures, page, how):
    window = open_window(drawn_pictures, BASE)
    to_page(window, page)
    time.sleep(SOON)
    leave(window, how)
    assert window.gone() == CODES[how]
    own_copy.until_quiet()
    assert not own_copy.output.exists(), "nothing was started"
    assert own_copy.complaints() == ""
    draft = own_copy.remembered("draft")
    if page in ("start", "queue", "base"):
        assert not draft, "what was dropped takes no draft's place before one goes on with it"
        return
    assert draft["train_data_dir"] == str(drawn_pictures)
    assert draft["pretrained_model_name_or_path"] == str(BASE)


def begin(window: Window, own_copy: OwnCopy, events: Path) -> Path:
    """The last bake again; its events, which stay."""
    window.click("Use again")
    window.sees("steps in ")
    window.click("Start")
    return own_copy.keep_events(events)


def steps_in(events: Path) -> int:
    """How many steps have been told."""
    return events.read_text(encoding="utf-8").count('"event": "step"')


def saved(own_copy: OwnCopy, events: Path) -> bool:
    """Whether there is a LoRA; there must be one if a step was told."""
    made = list(own_copy.output.glob("hero*.safetensors"))
    assert made or not steps_in(events), "what was learned is lost"
    return bool(made)


def went_on(own_copy: OwnCopy, events: Path) -> None:
    """The bake goes on without its window, until it is asked to stop."""
    (bake,) = own_copy.bakes()
    before = steps_in(events)
    end = time.monotonic() + 120
    while steps_in(events) < before + 3:
        assert bake.running and time.monotonic() < end, "it does not go on"
        time.sleep(0.1)
    bake.ask("stop")


@pytest.mark.parametrize(("moment", "how"), WHILE_IT_BAKES)
def test_while_it_bakes_it_is_saved_or_goes_on(
    own_copy, open_window, bake_of, tmp_path, moment, how
):
    settings = bake_of(400)
    window = open_window()
    events = begin(window, own_copy, tmp_path / "events.jsonl")
    if isinstance(moment, float):
        time.sleep(moment)
    else:
        window.until(lambda: steps_in(events) >= int(moment.split()[0]), moment)
    if how in ("stop", "close only"):
        window.close("cross")
        window.sees("Stop the bake?")
        ways = ("Stop and keep it", "Stop it now") if how == "stop" else ("Close the window only",)
        window.until(lambda: any(map(window.can_click, ways)), ways[0])
        window.click(next(filter(window.can_click, ways)))
    else:
        window.close(how)
    if how == "stop":
        window.sees("To the beginning")
        window.close("cross")
    assert window.gone() == CODES.get(how, 0)
    if how == "close only":
        went_on(own_copy, events)
    own_copy.until_quiet()
    assert json.loads(events.read_text(encoding="utf-8").splitlines()[-1]) == {"ended": 2}
    assert own_copy.remembered("last") == settings, "and the bake can be begun again"
    if saved(own_copy, events) and how != "stop":
        again = open_window()
        again.click("Show it")
        again.sees("Continue")
    assert own_copy.complaints() == ""


def test_when_it_has_finished_nothing_is_left_behind(own_copy, open_window, bake_of, tmp_path):
    bake_of(1)
    window = open_window()
    events = begin(window, own_copy, tmp_path / "events.jsonl")
    window.on("finished")
    window.close("cross")
    assert window.gone() == 0
    own_copy.until_quiet()
    assert saved(own_copy, events) and own_copy.bakes() == []
    assert own_copy.complaints() == ""
