"""The draft of the training wizard: what a person entered is lost to nothing but newer entries."""

from __future__ import annotations

import json

import pytest
import test_train_wizard as wizard_tests
from picture_folders import draw_pictures
from test_train_wizard import BASE, begin, to_pictures

from easy_scripts import train
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.remembered import Memory

this_pc, pictures, given = wizard_tests.this_pc, wizard_tests.pictures, wizard_tests.given

OFFER = "Your entries from last time were kept."
BASE_MODEL, FOLDER = "pretrained_model_name_or_path", "train_data_dir"


@pytest.fixture
def draft(open_robot, pictures):
    """Base model and pictures, typed into a window that was closed."""
    robot = open_robot(train.PLAN)
    robot.click("Start here")
    robot.page.rows[BASE_MODEL].variable.set(str(BASE))
    robot.click("Next")
    robot.until(lambda: robot.page.name == "pictures")
    robot.page.rows[FOLDER].variable.set(str(pictures))
    robot.press("<Escape>")
    assert not robot.open
    return {BASE_MODEL: str(BASE), FOLDER: str(pictures)}


def kept(memory_folder) -> dict:
    return json.loads((memory_folder / "train.json").read_text(encoding="utf-8"))["draft"]


@pytest.mark.parametrize("button", ["Start here", "Look at it"])
def test_a_look_inside_leaves_the_draft_as_it_was(open_robot, draft, memory_folder, button):
    robot = open_robot(train.PLAN)
    assert OFFER in robot.seen()
    robot.click(button)
    robot.pump(0.6)
    robot.press("<Escape>")
    assert kept(memory_folder) == draft
    again = open_robot(train.PLAN)
    again.click("Use them again")
    assert {name: again.wizard.answers[name] for name in draft} == draft


def test_what_is_entered_anew_takes_its_place(open_robot, draft, memory_folder):
    robot = open_robot(train.PLAN)
    robot.click("Start here")
    robot.page.rows[BASE_MODEL].variable.set("/other.safetensors")
    robot.press("<Escape>")
    assert kept(memory_folder) == {BASE_MODEL: "/other.safetensors"}


def test_a_dropped_folder_hides_and_replaces_no_draft(open_robot, draft, memory_folder, tmp_path):
    other = draw_pictures(tmp_path / "other" / "1_cat", [(64, 64)] * 2, ["cat"] * 2).parent
    robot = open_robot(train.PLAN, {FOLDER: str(other)})
    assert OFFER in robot.seen()
    robot.click("Start here")
    robot.pump(0.6)
    robot.press("<Escape>")
    assert kept(memory_folder) == draft
    robot = open_robot(train.PLAN, {FOLDER: str(other)})
    robot.click("Use them again")
    assert robot.wizard.answers[FOLDER] == draft[FOLDER]
    assert robot.wizard.answers[BASE_MODEL] == draft[BASE_MODEL]


def test_a_dropped_folder_that_is_gone_on_with_becomes_the_draft(
    open_robot, given, memory_folder, tmp_path
):  # fmt: skip
    robot = open_robot(train.PLAN, given)
    begin(robot)
    robot.click("Next")
    robot.press("<Escape>")
    assert kept(memory_folder)[FOLDER] == given[FOLDER]


def test_an_opened_config_replaces_the_draft_when_it_is_changed(
    open_robot, draft, given, memory_folder
):  # fmt: skip
    Memory("train", memory_folder).keep("last", {**given, "output_name": "zyx"})
    robot = open_robot(train.PLAN)
    robot.click("Use again")
    robot.until(lambda: not robot.page._asking.busy)
    robot.pump(0.6)
    assert kept(memory_folder) == draft
    robot.page.rows["output_name"].variable.set("hero")
    robot.pump(0.6)
    assert kept(memory_folder)["output_name"] == "hero"


