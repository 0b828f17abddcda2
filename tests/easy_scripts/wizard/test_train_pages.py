"""Every page and state of the training wizard, in light and dark, at 100 to 300 %: nothing is cut
off. With EASY_LORA_PICTURES=FOLDER each state is also saved as a picture, to be looked at.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_up_bake import MadeUpBake
from made_up_trial import MadeUpTrial
from test_every_page import Tour
from test_train_wizard import BASE, TINY
from virtual_screen import virtual_screen

from easy_scripts import train
from easy_scripts.queue import store as queue_store
from easy_scripts.train_pages import base_page, kind_page
from easy_scripts.train_pages.graphics_card import Card
from easy_scripts.wizard.asking import show_page
from scripts.core.events import Facts, Note, Preview

LOOKS = [
    ("en", "light", 100, (1366, 768)),
    ("en", "dark", 100, (1366, 768)),
    ("en", "light", 200, (2732, 1536)),
    ("en", "dark", 200, (2732, 1536)),
    ("ja", "light", 150, (1920, 1080)),
    ("ja", "dark", 200, (2732, 1536)),
    ("en", "light", 300, (3840, 2160)),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pictures with faults, base models with long names, and a known card."""
    from PIL import Image

    from scripts.practice.draw import draw_practice_set

    draw_practice_set(tmp_path / "pictures")
    (tmp_path / "pictures").joinpath("10_zyx").rename(tmp_path / "pictures" / "10_zyx one")
    other = tmp_path / "pictures" / "a folder with quite a long name and no number"
    other.mkdir()
    for number in range(3):
        Image.new("RGB", (600 + 90 * number, 400), (40 * number, 90, 60)).save(
            other / f"{number}.png")  # fmt: skip
    (other / "broken.png").write_bytes(b"no picture")
    models = [tmp_path / f"{name}.safetensors" for name in ("anime full", "a" * 90)]
    monkeypatch.setattr(base_page, "find_base_models", lambda: models)
    monkeypatch.setattr(queue_store, "QUEUE_FOLDER", tmp_path / "queue")
    card = Card("NVIDIA GeForce RTX 4070 Ti SUPER", 16, True)

    def find(wizard, take):
        wizard.facts.card = card
        take(card)

    monkeypatch.setattr(kind_page, "find_card", find)
    return tmp_path


def values(folder: Path) -> dict:
    return {**TINY, "max_train_epochs": "6", "folder_repeats": {"10_zyx one": 2},
            "output_dir": str(folder / "out"),
            "train_data_dir": str(folder / "pictures"),
            "pretrained_model_name_or_path": str(BASE)}  # fmt: skip


def settled(tour: Tour) -> None:
    """Wait until nothing is being asked."""
    tour.robot.until(lambda: not getattr(getattr(tour.robot.page, "_asking", None), "busy", False))


def walk(tour: Tour, folder: Path, made_up: MadeUpTrial) -> None:
    """From the first page to the summary."""
    robot = tour.robot
    tour.look("start")
    robot.wizard.go_on()
    robot.page.rows[base_page.SETTING].variable.set(str(folder / "none.safetensors"))
    robot.wizard.next()
    tour.look("base-wrong")
    robot.page.rows[base_page.SETTING].variable.set(str(BASE))
    settled(tour)
    tour.look("base")
    robot.wizard.next()
    settled(tour)
    tour.look("pictures")
    robot.page.trigger.variable.set("sks")
    tour.unfold()
    tour.look("pictures-below")
    number = robot.page._table._numbers[0]
    number.set("0")
    robot.wizard.next()
    tour.look("pictures-wrong")
    number.set("2")
    settled(tour)
    robot.wizard.next()
    tour.look("kind")
    robot.page._memory.set("sixteen")
    robot.wizard.next()
    tour.look("kind-wrong")
    robot.page._memory.set("16")
    try_steps(tour, made_up)
    tour.unfold()
    tour.look("kind-reasons")
    robot.page._to_all()
    tour.look("settings-changed")
    robot.page.show_group(4)
    tour.look("settings-amount")
    robot.page.search.focus_force()
    robot.page._sought.set("learning rate")
    robot.pump(0.5)
    tour.look("settings-search")
    robot.wizard.next()
    settled(tour)
    tour.look("summary")


