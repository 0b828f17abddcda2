"""The states of the training wizard that a real bake shows rarely or late: failed, ended by a bug,
stopped, out of memory, without numbers, the queue's, the practice bake's; bakes found at the start;
pictures with mistakes; and the windows over the wizard's. Made-up bakes tell their events the way
real ones do. With EASY_LORA_PICTURES=FOLDER each state is also saved as a picture, to be looked at.
"""

from __future__ import annotations

import tkinter
from pathlib import Path

import pytest
from made_up_kept_bake import MadeUpBake
from test_every_page import Tour
from test_train_pages import LOOKS, settled
from test_train_wizard import BASE, TINY
from virtual_screen import virtual_screen

from easy_scripts import train
from easy_scripts.install.doctor import RUN_SETUP, Examination
from easy_scripts.install.place_checks import Finding
from easy_scripts.launcher.project import Project
from easy_scripts.queue import store as queue_store
from easy_scripts.train_pages import base_page
from easy_scripts.train_pages.graphics_card import Card
from easy_scripts.wizard import doctor_dialog, window
from easy_scripts.wizard.asking import show_page
from scripts.core.events import Done, Facts, Note, Preview, Problem, Saved, Stage

CARD = Card("NVIDIA GeForce RTX 4070 Ti SUPER", 16, True)
OUT_OF_MEMORY = Problem("The graphics card ran out of memory. Turn on gradient_checkpointing, or "
                        "lower train_batch_size or resolution.", "train_batch_size")  # fmt: skip
BROKEN = Note("Near step 431 the loss was no number (NaN). Going back to hero-000003.safetensors, "
              "and on with half the learning rate. If it breaks again, it stops. Lower the "
              "learning rate if it does.", warning=True)  # fmt: skip
LEARNT = Note('Of 24 pictures for "zyx" show what was taught: before 0%, after 92%. Other prompts '
              "are still right in 96%.")  # fmt: skip
TRACEBACK = ("Traceback (most recent call last):", '  File "loop.py", line 7, in step',
             "RuntimeError: a made-up bug")  # fmt: skip
FINDINGS = [Finding("packages", "The files of torch are not whole: x.dll.", RUN_SETUP,
                    by_setup=True),
            Finding("disk", "There is too little room.", "Make room and start again."),
            Finding("memory", "The computer has 8 GB of memory.", "Close others.",
                    problem=False)]  # fmt: skip


@pytest.fixture
def place(memory_folder, tmp_path, monkeypatch):
    """A folder for all that is made, on a PC with a known card."""
    from scripts.practice.draw import draw_practice_set

    draw_practice_set(tmp_path / "pictures")
    monkeypatch.setattr(base_page, "find_base_models", list)
    monkeypatch.setattr(queue_store, "QUEUE_FOLDER", tmp_path / "queue")
    monkeypatch.setattr(window, "LOG_FOLDER", tmp_path / "logs")
    monkeypatch.setattr(doctor_dialog, "examine",
                        lambda *_, **__: Examination([("Graphics", CARD.name)], FINDINGS)
                        )  # fmt: skip
    monkeypatch.setattr(doctor_dialog, "Project", lambda: Project(tmp_path / "project"))
    return tmp_path


def values(place: Path) -> dict:
    return {**TINY, "output_name": "hero", "output_dir": str(place / "out"),
            "train_data_dir": str(place / "pictures"), "sample_prompts": "zyx, red background",
            "pretrained_model_name_or_path": str(BASE)}  # fmt: skip


def lora(place: Path, name: str = "hero.safetensors") -> str:
    """A file that stands for a saved LoRA."""
    path = place / "out" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"0" * 37_900_000)
    return str(path)


def previews(place: Path, steps: tuple[int, ...]) -> list[Preview]:
    pictures = sorted((place / "pictures").rglob("*.png"))
    return [Preview(str(path), "zyx, red background", step)
            for step, path in zip(steps, pictures, strict=False)]  # fmt: skip


def watch(tour: Tour, kind: str = "bake", place: Path | None = None) -> MadeUpBake:
    """A bake that runs without a window, and its page."""
    bake = MadeUpBake(kind, "hero", values(place) if place else {})
    tour.robot.wizard.facts.attach = bake.seen()
    show_page(tour.robot.wizard, "bake")
    return bake


def shown(tour: Tour, text: str) -> bool:
    """Whether a text of a command is on the screen, translated or not."""
    seen = tour.robot.seen()
    return text in seen or tour.robot.wizard.texts.said(text) in seen


