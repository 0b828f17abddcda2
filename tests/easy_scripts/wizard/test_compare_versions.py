"""The finished page: versions at several strengths are drawn, looked at, and one is chosen."""

from __future__ import annotations

import json
import os
import struct
from itertools import pairwise
from pathlib import Path
from tkinter import ttk

import pytest
from test_train_wizard import BASE, TINY

from easy_scripts import train
from easy_scripts.queue import store as queue_store
from easy_scripts.train_pages import compare_versions
from easy_scripts.train_pages.preview_pace import PreviewPace
from easy_scripts.train_pages.saved_versions import saved_versions, spread
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.child import Ended
from scripts.core.events import Done, Preview, Problem, Saved, Stage, Step
from scripts.settings.draw_versions import read_draw_settings

STRENGTHS = (0.6, 0.8, 1.0)


def write_version(path: Path, step: int | None, age: int = 0) -> Path:
    """A file with nothing but metadata, `age` seconds old."""
    header = {"__metadata__": {} if step is None else {"ss_steps": str(step)}}
    text = json.dumps(header).encode()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


# --- which versions there are --------------------------------------------------------------


def test_versions_come_in_the_order_of_their_steps_and_each_step_once(tmp_path):
    names = {"a-000010.safetensors": 100, "a-000002.safetensors": 20, "a.safetensors": 120,
             "a-step00000020.safetensors": 20, "a-step00000050.safetensors": 50,
             "a-step00000120.safetensors": 120, "a-2.safetensors": 7, "ab.safetensors": 1,
             "a-000010.pt": 100, "a-000010-state.safetensors": 3}  # fmt: skip
    for name, step in names.items():
        write_version(tmp_path / name, step)
    found = saved_versions(tmp_path / "a.safetensors")
    assert [version.step for version in found] == [20, 50, 100, 120]
    assert found[-1].path.name == "a.safetensors" and found[2].path.name == "a-000010.safetensors"
    assert saved_versions(tmp_path / "gone.safetensors") == []


def test_versions_that_do_not_tell_their_step_come_by_age(tmp_path):
    for name, age in (("a.pt", 0), ("a-000001.pt", 20), ("a-000002.pt", 10)):
        write_version(tmp_path / name, None, age)
    found = saved_versions(tmp_path / "a.pt")
    assert [version.path.name for version in found] == ["a-000001.pt", "a-000002.pt", "a.pt"]


@pytest.mark.parametrize(("count", "most"), [(1, 6), (6, 6), (7, 6), (10, 6), (50, 6), (9, 5)])
def test_at_most_so_many_evenly_spread_with_the_first_and_the_last(count, most):
    chosen = spread(range(count), most)
    assert len(chosen) == min(count, most) == len(set(chosen))
    assert chosen[0] == 0 and chosen[-1] == count - 1
    gaps = [after - before for before, after in pairwise(chosen)]
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_the_pace_is_that_of_the_last_round_of_previews():
    pace = PreviewPace()
    step = Step(1, 9, 1, 0.1, {})
    for now, event in enumerate([Stage("Encoding", 1, 2), Preview("before.png"), step]):
        pace.take(event, now)
    assert pace.seconds is None
    for now, event in ((10, Stage("x", 1, 4)), (16, Stage("x", 4, 4)), (17, Preview("a.png")),
                       (18, Preview("b.png")), (30, step), (31, Saved("a"))):  # fmt: skip
        pace.take(event, now)
    assert pace.seconds == 4


# --- the page ------------------------------------------------------------------------------


class FakeChild:
    """Plays what a test puts into `coming`."""

    def __init__(self, module, arguments):
        assert module == "scripts.draw_versions" and arguments[2] == "--events"
        self.config = json.loads(Path(arguments[1]).read_text(encoding="utf-8"))
        self.coming, self.asked, self.killed = [], [], False
        FakeChild.latest = self

    def messages(self):
        while self.coming:
            yield self.coming.pop(0)

    def ask(self, request):
        self.asked.append(request)

    def kill(self):
        self.killed = True


