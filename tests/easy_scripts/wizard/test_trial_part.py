"""The trial on the page of kinds, used by the robot: with a made-up child, and once for real."""

from __future__ import annotations

import time
from pathlib import Path
from tkinter import ttk

import pytest
from made_up_trial import MadeUpTrial
from picture_folders import draw_pictures

from easy_scripts import train
from easy_scripts.train_pages import base_page, kind_page, trial_part
from easy_scripts.train_pages.graphics_card import Card
from easy_scripts.wizard.asking import show_page
from scripts.settings.calibration import Pace, read, record

ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / "scripts" / "practice" / "base.safetensors"
CARD = Card("NVIDIA GeForce RTX 3060", 12, True)
TRY, CANCEL = "Try ten steps", "Cancel the trial"


@pytest.fixture(autouse=True)
def this_pc(monkeypatch, tmp_path):
    """A PC without models in the usual folders, whose paces lie in tmp_path."""
    monkeypatch.setattr(base_page, "find_base_models", list)
    monkeypatch.setattr(kind_page, "PLACE", tmp_path / "calibration.json")


@pytest.fixture
def made_up(monkeypatch):
    return MadeUpTrial(monkeypatch)


@pytest.fixture
def on_page(open_robot, tmp_path, monkeypatch):
    """A function that opens the page of kinds for ten pictures, with what is given."""
    draw_pictures(tmp_path / "pictures" / "1_cat", [(64, 64)] * 4, ["a cat"] * 4)

    def open_it(card=CARD, base=BASE, **given):
        def find(wizard, take):
            wizard.facts.card = card
            take(card)

        monkeypatch.setattr(kind_page, "find_card", find)
        values = {"pretrained_model_name_or_path": str(base) if base else None,
                  "train_data_dir": str(tmp_path / "pictures"), **given}  # fmt: skip
        robot = open_robot(train.PLAN, values)
        folder = {"name": "1_cat", "is_reg": False, "repeats": 1, "pictures": 10,
                  "class_tokens": "cat"}  # fmt: skip
        robot.wizard.facts.base = {"family": "sd1", "resolution": 512}
        robot.wizard.facts.dataset = {"folders": [folder]}
        show_page(robot.wizard, "kind")
        robot.pump()
        return robot

    return open_it


def pace(seconds, batch=2, device="NVIDIA GeForce RTX 3060, 12 GB", **more):
    return Pace(**{"device": device, "family": "sd1", "resolution": 512, "batch": batch,
                   "precision": "bf16", "checkpointing": False, "dim": 32,
                   "seconds_per_step": seconds, "memory_bytes": 5_000_000_000, **more})  # fmt: skip


def begin(robot, made_up):
    before = made_up.asked
    robot.click(TRY)
    robot.until(lambda: made_up.asked > before, "the trial is asked for")


# --- from the button to what was found ---------------------------------------------------------


def test_the_page_tells_what_a_trial_found_and_the_larger_batch_is_taken(on_page, made_up):
    robot = on_page()
    answers = robot.wizard.answers
    assert answers["train_batch_size"] == 2 and "On your card" not in robot.seen()
    begin(robot, made_up)
    assert made_up.config == {**answers.config(), "output_dir": made_up.config["output_dir"]}
    assert CANCEL in robot.seen() and "Loading the models" in robot.seen()
    made_up.steps(3)
    robot.until(lambda: "Trying: step 3 of 10" in robot.seen())
    made_up.find(largest_batch=4)
    found = "A step takes 1 s and 5.0 GB. Up to 4 pictures at once fit."
    robot.until(lambda: found in robot.seen())
    looks = answers["max_train_epochs"] * 10 * answers["folder_repeats"]["1_cat"]
    assert f"About {looks // 2:,} steps" in robot.seen()
    assert f"On your card about {round(looks * 0.5 / 60)} min." in robot.seen()
    assert "It needs about 5.0 of 12 GB." in robot.seen()
    robot.click("Take 4 at once")
    assert answers["train_batch_size"] == 4
    assert f"About {looks // 4:,} steps" in robot.seen()
    assert "A step takes 2 s and 7.0 GB. Up to 4 pictures at once fit." in robot.seen()
    assert "at once" not in [w.cget("text")[-7:] for w in robot.widgets()
                             if isinstance(w, ttk.Button)]  # fmt: skip
    assert robot.root.focus_get() is robot.wizard.footer.next


