"""The wizard that merges LoRAs, used by the robot up to the finished files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tool_hands import LORA, TINY_LORA, finish, given, known, write_dora

from easy_scripts import merge
from scripts.core.safetensors_header import read_header


def test_two_loras_are_merged_at_their_strengths(open_robot, loras):
    robot = open_robot(merge.PLAN, given("models", loras))
    known(robot)
    page = robot.page
    assert page.strengths() == [0.5, 0.5], "even shares at the start"
    slider = page._sliders[str(loras[0])]
    slider.scale.focus_force()
    robot.press("<Right>")
    assert page.strengths() == [0.55, 0.5] and slider.entry.get() == "0.55"
    robot.press("<Alt-n>")
    robot.press("<Alt-n>")
    assert robot.page.name == "save"
    assert "hero + style v2.safetensors" in robot.seen()
    robot.press("<Alt-s>")
    finish(robot)
    made = loras[0].with_name("hero + style v2.safetensors")
    assert "0.55" in robot.seen() and read_header(made).tensors


def test_strengths_that_leave_nothing_are_refused(open_robot, loras):
    robot = open_robot(merge.PLAN, given("models", loras))
    known(robot)
    for slider in robot.page._sliders.values():
        slider._text.set("0")
    robot.click("Next")
    assert "All strengths are 0" in robot.seen() and robot.page.name == "merge_files"
    robot.page._sliders[str(loras[0])]._text.set("much")
    robot.click("Next")
    assert "is no number" in robot.seen()
    robot.page._sliders[str(loras[0])]._text.set("-0.3")
    robot.click("Next")
    assert robot.page.name == "merge_target"
    assert robot.wizard.answers["ratios"] == [-0.3, 0]


@pytest.mark.parametrize("typed", ["nan", "inf", "-inf", "1e999", "half", ""])
def test_a_strength_that_is_no_number_is_red_and_bars_the_way(open_robot, loras, typed):
    robot = open_robot(merge.PLAN, given("models", loras))
    known(robot)
    slider = robot.page._sliders[str(loras[0])]
    slider._text.set(typed)
    assert slider.entry.instate(["invalid"])
    robot.click("Next")
    assert "is no number" in robot.seen() and robot.page.name == "merge_files"
    slider.scale.focus_force()
    robot.press("<Right>")
    assert slider.valid and slider.entry.get() == "0.55", "moved, the slider shows its number"
    robot.click("Next")
    assert robot.wizard.answers["ratios"] == [0.55, 0.5]


WRONG_BLOCKS = {
    "1,2,3": "There are 3 numbers in one list.", "sine/1": "There are 2 lists with / between them.",
    "sine/one/1": '"one" is not a number', "waves": '"waves" is not a number',
}  # fmt: skip


@pytest.mark.parametrize("typed", WRONG_BLOCKS)
def test_strengths_by_block_that_cannot_be_read_are_red_on_their_page(open_robot, loras, typed):
    robot = open_robot(merge.PLAN, given("models", loras))
    known(robot)
    page = robot.page
    line = page._blocks._lines[str(loras[1])]
    line._text.set(typed)
    robot.press("<Alt-n>")
    assert robot.page is page and line.is_red, "it is red before the merge is started"
    assert not page._blocks._lines[str(loras[0])].is_red
    message = line.message
    assert message.winfo_ismapped(), "the section was opened"
    assert message.cget("text").startswith(f"style v2: {WRONG_BLOCKS[typed]}")
    assert "Write" in message.cget("text"), "what to do is said too"
    bottom = message.winfo_rooty() + message.winfo_height()
    place = page.frame._canvas
    assert place.winfo_rooty() <= line.box.winfo_rooty()
    assert bottom <= place.winfo_rooty() + place.winfo_height(), "it is in view"
    line._text.set("sine/1/cosine")
    robot.pump()
    assert not line.is_red and not message.winfo_ismapped()
    robot.press("<Alt-n>")
    assert robot.page.name == "merge_target"
    assert robot.wizard.answers["block_ratios"] == ["", "sine/1/cosine"]


def test_strengths_by_block_that_leave_nothing_are_told_where_they_are(open_robot, loras):
    robot = open_robot(
        merge.PLAN, {**given("models", loras[:1]), "block_ratios": [",".join("0" * 26)]}
    )
    for keys in ("<Alt-n>", "<Alt-n>", "<Alt-s>"):
        known(robot)
        robot.press(keys)
    robot.until(lambda: not robot.page.busy)
    robot.page._to_setting.invoke()
    robot.pump()
    assert robot.page.name == "merge_files"
    assert "With these strengths every layer counts 0" in robot.seen()
    assert robot.page._blocks_error.winfo_ismapped()


def test_strengths_stay_with_their_files(open_robot, loras):
    third = Path(shutil.copy(LORA, loras[0].with_name("third.safetensors")))
    robot = open_robot(merge.PLAN, given("models", [*loras, third]))
    page = robot.page
    page._sliders[str(loras[1])]._text.set("0.9")
    robot.pump()
    robot.click(page.cards[str(loras[0])].cross)
    assert page.files == [str(loras[1]), str(third)]
    assert page.strengths() == [0.9, pytest.approx(1 / 3, abs=1e-4)]
    page.add([str(loras[0])])
    assert page.strengths()[0] == 0.9 and len(page.strengths()) == 3


def test_a_dora_is_built_into_a_whole_model_only(open_robot, tiny_sd15, tmp_path):
    base = Path(shutil.copy(tiny_sd15, tmp_path / "base.safetensors"))
    dora, plain = write_dora(tmp_path / "hero.safetensors"), tmp_path / "plain.safetensors"
    shutil.copy(TINY_LORA, plain)
    robot = open_robot(merge.PLAN, given("models", [plain, dora]))
    known(robot)
    robot.press("<Alt-n>")
    robot.press("<Alt-n>")
    assert robot.page.name == "merge_target"
    assert "hero.safetensors is a DoRA" in robot.seen()
    robot.press("<Alt-c>")
    robot.page.rows["sd_model"].variable.set(str(base))
    known(robot)
    robot.press("<Alt-n>")
    robot.press("<Alt-s>")
    finish(robot)
    assert read_header(tmp_path / "base + plain + hero.safetensors").tensors
    for keys in ("<Alt-b>", "<Alt-b>", "<Alt-l>", "<Alt-n>"):
        robot.press(keys)
    assert robot.page.name == "merge_target" and "hero.safetensors is a DoRA" in robot.seen()
    robot.press("<Alt-b>")
    robot.page._sliders[str(dora)]._text.set("0")
    robot.press("<Alt-n>")
    assert "is a DoRA" not in robot.seen()
    robot.press("<Alt-n>")
    assert robot.page.name == "save", "at strength 0 it does not count"


def test_a_dora_that_is_looked_at_slowly_is_told_on_the_next_page(open_robot, tmp_path):
    dora, plain = write_dora(tmp_path / "hero.safetensors"), tmp_path / "plain.safetensors"
    shutil.copy(TINY_LORA, plain)
    robot = open_robot(merge.PLAN, given("models", [plain, dora]))
    robot.press("<Alt-n>")
    assert robot.page.name == "merge_target" and not robot.wizard.facts.doras
    known(robot)
    robot.press("<Alt-n>")
    assert robot.page.name == "merge_target" and "hero.safetensors is a DoRA" in robot.seen()


def test_a_dora_alone_at_strength_1_is_copied(open_robot, tmp_path):
    dora = write_dora(tmp_path / "hero.safetensors")
    robot = open_robot(merge.PLAN, given("models", [dora]))
    known(robot)
    for keys in ("<Alt-n>", "<Alt-n>", "<Alt-s>"):
        robot.press(keys)
    finish(robot)
    made, given_one = read_header(tmp_path / "hero-merged.safetensors"), read_header(dora)
    assert made.tensors.keys() == given_one.tensors.keys()


def test_loras_are_merged_into_a_checkpoint(open_robot, tiny_sd15, tmp_path):
    base = Path(shutil.copy(tiny_sd15, tmp_path / "base.safetensors"))
    lora = Path(shutil.copy(TINY_LORA, tmp_path / "hero.safetensors"))
    robot = open_robot(merge.PLAN, given("models", [lora]))
    known(robot)
    robot.press("<Alt-n>")
    robot.press("<Alt-c>")
    robot.press("<Alt-n>")
    assert "Choose the model that the LoRAs are merged into." in robot.seen()
    robot.page.rows["sd_model"].variable.set(str(base))
    known(robot)
    robot.pump()
    assert "SD 1" in robot.seen() or "Stable Diffusion 1" in robot.seen()
    robot.press("<Alt-n>")
    assert robot.page.name == "save" and "base + hero.safetensors" in robot.seen()
    robot.press("<Alt-s>")
    finish(robot)
    made = read_header(tmp_path / "base + hero.safetensors")
    assert made.tensors.keys() == read_header(base).tensors.keys()
    robot.press("<Alt-b>")
    robot.press("<Alt-b>")
    robot.press("<Alt-l>")
    assert robot.wizard.answers["sd_model"] is None
    robot.press("<Alt-n>")
    assert "hero-merged.safetensors" in robot.seen(), "the proposal follows"


def test_a_checkpoint_of_a_draft_taken_up_later_is_shown(open_robot, loras, tiny_sd15):
    robot = open_robot(merge.PLAN, given("models", loras))
    known(robot)
    robot.press("<Alt-n>")
    assert not robot.page.rows["sd_model"].frame.winfo_ismapped()
    robot.press("<Alt-b>")
    robot.wizard.answers["sd_model"] = str(tiny_sd15)  # as going on with a draft does
    robot.press("<Alt-n>")
    robot.pump()
    assert robot.page.name == "merge_target" and robot.page.rows["sd_model"].frame.winfo_ismapped()
    assert robot.wizard.answers["sd_model"] == str(tiny_sd15)


def test_a_lora_is_refused_as_the_model_to_merge_into(open_robot, loras):
    robot = open_robot(merge.PLAN, given("models", loras[:1]))
    known(robot)
    robot.press("<Alt-n>")
    robot.press("<Alt-c>")
    robot.page.rows["sd_model"].variable.set(str(loras[1]))
    known(robot)
    robot.press("<Alt-n>")
    assert robot.page.name == "merge_target"
    text = robot.page.rows["sd_model"]._message.cget("text")
    assert "LoRA" in text and "style v2.safetensors" in text


def test_a_merge_may_be_saved_in_a_folder_that_is_there(open_robot, loras):
    place = loras[0].parent / "dest"
    place.mkdir()
    robot = open_robot(merge.PLAN, given("models", loras))
    for _ in range(2):
        known(robot)
        robot.press("<Alt-n>")
    robot.page.row.variable.set(str(place))
    assert robot.page.results() == [place / "hero + style v2.safetensors"]
    robot.press("<Alt-s>")
    finish(robot)
    assert [path.name for path in place.iterdir()] == ["hero + style v2.safetensors"]


def test_over_no_blocks_stands_no_heading(open_robot, loras):
    """A LoRA alone at strength 1 is copied, and nothing is told of its blocks."""
    robot = open_robot(merge.PLAN, given("models", loras[:1]))
    for keys in ("<Alt-n>", "<Alt-n>", "<Alt-s>"):
        known(robot)
        robot.press(keys)
    finish(robot)
    assert "keeps 100" in robot.seen() and "Kept in each block" not in robot.seen()
