"""A verb with a window: without flags the window, filled with the files; with flags the command."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from easy_scripts import merge, resize, train, verbs, window
from easy_scripts.install import command
from easy_scripts.launcher.judge import Judgement, State
from easy_scripts.launcher.window_sign import SIGN
from scripts.core.errors import SuiteError

setup_window = pytest.importorskip("easy_scripts.install.setup_window", reason="no Tk")

ROOT = Path(__file__).resolve().parents[3]


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


class ShownWindow:
    """Stands in for set-up's window: it is closed at once with `end`, or breaks with it."""

    def __init__(self, end):
        self.end = end

    def stay(self):
        if isinstance(self.end, Exception):
            raise self.end
        return self.end


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

    def open_window(project, arguments, reason):
        assert (arguments, reason) == ([], MOVED.sentence)
        done.append("offered")
        return ShownWindow(code)

    def ensure(project, wishes):
        done.append("set up in the console")
        return code

    monkeypatch.setenv("EASY_LORA_CLICKED", clicked)
    monkeypatch.setattr(verbs, "judge", lambda project, extra: states.pop(0))
    monkeypatch.setattr(setup_window, "open_setup_window", open_window)
    monkeypatch.setattr(command, "ensure_environment", ensure)
    for way in ("run_module", "open_window"):
        monkeypatch.setattr(verbs, way, lambda *_: done.append("the tool") or 0)
    assert verbs.run(["resize", "a.safetensors"]) == code
    assert done == steps
    assert (MOVED.sentence in capsys.readouterr().out) == (not clicked)


def no_screen(*_):
    raise SuiteError("There is no screen to show a window on.")


@pytest.mark.parametrize("verb", ["setup", "resize"])
def test_an_error_in_set_ups_window_does_not_set_up_unasked(monkeypatch, capsys, verb):
    """It must not become a set-up in the console, which begins without a question."""
    monkeypatch.setenv("EASY_LORA_CLICKED", f"{verb}.bat")
    monkeypatch.setattr(verbs, "judge", lambda project, extra: MOVED)
    broken = ShownWindow(SuiteError("The log cannot be written."))
    monkeypatch.setattr(setup_window, "open_setup_window", lambda *_: broken)
    monkeypatch.setattr(command, "ensure_environment", lambda *_: pytest.fail("set up unasked"))
    assert verbs.run([verb]) == 1
    said = capsys.readouterr()
    assert "The log cannot be written." in said.err and "in its own window" in said.out


def test_without_a_screen_the_plan_is_shown_and_begins_when_it_is_wanted(monkeypatch, capsys):
    done = []
    monkeypatch.setenv("EASY_LORA_CLICKED", "setup.bat")
    monkeypatch.setattr(setup_window, "open_setup_window", no_screen)
    monkeypatch.setattr(command, "describe_plan", lambda project, wishes: "About 3 GB.")
    monkeypatch.setattr(command, "ensure_environment", lambda *_: done.append("set up") or 0)
    monkeypatch.setattr(command, "finish", lambda *_: 0)
    monkeypatch.setattr("builtins.input", done.append)
    assert verbs.run(["setup"]) == 0
    out = capsys.readouterr().out
    assert "no screen" in out and "About 3 GB." in out and "in its own window" not in out
    assert [step[:20] for step in done] == [
        "Press Enter to begin", "set up", "Press Enter to close",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("system", "clicked", "way"),
    [("win32", "lora_resize.bat", "open_window"), ("win32", "", "run_module"),
     ("linux", "lora_resize.bat", "run_module")],
)  # fmt: skip
def test_only_after_a_double_click_the_window_is_left_alone(monkeypatch, system, clicked, way):
    """It needs no console then; started in one, the tool belongs to it."""
    done = []
    monkeypatch.setenv("EASY_LORA_CLICKED", clicked)
    monkeypatch.setattr(verbs.sys, "platform", system)
    monkeypatch.setattr(verbs, "judge", lambda project, extra: WHOLE)
    for name in ("run_module", "open_window"):
        monkeypatch.setattr(verbs, name, lambda *given, name=name: done.append((name, given)) or 7)
    assert verbs.run(["resize", "a.pt"]) == 7
    [(name, given)] = done
    assert name == way and given[1:3] == ("easy_scripts.window", ["resize", "a.pt"])


def test_a_window_tells_when_it_can_be_seen(screen, tmp_path):
    """As handover.open_window waits for it."""
    sign = tmp_path / "seen"
    process = subprocess.Popen(
        [sys.executable, "-m", "easy_scripts.window", "resize"], cwd=ROOT,
        env={**os.environ, SIGN: str(sign)},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not sign.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_files_on_the_command_line_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    assert window.filled(resize.PLAN, []) == {}
    assert window.filled(resize.PLAN, ["a.pt", "/b.pt"]) == {
        "model": [os.path.join(here, "a.pt"), os.path.abspath("/b.pt")]
    }
    assert window.filled(merge.PLAN, ["a.pt"]) == {"models": [os.path.join(here, "a.pt")]}


def test_what_is_dropped_on_training_is_sorted_by_what_it_is(tmp_path):
    pictures, model, config = tmp_path / "10_cat", tmp_path / "a.safetensors", tmp_path / "b.json"
    pictures.mkdir()
    for file in (pictures / "1.png", pictures / "2.PNG", model, config):
        file.write_bytes(b"")
    base, folder = "pretrained_model_name_or_path", "train_data_dir"
    both = {base: str(model), folder: str(pictures)}
    for dropped, expected in (
        ([model, pictures], both),
        ([pictures, model], both),
        ([pictures / "1.png", pictures / "2.PNG"], {folder: str(pictures)}),
        ([model], {base: str(model)}),
        ([pictures, config], {folder: str(config)}),
        ([tmp_path / "missing"], {folder: str(tmp_path / "missing")}),
        ([], {}),
    ):
        assert window.filled(train.PLAN, [str(path) for path in dropped]) == expected
