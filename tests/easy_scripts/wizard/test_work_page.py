"""The page on which a command runs: progress, stop, problems, bugs, the closed window."""

from __future__ import annotations

import json
import time

import psutil
import pytest
from demo import make_plan
from window_to_kill import KilledWindow

from easy_scripts.wizard import work_page


@pytest.fixture
def start(open_robot):
    """A function that opens the demo, chooses how it ends, and starts the work."""

    def start_it(mode):
        robot = open_robot(make_plan(), {"mode": mode})
        robot.press("<Return>")
        robot.press("<Alt-s>")
        assert robot.page.name == "work"
        return robot

    return start_it


def running(robot):
    """Whether the child process lives."""
    return robot.page._child._process.poll() is None


def test_the_work_is_shown_and_ends_on_the_next_page(start):
    robot = start("quick")
    assert robot.page.busy and "Stop" in robot.seen()
    work = robot.page
    stages = set()

    def done():
        stages.add(work._time.cget("text").split(" · ")[0])
        return robot.page.name == "result"

    robot.until(done)
    assert stages & {f"{number} of 5" for number in (1, 2, 3, 4)}
    assert work._notes.cget("text") == "The demo has begun."
    assert "a line for nobody" in work._log.get("1.0", "end"), "a stray print goes to the log"
    robot.press("<Alt-b>")
    assert robot.page.name == "save", "Back goes past the work"


def test_the_time_left_is_told(start):
    robot = start("long")
    robot.until(lambda: "left" in robot.page._time.cget("text"), "the time left is shown")
    assert robot.page._time.cget("text").endswith("s left")


@pytest.mark.parametrize("how", ["<Escape>", "<Alt-t>", "cross"])
def test_stopping_asks_once_and_then_stops(start, how):
    robot = start("long")
    robot.until(lambda: "of 300" in robot.seen())
    asked = robot.answer(1)
    if how == "cross":
        robot.root.tk.call(robot.root.protocol("WM_DELETE_WINDOW"))
    else:
        robot.press(how)
    robot.until(lambda: not robot.page.busy)
    assert len(asked()) == 1 and "Stop the work?" in asked()[0]
    assert "Stopped. Nothing was written." in robot.seen()
    assert not running(robot)
    robot.press("<Escape>")
    assert not robot.open


def test_what_was_made_before_a_stop_is_named(start):
    robot = start("saves")
    robot.until(lambda: "of 300" in robot.seen())
    asked = robot.answer(1)
    robot.press("<Escape>")
    robot.until(lambda: not robot.page.busy)
    assert "Files that are made already stay" in asked()[0]
    assert "Stopped. What was made stays:\nfirst.safetensors" in robot.seen()


def test_going_on_working_is_the_harmless_answer(start):
    robot = start("long")
    asked = robot.answer(0)
    robot.press("<Escape>")
    robot.until(asked)
    robot.pump(0.2)
    assert robot.page.busy and running(robot)


def test_a_deaf_command_can_be_ended_after_a_while(start, monkeypatch):
    monkeypatch.setattr(work_page, "GRACE", 500)
    robot = start("deaf")
    robot.until(lambda: "of 300" in robot.seen())
    robot.answer(1)
    robot.press("<Escape>")
    robot.until(lambda: "Stopping as soon as it is safe…" in robot.seen())
    robot.press("<Escape>")
    robot.pump(0.1)
    assert running(robot), "not before the time of grace"
    robot.until(lambda: "End it now" in robot.seen())
    robot.click("End it now")
    robot.until(lambda: not robot.page.busy)
    assert "Stopped. Nothing was written." in robot.seen()


def test_a_problem_leads_back_to_its_field(start):
    robot = start("problem")
    robot.until(lambda: not robot.page.busy)
    assert "This did not work." in robot.seen()
    assert "The size 32 is too large for this file. Choose a smaller one." in robot.seen()
    assert "Open the log" not in robot.seen()
    robot.click("Go to “Size”")
    assert robot.page.name == "size"
    assert robot.page.rows["size"]._message.cget("text").startswith("The size 32 is too large")
    robot.press("<Alt-n>")
    assert robot.page.name == "save", "what the command said once does not bar the way"