def try_steps(tour: Tour, made_up: MadeUpTrial) -> None:
    """A trial: running, with a problem, with a batch that is too large, with what fits."""
    robot, trial = tour.robot, tour.robot.page._trial
    problem = ("The graphics card ran out of memory with 4 pictures at once. Lower "
               "train_batch_size to 1.")  # fmt: skip
    ends = [
        ("problem", lambda: made_up.run_out(problem)),
        ("spills", lambda: made_up.find(largest_batch=2, batch=4, seconds_per_step=61.0,
                                        memory_bytes=17_300_000_000)),
        ("found", lambda: made_up.find(largest_batch=8, batch=4)),
    ]  # fmt: skip
    for number, (what, end) in enumerate(ends, start=1):
        trial._press()
        robot.until(lambda number=number: made_up.asked == number)
        if number == 1:
            made_up.steps(6)
            robot.pump(0.2)
            tour.look("kind-trial")
        end()
        robot.until(lambda: trial._running is None)
        tour.look(f"kind-trial-{what}")


def bake(tour: Tour) -> None:
    """Baking, paused, finished."""
    robot = tour.robot
    robot.page.rows["sample_prompts"].variable.set("zyx, red background --s 4")
    settled(tour)
    robot.wizard.next()
    tour.look("bake-begins")
    robot.until(lambda: robot.page._first_step and len(robot.page._curve.steps) > 2)
    robot.page._pause()
    robot.until(lambda: not robot.page.busy)
    tour.look("paused")
    robot.page._continue()
    robot.until(lambda: len(robot.page._strip._previews) >= 2)
    tour.look("bake")
    tour.question()
    robot.page.leave_busy()
    robot.until(lambda: robot.page.name == "finished")
    tour.look("finished")
    compare(tour)
    robot.wizard.go_to(0)
    tour.look("start-again")


def compare(tour: Tour) -> None:
    """The versions being drawn, drawn, one chosen and shown large."""
    robot = tour.robot
    comparison = robot.page.compare
    comparison.start()
    robot.page.frame.show(comparison)
    robot.until(lambda: comparison._grid.pictures >= 4)
    tour.look("comparing")
    robot.until(lambda: comparison.child is None)
    tour.look("compared")
    comparison._grid.open((1, 1))
    robot.pump(0.5)
    tour.save("large-picture")
    comparison._grid._large.close()
    robot.pump(0.5)
    tour.look("chosen")


def queue(tour: Tour, folder: Path) -> None:
    """The queue with a bake in every state, and without any."""
    show_page(tour.robot.wizard, "queue")
    tour.look("queue-empty")
    store = queue_store.QueueStore()
    changes = (
        {"state": "done", "seconds": 754, "result": str(folder / ("a" * 60 + ".safetensors"))},
        {"state": "failed", "error": "The graphics card ran out of memory. Turn on "
         "gradient_checkpointing, or lower train_batch_size or resolution."},
        {"state": "running"}, {}, {"state": "held"},
    )  # fmt: skip
    with store.only_runner():
        for number, change in enumerate(changes):
            bake = store.add({**values(folder), "output_name": f"hero in armour {number}"})
            store.update(bake.id, **change)
        tour.robot.until(lambda: "hero in armour 4" in tour.robot.seen())
        tour.look("queue")