def until_shown(tour: Tour, text: str) -> None:
    tour.robot.until(lambda: shown(tour, text), text)


def ended(tour: Tour, bake: MadeUpBake, code: int) -> None:
    """The bake ends, and its page has seen it."""
    page = tour.robot.page
    bake.end(code)
    tour.robot.until(lambda: not page.busy, "the end is seen")


# --- while it bakes ------------------------------------------------------------------------


def troubles(tour: Tour, place: Path) -> None:
    """Out of memory, slow, without numbers; then stopped, failed, ended by a bug."""
    bake = watch(tour, place=place)
    bake.steps(60, card_used=17_100_000_000, alarm="full")
    until_shown(tour, tour.robot.wizard.texts("bake.spill"))
    tour.look("bake-spills")
    bake.steps(80, seconds_per_step=9.4, alarm="slower")
    until_shown(tour, tour.robot.wizard.texts("bake.slower"))
    tour.look("bake-slower")
    bake.steps(90)
    bake.say(*previews(place, (40, 80)), BROKEN)
    until_shown(tour, BROKEN.text)
    tour.look("bake-broken-once")
    tour.robot.answer(1)
    tour.robot.page.leave_busy()
    tour.look("bake-stopping")
    assert bake.requests() == ["stop"]
    state = place / "out" / "hero-state"
    state.mkdir(parents=True, exist_ok=True)
    bake.say(Saved(lora(place)), Saved(str(state), "state"))
    ended(tour, bake, 2)
    assert "hero.safetensors" in tour.robot.seen()
    tour.look("bake-stopped")
    bake = watch(tour, place=place)
    bake.steps(3)
    bake.say(OUT_OF_MEMORY)
    ended(tour, bake, 1)
    until_shown(tour, OUT_OF_MEMORY.message)
    tour.look("bake-failed")
    bake = watch(tour, place=place)
    bake.steps(140)
    bake.log(*TRACEBACK)
    ended(tour, bake, 70)
    until_shown(tour, tour.robot.wizard.texts("work.bug"))
    tour.look("bake-bug")
    tour.unfold()
    tour.look("bake-bug-log")


def finished_after_trouble(tour: Tour, place: Path) -> None:
    """A warning stays in view at the end; several versions."""
    bake = watch(tour, place=place)
    bake.steps(1200)
    bake.say(BROKEN, *previews(place, (240, 480, 720, 960, 1200)))
    bake.say(*(Saved(lora(place, f"hero-00000{number}.safetensors")) for number in range(1, 4)),
             Saved(lora(place)), Done(lora(place), 754.0))  # fmt: skip
    bake.end(0)
    tour.robot.until(lambda: tour.robot.page.name == "finished")
    assert shown(tour, BROKEN.text)
    tour.look("finished-after-trouble")


def queue(tour: Tour, place: Path) -> None:
    """The queue baking, and its end: one done, one failed."""
    store = queue_store.QueueStore()
    first, second = (store.add({**values(place), "output_name": name})
                     for name in ("hero in armour", "a city at night"))  # fmt: skip
    bake = watch(tour, "queue")
    bake.say(Facts({"begins": first.name}))
    bake.steps(300)
    until_shown(tour, first.name)
    tour.look("bake-queue")
    store.update(first.id, state="done", seconds=754.0, result=lora(place))
    store.update(second.id, state="failed", error=OUT_OF_MEMORY.message)
    bake.say(Facts({"ended": first.id}), Facts({"begins": second.name}),
             Facts({"ended": second.id}), Done(lora(place), 760.0))  # fmt: skip
    bake.end(0)
    tour.robot.until(lambda: tour.robot.page.name == "finished")
    assert shown(tour, OUT_OF_MEMORY.message)
    tour.look("finished-queue")


def practice(tour: Tour, place: Path) -> None:
    """The practice bake: drawing its pictures, training, its contact sheet."""
    from PIL import Image

    bake = watch(tour, "practice")
    bake.say(Stage("Drawing the practice pictures"))
    until_shown(tour, "Drawing the practice pictures")
    tour.look("practice-draws")
    bake.steps(60, 120, 5)
    until_shown(tour, tour.robot.wizard.texts("bake.baking"))
    tour.look("practice")
    sheet = place / "sheet.png"
    Image.new("RGB", (900, 500), (90, 120, 160)).save(sheet)
    bake.say(Saved(lora(place, "practice.safetensors")), Saved(str(sheet), "sheet"), LEARNT,
             Done(str(sheet), 61.0))  # fmt: skip
    bake.end(0)
    tour.robot.until(lambda: tour.robot.page.name == "finished")
    assert shown(tour, LEARNT.text)
    tour.look("finished-practice")


