"""The page of pictures with real folders: captions, mends, folders of the wrong level, repeats."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_train_wizard as wizard_tests
from picture_folders import draw_pictures

from easy_scripts import train
from easy_scripts.wizard.asking import show_page

this_pc = wizard_tests.this_pc


@pytest.fixture
def root(tmp_path):
    return tmp_path / "pictures"


def fill(folder, count=2, captions=None):
    draw_pictures(folder, [(64, 64)] * count, captions or ["zyx, a cat"] * count)


def everything(folder: Path) -> dict[str, bytes | None]:
    """All that is below a folder, by its path: what files hold, None for folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in sorted(folder.rglob("*"))}  # fmt: skip


@pytest.fixture
def on_page(open_robot, root):
    """A function: the page, once the folder has been looked at."""

    def open_it(folder=None):
        robot = open_robot(train.PLAN, {"train_data_dir": str(folder or root)})
        show_page(robot.wizard, "pictures")
        robot.until(lambda: robot.wizard.facts.dataset.get("complete") or robot.page._problem)
        robot.pump()
        return robot

    return open_it


def test_folders_left_out_are_taken_in_with_one_click_and_nothing_on_disk_changes(on_page, root):
    fill(root / "10_zyx", 3)
    fill(root / "more of them")
    before = everything(root)
    robot = on_page()
    assert "3 pictures in 1 folder" in robot.seen()
    assert '2 pictures in "more of them" left out' in robot.seen()
    robot.click("Mend this")
    robot.until(lambda: "5 pictures in 2 folders" in robot.seen(), "they are taken in")
    assert robot.wizard.answers["folder_repeats"] == {"more of them": 1}
    robot.until(lambda: "Mend this" not in robot.seen(), "there is nothing left to mend")
    assert everything(root) == before


def test_of_several_folders_one_level_down_one_is_chosen_with_a_click(on_page, root):
    fill(root / "cats" / "10_zyx", 3)
    fill(root / "dogs" / "5_qwq", 2)
    before = everything(root)
    robot = on_page()
    assert "Which of these did you mean?" in robot.seen()
    assert "lies one level too high" in robot.seen()
    robot.wizard.next()
    assert robot.page.name == "pictures"
    buttons = [w for w in robot.widgets(robot.page._choices) if w.winfo_class() == "TButton"]
    assert [Path(button.cget("text")).name for button in buttons] == ["cats", "dogs"]
    robot.click(buttons[1])
    robot.until(lambda: "2 pictures in 1 folder" in robot.seen(), "the chosen one is shown")
    seen = robot.seen()
    assert "Which of these" not in seen and "too high" not in seen and "5_qwq" in seen
    assert robot.wizard.answers["train_data_dir"] == str(root / "dogs")
    assert everything(root) == before


def test_a_single_folder_one_level_down_is_used_without_a_question(on_page, root):
    fill(root / "cats" / "10_zyx", 3)
    before = everything(root)
    robot = on_page()
    seen = robot.seen()
    assert "3 pictures in 1 folder" in seen and "lies a level too high" in seen
    assert "Which of these" not in seen
    robot.click("Next")
    assert robot.page.name == "kind" and everything(root) == before


def test_a_folder_one_level_too_deep_is_used_alone(on_page, root):
    fill(root / "10_zyx", 3)
    fill(root / "5_qwq", 2)
    robot = on_page(root / "10_zyx")
    seen = robot.seen()
    assert "3 pictures in 1 folder" in seen and "one level too deep" in seen


@pytest.mark.parametrize(
    ("captions", "told", "untold"),
    [
        (["a cat", "a dog"], ["all with captions"], ["without", "empty"]),
        ([None, None], ["no captions: the folder's name is used"], ["empty"]),
        (["a cat", None, ""], ["1 without a caption", "1 empty caption"], ["all with"]),
        (["a cat", "", ""], ["2 empty captions"], ["without a caption", "all with"]),
    ],
)
def test_missing_captions_and_empty_ones_are_told_apart(on_page, root, captions, told, untold):
    fill(root / "1_x", len(captions), captions)
    sentence = on_page().page._state.cget("text")
    assert all(text in sentence for text in told), sentence
    assert not any(text in sentence for text in untold), sentence


def test_no_line_ends_in_a_size(on_page, root):
    fill(root / "1_x")
    assert "64\u00a0×\u00a064 pixels" in on_page().page._state.cget("text")


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "many", "", "1000", "²"])
def test_wrong_repeats_are_told_and_bar_only_the_way_forward(on_page, root, number):
    fill(root / "10_zyx", 3)
    robot = on_page()
    table = robot.page._table
    table._numbers[0].set(number)
    robot.click("Next")
    assert robot.page.name == "pictures"
    assert f"“{number}” is not possible as repeats. Write a whole number from 1 to 999." in (
        robot.seen())  # fmt: skip
    assert str(table._wrong.cget("style")) == "Error.TLabel"
    assert robot.root.focus_get() is table._fields[0]
    robot.click("Back")
    assert robot.page.name == "base"
    robot.wizard.go_on()
    robot.pump()
    assert table._numbers[0].get() == number, "it is not put right in silence"
    table._numbers[0].set("4")
    robot.until(lambda: "12 looks" in robot.seen())
    assert "is not possible" not in robot.seen()
    robot.click("Next")
    assert robot.page.name == "kind"
