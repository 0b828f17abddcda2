"""The training wizard, used by the robot: its pages, ways back and out, and a whole small bake."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from tkinter import ttk

import psutil
import pytest
from window_to_kill import KilledWindow

from easy_scripts import train
from easy_scripts.bakes import kept
from easy_scripts.queue import store as queue_store
from easy_scripts.train_pages import bake_page, base_page, finished_page, kind_page
from easy_scripts.train_pages.graphics_card import Card
from easy_scripts.train_pages.loss_curve import SMOOTHING, LossCurve
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.child import Ended
from scripts.core.events import Step
from scripts.core.machine import NO_EIGHT_BIT
from scripts.core.safetensors_header import read_header
from scripts.core.usual import short_number

ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / "scripts" / "practice" / "base.safetensors"
TINY = {"resolution": "64", "min_bucket_reso": 64, "max_bucket_reso": 64, "train_batch_size": "4",
        "max_train_epochs": "2", "network_dim": 4}  # fmt: skip


@pytest.fixture(autouse=True)
def this_pc(monkeypatch, tmp_path):
    """A PC with a known card, nothing in the queue and no models in the usual folders."""
    monkeypatch.setattr(queue_store, "QUEUE_FOLDER", tmp_path / "queue")
    monkeypatch.setattr(base_page, "find_base_models", list)
    card = Card("NVIDIA GeForce RTX 3060", 12, True)

    def find(wizard, take):
        wizard.facts.card = card
        take(card)

    monkeypatch.setattr(kind_page, "find_card", find)


@pytest.fixture
def pictures(tmp_path):
    """Eight drawn pictures in a folder whose name is a trap."""
    from scripts.practice.draw import draw_practice_set

    folder = tmp_path / "my pictures & ü"
    draw_practice_set(folder)
    (inside,) = folder.iterdir()
    for file in sorted(inside.iterdir())[16:]:
        file.unlink()
    inside.rename(folder / "3_zyx")
    return folder


@pytest.fixture
def given(tmp_path, pictures):
    """What a test bake has filled in from the start."""
    return {**TINY, "output_dir": str(tmp_path / "out"), "train_data_dir": str(pictures),
            "pretrained_model_name_or_path": str(BASE)}  # fmt: skip


def begin(robot):
    """From the first page to the base model."""
    robot.click("Start here")
    robot.until(lambda: robot.wizard.facts.base, "the base model is known")


def to_pictures(robot):
    begin(robot)
    robot.click("Next")
    robot.until(lambda: robot.wizard.facts.dataset.get("complete"), "pictures known")


def to_summary(robot):
    to_pictures(robot)
    robot.click("Next")
    robot.click("Next")
    robot.until(lambda: not robot.page._asking.busy, "the plan is made")


def wait_for_end(robot):
    end = time.monotonic() + 240  # on a machine that is busy
    while robot.page.name != "finished" and robot.page.busy and time.monotonic() < end:
        robot.pump(0.1)
    assert robot.page.name == "finished", robot.seen()


# --- pages ---------------------------------------------------------------------------------


def test_the_base_model_is_told_at_once_and_a_lora_is_refused(open_robot, tmp_path):
    robot = open_robot(train.PLAN)
    robot.click("Start here")
    robot.click("Next")
    assert "Choose the base model" in robot.seen() and robot.page.name == "base"
    lora = ROOT / "tests" / "data" / "resize" / "input.safetensors"
    robot.page.rows[base_page.SETTING].variable.set(f'"{lora}"')
    robot.click("Next")
    robot.until(lambda: "it seems to be a LoRA" in robot.seen())
    robot.pump(0.2)
    assert robot.page.name == "base"
    robot.page.rows[base_page.SETTING].variable.set(str(BASE))
    robot.until(lambda: "Stable Diffusion 1.x" in robot.seen())
    assert "it seems to be a LoRA" not in robot.seen()
    robot.click("Next")
    assert robot.page.name == "pictures"
    robot.press("<Alt-b>")
    assert "Stable Diffusion 1.x" in robot.seen()


@pytest.mark.parametrize(("told", "optimiser"), [("", "AdamW8bit"), ("no library", "AdamW")])
def test_what_setup_saw_of_the_8_bit_optimisers_is_heeded(
    open_robot, given, pictures, monkeypatch, told, optimiser
):
    monkeypatch.setenv(NO_EIGHT_BIT, told)
    robot = open_robot(train.PLAN, given)
    to_pictures(robot)
    robot.click("Next")
    robot.page._kind.set("character")
    robot.page._apply()
    assert robot.wizard.answers["optimizer_type"] == optimiser


def test_what_the_pictures_are_and_repeats_without_renaming(open_robot, given, pictures):
    robot = open_robot(train.PLAN, given)
    to_pictures(robot)
    seen = robot.seen()
    assert "8 pictures in 1 folder · all with captions" in seen and "3_zyx" in seen
    assert robot.page.trigger.variable.get() == "zyx" and "is in every caption already" in seen
    assert not robot.wizard.answers["caption_prefix"], "a word that is there is not put in front"
    assert len(robot.page._thumbnails._pictures) == 7
    field = robot.page._table._numbers[0]
    field.set("5")
    robot.until(lambda: "40 looks" in robot.seen())
    assert robot.wizard.answers["folder_repeats"] == {"3_zyx": 5}
    assert (pictures / "3_zyx").is_dir(), "nothing on the disk is renamed"
    robot.page.trigger.variable.set("sks")
    assert robot.wizard.answers["caption_prefix"] == "sks, "
    assert "is put in front of every caption" in robot.seen()


def test_a_folder_without_pictures_bars_the_way_and_back_stays_open(open_robot, given, tmp_path):
    empty = tmp_path / "nothing"
    empty.mkdir()
    robot = open_robot(train.PLAN, {**given, "train_data_dir": str(empty)})
    begin(robot)
    robot.click("Next")
    robot.until(lambda: robot.page._problem)
    robot.click("Next")
    assert robot.page.name == "pictures" and str(robot.page._problem) in robot.seen()
    robot.click("Back")
    assert robot.page.name == "base"


def test_choices_become_settings_and_hands_win_over_advice(open_robot, given):
    del given["network_dim"], given["max_train_epochs"]
    robot = open_robot(train.PLAN, given)
    to_pictures(robot)
    robot.click("Next")
    answers = robot.wizard.answers
    assert answers["network_dim"] == 32 and answers["network_alpha"] == 16
    assert str(answers["train_batch_size"]) == "4" and answers["resolution"] == "64"
    robot.click("A style", ttk.Radiobutton)
    assert answers["network_dim"] == 64 and answers["network_alpha"] == 32
    looks = answers["max_train_epochs"] * 3 * 8
    assert 1000 <= looks <= 2600, "about so many looks as the table of advice asks for"
    robot.press("<Alt-q>")
    assert answers["max_train_epochs"] * 3 * 8 < looks
    answers["network_dim"] = 20
    robot.press("<Alt-c>")
    assert answers["network_dim"] == 20, "what was set by hand stays"
    assert answers["network_alpha"] is None, "half of it, then"
    assert "of 12 GB" in robot.seen()


def test_every_setting_can_be_found_changed_and_put_back(open_robot, given):
    robot = open_robot(train.PLAN, given)
    to_summary(robot)
    robot.press("<Alt-h>")
    page = robot.page
    assert page.name == "all_settings"
    reached = set()
    for group in range(1, len(page._groups) + 1):
        page.show_group(group)
        reached |= set(page._shown())
    depends = {name for name, entry in robot.wizard.answers.declared.items() if entry.shown_when}
    assert reached | depends == set(robot.wizard.answers.declared)
    heading = page._chooser.get()
    robot.type("gamma snr")
    robot.until(lambda: "Min-SNR gamma" in robot.seen())
    assert "LoRA size (dim)" not in robot.seen() and page._chooser.get() == "Found (1)"
    page.search.delete(0, "end")
    robot.until(lambda: page._chooser.get() == heading)
    robot.type("gamma snr")
    robot.until(lambda: "Min-SNR gamma" in robot.seen())
    page.rows["min_snr_gamma"].variable.set("x")
    robot.click("Next")
    assert robot.page is page and "is not a number" in robot.seen()
    page._reset("min_snr_gamma")
    robot.pump()
    assert "is not a number" not in robot.seen()
    robot.click("Next")
    assert robot.page.name == "summary"
    robot.click("Back")
    assert robot.page.name == "kind", "Back passes over the page with all settings"


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_tip_of_every_row_says_what_is_usual_and_what_goes_wrong(
    open_robot, given, monkeypatch, language
):  # fmt: skip
    monkeypatch.setenv("EASY_LORA_LANGUAGE", language)
    robot = open_robot(train.PLAN, given)
    texts = robot.wizard.texts
    robot.wizard.answers.update({"masked_loss": True, "tag_occurrence_txt_file": True,
                                 "conv_dim": 8, "optimizer_type": "Prodigy",
                                 "learning_rate": "1"})  # fmt: skip
    show_page(robot.wizard, "all_settings")
    page = robot.page
    for group in range(1, len(page._groups) + 1):
        page.show_group(group)
    assert page.rows.keys() == robot.wizard.answers.declared.keys()
    for name, row in page.rows.items():
        shown, entry = row.tip(), row.setting
        noted = row._message.cget("text") if name in TINY else ""
        for what in ("below", "above", "beware"):
            if getattr(entry, what):
                assert (texts.advice(what, entry) in noted) != (
                    texts.advice(what, entry) in shown), name  # fmt: skip
        if entry.tells_usual:
            for end in map(short_number, entry.usual.ends(robot.wizard.answers.value)):
                assert end in (noted or shown).split("\n")[0], name
        assert texts.help(entry) not in shown and name in shown
    assert page.rows["learning_rate"].tip().startswith(
        {"en": "Usual: 0.5 to 1.", "ja": "普通は 0.5～1 です。"}[language])  # fmt: skip


def test_a_note_follows_the_settings_that_the_usual_range_depends_on(open_robot, given):
    robot = open_robot(train.PLAN, {**given, "learning_rate": 1, "network_dim": 32})
    show_page(robot.wizard, "all_settings")
    robot.page.show_error("learning_rate", "")
    assert "Higher than usual (2e-5 to 5e-4). It burns in" in robot.seen()
    robot.wizard.answers["optimizer_type"] = "Prodigy"
    robot.until(lambda: "It burns in" not in robot.seen())
    robot.wizard.answers["network_alpha"] = "128"
    robot.page.show_error("network_alpha", "")
    robot.until(lambda: "Higher than usual (8 to 32). Each step" in robot.seen())
    robot.wizard.answers["network_dim"] = "128"
    robot.until(lambda: "Each step" not in robot.seen())


def test_a_config_of_another_tool_is_told_key_by_key_and_kept(open_robot, given, tmp_path):
    config = tmp_path / "config-123.json"
    config.write_text(json.dumps({"base_model": str(BASE), "img_folder": given["train_data_dir"],
                                  "output_folder": given["output_dir"], "net_dim": 7, "alpha": 3,
                                  "list_of_json_to_run": None, "num_epochs": 3,
                                  "train_resolution": 64}))  # fmt: skip
    robot = open_robot(train.PLAN, {"train_data_dir": str(config)})
    robot.until(lambda: robot.wizard.answers["network_dim"] == 7)
    assert "config-123.json: This is a config of the older popup scripts" in robot.seen()
    robot.press("<Alt-m>")
    assert robot.page.name == "summary"
    robot.until(lambda: "a LoRA of size 7 (alpha 3)" in robot.seen())
    robot.click("Back")
    assert robot.page._kind.get() == kind_page.OWN and robot.wizard.answers["network_dim"] == 7


def test_the_summary_saves_a_config_and_adds_to_the_queue(
    open_robot, given, tmp_path, monkeypatch
):  # fmt: skip
    store = queue_store.QueueStore(tmp_path / "queue")
    robot = open_robot(train.PLAN, given)
    to_summary(robot)
    assert "12 steps in 2 rounds" in robot.seen()
    assert robot.wizard.answers["output_name"] == "zyx"
    file = tmp_path / "saved.json"
    monkeypatch.setattr(robot.page, "choose_file", lambda: str(file))
    robot.press("<Alt-f>")
    saved = json.loads(file.read_text(encoding="utf-8"))
    assert saved["network_dim"] == 4 and saved["output_name"] == "zyx"
    train.read(saved)
    robot.click("Add to queue")
    (bake,) = store.read().bakes
    assert bake.name == "zyx" and bake.settings == saved


@pytest.mark.parametrize("pages", range(5))
def test_escape_on_any_page_loses_nothing(open_robot, given, pages, memory_folder):
    robot = open_robot(train.PLAN, given)
    ways = [lambda: begin(robot), *[lambda: robot.click("Next")] * 3, lambda: None]
    for way in ways[:pages]:
        way()
    askings = [page._asking for page in robot.wizard.pages if hasattr(page, "_asking")]
    children = [asking._child for asking in askings if asking._child]
    robot.press("<Escape>")
    assert not robot.open
    for child in children:
        child._process.wait(timeout=10)
    if pages == 4:
        again = open_robot(train.PLAN)
        again.press("<Alt-u>")
        assert again.wizard.answers["train_data_dir"] == given["train_data_dir"]


def test_the_curve_takes_the_smoothing_off_again(screen):
    import tkinter

    from easy_scripts.wizard.catalogue import Catalogue
    from easy_scripts.wizard.theme import Theme

    root = tkinter.Tk()
    root.withdraw()
    curve = LossCurve(root, Theme(root), Catalogue("train", "en"))
    losses, smooth = [0.5, 0.1, 0.3, 0.2], None
    for step, loss in enumerate(losses, start=1):
        smooth = loss if smooth is None else SMOOTHING * smooth + (1 - SMOOTHING) * loss
        curve.add(step, smooth)
    assert curve.raw == pytest.approx(losses)
    for step in range(5, 3000):
        curve.add(step, 0.2)
    assert len(curve.steps) <= 800 and curve.steps[0] == 1 and curve.steps[-1] == 2999
    curve.add(1000, 0.5)
    assert curve.steps[-1] == 1000 and curve.raw[-1] == 0.5, "a training that went back"
    assert curve.steps == sorted(set(curve.steps))
    root.destroy()


# --- bakes ---------------------------------------------------------------------------------


@pytest.mark.slow
def test_from_the_first_page_to_a_finished_lora_in_six_clicks(open_robot, given, monkeypatch):
    shown = []
    monkeypatch.setattr(finished_page, "show_in_folder", shown.append)
    robot = open_robot(train.PLAN, given)
    clicks = 0
    for text in ("Start here", "Next", "Next", "Next", "Start"):
        robot.click(text)
        clicks += 1
        robot.until(lambda: not getattr(getattr(robot.page, "_asking", None), "busy", False))
        if text == "Next":
            robot.pump(0.2)
    robot.until(lambda: robot.page.name in ("bake", "finished"), "the bake begins")
    wait_for_end(robot)
    robot.click("Show in folder")
    assert clicks + 1 <= 6
    made = Path(given["output_dir"]) / "zyx.safetensors"
    assert shown == [made]
    header = read_header(made)
    assert header.tensors and header.metadata["ss_network_dim"] == "4"
    assert "Previews over time" in robot.seen()
    assert len(robot.page._pictures) == 2, "one preview a round"
    assert "<lora:zyx:0.8>, zyx" in robot.seen()


@pytest.mark.slow
def test_pause_keeps_the_state_and_continue_ends_with_the_same_name(open_robot, given):
    robot = open_robot(train.PLAN, {**given, "max_train_epochs": "6"})
    to_summary(robot)
    robot.wizard.answers["sample_prompts"] = None
    robot.wizard.answers["sample_every_n_epochs"] = None
    robot.until(lambda: not robot.page._asking.busy)
    robot.click("Start")
    robot.until(lambda: robot.page.name == "bake" and robot.page._first_step, "a first step")
    robot.click("Pause")
    robot.until(lambda: not robot.page.busy, "paused")
    assert "Paused." in robot.seen()
    (paused,) = robot.wizard.memory.get("paused", [])
    assert Path(paused["state"]).is_dir()
    robot.click("Continue")
    wait_for_end(robot)
    assert (Path(given["output_dir"]) / "zyx.safetensors").is_file()
    assert not robot.wizard.memory.get("paused", [])


@pytest.fixture
def long_bake(open_robot, given):
    """A robot that has just started a bake of 1,200 steps."""
    robot = open_robot(train.PLAN, {**given, "max_train_epochs": "200"})
    to_summary(robot)
    robot.click("Start")
    return robot


def made_by(given):
    return list(Path(given["output_dir"]).glob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.3, 1.0, 2.0, 3.5, 5.0, 8.0])
def test_stopped_at_any_moment_nothing_is_stuck_and_nothing_lost(
    long_bake, open_robot, given, moment
):
    robot = long_bake
    robot.pump(moment)
    child = robot.page._child
    robot.answer(1)
    robot.press("<Escape>")
    robot.until(lambda: not robot.page.busy, "it has stopped")
    assert child._process.wait(timeout=10) == 2
    seen = robot.seen()
    assert ("is in zyx" in seen and made_by(given)) or "Nothing was written" in seen
    robot.click("Close")
    assert not robot.open
    again = open_robot(train.PLAN)
    assert "Again like last time" in again.seen()
    assert ("Go on where you paused" in again.seen()) == bool(made_by(given))


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 0.6, 2.5, 6.0, 12.0])
def test_a_window_that_is_killed_at_any_moment_leaves_a_bake_that_stops_and_saves(
    open_robot, given, memory_folder, moment
):
    """A real window; `moment` is in seconds from its bake's start on, the last ones train."""
    window = KilledWindow(
        "train", memory_folder, {**given, "max_train_epochs": "200", "output_name": "zyx"}
    )
    time.sleep(moment)
    (bake,) = kept.kept_bakes()
    assert bake.running and psutil.pid_exists(window.worker)
    begun = any(isinstance(message, Step) for message in bake.messages())
    window.kill()
    end = time.monotonic() + 60
    while psutil.pid_exists(window.worker):
        assert time.monotonic() < end, "its keeper goes on although the window is gone"
        time.sleep(0.05)
    assert not bake.running
    assert [message for message in bake.messages() if isinstance(message, Ended)] == [Ended(2)]
    assert bool(made_by(given)) or not begun
    again = open_robot(train.PLAN)
    assert "A bake has ended while no window was open" in again.seen()
    again.click("Show it")
    again.until(lambda: not again.page.busy, "its end is shown")
    if made_by(given):
        assert "Continue" in again.seen() and again.wizard.answers["max_train_epochs"] == "200"


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.0, 3.0, 6.0])
def test_a_bake_goes_on_without_its_window_and_is_found_again(long_bake, open_robot, given, moment):
    robot = long_bake
    robot.pump(moment)
    bake = robot.page._child
    robot.answer(2)
    robot.press("<Escape>")
    assert not robot.open and bake.running
    bake._process.stdin.close()
    again = open_robot(train.PLAN)
    assert "A bake is running" in again.seen() and "zyx, since" in again.seen()
    again.click("Watch it")
    page = again.page
    again.until(lambda: page._first_step is not None and len(page._curve.steps) > 3, "steps")
    assert page._first_step == page._curve.steps[0] == 1, "from the beginning"
    assert again.wizard.answers["output_name"] == "zyx"
    third = open_robot(train.PLAN)
    third.wizard.answers.update(given)
    show_page(third.wizard, "summary")
    third.until(lambda: "Another bake is running." in third.seen())
    third.end()
    again.click("Pause")
    again.until(lambda: not page.busy, "paused")
    assert "Paused." in again.seen() and bake._process.wait(timeout=10) == 2
    again.click("Continue")
    again.until(lambda: page._first_step and page._first_step > 1, "it goes on")
    again.answer(1)
    again.press("<Escape>")
    again.until(lambda: not page.busy, "stopped")
    assert not list(kept.bakes_folder().iterdir()), "what was seen is not kept"


