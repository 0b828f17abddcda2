"""Bakes that outlive their window: with a stand-in for the training, in real processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time

import pytest

from easy_scripts.bakes import keeper, kept
from easy_scripts.bakes.keeper import EVENTS, LOCK, NUMBER
from easy_scripts.bakes.kept import ABOUT, CODE_VANISHED, About, kept_bakes, start_bake
from easy_scripts.wizard import awake, child, remembered
from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.child import Ended, LogLine
from easy_scripts.wizard.heard import pass_on
from scripts.core.events import Note, Saved

# Tells what it is asked for, until "stop" or the end of stdin.
STAND_IN = """
import json, sys
def tell(**event):
    print(json.dumps(event), flush=True)
tell(event="note", text="begun with " + sys.argv[1])
print("a line for people", file=sys.stderr, flush=True)
if "--config" in sys.argv:
    with open(sys.argv[sys.argv.index("--config") + 1], encoding="utf-8") as file:
        tell(event="note", text="config " + json.load(file)["output_name"])
if sys.argv[1] == "quick":
    sys.exit(0)
for line in sys.stdin:
    tell(event="note", text="asked to " + line.strip())
    if line.strip() == "stop":
        break
else:
    tell(event="note", text="nobody there any more")
tell(event="saved", path="x.safetensors")
sys.exit(2)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A function that starts the stand-in under a keeper."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "stand_in_bake.py").write_text(STAND_IN)
    # the keeper is this project's; what it runs is found in a folder of its own
    monkeypatch.setattr(remembered, "memory_folder", lambda: tmp_path / "kept & ü")
    program = (
        "import runpy, sys, pathlib\n"
        "sys.path[0] = sys.argv[1]\n"
        "from easy_scripts.wizard import child\n"
        f"child.PROJECT_FOLDER = pathlib.Path({str(project)!r})\n"
        "sys.argv = sys.argv[2:]\n"
        "runpy.run_module('easy_scripts.bakes.keeper', run_name='__main__')\n"
    )
    bootstrap = tmp_path / "bootstrap.py"
    bootstrap.write_text(program)
    monkeypatch.setattr(kept, "BOOTSTRAP", bootstrap)
    bakes = []

    def start_it(word="long", name="hero", config=None):
        about = About("bake", name, {"network_dim": 4})
        bakes.append(start_bake(about, "stand_in_bake", [word], config))
        return bakes[-1]

    yield start_it
    for bake in bakes:
        bake._process.kill()
        bake._process.wait(timeout=10)


def collect(bake, holds, seen=None):
    """The messages until something holds of them."""
    seen, end = [] if seen is None else seen, time.monotonic() + 30
    while not holds(seen):
        assert time.monotonic() < end, seen
        seen += bake.messages()
        time.sleep(0.01)
    return seen


def ended(seen):
    return bool(seen) and isinstance(seen[-1], Ended)


def notes(seen):
    return [message.text for message in seen if isinstance(message, Note)]


def test_it_looks_like_a_child_process(start):
    bake = start()
    seen = collect(bake, lambda seen: len(seen) >= 2)
    assert notes(seen) == ["begun with long"]
    bake.ask("save")
    bake.ask("stop")
    seen = collect(bake, ended, seen)
    assert notes(seen)[1:] == ["asked to save", "asked to stop"]
    assert LogLine("a line for people") in seen and Saved("x.safetensors") in seen
    assert seen[-1] == Ended(2) and bake._process.wait(timeout=10) == 2
    bake.forget()
    assert not kept_bakes() and not bake.folder.exists()


def test_each_bake_has_its_own_config_in_its_own_folder(start):
    bakes = [start("long", name, {"output_name": name}) for name in ("one", "two")]
    seen = [collect(bake, lambda seen: len(notes(seen)) >= 2) for bake in bakes]
    assert [notes(one)[1] for one in seen] == ["config one", "config two"]
    for bake in bakes:
        bake.ask("stop")
        collect(bake, ended)
        bake.forget()
        assert not bake.folder.exists()


def test_the_pc_is_kept_awake_while_it_bakes_and_not_longer(tmp_path, monkeypatch):
    asked = []

    class Bake:
        def __init__(self, module, words):
            asked.append("started")

        def messages(self):
            asked.append("works")
            yield Ended(0)

    class Windows:
        def SetThreadExecutionState(self, state):  # noqa: N802
            asked.append(state.value)

    windll = type("WinDll", (), {"kernel32": Windows()})()
    monkeypatch.setattr(awake.ctypes, "windll", windll, raising=False)
    monkeypatch.setattr(awake, "sys", type("Sys", (), {"platform": "win32"}))
    monkeypatch.setattr(keeper, "Child", Bake)
    assert keeper.main([str(tmp_path), "a.module"]) == 0
    assert asked == ["started", 0x80000001, "works", 0x80000000]


def test_a_window_that_dies_stops_it_and_one_that_lets_go_does_not(start):
    bake = start()
    collect(bake, lambda seen: notes(seen))
    bake._process.stdin.close()
    assert "asked to stop" in notes(collect(bake, ended))
    bake = start()
    bake.let_go()
    time.sleep(0.2)
    bake._process.stdin.close()
    time.sleep(0.5)
    assert bake.running and not any(isinstance(one, Ended) for one in bake.messages())