def test_what_stays_of_an_opened_config_replaces_the_draft_when_it_is_gone_on_with(
    open_robot, draft, given, memory_folder
):  # fmt: skip
    Memory("train", memory_folder).keep("last", {**given, "output_name": "zyx", "network_dim": 7})
    robot = open_robot(train.PLAN)
    robot.click("Use again")
    show_page(robot.wizard, "start")
    robot.pump()
    robot.click("Start here")
    robot.pump(0.6)
    assert kept(memory_folder) == draft
    robot.click("Next")
    robot.until(lambda: robot.page.name == "pictures")
    robot.pump(0.6)
    assert kept(memory_folder)["network_dim"] == 7


def test_proposals_are_no_part_of_the_draft(open_robot, given, memory_folder):
    del given["output_dir"]
    robot = open_robot(train.PLAN, given)
    to_pictures(robot)
    robot.click("Next")
    robot.click("Next")
    assert robot.wizard.answers["output_name"] == "zyx" and robot.wizard.answers["output_dir"]
    robot.press("<Escape>")
    assert not {"output_name", "output_dir", "sample_prompts"} & kept(memory_folder).keys()


@pytest.mark.parametrize(("entered_for", "looked_at", "kind"),
                         [("Start here", "Use again", "character"),
                          ("Use again", "Start here", "own")])  # fmt: skip
def test_a_draft_is_of_the_kind_that_it_was_made_with(
    open_robot, given, memory_folder, entered_for, looked_at, kind
):
    Memory("train", memory_folder).keep("last", {**given, "output_name": "zyx"})
    robot = open_robot(train.PLAN)
    robot.click(entered_for)
    show_page(robot.wizard, "summary")
    robot.page.rows["output_name"].variable.set("rex")
    robot.press("<Escape>")
    robot = open_robot(train.PLAN)
    robot.click(looked_at)
    robot.press("<Escape>")
    robot = open_robot(train.PLAN)
    robot.click("Use them again")
    show_page(robot.wizard, "kind")
    assert robot.wizard.answers["output_name"] == "rex" and robot.page._kind.get() == kind


def test_a_kind_that_is_chosen_last_is_kept_with_the_draft(open_robot, given, memory_folder):
    Memory("train", memory_folder).keep("last", {**given, "output_name": "zyx"})
    robot = open_robot(train.PLAN)
    robot.click("Use again")
    show_page(robot.wizard, "kind")
    robot.page._kind.set("style")
    robot.pump(0.6)
    robot.page._kind.set("own")
    robot.press("<Escape>")
    assert open_robot(train.PLAN).wizard.draft.kind_before == "own"


def use_draft(robot):
    """Up to the pictures."""
    robot.click("Use them again")
    show_page(robot.wizard, "pictures")
    robot.until(lambda: robot.wizard.facts.dataset.get("complete"), "pictures known")


def test_a_trigger_word_that_was_cleared_stays_so_for_its_folder(open_robot, given, tmp_path):
    folders = [draw_pictures(tmp_path / name / f"1_{name}", [(64, 64)] * 2, ["a girl"] * 2).parent
               for name in ("zyxcat", "qwqdog")]  # fmt: skip
    robot = open_robot(train.PLAN, {**given, FOLDER: str(folders[0])})
    to_pictures(robot)
    assert robot.wizard.answers["caption_prefix"] == "zyxcat, "
    robot.page.trigger.variable.set("")
    robot.press("<Escape>")
    use_draft(robot := open_robot(train.PLAN))
    assert robot.wizard.answers["caption_prefix"] is None and robot.page.trigger.word == ""
    robot.page.trigger.variable.set("sks")
    robot.page.trigger.variable.set("")
    robot.page.rows[FOLDER].variable.set(str(folders[1]))
    robot.until(lambda: robot.page.trigger.word == "qwqdog", "another folder has its own")
    assert robot.wizard.answers["caption_prefix"] == "qwqdog, "


def test_a_typed_word_that_the_captions_say_is_found_again(open_robot, given):
    robot = open_robot(train.PLAN, given)
    to_pictures(robot)
    assert robot.page.trigger.word == "zyx"
    for word in ("zy", "zyx"):
        robot.page.trigger.variable.set(word)
    robot.press("<Escape>")
    use_draft(robot := open_robot(train.PLAN))
    assert robot.page.trigger.word == "zyx" and not robot.wizard.answers["caption_prefix"]