@pytest.mark.slow
def test_a_bake_that_ended_unseen_shows_its_result(open_robot, given):
    robot = open_robot(train.PLAN, given)
    to_summary(robot)
    robot.click("Start")
    robot.answer(2)
    robot.press("<Escape>")
    (bake,) = kept.kept_bakes()
    end = time.monotonic() + 240
    while bake.running:
        assert time.monotonic() < end
        time.sleep(0.2)
    again = open_robot(train.PLAN)
    again.click("Show it")
    wait_for_end(again)
    seen = again.seen()
    assert "zyx.safetensors" in seen and "Previews over time" in seen and "<lora:zyx" in seen


@pytest.mark.slow
def test_what_the_buttons_ask_for_is_done_by_the_bake(long_bake, given):
    """Save now, Preview now, Stop after this round: from the button to the file."""
    robot = long_bake
    page, folder = robot.page, Path(given["output_dir"])
    robot.until(lambda: page._first_step, "a first step")
    robot.click("Save now")
    robot.until(lambda: "Saved as zyx-step" in robot.seen(), "it is saved")
    (saved,) = folder.glob("zyx-step*.safetensors")
    assert read_header(saved).metadata["ss_steps"] == str(int(saved.stem[-8:]))
    before = {preview.path for preview in page._strip._previews}
    robot.click("Preview now")
    robot.until(lambda: {one.path for one in page._strip._previews} - before, "a preview")
    assert all(Path(one.path).is_file() for one in page._strip._previews)
    robot.click("Stop after this round")
    robot.until(lambda: not page.busy, "it has stopped")
    last = max(made_by(given), key=lambda path: int(read_header(path).metadata["ss_steps"]))
    told = read_header(last).metadata
    assert int(told["ss_steps"]) == 6 * int(told["ss_epoch"]) < 1200, "at the end of a round"
    assert last.name in robot.seen() and "Continue" in robot.seen()


