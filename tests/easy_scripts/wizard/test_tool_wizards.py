"""The wizards of the LoRA tools, used by the robot from the first page to the finished file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tkinter import ttk

import pytest

from easy_scripts import extract, merge, resize
from easy_scripts.lora_pages import result_page
from easy_scripts.window import filled
from scripts.core.safetensors_header import read_header

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "data"
TINY_LORA = DATA / "metadata" / "trained_lora.safetensors"  # for the tiny SD1.5 model
LORA = DATA / "resize" / "input.safetensors"  # dim 32, SD1.5


@pytest.fixture
def loras(tmp_path):
    """Two LoRAs in a folder whose name is a trap."""
    folder = tmp_path / "my LoRAs & ü"
    folder.mkdir()
    names = ("hero.safetensors", "style v2.safetensors")
    return [Path(shutil.copy(LORA, folder / name)) for name in names]


def given(name, files):
    """What the verb gives to the wizard for dropped files."""
    return {name: [str(path) for path in files]}


def known(robot):
    """Wait until the files chosen have been looked at."""
    pages = robot.wizard.pages
    askers = [getattr(page, name) for page in pages for name in ("reader", "asking")
              if hasattr(page, name)]  # fmt: skip
    robot.until(lambda: not any(asker.busy for asker in askers), "the files are looked at")


def finish(robot):
    """Wait for the result."""
    robot.until(lambda: robot.page.name == "result" or not robot.page.busy, "the work is done")
    assert robot.page.name == "result", robot.seen()


def dims(path):
    """The dims of the layers in a file."""
    shapes = read_header(path).tensors
    return {entry.shape[0] for key, entry in shapes.items() if key.endswith("lora_down.weight")}


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


def resized(dim, path):
    """The LoRA of the tests at another dim, made by the command."""
    subprocess.run(
        [sys.executable, "-m", "scripts.resize_lora", "--model", str(LORA), "--new_rank", str(dim),
         "--save_to", str(path)],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return path


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
    made = next(event.facts for event in robot.page.wizard.facts["events"]
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


def test_a_file_that_is_no_lora_bars_the_way_until_it_is_taken_off(open_robot, loras, tiny_sd15):
    robot = open_robot(resize.PLAN, given("model", [loras[0], tiny_sd15]))
    known(robot)
    robot.click("Next")
    assert "One of the files cannot be used." in robot.seen()
    assert robot.page.name == "resize_files"
    robot.click(robot.page.cards[str(tiny_sd15)].cross)
    robot.click("Next")
    assert robot.page.name == "size"


def test_a_folder_gives_its_loras_and_tells_what_was_left_out(open_robot, loras, tiny_sd15):
    shutil.copy(tiny_sd15, loras[0].parent / "model.safetensors")
    (loras[0].parent / "readme.txt").write_text("x")
    robot = open_robot(resize.PLAN)
    robot.page.dropped([str(loras[0].parent)])
    known(robot)
    assert robot.page.files == [str(path) for path in loras]
    assert "Left out: model.safetensors." in robot.seen()


def test_a_folder_dropped_on_the_bat_file_gives_its_loras(open_robot, loras, tiny_sd15):
    """What the verb gives to the window is what its own list takes."""
    folder = loras[0].parent
    shutil.copy(tiny_sd15, folder / "model.safetensors")
    old = Path(shutil.copy(LORA, folder / "old.pth"))
    Path(folder / ".hidden.safetensors").write_bytes(b"")
    for plan, name in ((resize.PLAN, "model"), (merge.PLAN, "models")):
        robot = open_robot(plan, filled(plan, [str(folder)]))
        known(robot)
        assert robot.wizard.answers[name] == sorted(map(str, [*loras, old]))
        assert list(robot.page.cards)[:2] == [str(loras[0]), str(old)]
        assert "Left out: model.safetensors." in robot.seen()
        robot.click(robot.page.cards[str(old)].cross)
        robot.click("Next")
        assert robot.wizard.current == 1, robot.seen()
        robot.end()


def test_an_empty_folder_is_told(open_robot, tmp_path):
    empty = tmp_path / "nothing here"
    empty.mkdir()
    robot = open_robot(resize.PLAN, filled(resize.PLAN, [str(empty)]))
    assert "There is no LoRA file in the folder nothing here." in robot.seen()
    assert robot.page.files == []


def test_a_file_given_twice_is_one(open_robot, loras, monkeypatch):
    monkeypatch.chdir(loras[0].parent)
    twice = [str(loras[0]), loras[0].name, f"{loras[0].parent}/./{loras[0].name}"]
    robot = open_robot(merge.PLAN, filled(merge.PLAN, twice))
    known(robot)
    assert robot.page.files == [str(loras[0])] == list(robot.page.cards)
    assert robot.page.strengths() == [1]
    robot.page.dropped(twice)
    assert robot.page.files == [str(loras[0])]
    robot.press("<Alt-n>")
    assert robot.page.name == "merge_target", robot.seen()


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
    message = line._message
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


def test_the_folder_of_the_result_is_shown(open_robot, loras, monkeypatch):
    shown = []
    monkeypatch.setattr(result_page, "show_in_folder", shown.append)
    robot = open_robot(resize.PLAN, {**given("model", loras[:1]), "new_rank": [2]})
    for keys in ("<Alt-n>", "<Alt-n>", "<Alt-s>"):
        known(robot)
        robot.press(keys)
    finish(robot)
    robot.press("<Alt-f>")
    assert shown == [loras[0].with_name("hero-dim2.safetensors")]
    robot.press("<Alt-a>")
    assert robot.page.name == "resize_files"


@pytest.fixture
def models(tiny_sd15, tmp_path):
    """An original model, and one in which some layers were tuned."""
    folder = tmp_path / "models"
    folder.mkdir()
    original = Path(shutil.copy(tiny_sd15, folder / "plain.safetensors"))
    tuned = folder / "tuned.safetensors"
    subprocess.run(
        [sys.executable, "-m", "scripts.merge_lora", "--models", str(TINY_LORA), "--sd_model",
         str(original), "--save_to", str(tuned)],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return original, tuned


def test_a_lora_is_extracted_from_two_models(open_robot, models):
    original, tuned = models
    compared = json.loads(subprocess.run(
        [sys.executable, "-m", "scripts.compare_models", str(original), str(tuned), "--json"],
        cwd=ROOT, check=True, capture_output=True, timeout=60).stdout)  # fmt: skip
    robot = open_robot(extract.PLAN, {"model_tuned": str(tuned)})
    robot.press("<Alt-n>")
    assert "This is needed. Choose a model file." in robot.seen()
    robot.page.rows["model_org"].variable.set(str(tuned))
    known(robot)
    robot.press("<Alt-n>")
    assert "This is the same file" in robot.seen() and robot.page.name == "models"
    robot.page.rows["model_org"].variable.set(str(original))
    known(robot)
    robot.pump()
    assert "Both are Stable Diffusion 1.x." in robot.seen()
    assert f"by about {100 * compared['difference']:.1f} %" in robot.seen()
    robot.press("<Alt-n>")
    robot.fill("dim", "2")
    robot.press("<Alt-n>")
    assert "tuned-lora.safetensors" in robot.seen()
    robot.press("<Alt-s>")
    finish(robot)
    assert dims(tuned.with_name("tuned-lora.safetensors")) == {2}
    assert "keeps" in robot.seen()


def test_models_of_two_kinds_are_told(open_robot, models, tiny_sdxl):
    robot = open_robot(extract.PLAN, {"model_org": str(models[0]), "model_tuned": str(tiny_sdxl)})
    known(robot)
    robot.pump()
    assert "These models are of different kinds" in robot.seen()
    robot.press("<Alt-n>")
    assert robot.page.name == "models"
    robot.page.rows["model_tuned"].variable.set(str(LORA))
    known(robot)
    robot.press("<Alt-n>")
    assert robot.page.name == "models" and "LoRA" in robot.seen()


def test_two_copies_of_a_model_are_told(open_robot, models):
    twin = Path(shutil.copy(models[0], models[0].with_name("twin.safetensors")))
    robot = open_robot(extract.PLAN, {"model_org": str(models[0]), "model_tuned": str(twin)})
    known(robot)
    robot.pump()
    assert "These two seem to be the same model" in robot.seen()


# --- ways out --------------------------------------------------------------------------------

TOOLS = {"resize": resize.PLAN, "merge": merge.PLAN, "checkpoint": merge.PLAN,
         "extract": extract.PLAN}  # fmt: skip


@pytest.fixture
def tool(request, loras, models):
    """(plan, what is given) of a tool by its name: all that it needs."""
    inputs = {
        "resize": {**given("model", loras[:1]), "new_rank": [4]},
        "merge": given("models", loras),
        "checkpoint": {**given("models", [TINY_LORA]), "sd_model": str(models[0])},
        "extract": {"model_org": str(models[0]), "model_tuned": str(models[1]), "dim": 2},
    }
    return TOOLS[request.param], inputs[request.param]


def everything(folder):
    """Every file in a folder and the ones below, with what is in it."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("tool", TOOLS, indirect=True)
