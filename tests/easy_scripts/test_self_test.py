"""The end of set-up: the practice bake once, and the line that says it all."""

from __future__ import annotations

import re

import pytest
from private_python import put_python

from easy_scripts.install import command, self_test
from easy_scripts.install.self_test import BAKING, Proof, bake, ready_line
from easy_scripts.install.words import in_words
from easy_scripts.launcher.judge import Judgement, State
from easy_scripts.launcher.project import Project
from easy_scripts.wizard.catalogue import Catalogue
from scripts.core.events import Problem, Stage

STAMP = {
    "device": "NVIDIA GeForce RTX 3060 12 GB",
    "eight_bit": {"works": True, "reason": ""},
    "torch": {"version": "2.13.0", "cuda": "12.6"},
    "lock": "abc",
}


@pytest.mark.parametrize(
    ("stamp", "proof", "line"),
    [
        (
            STAMP,
            Proof(0, 14.2),
            "Ready: NVIDIA GeForce RTX 3060 12 GB, 8-bit optimisers yes, practice bake 14 s.",
        ),
        (
            {"eight_bit": {"works": False, "reason": "no library"}},
            Proof(),
            "Ready: the processor, 8-bit optimisers no (no library), practice bake left out.",
        ),
        (
            {**STAMP, "eight_bit": {}},
            Proof(1, 3.0),
            "Set up: NVIDIA GeForce RTX 3060 12 GB, 8-bit optimisers no (not for this system). But "
            "the practice bake failed. What it said stands above. "
            "Run: python -m easy_scripts doctor",
        ),
    ],
)
def test_the_last_line(stamp, proof, line):
    assert ready_line(stamp, proof) == line


def test_the_last_line_in_a_window_names_the_button_that_is_there(project, monkeypatch):
    (project.root / "code.txt").write_text("1")
    monkeypatch.setattr(command, "judge", lambda project: Judgement(State.WHOLE, "", STAMP))
    events = []
    assert command.finish(project, True, events.append, in_window=True) == 1
    button = Catalogue(language="en")("doctor.button")
    assert events[-1].text.endswith(
        f'But the practice bake failed. Press "{button}" to find out why.'
    )
    japanese = Catalogue(language="ja")
    assert japanese("doctor.button") in japanese.said(events[-1].text)
    assert "python -m" not in events[-1].text


@pytest.fixture
def project(tmp_path):
    """A project whose practice bake notes each time that it runs."""
    project = Project(tmp_path / "Easy LoRA")
    practice = project.root / "scripts" / "practice"
    practice.mkdir(parents=True)
    (project.root / "scripts" / "__init__.py").touch()
    (practice / "__init__.py").touch()
    (practice / "__main__.py").write_text(
        "import pathlib, sys\nlog = pathlib.Path('bakes.txt')\n"
        "log.write_text((log.read_text() if log.exists() else '') + 'x')\n"
        "sys.exit(int(pathlib.Path('code.txt').read_text()))\n"
    )
    (project.root / "code.txt").write_text("0")
    put_python(project)
    return project


def bakes(project):
    return len((project.root / "bakes.txt").read_text())


def test_it_is_baked_once_for_a_device_and_a_torch(project):
    first = bake(project, STAMP)
    assert first.code == 0 and first.seconds > 0
    assert bake(project, STAMP).seconds == pytest.approx(first.seconds)
    assert bakes(project) == 1
    bake(project, {**STAMP, "torch": {"version": "2.13.0", "cuda": "13.0"}})
    assert bakes(project) == 2


def test_a_failed_bake_is_no_proof(project):
    (project.root / "code.txt").write_text("1")
    assert bake(project, STAMP).code == 1
    assert bake(project, STAMP).code == 1
    assert bakes(project) == 2


EVENTS = """
import json, sys
for number in (1, 2):
    print(json.dumps({"event": "step", "done": number, "total": 2, "epoch": 1, "loss": 0.1,
                      "learning_rates": {}}), flush=True)
print("a stray line", flush=True)
print(json.dumps({"event": "problem", "message": "The disk is full."}), flush=True)
sys.exit(3 if sys.argv[1:] != ["--events"] else 2 if sys.stdin.read() == "" else 4)
"""


def test_a_window_is_told_how_far_it_is_and_stops_it(project, monkeypatch):
    """Asked to stop, the bake gets the end of its stdin, and time to save."""
    (project.root / "scripts" / "practice" / "__main__.py").write_text(EVENTS)
    events = []

    def report(event):
        events.append(event)
        if isinstance(event, Problem):
            raise KeyboardInterrupt

    assert bake(project, STAMP, report).code == 2
    assert events == [Stage(BAKING, 1, 2), Stage(BAKING, 2, 2), Problem("The disk is full.")]
    assert not project.proof.exists()


def test_a_bake_that_hangs_is_ended_and_told(project, monkeypatch):
    monkeypatch.setattr(self_test, "SILENCE", 2)
    practice = project.root / "scripts" / "practice" / "__main__.py"
    practice.write_text("import time\ntime.sleep(300)\n")
    events = []
    assert bake(project, STAMP, events.append).code not in (0, 2)
    [problem] = events
    assert "nothing came of it any more" in problem.message
    assert "restart the computer" in problem.message


@pytest.mark.parametrize(("code", "arguments"), [(0, []), (2, []), (0, ["--no-bake"])])
def test_setup_ends_with_it(project, monkeypatch, capsys, code, arguments):
    (project.root / "code.txt").write_text(str(code))
    monkeypatch.setattr(command, "Project", lambda: project)
    monkeypatch.setattr(command, "ensure_environment", lambda project, wishes: 0)
    assert command.main(arguments) == code
    shown = capsys.readouterr()
    if code == 2:
        assert "everything is set up" in shown.out
    else:
        wanted = r"left out\." if arguments else r"\d+ s\."
        assert re.search(rf"practice bake {wanted}$", shown.out.splitlines()[-1])


def test_seconds_in_words():
    assert [in_words(each) for each in (4.4, 89, 90, 3599)] == [
        "4 s", "89 s", "2 min", "60 min",
    ]  # fmt: skip