@pytest.mark.slow
def test_the_practice_bake_is_reached_from_the_first_page(open_robot, tmp_path, monkeypatch):
    monkeypatch.setattr(bake_page, "OUTPUT_FOLDER", tmp_path)
    robot = open_robot(train.PLAN)
    robot.press("<Alt-p>")
    assert robot.page.name == "bake"
    robot.until(lambda: (tmp_path / "practice" / "pictures").is_dir(), "pictures are drawn")
    robot.answer(1)
    robot.press("<Escape>")
    robot.until(lambda: not robot.page.busy, "it has stopped")
    shutil.rmtree(tmp_path / "practice")


@pytest.mark.slow
def test_the_queue_runs_in_the_window_and_one_failure_ends_no_other(open_robot, given, tmp_path):
    store = queue_store.QueueStore(tmp_path / "queue")
    store.add({**given, "output_name": "one", "max_train_epochs": 1})
    store.add({**given, "output_name": "two", "train_data_dir": str(tmp_path / "gone")})
    store.add({**given, "output_name": "three", "max_train_epochs": 1})
    robot = open_robot(train.PLAN)
    assert "3 waiting: one, two, three" in robot.seen()
    robot.click("Look at it")
    robot.click("Bake them")
    wait_for_end(robot)
    seen = robot.seen()
    made = sorted(path.name for path in Path(given["output_dir"]).glob("*.safetensors"))
    assert made == ["one.safetensors", "three.safetensors"]
    assert "gone" in seen and all(name in seen for name in made)
    assert [bake.state for bake in store.read().bakes] == ["done", "failed", "done"]