@pytest.fixture
def finished(open_robot, tmp_path, monkeypatch):
    """A function: the finished page after a training with these saves, its child played."""
    monkeypatch.setattr(compare_versions, "Child", FakeChild)
    monkeypatch.setattr(queue_store, "QUEUE_FOLDER", tmp_path / "queue")

    def open_it(saves=("zyx-000001", "zyx-000002", "zyx"), **facts):
        paths = [write_version(tmp_path / "out" / f"{name}.safetensors", 100 * number)
                 for number, name in enumerate(saves, 1)]  # fmt: skip
        robot = open_robot(train.PLAN, {
            **TINY, "resolution": "64,96", "clip_skip": "2", "seed": "7",
            "pretrained_model_name_or_path": str(BASE), "output_name": "zyx",
            "output_dir": str(tmp_path / "out"),
            "sample_prompts": "zyx, red --s 4\nzyx, blue",
        })  # fmt: skip
        known = {"events": [*(Saved(str(path)) for path in paths), Done(str(paths[-1]), 60.0)],
                 "trigger": "zyx", **facts}  # fmt: skip
        for name, value in known.items():
            setattr(robot.wizard.facts, name, value)
        show_page(robot.wizard, "finished")
        robot.pump()
        return robot, paths

    return open_it


def draw_pictures(child: FakeChild, folder: Path, count: int | None = None) -> list:
    """The previews of the pictures, in the order in which they are drawn."""
    from PIL import Image

    events = []
    for row, lora in enumerate(child.config["loras"]):
        for column, strength in enumerate(child.config["strengths"]):
            path = folder / f"{row}{column}.png"
            Image.new("RGB", (64, 96), (60 * row, 80 * column, 90)).save(path)
            events.append(Preview(str(path), "zyx, red", lora=lora, strength=strength))
    return events[:count]


def picture_at(robot, row: int, column: int) -> ttk.Button:
    return robot.page.compare._grid._cells[row, column].button


def test_the_offer_tells_how_many_and_how_long_and_draws_with_the_settings_of_the_bake(finished):
    robot, paths = finished(preview_seconds=20)
    seen = robot.seen()
    assert "Draws 9 pictures" in seen and "3 versions" in seen and "about 3 min" in seen
    robot.press("<Alt-v>")
    settings, notes = read_draw_settings(FakeChild.latest.config)
    assert notes == []
    assert settings.model == BASE and list(settings.loras) == paths
    assert settings.strengths == STRENGTHS and settings.seed == 7 and settings.clip_skip == 2
    assert (settings.width, settings.height) == (64, 96)
    assert settings.prompts == ("zyx, red --s 4", "zyx, blue") and settings.most_prompts == 1
    assert settings.save_to == paths[-1].with_name("zyx-versions")
    assert "being loaded" in robot.seen() and "Draws 9 pictures" not in robot.seen()


def test_without_a_preview_prompt_the_trigger_word_is_drawn_and_one_version_is_enough(finished):
    robot, _ = finished(["zyx"])
    assert "Draws 3 pictures" in robot.seen() and "takes about" not in robot.seen()
    robot.wizard.answers["sample_prompts"] = ""
    robot.click("Compare versions")
    assert FakeChild.latest.config["prompts"] == ["zyx"]


def test_of_many_versions_six_are_drawn_with_the_last(finished):
    robot, paths = finished([*(f"zyx-{number:06d}" for number in range(1, 12)), "zyx"])
    robot.click("Compare versions")
    loras = FakeChild.latest.config["loras"]
    assert len(loras) == 6 and loras[-1] == str(paths[-1]) and loras[0] == str(paths[0])


