"""The page of the queue: order, settings, copies and holds, each on the disk at once."""

from __future__ import annotations

import json
from tkinter import ttk

import pytest
import test_train_wizard as wizard_tests

from easy_scripts import train
from easy_scripts.queue.store import DONE, FAILED, HELD, RUNNING, STOPPED, WAITING, QueueStore

this_pc, pictures, given = wizard_tests.this_pc, wizard_tests.pictures, wizard_tests.given


@pytest.fixture
def store(tmp_path, given):
    """A queue with three bakes."""
    store = QueueStore(tmp_path / "queue")
    for name in ("one", "two", "three"):
        store.add({**given, "output_name": name})
    return store


@pytest.fixture
def robot(open_robot, store):
    """A robot on the page of the queue."""
    robot = open_robot(train.PLAN)
    robot.page._cards["queue"].button.invoke()
    robot.pump()
    assert robot.page.name == "queue"
    return robot


def names(store):
    return [bake.name for bake in store.read().bakes]


def press(robot, text, row):
    """Press the button with this text on the card of a row, counted from 0."""
    card = robot.page._list.winfo_children()[row]
    buttons = [w for w in robot.widgets(card) if isinstance(w, ttk.Button)]
    robot.click(next(button for button in buttons if button.cget("text") == text))


def test_it_says_what_waits_and_where_it_lies(open_robot, store, given):
    robot = open_robot(train.PLAN)
    assert "3 waiting: one, two, three" in robot.seen()
    robot.press("<Alt-k>")
    seen = robot.seen()
    assert "1.  one" in seen and "3.  three" in seen and seen.count("waiting") == 3
    assert "base.safetensors" in seen
    robot.press("<Alt-b>")
    assert robot.page.name == "start"


def test_bakes_are_moved_with_the_mouse_and_the_keyboard(robot, store):
    press(robot, "Down", 0)
    assert names(store) == ["two", "one", "three"]
    focused = robot.root.focus_get()
    assert focused.cget("text") == "Down", "the keyboard stays where it was"
    focused.event_generate("<Key-space>")
    robot.pump()
    assert names(store) == ["two", "three", "one"]
    press(robot, "Up", 1)
    assert names(store) == ["three", "two", "one"]
    first = robot.page._list.winfo_children()[0]
    up = next(w for w in robot.widgets(first)
              if isinstance(w, ttk.Button) and w.cget("text") == "Up")  # fmt: skip
    assert up.instate(["disabled"])


def test_copies_holds_and_removals(robot, store):
    press(robot, "Copy", 1)
    assert names(store) == ["one", "two", "two", "three"]
    press(robot, "Hold", 0)
    assert [bake.state for bake in store.read().bakes] == [HELD, WAITING, WAITING, WAITING]
    assert "held" in robot.seen()
    press(robot, "Let it go on", 0)
    assert store.read().bakes[0].state == WAITING
    press(robot, "Remove", 3)
    assert names(store) == ["one", "two", "two"]


def test_settings_are_changed_on_the_summary_and_saved_back(robot, store):
    store.update(store.read().bakes[1].id, state=FAILED, error="Too dark.")
    robot.until(lambda: "Too dark." in robot.seen())
    press(robot, "Change", 1)
    assert robot.page.name == "summary" and robot.wizard.answers["output_name"] == "two"
    robot.until(lambda: not robot.page._asking.busy)
    robot.wizard.answers["network_dim"] = 6
    robot.until(lambda: not robot.page._asking.busy)
    robot.click("Save in the queue")
    assert robot.page.name == "queue"
    bake = store.read().bakes[1]
    assert bake.settings["network_dim"] == 6 and len(store.read().bakes) == 3
    assert bake.state == WAITING and "Too dark." not in robot.seen()
    robot.press("<Alt-b>")
    robot.click("Start here")
    assert not robot.wizard.facts.queued


