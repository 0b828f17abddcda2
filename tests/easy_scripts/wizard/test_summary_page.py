"""The summary: time and memory, errors with the name of their setting, what goes on by itself."""

from __future__ import annotations

import pytest
import test_train_wizard as wizard_tests

from easy_scripts import train
from easy_scripts.queue.store import QueueStore
from easy_scripts.train_pages import summary_page
from easy_scripts.train_pages.graphics_card import Card
from easy_scripts.wizard.asking import show_page
from scripts.settings.calibration import Pace, record

this_pc, pictures, given = wizard_tests.this_pc, wizard_tests.pictures, wizard_tests.given
CARD = Card("NVIDIA GeForce RTX 3060", 12, True)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where the paces of the test lie."""
    monkeypatch.setattr(summary_page, "PLACE", tmp_path / "calibration.json")
    return tmp_path / "calibration.json"


@pytest.fixture
def on_page(open_robot, given, place):
    """A function: the summary of a bake of 12 steps, with the plan made unless told otherwise."""

    def open_it(card=CARD, planned=True, **values):
        robot = open_robot(train.PLAN, {**given, "output_name": "zyx", **values})
        robot.wizard.facts.card = card
        show_page(robot.wizard, "summary")
        if planned:
            robot.until(lambda: not robot.page._asking.busy)
        robot.pump()
        return robot

    return open_it


def line(robot, name):
    """What stands beside this name on the card of the summary."""
    texts = [w.cget("text") for w in robot.page._card.winfo_children()]
    return texts[texts.index(name) + 1]


def pace(**values) -> Pace:
    facts = {"device": CARD.name, "family": "sd1", "resolution": 64, "batch": 4,
             "precision": "bf16", "checkpointing": False, "dim": 4}  # fmt: skip
    return Pace(**{**facts, **values})


def test_time_and_memory_are_told_where_they_were_measured(on_page, place):
    record(pace(seconds_per_step=20.0, memory_bytes=5_100_000_000), place)
    robot = on_page()
    assert "12 steps in 2 rounds" in robot.seen()
    assert line(robot, "Time") == "about 4 min", "12 steps of 20 seconds"
    assert line(robot, "Memory") == "about 5.1 of 12 GB on the card"


def test_a_time_that_is_scaled_says_so(on_page, place):
    record(pace(resolution=512, batch=1, seconds_per_step=16.0 * 20), place)
    assert line(on_page(), "Time") == "very roughly 4 min"


def test_an_unknown_time_says_what_tells_it(on_page):
    robot = on_page()
    assert line(robot, "Time").startswith("not known yet; “Try ten steps”")
    assert line(robot, "Memory").endswith(" of 12 GB on the card")


def test_without_a_card_the_processor_s_pace_counts_and_no_memory_is_told(on_page, place):
    record(pace(device="CPU", precision="no", seconds_per_step=10.0), place)
    robot = on_page(card=Card())
    assert line(robot, "Time") == "about 2 min"
    assert "Memory" not in [w.cget("text") for w in robot.page._card.winfo_children()]


def test_what_is_wrong_is_told_with_the_name_of_its_setting(on_page):
    robot = on_page(learning_rate="x")
    assert ('Learning rate: "x" is not a number. Write one, such as 0.5 or 1e-4.'
            in robot.seen())  # fmt: skip


def test_add_to_queue_waits_for_the_plan(on_page, tmp_path):
    robot = on_page(planned=False)
    assert robot.page.waits
    robot.click("Add to queue")
    store = QueueStore(tmp_path / "queue")
    robot.until(lambda: store.read().bakes, "it is added when the plan is made")
    assert [bake.name for bake in store.read().bakes] == ["zyx"] and robot.page.name == "summary"


def test_next_goes_on_by_itself_when_the_answer_has_come_and_not_after_back(open_robot, given):
    robot = open_robot(train.PLAN, given)
    robot.click("Start here")
    robot.click("Next")
    assert robot.page.name == "base" and robot.page.waits
    robot.until(lambda: robot.page.name == "pictures", "the base model is known")
    robot.click("Next")
    assert robot.page.name == "pictures"
    robot.click("Back")
    robot.until(lambda: robot.wizard.facts.dataset, "the pictures are known")
    robot.pump(0.2)
    assert robot.page.name == "base", "who went back is not sent on"
