"""The wizard that makes LoRAs smaller, used by the robot up to the finished files."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from tkinter import ttk

import pytest
from tool_hands import LORA, dims, finish, given, known, resized

from easy_scripts import resize
from easy_scripts.lora_pages import save_page


def test_a_dropped_lora_is_resized_by_return_alone(open_robot, loras):
    robot = open_robot(resize.PLAN, given("model", loras[:1]))
    known(robot)
    assert "hero.safetensors" in robot.seen()
    robot.press("<Return>")
    assert robot.page.name == "size"
    known(robot)
    robot.press("<Return>")
    assert robot.page.name == "save"
    robot.press("<Return>")
    finish(robot)
    (size,) = robot.wizard.answers["new_rank"]
    made = loras[0].with_name(f"hero-dim{size}.safetensors")
    assert made.name in robot.seen() and "Kept in each block" in robot.seen()
    assert max(dims(made)) == size
    assert loras[0].read_bytes() == LORA.read_bytes(), "the LoRA itself stays"


def test_several_sizes_of_several_files_with_the_mouse(open_robot, loras, tmp_path, monkeypatch):
    robot = open_robot(resize.PLAN)
    monkeypatch.setattr(robot.page, "choose_files", lambda: tuple(map(str, loras)))
    robot.click("Next")
    assert "No LoRA is chosen yet." in robot.seen() and robot.page.name == "resize_files"
    robot.click("Add files…")
    known(robot)
    robot.click("Next")
    known(robot)
    assert "Shown:" in robot.seen(), "with several files one is chosen for the picture"
    for size in (4, 8):
        box = robot.find(f"Size {size}", ttk.Checkbutton)
        if size not in robot.page.sizes:
            robot.click(box, ttk.Checkbutton)
    for size in [size for size in robot.page.sizes if size not in (4, 8)]:
        robot.click(f"Size {size}", ttk.Checkbutton)
    robot.click("Next")
    assert "Save in the folder" in robot.seen()
    folder = tmp_path / "new folder"
    robot.page.row.variable.set(f'"{folder}"')
    robot.click("Start")
    finish(robot)
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{file.stem}-dim{size}.safetensors" for file in loras for size in (4, 8)}


def test_loras_of_different_sizes_each_get_what_is_smaller(open_robot, tmp_path):
    small, big = (resized(4, tmp_path / "a small4.safetensors"),
                  resized(16, tmp_path / "big16.safetensors"))  # fmt: skip
    robot = open_robot(resize.PLAN, given("model", [small, big]))
    known(robot)
    robot.press("<Return>")
    known(robot)
    robot.pump()
    assert robot.page._chooser.get() == "big16.safetensors", "the largest is shown"
    (size,) = robot.page.sizes
    assert 4 < size < 16, "the proposal is for it"
    robot.press("<Return>")
    assert robot.page.name == "save"
    seen = robot.seen()
    assert f"big16-dim{size}.safetensors" in seen and f"small4-dim{size}" not in seen
    assert (f"a small4.safetensors stays as it is: it has size 4, and {size} would hold nothing "
            "more.") in seen  # fmt: skip
    robot.press("<Return>")
    finish(robot)
    assert dims(tmp_path / f"big16-dim{size}.safetensors") == {size}
    assert {path.name for path in tmp_path.glob("*.safetensors")} == {
        small.name, big.name, f"big16-dim{size}.safetensors"}  # fmt: skip
    assert "a small4.safetensors has the size 4" in robot.seen()


def test_a_size_may_be_left_out_for_one_lora_alone(open_robot, loras, tmp_path):
    small = resized(4, tmp_path / "small4.safetensors")
    sizes = {"new_rank": [2, 8], "save_to": str(tmp_path / "new")}
    robot = open_robot(resize.PLAN, {**given("model", [small, loras[0]]), **sizes})
    for keys in ("<Alt-n>", "<Alt-n>"):
        known(robot)
        robot.press(keys)
    assert "small4.safetensors is not made in size 8: it has size 4 itself." in robot.seen()
    promised = [path.name for path in robot.page.results()]
    robot.press("<Alt-s>")
    finish(robot)
    made = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert made == sorted(promised) == ["hero-dim2.safetensors", "hero-dim8.safetensors",
                                        "small4-dim2.safetensors"]  # fmt: skip


def test_a_size_above_that_of_all_loras_is_refused_on_its_page(open_robot, loras):
    robot = open_robot(resize.PLAN, given("model", loras))
    known(robot)
    robot.press("<Alt-n>")
    known(robot)
    page = robot.page
    page._size._text.set("40")
    robot.pump()
    assert page.sizes == [40] and "larger than it is" in robot.seen()
    robot.press("<Alt-n>")
    assert robot.page is page
    assert "Size 40 would hold nothing more than what is there, which has size 32" in robot.seen()
    page._size._text.set("4o")
    robot.press("<Alt-n>")
    assert robot.page is page and "A number that was typed cannot be read." in robot.seen()
    page._size._text.set("4")
    robot.wizard.answers["new_conv_rank"] = 33
    robot.press("<Alt-n>")
    assert robot.page is page
    assert "which has size 32" in page.rows["new_conv_rank"]._message.cget("text")
    robot.wizard.answers["new_conv_rank"] = 32
    robot.press("<Alt-n>")
    assert robot.page.name == "save"


OTHER_SETTINGS = [
    {}, {"dynamic_method": "sv_fro", "dynamic_param": "0.5", "save_precision": "fp16"},
    {"dynamic_method": "sv_ratio", "dynamic_param": [4, 2]}, {"new_conv_rank": "2"},
    {"save_precision": "float"},
]  # fmt: skip


@pytest.mark.parametrize("settings", OTHER_SETTINGS, ids=str)
def test_the_list_of_sizes_tells_what_the_files_become(open_robot, loras, settings):
    robot = open_robot(resize.PLAN, {**given("model", loras[:1]), "new_rank": [8]})
    known(robot)
    robot.press("<Alt-n>")
    known(robot)
    plain = told(robot, 8)
    robot.wizard.answers.update(settings)
    robot.pump(0.6)
    known(robot)
    kept, size = told(robot, 8)
    assert ([kept, size] != plain) == bool(settings)
    several = len(settings.get("dynamic_param", [])) == 2
    assert ("The list is that of the first dynamic value, 4." in robot.seen()) == several
    robot.press("<Alt-n>")
    robot.press("<Alt-s>")
    finish(robot)
    made = next(event.facts for event in robot.page.wizard.facts.events
                if event.kind == "facts")  # fmt: skip
    assert kept == f"keeps {100 * made['kept']:.0f} %"
    true_size = Path(made["path"]).stat().st_size
    assert int(size.removesuffix(" kB")) == pytest.approx(true_size / 1000, rel=0.02, abs=0.6)


def told(robot, size):
    """Kept share and file size in the list of sizes."""
    line = robot.find(f"Size {size}", ttk.Checkbutton).master
    return [label.cget("text") for label in line.winfo_children()[1:3]]


def test_settings_that_are_not_whole_yet_are_told_in_place_of_the_curve(open_robot, loras):
    robot = open_robot(resize.PLAN, {**given("model", loras[:1]), "new_rank": [8]})
    known(robot)
    robot.press("<Alt-n>")
    known(robot)
    assert told(robot, 8)[0] == "keeps 98 %"
    robot.wizard.answers["dynamic_method"] = "sv_fro"
    robot.pump(0.6)
    assert told(robot, 8) == ["", ""]
    picture = robot.page._picture
    texts = [picture.itemcget(item, "text") for item in picture.find_all()]
    assert texts == [robot.wizard.texts("size.not_whole")]


def test_slider_picture_and_list_are_one_choice(open_robot, loras):
    robot = open_robot(resize.PLAN, given("model", loras[:1]))
    known(robot)
    robot.press("<Alt-n>")
    known(robot)
    page = robot.page
    page._size.scale.focus_force()
    page.choose(8)
    robot.press("<Right>")
    assert page.sizes == [9] and page._size.value == 9
    assert page._kept.value == pytest.approx(100 * page.spectrum.kept_at(9))
    page._kept._text.set("100 %")
    robot.pump()
    assert page.spectrum.kept_at(page.sizes[0]) == pytest.approx(1.0)
    left = page._picture._box()[0]
    page._picture.event_generate("<Button-1>", x=round(left), y=40)
    robot.pump()
    assert page.sizes == [1]
    robot.click("Size 1", ttk.Checkbutton)
    assert page.sizes == []
    robot.click("Next")
    assert "No size is chosen." in robot.seen() and robot.page is page


def test_the_kept_share_can_be_typed(open_robot, loras):
    robot = open_robot(resize.PLAN, given("model", loras[:1]))
    known(robot)
    robot.press("<Alt-n>")
    known(robot)
    page = robot.page
    page._kept.entry.focus_force()
    page._kept.entry.selection_range(0, "end")
    robot.press("<BackSpace>")
    robot.type("95")
    assert page._kept.entry.get() == "95", "what is typed is left alone"
    assert page.sizes == [page.spectrum.rank_keeping(0.95)] and 1 < page.sizes[0] < 32
    page._kept.entry.selection_range(0, "end")
    robot.type("1")
    page._size.scale.focus_force()
    robot.pump()
    assert page.sizes == [1], "no size keeps so little"
    kept = 100 * page.spectrum.kept_at(1)
    assert kept > 10 and page._kept.entry.get() == f"{kept:.0f} %", "the nearest to what was typed"


def test_an_older_file_is_replaced_only_after_a_question(open_robot, loras):
    older = loras[0].with_name("hero-dim4.safetensors")
    older.write_bytes(b"precious")
    robot = open_robot(resize.PLAN, {**given("model", loras[:1]), "new_rank": [4]})
    for _ in range(2):
        known(robot)
        robot.press("<Alt-n>")
    assert "there already: you will be asked" in robot.seen()
    asked = robot.answer(0)
    robot.press("<Alt-s>")
    assert asked() and "hero-dim4.safetensors" in asked()[0]
    assert robot.page.name == "save" and older.read_bytes() == b"precious"
    robot.answer(1)
    robot.press("<Alt-s>")
    finish(robot)
    assert dims(older) == {4}
    assert "overwrite" not in robot.wizard.answers.entered(), "the next run asks again"


def test_a_folder_that_is_there_holds_the_one_result_under_its_proposed_name(open_robot, loras):
    place = loras[0].parent / "dest"
    place.mkdir()
    older = place / "hero-dim4.safetensors"
    older.write_bytes(b"precious")
    sizes = {"new_rank": [4], "save_to": str(place)}
    robot = open_robot(resize.PLAN, {**given("model", loras[:1]), **sizes})
    for _ in range(2):
        known(robot)
        robot.press("<Alt-n>")
    assert "hero-dim4.safetensors · there already: you will be asked" in robot.seen()
    asked = robot.answer(1)
    robot.press("<Alt-s>")
    finish(robot)
    assert len(asked()) == 1 and dims(older) == {4}
    assert robot.wizard.answers["save_to"] == str(place), "another LoRA has another name"


@pytest.mark.parametrize("typed", ["/", "Q:\\", "\\\\nas\\lo"])
def test_a_place_without_a_file_name_is_told_of(open_robot, loras, typed, monkeypatch):
    monkeypatch.setattr(save_page, "Path", PureWindowsPath if typed != "/" else Path)
    monkeypatch.setattr(save_page.os.path, "isdir", lambda path: False)
    robot = open_robot(resize.PLAN, {**given("model", loras[:1]), "new_rank": [4]})
    for _ in range(2):
        known(robot)
        robot.press("<Alt-n>")
    robot.page.row.variable.set(typed)
    robot.pump()
    robot.press("<Alt-s>")
    assert robot.page.name == "save" and "names no file" in robot.seen()


def test_the_proposed_size_is_that_of_the_lora_chosen_now_until_one_is_set(open_robot, tmp_path):
    big, small = (resized(16, tmp_path / "big.safetensors"),
                  resized(2, tmp_path / "small.safetensors"))  # fmt: skip
    robot = open_robot(resize.PLAN, given("model", [big]))

    def sizes_of(file):
        robot.wizard.go_to(0)
        robot.page.list_files([str(file)])
        known(robot)
        robot.press("<Return>")
        known(robot)
        robot.pump()
        return robot.page.sizes

    assert sizes_of(big) == [robot.page.spectrum.knee] and robot.page.sizes[0] > 2
    assert sizes_of(small) == [robot.page.spectrum.knee] and robot.page.sizes[0] <= 2
    robot.page.choose(1)
    assert sizes_of(big) == [1], "a size that was set stays"
