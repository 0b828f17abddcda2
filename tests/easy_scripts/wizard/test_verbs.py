"""A verb with a window: without flags the window, filled with the files; with flags the command."""

from __future__ import annotations

import os

import pytest

from easy_scripts import merge, resize, verbs, window
from easy_scripts.install import command
from easy_scripts.launcher.judge import Judgement, State

setup_window = pytest.importorskip("easy_scripts.install.setup_window", reason="no Tk")


@pytest.fixture
def started(monkeypatch):
    """What would be started in the environment: (module, arguments)."""
    calls = []

    def start(_verb, module, arguments, **_options):
        calls.append((module, arguments))

    monkeypatch.setattr(verbs, "run_in_environment", start)
    return calls


@pytest.mark.parametrize("verb", ["resize", "merge", "extract"])
def test_flags_decide(verb, started):
    verbs.VERBS[verb].run([])
    verbs.VERBS[verb].run(["a b.safetensors", "c.pt"])
    verbs.VERBS[verb].run(["--model", "a.pt", "--new_rank", "8"])
    verbs.VERBS[verb].run(["--help"])
    assert started == [
        ("easy_scripts.window", [verb]),
        ("easy_scripts.window", [verb, "a b.safetensors", "c.pt"]),
        (f"scripts.{verb}_lora", ["--model", "a.pt", "--new_rank", "8"]),
        (f"scripts.{verb}_lora", ["--help"]),
    ]


MOVED = Judgement(State.MOVED, "The folder was moved here from C:\\x.", {"kind": "cpu"})
WHOLE = Judgement(State.WHOLE, "", {"kind": "cpu"})


@pytest.mark.parametrize(
    ("clicked", "code", "steps"),
    [
        ("", 0, ["set up in the console", "the tool"]),
        ("lora_resize.bat", 0, ["offered", "the tool"]),
        ("lora_resize.bat", 2, ["offered"]),  # the window was closed
    ],
)
def test_a_tool_without_its_environment_offers_set_up(monkeypatch, capsys, clicked, code, steps):
    done, states = [], [MOVED, WHOLE]

    def show(project, arguments, reason):
        assert (arguments, reason) == ([], MOVED.sentence)
        done.append("offered")
        return code

    def ensure(project, wishes):
        done.append("set up in the console")
        return code

    monkeypatch.setenv("EASY_LORA_CLICKED", clicked)
    monkeypatch.setattr(verbs, "judge", lambda project, extra: states.pop(0))
    monkeypatch.setattr(setup_window, "show", show)
    monkeypatch.setattr(command, "ensure_environment", ensure)
    for way in ("run_module", "open_window"):
        monkeypatch.setattr(verbs, way, lambda *_: done.append("the tool") or 0)
    assert verbs.run(["resize", "a.safetensors"]) == code
    assert done == steps
    assert (MOVED.sentence in capsys.readouterr().out) == (not clicked)


def test_files_on_the_command_line_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    assert window.filled(resize.PLAN, []) == {}
    assert window.filled(resize.PLAN, ["a.pt", "/b.pt"]) == {
        "model": [os.path.join(here, "a.pt"), os.path.abspath("/b.pt")]
    }
    assert window.filled(merge.PLAN, ["a.pt"]) == {"models": [os.path.join(here, "a.pt")]}
