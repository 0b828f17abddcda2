"""The field of the trigger word, and which captions have a word."""

from __future__ import annotations

import pytest
import test_train_wizard as wizard_tests
from picture_folders import draw_pictures

from easy_scripts import train
from easy_scripts.train_pages.trigger_word import says, word_of_prefix
from easy_scripts.wizard.asking import show_page

this_pc = wizard_tests.this_pc


@pytest.mark.parametrize(
    ("caption", "word", "has"),
    [
        ("a cat on grass", "cat", True),
        ("1girl, Cat, grass", "cat", True),
        ("category theory, blackboard", "cat", False),
        ("a bobcat", "cat", False),
        ("cat_ears, 1girl", "cat", False),
        ("cat's bowl", "cat", True),
        ("red hair, ribbon", "red hair", True),
        ("tired hair", "red hair", False),
        ("zyxが走る写真", "zyx", True),
        ("走る猫の写真", "猫", True),
        ("走る犬の写真", "猫", False),
        ("sks (style), tree", "sks (style)", True),
    ],
)
def test_a_word_counts_as_a_whole_where_words_have_ends(caption, word, has):
    assert says(caption, word) is has


@pytest.mark.parametrize(
    ("prefix", "word"), [("sks, ", "sks"), ("a photo of ", "a photo of"), (None, ""), (" , ", "")]
)
def test_the_word_of_a_prefix(prefix, word):
    assert word_of_prefix(prefix) == word


@pytest.fixture
def on_page(open_robot, tmp_path):
    """A function: the page of pictures for these captions, with what is given."""

    def open_it(captions, **given):
        draw_pictures(tmp_path / "p" / "1_x", [(64, 64)] * len(captions), captions)
        robot = open_robot(train.PLAN, {"train_data_dir": str(tmp_path / "p"), **given})
        show_page(robot.wizard, "pictures")
        robot.until(lambda: robot.wizard.facts.dataset.get("complete"))
        return robot

    return open_it


def test_a_word_inside_other_words_is_put_in_front(on_page):
    robot = on_page(["category one", "a category"])
    robot.page.trigger.variable.set("cat")
    assert robot.wizard.answers["caption_prefix"] == "cat, "
    assert "“cat” is put in front of every caption" in robot.seen()
    robot.page.trigger.variable.set("category")
    assert robot.wizard.answers["caption_prefix"] is None
    assert "“category” is in every caption already" in robot.seen()


@pytest.mark.parametrize("prefix", ["a photo of ", "zyx, ", "zyx "])
def test_an_opened_prefix_stays_to_the_letter_until_it_is_edited(on_page, prefix):
    robot = on_page(["zyx, a photo of a cat"] * 2, caption_prefix=prefix)
    assert robot.wizard.answers["caption_prefix"] == prefix
    assert robot.page.trigger.variable.get() == prefix.strip(" ,")
    assert "is put in front of every caption" in robot.seen()
    show_page(robot.wizard, "base")
    show_page(robot.wizard, "pictures")
    assert robot.wizard.answers["caption_prefix"] == prefix
    robot.page.trigger.variable.set("sks")
    assert robot.wizard.answers["caption_prefix"] == "sks, "


def test_the_field_follows_a_prefix_that_is_set_elsewhere(on_page):
    robot = on_page(["a cat"] * 2)
    robot.page.trigger.variable.set("sks")
    robot.wizard.answers["caption_prefix"] = "by zyx, "
    assert robot.page.trigger.variable.get() == "by zyx"
    robot.wizard.answers["caption_prefix"] = None
    assert robot.page.trigger.variable.get() == ""


def test_several_words_can_be_typed_with_commas(on_page):
    robot = on_page(["a cat"] * 2)
    robot.page.trigger.entry.focus_force()
    robot.page.trigger.entry.selection_range(0, "end")
    robot.type("sks, red hair")
    assert robot.page.trigger.variable.get() == "sks, red hair"
    assert robot.wizard.answers["caption_prefix"] == "sks, red hair, "


def test_an_emptied_field_stays_empty(on_page):
    robot = on_page(["a cat"] * 2)
    robot.page.trigger.variable.set("sks")
    robot.page.trigger.variable.set("")
    assert robot.wizard.answers["caption_prefix"] is None
    robot.page._table._numbers[0].set("3")
    robot.until(lambda: "6 looks" in robot.seen())
    assert robot.page.trigger.variable.get() == ""