def test_a_problem_without_a_field_is_told(start):
    robot = start("wrong_strength")
    robot.until(lambda: not robot.page.busy)
    assert "The disk is full. Make room there and start again." in robot.seen()
    assert "Go to" not in robot.seen()
    robot.click("Back")
    assert robot.page.name == "save"


def test_a_bug_is_one_sentence_and_the_log(start, monkeypatch):
    opened = []
    monkeypatch.setattr(work_page, "open_file", opened.append)
    robot = start("bug")
    robot.until(lambda: not robot.page.busy)
    assert "Something went wrong that should not have" in robot.seen()
    assert "Traceback" not in robot.seen()
    robot.click("Open the log")
    assert "RuntimeError: a bug" in opened[0].read_text(encoding="utf-8")
    opened[0].unlink()


def test_a_command_that_cannot_be_started_leaves_the_way_back_open(start, monkeypatch):
    def refuse(*_):
        raise OSError("no memory")

    monkeypatch.setattr(work_page, "Child", refuse)
    robot = start("long")
    assert "This did not work." in robot.seen() and "no memory" in robot.seen()
    assert "Open the log" in robot.seen() and "Close" in robot.seen()
    robot.press("<Alt-b>")
    assert robot.page.name == "save"


def test_a_command_that_dies_without_a_word_is_a_failure(start):
    robot = start("long")
    robot.until(lambda: "of 300" in robot.seen())
    robot.page._child.kill()
    robot.until(lambda: not robot.page.busy)
    assert "This did not work." in robot.seen()
    assert "Open the log" in robot.seen()


@pytest.mark.parametrize("where", ["take", "polled", "_finish"])
def test_an_error_of_ours_on_the_page_leaves_the_way_out_open(start, where):
    robot = start("long")
    page, told = robot.page, []

    def fail(*_):
        raise RuntimeError("made up")

    setattr(page, where, fail)
    robot.root.report_callback_exception = lambda kind, error, trace: told.append(str(error))
    robot.answer(1)
    robot.press("<Escape>")
    robot.until(lambda: not page.busy, "the stop has come through")
    assert set(told) == {"made up"} and not running(robot)
    robot.press("<Escape>")
    assert not robot.open


@pytest.mark.parametrize("moment", [0.0, 0.3, 0.9])
def test_a_window_that_is_killed_leaves_no_process_behind(screen, tmp_path, moment):
    window = KilledWindow("demo", tmp_path / "kept", {"mode": "long"})
    time.sleep(moment)
    assert psutil.pid_exists(window.worker)
    window.kill()
    end = time.monotonic() + 20
    while psutil.pid_exists(window.worker):
        assert time.monotonic() < end, "the child goes on although the window is gone"
        time.sleep(0.02)


@pytest.mark.parametrize("moment", [0.0, 0.2, 0.9])
def test_a_window_that_is_closed_leaves_no_process_and_no_file_behind(start, moment):
    robot = start("long")
    robot.pump(moment)
    child, config = robot.page._child, robot.wizard.own_files.write("more", {})
    robot.wizard.end()
    assert not config.parent.exists()
    end = time.monotonic() + 20
    while child._process.poll() is None:
        assert time.monotonic() < end, "the child goes on although the window is gone"
        time.sleep(0.02)


def test_two_windows_write_no_config_over_each_other_s(open_robot):
    written = []
    for title in ("one", "two"):
        robot = open_robot(make_plan(), {"mode": "long", "title": title})
        robot.press("<Return>")
        robot.press("<Alt-s>")
        folder = robot.wizard.own_files.write("more", {}).parent
        written.append(json.loads((folder / "run.json").read_text(encoding="utf-8"))["title"])
    assert written == ["one", "two"]