def told_bakes(label: str, folder: Path, made_up: MadeUpBake) -> None:
    """What a real bake seldom shows: alarm and warning, a failure, a queue that is looked at while
    it bakes, and its end with bakes of every kind."""
    from PIL import Image

    tour = Tour(f"{label}-told", train.PLAN, values(folder))
    show_page(tour.robot.wizard, "bake")
    made_up.begin()
    for done in range(1, 70, 4):
        rates = {"text_encoder": 5e-5 - done / 2e6, "unet": 1e-4 - done / 1e6}
        made_up.step(done, loss=0.11 - done / 1000, learning_rates=rates, seconds_per_step=1.2,
                     seconds_left=500.0, card_used=12_700_000_000, card_bytes=12_880_000_000,
                     alarm="full")  # fmt: skip
    Image.new("RGB", (64, 64), (90, 60, 30)).save(folder / "preview.png")
    black = ("Preview 1 is black, in whole or in part: the model gave numbers that are not valid. "
             "If this goes on, stop and train again with a lower learning rate.")  # fmt: skip
    made_up.say(*[Preview(str(folder / "preview.png"), "a hero", 60)] * 3, Note(black, True))
    tour.robot.until(lambda: tour.robot.page._strip._loaded, "previews")
    tour.look("bake-alarm")
    made_up.fail("The graphics card ran out of memory. Turn on gradient_checkpointing, or lower "
                 "train_batch_size or resolution.", "train_batch_size")  # fmt: skip
    tour.robot.until(lambda: not tour.robot.page.busy)
    tour.look("bake-failed")
    tour.robot.end()
    store = queue_store.QueueStore()
    bakes = [store.add({**values(folder), "output_name": f"hero {number}"}) for number in range(3)]
    tour = Tour(f"{label}-told-queue", train.PLAN, {})
    tour.robot.wizard.facts.bake_kind = "queue"
    show_page(tour.robot.wizard, "bake")
    store.update(bakes[0].id, state="running")
    made_up.begin()
    made_up.step(30)
    tour.robot.until(lambda: tour.robot.page._first_step)
    tour.look("bake")
    with store.only_runner():
        show_page(tour.robot.wizard, "queue")
        tour.look("queue")
    long = folder / "a folder whose name is long" / f"{'a' * 70}.safetensors"
    ends = ({"state": "done", "result": str(long), "seconds": 754}, {"state": "stopped"},
            {"state": "failed", "error": "The graphics card ran out of memory."})  # fmt: skip
    for bake, end in zip(bakes, ends, strict=True):
        store.update(bake.id, **end)
        made_up.say(Facts({"ended": bake.id}))
    made_up.finish("")
    tour.robot.until(lambda: tour.robot.page.name == "finished")
    tour.look("finished")
    tour.robot.end()
    for bake in bakes:
        store.remove(bake.id)


def other_states(label: str, folder: Path) -> None:
    """A config of another tool, with its report; what is wrong on the summary."""
    config = folder / "config-123.json"
    config.write_text(json.dumps({"base_model": "C:\\gone.safetensors", "net_dim": 7, "nonsense": 3,
                                  "list_of_json_to_run": None, "lowram": True,
                                  "optimizer_type": "AdamW8bit"}))  # fmt: skip
    tour = Tour(f"{label}-config", train.PLAN, {"train_data_dir": str(config)})
    tour.robot.until(lambda: tour.robot.wizard.answers["network_dim"] == 7)
    tour.look("report")
    tour.robot.wizard.go_on()
    tour.robot.page.rows[base_page.SETTING].variable.set(str(BASE))
    tour.robot.pump(0.5)
    settled(tour)
    show_page(tour.robot.wizard, "summary")
    settled(tour)
    tour.look("summary-wrong")
    tour.robot.end()


@pytest.mark.slow
@pytest.mark.parametrize(("language", "theme", "scale", "size"), LOOKS)
def test_nothing_is_cut_off(memory_folder, monkeypatch, folder, language, theme, scale, size):
    monkeypatch.setenv("EASY_LORA_LANGUAGE", language)
    monkeypatch.setenv("EASY_LORA_THEME", theme)
    monkeypatch.setenv("EASY_LORA_SCALE", str(scale))
    label = f"{language}-{theme}-{scale}"
    with virtual_screen(*size):
        tour = Tour(label, train.PLAN, values(folder))
        walk(tour, folder, MadeUpTrial(monkeypatch))
        if scale <= 200:
            bake(tour)
        tour.robot.end()
        with monkeypatch.context() as patch:
            told_bakes(label, folder, MadeUpBake(patch))
        other_states(label, folder)
        tour = Tour(f"{label}-queue", train.PLAN, {})
        queue(tour, folder)
        tour.robot.end()