def test_advice_does_not_overrule_the_batch_that_was_taken(on_page, made_up):
    robot = on_page()
    begin(robot, made_up)
    made_up.find(largest_batch=1, batch=2)
    robot.until(lambda: "Take 1 at once" in robot.seen())
    robot.press("<Alt-a>")
    assert robot.wizard.answers["train_batch_size"] == 1, "the default, but chosen"
    for keys, kind in (("<Alt-y>", "style"), ("<Alt-q>", "quick"), ("<Alt-u>", "careful")):
        robot.press(keys)
        assert kind in (robot.page._kind.get(), robot.page._effort.get())
        assert robot.wizard.answers["train_batch_size"] == 1
    show_page(robot.wizard, "pictures")
    robot.wizard.answers["train_batch_size"] = 3  # by hand, and back to what advice may change
    robot.wizard.answers["train_batch_size"] = None
    show_page(robot.wizard, "kind")
    robot.press("<Alt-l>")
    assert robot.wizard.answers["train_batch_size"] == 2


def test_a_batch_that_spills_is_told_and_a_smaller_one_offered(on_page, made_up):
    robot = on_page(train_batch_size=6)
    begin(robot, made_up)
    made_up.find(largest_batch=4, batch=6, seconds_per_step=60.0, memory_bytes=13 * 10**9)
    robot.until(lambda: "A step takes 60 s and 13.0 GB. That is more than the card's memory can "
                "hold well" in robot.seen())  # fmt: skip
    robot.click("Take 4 at once")
    assert "A step takes 2 s and 7.0 GB. Up to 4 pictures at once fit." in robot.seen()


@pytest.mark.parametrize(
    ("largest", "told"),
    [(1, "More than one picture at once does not fit."), (0, "Not even one picture at a time")],
)
def test_a_small_card_is_told(on_page, made_up, largest, told):
    robot = on_page(train_batch_size="1", max_train_epochs=7)
    robot.press("<Alt-u>")  # careful: one at a time
    begin(robot, made_up)
    made_up.find(largest_batch=largest, batch=1)
    robot.until(lambda: told in robot.seen())
    assert "Take" not in robot.seen()