@pytest.mark.parametrize("pages", [0, 1, 2])
def test_escape_on_any_page_ends_it_without_a_trace(open_robot, tool, pages, tmp_path):
    robot = open_robot(*tool)
    before = everything(tmp_path)
    for _ in range(pages):
        known(robot)
        robot.press("<Alt-n>")
    assert robot.wizard.current == pages
    children = [child for page in robot.wizard.pages if hasattr(page, "reader")
                for _, child in page.reader._running]  # fmt: skip
    robot.press("<Escape>")
    assert not robot.open
    for child in children:
        child._process.wait(timeout=10)
    kept = {path: content for path, content in everything(tmp_path).items()
            if "remembered" not in path.parts}  # fmt: skip
    assert kept == before


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS, indirect=True)
@pytest.mark.parametrize("moment", [0.0, 0.1, 0.2, 0.3, 0.45, 0.6])
def test_stopped_at_any_moment_it_leaves_all_or_nothing(open_robot, tool, moment, tmp_path):
    robot = open_robot(*tool)
    for keys in ("<Alt-n>", "<Alt-n>", "<Alt-s>"):
        known(robot)
        robot.press(keys)
    before = everything(tmp_path)
    (result,) = robot.wizard.pages[2].results()
    robot.pump(moment)
    if robot.page.busy:
        robot.answer(1)
        robot.press("<Escape>")
    robot.until(lambda: not robot.page.busy)
    made = {path for path in everything(tmp_path).keys() - before.keys()
            if "remembered" not in path.parts}  # fmt: skip
    assert made in (set(), {result})
    if made:
        assert robot.page.name == "result" and read_header(result).tensors
    else:
        assert "Stopped. Nothing was written." in robot.seen()
    assert all(path.read_bytes() == content for path, content in before.items())
