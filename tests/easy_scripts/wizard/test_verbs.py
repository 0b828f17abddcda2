"""A verb with a window: without flags the window, filled with the files; with flags the command."""

from __future__ import annotations

import os

import pytest

from easy_scripts import merge, resize, verbs, window


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


def test_files_on_the_command_line_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = os.getcwd()
    assert window.filled(resize.PLAN, []) == {}
    assert window.filled(resize.PLAN, ["a.pt", "/b.pt"]) == {
        "model": [os.path.join(here, "a.pt"), os.path.abspath("/b.pt")]
    }
    assert window.filled(merge.PLAN, ["a.pt"]) == {"models": [os.path.join(here, "a.pt")]}