def test_on_a_processor_only_the_time_is_told(on_page, made_up):
    robot = on_page(card=Card())
    assert "Without a graphics card" in robot.seen()
    begin(robot, made_up)
    made_up.find(batch=1, seconds_per_step=30.0, memory_bytes=None, largest_batch=None)
    robot.until(lambda: "A step takes 30 s. On a processor, more pictures at once gain nothing."
                in robot.seen())  # fmt: skip
    answers = robot.wizard.answers
    steps = answers["max_train_epochs"] * 10 * answers["folder_repeats"]["1_cat"]
    hours, minutes = divmod(steps // 2, 60)
    assert f"On this computer about {hours} h {minutes} min." in robot.seen()


@pytest.mark.parametrize(
    ("card", "device", "place"),
    [(CARD, "NVIDIA GeForce RTX 3060, 12 GB", "On your card"),
     (Card("NVIDIA A100-SXM4-80GB", 80, True), "NVIDIA A100-SXM4-80GB, 79 GB", "On your card"),
     (Card(), "CPU, 8 threads", "On this computer")],
)  # fmt: skip
def test_a_pace_that_was_kept_is_told_for_the_settings_as_they_are(
    on_page, tmp_path, card, device, place
):
    """Also where the batch was changed, and where torch names the device a little differently."""
    known = {"device": device, "precision": "bf16" if card.present else "no", "dim": 20}
    record(pace(6.0, 3, **known), tmp_path / "calibration.json")
    robot = on_page(card=card, train_batch_size=3, network_dim=20)
    answers = robot.wizard.answers
    steps = answers["max_train_epochs"] * -(-10 * answers["folder_repeats"]["1_cat"] // 3)
    assert f"About {steps:,} steps" in robot.seen()
    hours, minutes = divmod(round(steps * 6 / 60), 60)
    assert f"{place} about {f'{hours} h ' * bool(hours)}{minutes} min." in robot.seen()
    assert ("It needs about 5.0 of" in robot.seen()) is card.present
    answers["train_batch_size"] = 5
    robot.page._apply()
    robot.pump()
    assert f"{place} very roughly" in robot.seen()


def test_settings_that_were_opened_stay_and_get_their_time(on_page, made_up):
    robot = on_page(train_batch_size=3, max_train_epochs=4)
    robot.wizard.facts.kind = kind_page.OWN
    show_page(robot.wizard, "kind")
    robot.pump()
    begin(robot, made_up)
    made_up.find(batch=3, largest_batch=6, seconds_per_step=1.5, seconds=1200.0)
    robot.until(lambda: "as they were opened. On your card about 20 min." in robot.seen())
    robot.click("Take 6 at once")
    assert "On your card about 20 min." in robot.seen(), "half the steps of twice the time"
    robot.wizard.answers["network_dim"] = 99
    robot.page._apply()
    robot.pump()
    assert "On your card" not in robot.seen() and "A step takes" not in robot.seen()


# --- wrong turns --------------------------------------------------------------------------------


def test_a_problem_is_shown_in_red_and_the_next_trial_takes_it_away(on_page, made_up):
    robot = on_page()
    begin(robot, made_up)
    made_up.fail("The graphics card ran out of memory. Turn on gradient_checkpointing.")
    robot.until(lambda: "ran out of memory" in robot.seen())
    label = robot.find("The graphics card ran out of memory. Turn on gradient_checkpointing.",
                       ttk.Label)  # fmt: skip
    assert str(label.cget("style")) == "Error.TLabel"
    robot.press("<Alt-t>")
    robot.until(lambda: made_up.asked == 2)
    assert "ran out of memory" not in robot.seen() and CANCEL in robot.seen()


def test_too_large_a_batch_is_told_with_one_that_fits(on_page, made_up):
    robot = on_page()
    begin(robot, made_up)
    made_up.run_out("The graphics card ran out of memory with 2 pictures at once.")
    robot.until(lambda: "ran out of memory with 2" in robot.seen())
    assert "More than one picture at once does not fit." in robot.seen()
    robot.click("Take 1 at once")
    assert robot.wizard.answers["train_batch_size"] == 1
    assert "ran out of memory" not in robot.seen()
    assert "A step takes 0.5 s and 4.0 GB." in robot.seen()


def test_cancel_ends_the_child_and_another_trial_may_follow(on_page, made_up):
    robot = on_page()
    begin(robot, made_up)
    robot.click(CANCEL)
    assert made_up.killed and TRY in robot.seen()
    assert "Loading" not in robot.seen() and "A step" not in robot.seen()
    begin(robot, made_up)
    robot.press("<Alt-t>")
    assert made_up.killed and made_up.asked == 2


@pytest.mark.parametrize("way", ["Next", "Back", "window", "all settings"])
def test_leaving_asks_once_and_then_ends_the_child(on_page, made_up, way):
    robot = on_page()
    begin(robot, made_up)

    def leave():
        if way == "window":
            robot.press("<Escape>")
        elif way == "all settings":
            robot.page._to_all()
        else:
            robot.click(way)

    asked = robot.answer(0)
    leave()
    assert len(asked()) == 1 and "End the trial?" in asked()[0]
    assert not made_up.killed and robot.page.name == "kind" and CANCEL in robot.seen()
    robot.answer(1)
    leave()
    assert made_up.killed and (robot.open is not (way == "window"))
    if way != "window":
        robot.pump()
        show_page(robot.wizard, "kind")
        robot.pump()
        assert TRY in robot.seen()


def test_other_settings_end_the_trial_and_hide_what_it_found(on_page, made_up):
    robot = on_page()
    begin(robot, made_up)
    robot.press("<Alt-q>")
    assert not made_up.killed, "fewer rounds make no step longer"
    made_up.find(largest_batch=8)
    robot.until(lambda: "A step takes" in robot.seen())
    robot.press("<Alt-y>")
    assert "A step takes" not in robot.seen() and "Take 8" not in robot.seen()
    robot.press("<Alt-c>")
    assert "A step takes" in robot.seen(), "what was tried is known still"
    begin(robot, made_up)
    robot.press("<Alt-y>")
    assert made_up.killed and TRY in robot.seen()


def test_nothing_is_offered_before_base_model_and_pictures_are_known(on_page, made_up):
    robot = on_page(base=None)
    assert TRY not in robot.seen()
    robot.press("<Alt-t>")
    assert not made_up.asked
    robot.wizard.answers["pretrained_model_name_or_path"] = str(BASE)
    robot.press("<Alt-y>")
    assert TRY in robot.seen()


def test_the_stages_are_those_of_the_trial():
    from scripts.training import trial_steps

    assert set(trial_part.STAGES) == {trial_steps.TRYING, trial_steps.SEARCHING}


# --- for real -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_trial_of_the_practice_model(on_page, tmp_path, monkeypatch):
    from scripts.core.files import CACHE_FOLDER

    place = CACHE_FOLDER / "calibration.json"
    monkeypatch.setattr(kind_page, "PLACE", place)
    before = place.read_bytes() if place.exists() else None
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        robot = on_page(
            card=Card(), resolution="64", min_bucket_reso=64, max_bucket_reso=64, network_dim=5,
            train_batch_size=2, output_dir=str(tmp_path / "out"),
        )  # fmt: skip
        robot.click(TRY)
        child = None
        end = time.monotonic() + 120
        while "A step takes" not in robot.seen() and time.monotonic() < end:
            child = robot.page._trial._asking._child or child
            robot.pump(0.1)
        assert "On a processor, more pictures at once gain nothing." in robot.seen()
        assert "On this computer about" in robot.seen()
        assert child._process.wait(timeout=10) == 0
        assert not (tmp_path / "out").exists()
        assert [pace.batch for pace in read(place) if pace.dim == 5] == [2]
    finally:
        place.write_bytes(before) if before is not None else place.unlink(missing_ok=True)
