"""What the wizards of the LoRA tools share, and the one of extraction, used by the robot."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tool_hands import LORA, ROOT, TINY_LORA, dims, finish, given, known, write_oft

from easy_scripts import extract, merge, resize
from easy_scripts.lora_pages import result_page
from easy_scripts.lora_pages.file_facts import FileFacts
from easy_scripts.window import filled
from easy_scripts.wizard import path_row
from scripts.core.safetensors_header import read_header


def test_a_file_that_is_no_lora_bars_the_way_until_it_is_taken_off(open_robot, loras, tiny_sd15):
    robot = open_robot(resize.PLAN, given("model", [loras[0], tiny_sd15]))
    known(robot)
    robot.click("Next")
    assert "One of the files cannot be used." in robot.seen()
    assert robot.page.name == "resize_files"
    robot.click(robot.page.cards[str(tiny_sd15)].cross)
    robot.click("Next")
    assert robot.page.name == "size"


@pytest.mark.parametrize(("plan", "name"), [(resize.PLAN, "model"), (merge.PLAN, "models")])
def test_a_lora_that_can_be_told_of_but_not_used_bars_the_way_too(open_robot, loras, plan, name):
    oft = write_oft(loras[0].with_name("oft.safetensors"))
    robot = open_robot(plan, given(name, [loras[0], oft]))
    known(robot)
    card = robot.page.cards[str(oft)]
    assert "(oft) that cannot be resized" in card._about.cget("text")
    assert str(card._about.cget("style")) == "Error.TLabel"
    robot.click("Next")
    assert "One of the files cannot be used." in robot.seen() and robot.wizard.current == 0
    robot.click(card.cross)
    robot.page.add([str(loras[0].parent)])
    known(robot)
    assert robot.page.files == [str(path) for path in loras], "of a folder it is left out"
    assert "Left out: oft.safetensors. It has layers of a kind (oft)" in robot.seen()
    robot.click("Next")
    assert robot.wizard.current == 1


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


def test_a_folder_without_access_is_told_of(open_robot, loras, tmp_path, monkeypatch):
    closed, listed = tmp_path / "closed", Path.iterdir
    closed.mkdir()

    def denied(path):
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", denied)
    told = f"The folder {closed} cannot be read (Permission denied). Check its rights."
    robot = open_robot(resize.PLAN, filled(resize.PLAN, [str(closed)]))
    assert told in robot.seen() and robot.page.files == []
    robot.page.add([str(closed), str(loras[0])])
    robot.pump()
    assert told in robot.seen() and robot.page.files == [str(loras[0])]
    robot.page.add([str(loras[1])])
    robot.pump()
    assert told not in robot.seen()


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


def let_be(page, layout):
    """Let the models of the page be told to be of this kind: of a tiny one it cannot be seen."""
    facts = {"family": "sd1", "title": "Stable Diffusion 1.x", "layout": layout}
    page.info.reader.ask = lambda path, *_: FileFacts(path, (), False, facts)


def test_what_no_lora_can_be_merged_into_is_refused_on_its_page(open_robot, loras, monkeypatch):
    base = str(shutil.copy(loras[0], loras[0].with_name("base")))
    robot = open_robot(merge.PLAN, {**given("models", loras[:1]), "sd_model": base})
    known(robot)
    robot.press("<Alt-n>")
    row = robot.page.rows["sd_model"]
    for layout, told in (("ckpt", "old kind of file"), ("diffusers", "a folder with a model in")):
        let_be(robot.page, layout)
        robot.press("<Alt-n>")
        assert robot.page.name == "merge_target" and told in row._message.cget("text")
    types = []
    monkeypatch.setattr(path_row.filedialog, "askopenfilename",
                        lambda filetypes, **_: types.extend(filetypes))  # fmt: skip
    row.browse()
    assert types == [("Models", "*.safetensors"), ("All files", "*")]
    let_be(robot.page, "single_file")
    robot.press("<Alt-n>")
    assert robot.page.name == "save"


def test_a_difference_is_taken_of_old_files_too_but_of_no_folder(open_robot, models):
    robot = open_robot(extract.PLAN, {"model_org": str(models[0]), "model_tuned": str(models[1])})
    let_be(robot.page, "diffusers")
    robot.press("<Alt-n>")
    assert robot.page.name == "models"
    assert "a folder with a model in" in robot.page.rows["model_org"]._message.cget("text")
    let_be(robot.page, "ckpt")
    robot.press("<Alt-n>")
    assert robot.page.name == "extract_size"


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
