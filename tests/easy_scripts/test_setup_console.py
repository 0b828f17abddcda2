"""What set-up shows in a console, and what of pip's output becomes progress."""

from __future__ import annotations

import io
import os

import pytest

from easy_scripts import verbs
from easy_scripts.install import command
from easy_scripts.install.command import Console, ensure_environment
from easy_scripts.install.install_packages import DownloadProgress
from easy_scripts.install.kinds import Gpu, Graphics
from easy_scripts.install.make_environment import Wishes
from easy_scripts.launcher.project import Project
from scripts.core.errors import SuiteError
from scripts.core.events import Done, Note, Stage


class Terminal(io.StringIO):
    """A stream that says it is a terminal; `shown` is what stays to be read."""

    def isatty(self):
        return True

    def shown(self):
        return [line.split("\r")[-1].rstrip() for line in self.getvalue().split("\n")]


def test_steps_counts_and_notes():
    terminal = Terminal()
    console = Console(terminal)
    for event in (
        Stage("Installing PyTorch"), Stage("Downloading torch, MB", 1, 200),
        Stage("Downloading torch, MB", 200, 200), Note("A note."), Done("x", 75.4),
    ):  # fmt: skip
        console(event)
    assert terminal.shown() == [
        "  ... Installing PyTorch", "      Downloading torch, MB: 200 of 200", "  A note.",
        "  Set-up is complete (1 min 15 s).", "",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (SuiteError("The disk is full."), 1, "The disk is full."),
        (KeyboardInterrupt(), 2,
         "Set-up was stopped. Start it again: it goes on where it stopped."),
    ],
)  # fmt: skip
def test_an_end_in_mid_count_has_a_line_of_its_own(monkeypatch, error, code, sentence):
    terminal = Terminal()

    def make(project, wishes, report):
        report(Stage("Downloading torch, MB", 60, 200))
        raise error

    monkeypatch.setattr(command, "make_environment", make)
    monkeypatch.setattr(command, "Console", lambda: Console(terminal, terminal))
    assert ensure_environment(Project(), Wishes()) == code
    assert terminal.shown() == ["      Downloading torch, MB: 60 of 200", sentence, ""]


def test_a_card_that_cannot_be_used_leaves_the_processor(tmp_path, capsys):
    old = Graphics((Gpu("NVIDIA GeForce RTX 3060", (8, 6)),), (11, 4))
    wishes = Wishes(kind="auto", detect=lambda: old)
    assert ensure_environment(Project(tmp_path), wishes) == 1
    told = capsys.readouterr().err
    assert "Install NVIDIA's driver" in told and "setup --kind cpu" in told


def test_downloads_and_unpacking_are_told_from_what_pip_prints():
    events = []
    progress = DownloadProgress(events.append)
    for line in (
        "Collecting torch==2.13.0",
        "  Downloading torch-2.13.0-cp311-cp311-win_amd64.whl.metadata (28 kB)",
        "Downloading torch-2.13.0-cp311-cp311-win_amd64.whl (200.5 MB)",
        "Progress 1000 of 200500000", "Progress 1500 of 200500000",
        "Progress 200500000 of 200500000",
        "Downloading tiny-1.0-py3-none-any.whl (3 kB)", "Progress 3000 of 3000",
        "Installing collected packages: mpmath, sympy, torch",
        "Installing collected packages: torch",
    ):  # fmt: skip
        progress(line)
    assert events == [
        Stage("Downloading torch, MB", 0, 200), Stage("Downloading torch, MB", 200, 200),
        Stage("Unpacking 3 packages"), Stage("Unpacking torch"),
    ]  # fmt: skip


def test_a_bug_on_a_full_disk_is_a_sentence_all_the_same(tmp_path, monkeypatch, capsys):
    def broken(_arguments):
        raise ZeroDivisionError("ours")

    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(verbs, "Project", lambda: Project(tmp_path))
    monkeypatch.setitem(verbs.VERBS, "test", verbs.Verb("test", "", broken))
    monkeypatch.setattr("pathlib.Path.write_text", full)
    assert verbs.run(["test"]) == 70
    assert "cannot be written (No space left on device)." in capsys.readouterr().err