def test_a_click_opens_a_picture_large_and_names_its_file(finished, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(compare_versions, "show_in_folder", shown.append)
    robot, paths = finished()
    robot.click("Compare versions")
    child = FakeChild.latest
    child.coming = [Stage("Drawing the pictures", 1, 36), *draw_pictures(child, tmp_path, 4),
                    Stage("Drawing the pictures", 17, 36)]  # fmt: skip
    robot.until(lambda: "Picture 5 of 9" in robot.seen())
    robot.click(picture_at(robot, 0, 1))
    large = robot.page.compare._grid._large
    assert large.open and large._picture.height() > 400
    told = "step 100, strength 0.8: zyx-000001.safetensors"
    assert told in robot.seen() and "<lora:zyx-000001:0.8>, zyx" in robot.seen()
    robot.press("<Down>")
    assert "step 200, strength 0.8" not in robot.seen(), "that picture is still to come"
    child.coming = [*draw_pictures(child, tmp_path)[4:], Ended(0)]
    robot.until(lambda: robot.page.compare.child is None)
    robot.press("<Down>")
    assert "step 200, strength 0.8: zyx-000002.safetensors" in robot.seen()
    robot.press("<Escape>")
    assert robot.open and not large.open
    assert robot.root.focus_get() is picture_at(robot, 1, 1)
    robot.press("<Right>")
    robot.press("<space>")
    assert "step 200, strength 1: zyx-000002.safetensors" in robot.seen()
    robot.press("<Return>")
    assert not large.open
    colours = robot.wizard.theme.colours
    rings = [str(cell.cget("background")) for cell in robot.page.compare._grid._cells.values()]
    assert rings.count(colours.accent) == 1 and rings[5] == colours.accent
    robot.press("<Alt-i>")
    assert shown == [paths[1]]


def in_view(robot, widget) -> bool:
    """Whether all of a widget is within the part of the page that is seen."""
    canvas = robot.page.frame._canvas
    top = widget.winfo_rooty() - canvas.winfo_rooty()
    return top >= 0 and top + widget.winfo_height() <= canvas.winfo_height()


def test_what_is_told_at_the_end_and_of_the_chosen_one_is_in_view(finished, tmp_path):
    robot, _ = finished([*(f"zyx-{number:06d}" for number in range(1, 6)), "zyx"])
    robot.click("Compare versions")
    child = FakeChild.latest
    child.coming = [*draw_pictures(child, tmp_path), Ended(0)]
    robot.until(lambda: robot.page.compare.child is None)
    robot.pump(0.2)
    assert robot.root.focus_get() is picture_at(robot, 0, 0)
    assert in_view(robot, robot.page.compare._said) and in_view(robot, picture_at(robot, 0, 0))
    robot.click(picture_at(robot, 5, 2))
    robot.press("<Escape>")
    robot.pump(0.2)
    assert in_view(robot, robot.page.compare.show_chosen)
    assert in_view(robot, picture_at(robot, 5, 2))


def test_stop_before_the_first_picture_says_that_nothing_was_written(finished):
    robot, _ = finished()
    robot.press("<Alt-v>")
    robot.press("<Alt-t>")
    FakeChild.latest.coming = [Ended(2)]
    robot.until(lambda: robot.page.compare.child is None)
    assert "Stopped. Nothing was written." in robot.seen()


def test_stop_keeps_the_pictures_and_offers_to_draw_again(finished, tmp_path):
    robot, _ = finished()
    robot.press("<Alt-v>")
    child = FakeChild.latest
    child.coming = draw_pictures(child, tmp_path, 2)
    robot.pump(0.2)
    robot.press("<Alt-t>")
    assert child.asked == ["stop"]
    child.coming = [Ended(2)]
    robot.until(lambda: robot.page.compare.child is None)
    assert "Stopped. The pictures drawn so far" in robot.seen() and "zyx-versions" in robot.seen()
    assert picture_at(robot, 0, 0).winfo_ismapped()
    robot.press("<Alt-v>")
    assert FakeChild.latest is not child


def test_an_error_of_ours_on_the_way_does_not_hide_the_end(finished, monkeypatch):
    robot, _ = finished()
    robot.click("Compare versions")
    monkeypatch.setattr(robot.page.compare, "_show_progress", lambda stage: 1 / 0)
    FakeChild.latest.coming = [Stage("Drawing", 1, 9)]
    with pytest.raises(ZeroDivisionError):
        robot.pump(0.5)
    robot.errors.clear()
    FakeChild.latest.coming = [Ended(2)]
    robot.until(lambda: robot.page.compare.child is None)


@pytest.mark.parametrize("code", [1, 70])
def test_what_went_wrong_is_told(finished, code):
    robot, _ = finished()
    robot.click("Compare versions")
    problems = [Problem("The graphics card ran out of memory.")] if code == 1 else []
    FakeChild.latest.coming = [*problems, Ended(code)]
    robot.until(lambda: robot.page.compare.child is None)
    sentence = "ran out of memory" if code == 1 else "Something went wrong that should not"
    assert sentence in robot.seen()
    assert robot.root.focus_get() is robot.page.compare.card.button


@pytest.mark.parametrize("way", ["<Escape>", "<Alt-c>", "<Alt-b>", "<Alt-a>"])
def test_leaving_asks_once_and_then_ends_the_child(finished, way, tmp_path):
    robot, _ = finished()
    robot.press("<Alt-v>")
    child = FakeChild.latest
    child.coming = draw_pictures(child, tmp_path, 1)
    robot.pump(0.2)
    asked = robot.answer(0)
    robot.press(way)
    assert len(asked()) == 1 and "Stop drawing?" in asked()[0]
    assert not child.killed and robot.page.name == "finished"
    robot.answer(1)
    robot.press(way)
    assert child.killed
    if robot.open:
        assert robot.page.name in ("summary", "start")
        robot.pump(0.3)


@pytest.mark.parametrize("way", ["<Escape>", "<Alt-b>", "<Alt-a>"])
def test_nothing_is_asked_when_nothing_is_drawn(finished, way):
    robot, _ = finished()
    robot.press("<Alt-v>")
    FakeChild.latest.coming = [Ended(0)]
    robot.until(lambda: robot.page.compare.child is None)
    robot.press(way)
    assert not robot.open or robot.page.name in ("summary", "start")


@pytest.mark.parametrize("facts", [{"practised": True}, {"ran": ["an id"]}])
def test_the_practice_bake_and_the_queue_offer_no_comparison(finished, facts):
    robot, _ = finished(**facts)
    assert robot.page.compare is None and "Compare versions" not in robot.seen()
    robot.press("<Alt-v>")


# --- with the real command -----------------------------------------------------------------


@pytest.mark.slow
def test_a_small_bake_and_its_versions_drawn_by_the_real_command(open_robot, tmp_path):
    from test_train_wizard import wait_for_end

    from scripts.practice.draw import draw_practice_set

    draw_practice_set(tmp_path / "pictures")
    robot = open_robot(train.PLAN, {
        **TINY, "max_train_epochs": "3", "save_every_n_epochs": 1, "output_name": "zyx",
        "train_data_dir": str(tmp_path / "pictures"), "output_dir": str(tmp_path / "out"),
        "pretrained_model_name_or_path": str(BASE), "sample_prompts": "zyx, red --s 4",
        "sample_every_n_epochs": 1,
    })  # fmt: skip
    show_page(robot.wizard, "bake")
    wait_for_end(robot)
    assert "Draws 9 pictures" in robot.seen() and "takes about" in robot.seen()
    robot.click("Compare versions")
    robot.until(lambda: robot.page.compare._grid.pictures >= 1, "a first picture")
    robot.until(lambda: robot.page.compare.child is None, "all pictures")
    assert robot.page.compare._grid.pictures == 9
    folder = tmp_path / "out" / "zyx-versions"
    assert len(list(folder.glob("zyx*.png"))) == 9 and len(list(folder.glob("versions_*"))) == 1
    robot.click(picture_at(robot, 2, 2))
    assert "strength 1: zyx.safetensors" in robot.seen()