def test_a_later_window_finds_it_sees_all_and_can_ask(start):
    first = start()
    first.let_go()
    collect(first, lambda seen: notes(seen))
    first._process.stdin.close()
    (again,) = kept_bakes()
    assert again.running and again.about.name == "hero"
    assert again.about.config == {"network_dim": 4} and again.about.started > time.time() - 60
    seen = collect(again, lambda seen: notes(seen))
    assert notes(seen)[0] == "begun with long", "from the beginning"
    again.ask("preview")
    again.ask("stop")
    assert notes(collect(again, ended, seen))[1:] == ["asked to preview", "asked to stop"]
    (unseen,) = kept_bakes()
    assert not unseen.running, "ended, but still there to be shown"
    unseen.forget()
    assert not kept_bakes()


def test_bakes_are_listed_newest_first_and_what_is_damaged_is_passed_over(start, tmp_path):
    old, new = start("quick", "old"), None
    collect(old, ended)
    time.sleep(1.1)  # their folders are named by the second
    new = start("quick", "new")
    collect(new, ended)
    folder = kept.bakes_folder()
    for name, text in (("a", "no json"), ("b", "[1]"), ("c", '{"kind": "bake"}')):
        (folder / name).mkdir()
        (folder / name / ABOUT).write_text(text)
    assert [bake.about.name for bake in kept_bakes()] == ["new", "old"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_keeper_that_is_killed_ends_the_bake_safely_and_is_noticed(start):
    bake = start()
    bake.let_go()
    seen = collect(bake, lambda seen: notes(seen))
    os.kill(bake._process.pid, signal.SIGKILL)
    seen = collect(bake, ended, seen)
    assert seen[-1] == Ended(CODE_VANISHED)
    (again,) = kept_bakes()
    assert not again.running


def test_on_a_disk_without_locks_the_process_tells_whether_it_lives(tmp_path, monkeypatch):
    def no_locks(_handle):
        raise OSError(errno.ENOLCK, "No locks available")

    ways = []

    class Bake:
        def __init__(self, module, words):
            ways.append(kept_bakes()[0].running)

        def messages(self):
            yield Ended(0)

    monkeypatch.setattr(remembered, "memory_folder", lambda: tmp_path)
    monkeypatch.setattr(keeper, "try_lock", no_locks)
    monkeypatch.setattr(kept, "try_lock", no_locks)
    monkeypatch.setattr(keeper, "Child", Bake)
    folder = tmp_path / "bakes" / "one"
    folder.mkdir(parents=True)
    (folder / ABOUT).write_text(json.dumps({"kind": "bake", "name": "x", "started": 0}))
    assert keeper.main([str(folder), "a.module"]) == 0 and ways == [True]
    (folder / NUMBER).write_text("1")
    monkeypatch.setattr(kept, "all_processes", lambda: [(1, 0, "/sbin/init")])
    (bake,) = kept_bakes()
    assert not bake.running, "another program has its number now"


def test_a_line_that_is_cut_off_does_no_harm(tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "memory_folder", lambda: tmp_path)
    folder = tmp_path / "bakes" / "one"
    folder.mkdir(parents=True)
    (folder / ABOUT).write_text(json.dumps({"kind": "bake", "name": "x", "later": 1}))
    (folder / LOCK).write_bytes(b"")
    (folder / EVENTS).write_text('{"event": "note", "text": "a"}\n{"event": "no')
    (bake,) = kept_bakes()
    assert list(bake.messages()) == [Note("a"), Ended(CODE_VANISHED)]
    with (folder / EVENTS).open("a") as file:
        file.write('te", "text": "b"}\nnonsense\n')
    assert list(bake.messages()) == [Note("b"), LogLine("nonsense")]


def test_an_error_of_ours_loses_no_message(tmp_path, monkeypatch):
    monkeypatch.setattr(remembered, "memory_folder", lambda: tmp_path)
    folder = tmp_path / "bakes" / "one"
    folder.mkdir(parents=True)
    (folder / ABOUT).write_text(json.dumps({"kind": "bake", "name": "x"}))
    (folder / LOCK).write_bytes(b"")
    (folder / EVENTS).write_text('{"event": "note", "text": "a"}\n{"event": "note", "text": "b"}\n'
                                 '{"ended": 0}\n')  # fmt: skip
    (bake,) = kept_bakes()
    texts = Catalogue("train", "en")
    with pytest.raises(ZeroDivisionError):
        pass_on(texts, bake, lambda _: 1 / 0)
    seen = []
    assert pass_on(texts, bake, seen.append) == 0 and seen == [Note("b")]


def test_what_cannot_be_started_is_told(start, monkeypatch):
    monkeypatch.setattr(child, "BOOTSTRAP", "/nowhere")
    monkeypatch.setattr(kept.subprocess, "Popen", _no_process)
    with pytest.raises(kept.SuiteError, match="could not be started"):
        start()
    assert not kept_bakes()


def _no_process(*_arguments, **_options):
    raise PermissionError(13, "Permission denied")
