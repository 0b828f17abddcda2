"""What a child prints, read by somebody who hears the clock and the request to stop as well."""

from __future__ import annotations

import _thread
import subprocess
import sys
import threading
import time

import pytest

from easy_scripts.install.lines import Lines
from easy_scripts.install.pip_steps import StepFailed, Workshop, run_logged
from easy_scripts.launcher.project import Project

SILENT = "import time; print('one', flush=True); time.sleep(300)"


@pytest.fixture
def start():
    """A function: a child that runs some code; ended afterwards."""
    children = []

    def start(code):
        command = [sys.executable, "-c", code]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()


@pytest.fixture
def soon():
    """Somebody presses Stop in a second: the main thread is interrupted, its reading is not."""
    timer = threading.Timer(1.0, _thread.interrupt_main)
    timer.start()
    yield
    timer.cancel()


def test_all_lines_come_and_the_end_stays_the_end(start):
    lines = Lines(start("print('one\\n\\nthree', end='')").stdout, 60)
    assert list(lines) == ["one\n", "\n", "three"]
    assert list(lines) == []


def test_silence_is_an_error_and_what_comes_later_is_read(start):
    child = start("import time; print('one', flush=True); time.sleep(3); print('two')")
    lines = Lines(child.stdout, 1.0)
    assert next(lines) == "one\n"
    with pytest.raises(TimeoutError):
        next(lines)
    assert _patiently(lines) == "two\n"


def _patiently(lines):
    while True:
        try:
            return next(lines)
        except TimeoutError:
            continue


def test_a_request_to_stop_is_heard_while_nothing_comes(start, soon):
    lines = Lines(start(SILENT).stdout)
    assert next(lines) == "one\n"
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        next(lines)
    assert time.monotonic() - began < 30


@pytest.fixture
def workshop(tmp_path):
    with (tmp_path / "log.txt").open("w") as log:
        yield Workshop(Project(tmp_path), log, tmp_path / "log.txt", log.fileno())


def still_there(tmp_path):
    """Whether the child goes on writing the time into its file."""
    before = (tmp_path / "alive").read_text()
    time.sleep(1)
    return (tmp_path / "alive").read_text() != before


def alive(tmp_path):
    return [
        sys.executable, "-c",
        "import pathlib, sys, time\n"
        "while True: pathlib.Path(sys.argv[1]).write_text(str(time.time())); time.sleep(0.1)",
        str(tmp_path / "alive"),
    ]  # fmt: skip


def test_a_step_that_hangs_is_ended_and_told_in_a_sentence(workshop, tmp_path):
    with pytest.raises(StepFailed) as caught:
        run_logged(workshop, alive(tmp_path), "The environment could not be checked", silence=3)
    assert caught.value.hung and not caught.value.try_again
    assert str(caught.value).startswith(
        "The environment could not be checked: nothing came of it any more, so it was ended. The "
        "driver of the graphics card may be hanging: restart the computer. "
    )
    assert not still_there(tmp_path)


def test_a_step_that_is_silent_ends_when_we_are_to_stop(workshop, tmp_path, soon):
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_logged(workshop, alive(tmp_path), "PyTorch could not be installed")
    assert time.monotonic() - began < 30
    assert not (tmp_path / "alive").exists() or not still_there(tmp_path)