# --- other pages ---------------------------------------------------------------------------


def found_at_the_start(tour: Tour, place: Path) -> None:
    """A bake that runs, one that ended unseen, one that was paused, the last one."""
    wizard = tour.robot.wizard
    ended_one, running = MadeUpBake("queue"), MadeUpBake(config=values(place))
    ended_one.end(0)
    (place / "state").mkdir()
    wizard.memory.keep("paused", [{"config": {**values(place), "output_name": "the other one"},
                                   "state": str(place / "state")}])  # fmt: skip
    wizard.memory.keep("last", values(place))
    show_page(wizard, "start")
    tour.robot.pump()
    for key in ("running", "ended", "resume", "again"):
        assert wizard.texts(f"start.{key}.name") in tour.robot.seen(), key
    tour.look("start-found")
    wizard.answers.update(values(place))
    show_page(wizard, "summary")
    settled(tour)
    assert wizard.texts("summary.running") in tour.robot.seen()
    tour.look("summary-another-runs")
    running.end(0)


def wrong_pictures(tour: Tour, place: Path) -> None:
    """A folder too high, with the choices below it; pictures without captions."""
    from PIL import Image

    for number, name in enumerate(("cats/10_a cat", "dogs of the neighbourhood/5_a dog")):
        folder = place / "all my things" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (640 + 90 * number, 512), (200, 120, 40)).save(folder / "1.png")
    wizard = tour.robot.wizard
    wizard.answers["pretrained_model_name_or_path"] = str(BASE)
    wizard.answers["train_data_dir"] = str(place / "all my things")
    show_page(wizard, "pictures")
    settled(tour)
    assert wizard.texts("pictures.which") in tour.robot.seen()
    tour.look("pictures-too-high")
    wizard.answers["train_data_dir"] = str(place / "all my things" / "cats")
    tour.robot.page.rows["train_data_dir"].check()
    settled(tour)
    until_shown(tour, wizard.texts("pictures.no_captions"))
    tour.look("pictures-without-captions")


def windows(robot) -> list[tkinter.Misc]:
    """The windows that are open over the wizard's."""
    return [child for child in robot.root.winfo_children()
            if isinstance(child, tkinter.Toplevel) and child.winfo_viewable()]  # fmt: skip


def windows_over_it(tour: Tour) -> None:
    """A tooltip, the question after a bug, and the doctor's window."""
    robot, wizard = tour.robot, tour.robot.wizard
    row = robot.page.rows["train_data_dir"]
    label = row.frame.winfo_children()[0]
    label.event_generate("<Enter>", x=4, y=4, rootx=label.winfo_rootx() + 4,
                         rooty=label.winfo_rooty() + 4)  # fmt: skip
    robot.until(lambda: windows(robot), "the tooltip has come")
    tour.look("tooltip")
    label.event_generate("<Leave>")
    tour.question("bug")
    try:
        raise ValueError("made up")
    except ValueError as error:
        wizard._tell_bug(type(error), error, error.__traceback__)
    wizard.open_doctor()
    until_shown(tour, FINDINGS[1].remedy)
    (dialog,) = windows(robot)
    tour.look("doctor")
    tour.on_screen("doctor", dialog)
    dialog.event_generate("<Escape>")


@pytest.mark.slow
@pytest.mark.parametrize(("language", "theme", "scale", "size"), LOOKS)
def test_nothing_is_cut_off_in_states_that_are_rare(
    place, monkeypatch, language, theme, scale, size
):
    monkeypatch.setenv("EASY_LORA_LANGUAGE", language)
    monkeypatch.setenv("EASY_LORA_THEME", theme)
    monkeypatch.setenv("EASY_LORA_SCALE", str(scale))
    with virtual_screen(*size):
        tour = Tour(f"{language}-{theme}-{scale}-states", train.PLAN, {})
        tour.robot.wizard.facts.card = CARD
        for go in (troubles, finished_after_trouble, queue, practice, found_at_the_start,
                   wrong_pictures):  # fmt: skip
            go(tour, place)
        windows_over_it(tour)
        tour.robot.end()
