"""Every page of the training wizard by the keyboard alone: Tab, access keys, no two alike."""

from __future__ import annotations

import json
import tkinter
from tkinter import ttk

import pytest
import test_train_wizard as wizard_tests
from test_frame import drop
from test_train_wizard import TINY

from easy_scripts import train
from easy_scripts.queue.store import QueueStore
from easy_scripts.train_pages import bake_page
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.fold import Fold
from easy_scripts.wizard.remembered import Memory

this_pc, pictures, given = wizard_tests.this_pc, wizard_tests.pictures, wizard_tests.given

FIELDS = (ttk.Button, ttk.Entry, ttk.Checkbutton, ttk.Radiobutton)  # with what is below these
PAGES = ("start", "base", "pictures", "kind", "all_settings", "summary", "queue", "bake")


class SilentBake:
    """A bake that says nothing."""

    running = True

    def messages(self):
        return iter(())

    def kill(self, *_) -> None:
        pass

    forget = let_go = ask = kill


@pytest.fixture(params=PAGES)
def robot(request, open_robot, given, memory_folder, monkeypatch, tmp_path):
    """On each page in turn, with all that can be on it unfolded."""
    monkeypatch.setattr(bake_page, "start_bake", lambda *_: SilentBake())
    Memory("train", memory_folder).keep("draft", {"network_dim": "5"})
    Memory("train", memory_folder).keep("last", {**given, **TINY, "output_name": "hero"})
    store = QueueStore(tmp_path / "queue")
    for name in ("one", "two"):
        store.add({**given, "output_name": name})
    robot = open_robot(train.PLAN, given)
    for name in ("base", "pictures", request.param):
        show_page(robot.wizard, name)
        robot.until(lambda: not getattr(getattr(robot.page, "_asking", None), "busy", False))
    if request.param == "start":
        robot.page.open_config(str(config(tmp_path, given)))
        robot.until(lambda: "To the summary" in robot.seen())
    if request.param == "bake":
        robot.page._let_buttons(True)
    robot.pump(0.3)
    for widget in list(robot.widgets()):
        if isinstance(widget, Fold):
            widget.unfold()
    robot.pump()
    assert robot.page.name == request.param
    return robot


def config(folder, given):
    file = folder / "config.json"
    file.write_text(json.dumps({**given, "output_name": "x"}), encoding="utf-8")
    return file


def usable(robot) -> list[tkinter.Misc]:
    """What can be pressed or filled in now."""
    return [w for w in robot.widgets() if isinstance(w, FIELDS) and not w.instate(["disabled"])]


@pytest.mark.slow
def test_tab_reaches_everything_and_comes_back(robot):
    wanted = {str(widget) for widget in usable(robot)}
    assert len(wanted) >= 3
    begin = widget = robot.root.focus_get()
    reached = []
    for _ in range(200):
        reached.append(str(widget))
        widget = widget.tk_focusNext()
        if widget is begin:
            break
    assert widget is begin, "Tab goes round"
    assert wanted <= set(reached), [
        robot.root.nametowidget(name).cget("text") for name in wanted - set(reached)
    ]


def test_files_and_folders_are_dropped_on_the_pages_that_take_them(
    open_robot, given, pictures, tmp_path
):
    robot = open_robot(train.PLAN)
    if not robot.wizard.drops:
        pytest.skip("there is no tkdnd for this system")
    robot.click("Start here")
    drop(robot, robot.page.rows["pretrained_model_name_or_path"], str(wizard_tests.BASE))
    robot.until(lambda: robot.wizard.facts.base)
    robot.click("Next")
    drop(robot, robot.page.rows["train_data_dir"], str(pictures))
    robot.until(lambda: robot.wizard.facts.dataset)
    assert "8 pictures in 1 folder" in robot.seen()


@pytest.mark.slow
def test_every_underlined_letter_is_a_key_and_no_two_are_alike(robot):
    letters = {}
    for widget in usable(robot):
        if isinstance(widget, ttk.Button | ttk.Radiobutton) and int(widget.cget("underline")) >= 0:
            letter = str(widget.cget("text"))[int(widget.cget("underline"))].lower()
            letters.setdefault(letter, []).append(str(widget.cget("text")))
    assert len(letters) >= 2
    assert all(len(texts) == 1 for texts in letters.values()), letters
    for letter, (text,) in letters.items():
        assert robot.root.bind(f"<Alt-{letter}>"), text


@pytest.mark.slow
def test_what_has_the_keyboard_is_in_view(robot):
    for widget in usable(robot):
        widget.focus_force()
        robot.pump(0.02)
        if str(widget).startswith(str(robot.page.frame.body)):
            top, holder = widget.winfo_rooty(), robot.wizard._holder
            assert holder.winfo_rooty() <= top + 1, widget
            bottom = top + widget.winfo_height()
            assert bottom <= holder.winfo_rooty() + holder.winfo_height() + 1, widget