def test_a_stopped_bake_that_is_changed_goes_on_and_says_so(robot, store, tmp_path):
    goes_on = "Goes on from where it stopped. A copy of it begins anew."
    store.update(store.read().bakes[0].id, state=STOPPED, resume_from=str(tmp_path))
    robot.until(lambda: "stopped" in robot.seen())
    assert goes_on not in robot.seen()
    press(robot, "Change", 0)
    robot.until(lambda: not robot.page._asking.busy)
    robot.click("Save in the queue")
    assert store.read().bakes[0].resume_from == str(tmp_path)
    assert robot.seen().count(goes_on) == 1
    press(robot, "Copy", 0)
    assert robot.seen().count(goes_on) == 1


def test_a_paused_queue_and_an_empty_one_do_not_bake(robot, store):
    robot.press("<Alt-p>")
    assert store.read().paused and "End the pause" in robot.seen()
    robot.click("Bake them")
    assert "The queue is paused." in robot.seen() and robot.page.name == "queue"
    robot.press("<Alt-p>")
    assert not store.read().paused
    for bake in store.read().bakes:
        store.hold(bake.id)
    robot.click("Bake them")
    assert "Nothing waits to be baked." in robot.seen()


def test_what_somebody_else_does_is_seen(robot, store):
    store.remove(store.read().bakes[0].id)
    robot.until(lambda: "1.  two" in robot.seen(), "the change is seen")
    bake = store.read().bakes[0]
    store.update(bake.id, state=FAILED, error="The pictures are gone.")
    robot.until(lambda: "The pictures are gone." in robot.seen())
    press(robot, "Try again", 0)
    assert store.read().bakes[0].state == WAITING
    store.update(bake.id, state=DONE, result="/somewhere/two.safetensors", seconds=90)
    robot.until(lambda: "two.safetensors · took" in robot.seen())
    robot.click("Clear what is done")
    assert names(store) == ["three"]


def test_a_bake_whose_runner_died_waits_again_and_can_be_removed(robot, store):
    bake = store.read().bakes[0]
    with store.only_runner():
        store.update(bake.id, state=RUNNING, begun=1)
        robot.until(lambda: "baking" in robot.seen(), "it runs")
        robot.pump(1.2)
        assert store.read().bakes[0].state == RUNNING
    robot.until(lambda: store.read().bakes[0].state == WAITING, "it waits again")
    press(robot, "Remove", 0)
    assert names(store) == ["two", "three"]


def test_configs_and_folders_of_them_are_added(robot, store, given, tmp_path, monkeypatch):
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "good.json").write_text(json.dumps({**given, "network_dim": 5}))
    (folder / "bad.json").write_text("{")
    monkeypatch.setattr(robot.page, "choose_folder", lambda: str(folder))
    robot.click("Add a folder…")
    assert names(store)[-1] == "good" and "bad.json: " in robot.seen()
    monkeypatch.setattr(robot.page, "choose_files", lambda: (str(folder / "good.json"),))
    robot.click("Add configs…")
    assert names(store)[-2:] == ["good", "good"] and "1 added." in robot.seen().splitlines()
    elsewhere = {**given, "pretrained_model_name_or_path": "/elsewhere/base.safetensors"}
    (folder / "odd.json").write_text(json.dumps({**elsewhere, "sparkle": 3}))
    monkeypatch.setattr(robot.page, "choose_files", lambda: (str(folder / "odd.json"),))
    robot.click("Add configs…")
    assert robot.page._said.cget("text").splitlines() == [
        "1 added.",
        "odd.json: sparkle: There is no such setting here; what it asked for (3) is lost.",
        "odd.json: Base model: the path in the config is not on this computer. Choose it again.",
    ]


def test_a_damaged_queue_is_a_sentence(robot, store):
    store.path.write_text("{")
    robot.until(lambda: "is damaged" in robot.seen())
    robot.click("Clear what is done")
    assert "is damaged" in robot.seen() and robot.page.name == "queue"
