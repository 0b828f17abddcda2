"""The queue: its list on disk, and running it with trainings that succeed, fail and crash."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from easy_scripts.queue import __main__ as command
from easy_scripts.queue.runner import run_queue
from easy_scripts.queue.store import (
    DONE,
    FAILED,
    HELD,
    RUNNING,
    STOPPED,
    WAITING,
    Bake,
    QueueStore,
    configs_in,
)  # fmt: skip
from easy_scripts.wizard import child
from scripts.core.errors import SuiteError
from scripts.core.events import Control

# A stand-in for the training: what it does is the output name of its config.
STAND_IN = """
import json, os, sys
settings = json.load(open(sys.argv[2], encoding="utf-8"))
name = settings["output_name"]
def tell(**event):
    print(json.dumps(event), flush=True)
if settings.get("resume"):
    if settings.get("seed") == 8:
        tell(event="problem", message="The state belongs to another training.", setting="resume")
        sys.exit(1)
    name = "resumed"
if name == "bad":
    tell(event="problem", message="Too dark.", setting="vae")
    tell(event="problem", message="Too few.")
    sys.exit(1)
if name == "crash":
    print("segment violated", file=sys.stderr, flush=True)
    os._exit(70)
if name == "long":
    tell(event="step", done=1, total=9, epoch=1, loss=0.5, learning_rates={})
    if sys.stdin.readline().strip() == "stop":
        tell(event="saved", path="half.safetensors")
        tell(event="saved", path=os.getcwd(), what="state")
        sys.exit(2)
tell(event="saved", path=name + ".safetensors")
tell(event="done", path=name + ".safetensors", seconds=1)
"""


@pytest.fixture
def store(tmp_path) -> QueueStore:
    return QueueStore(tmp_path / "queue with ü")


@pytest.fixture
def stand_in(tmp_path, monkeypatch) -> str:
    """A module that stands in for scripts.train, found in a project folder of its own."""
    (tmp_path / "stand_in_training.py").write_text(STAND_IN)
    monkeypatch.setattr(child, "PROJECT_FOLDER", tmp_path)
    return "stand_in_training"


def add(store, *names):
    return [store.add({"output_name": name}).id for name in names]


def states(store):
    return {bake.name: bake.state for bake in store.read().bakes}


def names(store):
    return [bake.name for bake in store.read().bakes]


def run(store, stand_in, control=None, watch=lambda bake, event: None):
    return run_queue(store, watch, control or Control(), stand_in)


def test_the_list_survives_a_restart_and_can_be_changed(store):
    one, two, three = add(store, "one", "two", "three")
    again = QueueStore(store.folder)
    again.move(three, 0)
    assert names(store) == ["three", "one", "two"]
    again.duplicate(one)
    assert names(store) == ["three", "one", "one", "two"]
    store.remove(one)
    store.hold(two)
    store.edit(three, {"output_name": "three", "network_dim": 8})
    assert states(again) == {"three": WAITING, "one": WAITING, "two": HELD}
    assert again.read().find(three).settings["network_dim"] == 8
    assert again.let_go(two).state == WAITING
    with pytest.raises(SuiteError, match="no longer in the queue"):
        store.remove(one)


def test_two_that_add_at_once_lose_nothing(store):
    def several(letter):
        add(QueueStore(store.folder), *(f"{letter}{number}" for number in range(8)))

    threads = [threading.Thread(target=several, args=(letter,)) for letter in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names(store)) == sorted(f"{x}{n}" for x in "ab" for n in range(8))


def test_one_failure_never_ends_the_others(store, stand_in):
    add(store, "good", "bad", "crash", "fine")
    assert run(store, stand_in) == 4
    assert states(store) == {"good": DONE, "bad": FAILED, "crash": FAILED, "fine": DONE}
    good, bad, crash, _ = store.read().bakes
    assert good.result == "good.safetensors" and good.seconds > 0 and good.error is None
    assert bad.error == "vae: Too dark.\nToo few."
    assert "code 70" in crash.error and "segment violated" in crash.error
    assert store.clear() == 2 and names(store) == ["bad", "crash"]
    assert [path.name for path in store.folder.glob("*.json")] == ["queue.json"]


def test_what_is_held_or_paused_does_not_run(store, stand_in):
    held, _ = add(store, "held", "free")
    store.hold(held)
    store.pause()
    assert run(store, stand_in) == 0
    store.pause(False)
    assert run(store, stand_in) == 1
    assert states(store) == {"held": HELD, "free": DONE}


def test_a_stop_saves_the_bake_in_hand_and_keeps_the_rest(store, stand_in):
    long, _ = add(store, "long", "rest")
    control = Control()

    def watch(bake, event):
        if event is not None and event.kind == "step":
            assert store.read().find(long).state == RUNNING
            with pytest.raises(SuiteError, match="is running"):
                store.remove(long)
            control.stop()

    assert run(store, stand_in, control, watch) == 1
    assert states(store) == {"long": STOPPED, "rest": WAITING}
    stopped = store.read().find(long)
    assert stopped.result == "half.safetensors"
    assert store.duplicate(long).resume_from is None, "a copy is another bake"
    assert "resume" not in store.again(long).settings
    assert (
        run(store, stand_in, watch=lambda bake, event: bake.name == "long" and store.pause()) == 1
    )
    done = store.read().find(long)
    assert (done.state, done.result, done.resume_from) == (DONE, "resumed.safetensors", None)


def test_a_saved_state_is_kept_at_once(store, stand_in):
    """The queue may be cut off before the bake ends."""
    (bake,) = add(store, "long")
    control, kept = Control(), []

    def watch(_, event):
        if event is not None and event.kind == "step":
            control.stop()
        elif getattr(event, "what", None) == "state":
            kept.append(store.read().find(bake))

    run(store, stand_in, control, watch)
    assert [(one.state, one.resume_from) for one in kept] == [(RUNNING, os.getcwd())]


def test_a_state_that_cannot_be_kept_at_once_ends_nothing(store, stand_in, monkeypatch):
    (bake,) = add(store, "long")
    control, update = Control(), store.update

    def barred(bake_id, **changes):
        if [*changes] == ["resume_from"]:
            raise SuiteError("The queue cannot be written.")
        return update(bake_id, **changes)

    def watch(_, event):
        if event is not None and event.kind == "step":
            control.stop()

    monkeypatch.setattr(store, "update", barred)
    run(store, stand_in, control, watch)
    stopped = store.read().find(bake)
    assert (stopped.state, stopped.resume_from) == (STOPPED, os.getcwd())


def told_by_a_run(store, stand_in):
    """The warnings of a run."""
    events = []
    run(store, stand_in, watch=lambda bake, event: events.append(event))
    return [event.text for event in events if getattr(event, "warning", False)]


def test_a_state_that_is_refused_lets_the_bake_begin_anew(store, stand_in, tmp_path):
    (bake,) = add(store, "one")
    store.update(bake, settings={"output_name": "one", "seed": 8}, resume_from=str(tmp_path))
    assert told_by_a_run(store, stand_in) == [
        f"This bake begins anew; what was saved of it stays in {tmp_path}. "
        "The state belongs to another training."
    ]
    done = store.read().find(bake)
    assert (done.state, done.result, done.resume_from) == (DONE, "one.safetensors", None)
    bad = store.add({"output_name": "bad", "seed": 8}).id
    store.update(bad, resume_from=str(tmp_path))
    run(store, stand_in)
    failed = store.read().find(bad)
    assert failed.error == "vae: Too dark.\nToo few." and failed.resume_from is None


def test_a_state_of_the_users_own_that_is_refused_is_an_error(store, stand_in, tmp_path):
    bake = store.add({"output_name": "one", "seed": 8, "resume": str(tmp_path)}).id
    assert told_by_a_run(store, stand_in) == []
    assert store.read().find(bake).error == "resume: The state belongs to another training."


def test_a_state_that_cannot_be_looked_at_does_not_end_the_queue(store, stand_in):
    bake, _ = add(store, "one", "two")
    store.update(bake, resume_from="x" * 5000)  # a path that the system refuses
    (warning,) = told_by_a_run(store, stand_in)
    assert warning.startswith("This bake begins anew, as what was saved of it cannot be read: xxx")
    assert states(store) == {"one": DONE, "two": DONE}


def test_a_bake_that_is_changed_keeps_what_was_saved(store, stand_in, tmp_path):
    (bake,) = add(store, "one")
    store.update(bake, state=STOPPED, resume_from=str(tmp_path))
    store.edit(bake, {"output_name": "two"}, "two")
    assert told_by_a_run(store, stand_in) == []
    assert store.read().find(bake).result == "resumed.safetensors"


def test_a_bake_is_changed_only_while_it_does_not_run(store, tmp_path):
    (bake,) = add(store, "one")
    for state, then in ((FAILED, WAITING), (STOPPED, WAITING), (HELD, HELD)):
        store.update(bake, state=state, error="Too dark.", begun=2, resume_from=str(tmp_path))
        store.edit(bake, {"output_name": "two"}, "two")
        changed = Bake(bake, "two", {"output_name": "two"}, state=then, resume_from=str(tmp_path))
        assert store.read().bakes == (changed,)
    store.update(bake, state=RUNNING)
    with store.only_runner(), pytest.raises(SuiteError, match="two is running"):
        store.edit(bake, {"output_name": "three"})
    assert store.read().find(bake).settings == {"output_name": "two"}


def test_two_runners_never_run_the_same_queue(store, stand_in):
    add(store, "good")
    with store.only_runner(), pytest.raises(SuiteError, match="being run already"):
        run(store, stand_in)
    assert states(store) == {"good": WAITING}


def no_file(store, monkeypatch):
    (store.folder / "runner.lock").mkdir()


def no_locks(store, monkeypatch):
    def refuse(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("easy_scripts.queue.store.try_lock", refuse)


@pytest.mark.parametrize("flaw", [no_file, no_locks])
def test_a_runner_that_cannot_lock_is_told_and_the_list_is_shown(store, monkeypatch, capsys, flaw):
    (bake,) = add(store, "one")
    store.update(bake, state=RUNNING)
    flaw(store, monkeypatch)
    assert command.main(["run"], store) == 1
    assert "runner.lock cannot be written" in capsys.readouterr().err
    assert command.main(["list"], store) == 0
    assert "one: running" in capsys.readouterr().out


def test_what_was_cut_off_runs_again_but_not_for_ever(store, stand_in):
    one, two = add(store, "one", "two")
    store.update(one, state=RUNNING, begun=1)
    store.update(two, state=RUNNING, begun=3)
    run(store, stand_in)
    assert states(store) == {"one": DONE, "two": FAILED}
    assert "cut off 3 times" in store.read().find(two).error


def test_without_a_runner_the_list_shows_nothing_as_running(store, capsys):
    one, two = add(store, "one", "two")
    store.update(one, state=RUNNING, begun=1)
    store.update(two, state=RUNNING, begun=3)
    with store.only_runner():
        assert command.main(["remove", "1"], store) == 1
    assert "one is running" in capsys.readouterr().err
    assert command.main(["list"], store) == 0
    assert states(store) == {"one": WAITING, "two": FAILED}
    assert command.main(["remove", "1"], store) == 0 and names(store) == ["two"]


def test_a_damaged_file_is_told(store):
    add(store, "one")
    store.path.write_text("{")
    with pytest.raises(SuiteError, match="damaged"):
        store.read()


def events_of_a_run(store, capfd, monkeypatch):
    """The exit code of `run --events` and what a window is told."""
    monkeypatch.setattr(command, "listen", lambda *_: None)
    code = command.main(["run", "--events"], store)
    return code, [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_window_is_told_that_the_file_is_damaged(store, capfd, monkeypatch):
    add(store, "one")
    store.path.write_text("{")
    code, [problem] = events_of_a_run(store, capfd, monkeypatch)
    assert code == 1 and problem["event"] == "problem" and "is damaged" in problem["message"]


@pytest.fixture
def broken(tmp_path, monkeypatch) -> Path:
    """An error of ours in the queue; the folder of the logs."""

    def fail(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(command, "LOG_FOLDER", tmp_path / "logs")
    monkeypatch.setattr(command, "run_queue", fail)
    return tmp_path / "logs"


def test_an_error_of_ours_is_told_as_one_and_kept(store, capsys, broken):
    before = signal.getsignal(signal.SIGINT)
    assert command.main(["run"], store) == 70
    assert signal.getsignal(signal.SIGINT) is before, "the next one is asked to stop as ever"
    [log] = broken.iterdir()
    assert "ZeroDivisionError: ours" in log.read_text()
    assert f"This is an error of Easy LoRA; please send the log file {log}." in (
        capsys.readouterr().err
    )


def test_a_window_is_told_of_an_error_of_ours_and_finds_its_log(store, capfd, monkeypatch, broken):
    code, [problem] = events_of_a_run(store, capfd, monkeypatch)
    [log] = broken.glob("train-*.log")  # what the window opens, see WorkPage._log_file
    assert code == 70 and problem["event"] == "problem" and str(log) in problem["message"]


CONFIG = {"pretrained_model_name_or_path": "base.safetensors", "train_data_dir": "in",
          "output_dir": "out"}  # fmt: skip


def test_configs_are_added_by_file_and_by_folder(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({**CONFIG, "output_name": "cat"}))
    (folder / "b.toml").write_text("\n".join(f"{key} = '{value}'" for key, value in CONFIG.items()))
    (folder / "c.json").write_text(json.dumps({**CONFIG, "network_dim": "many"}))
    (folder / "d.json").write_text('{"network_dim": 8}')
    (folder / "e.json").write_text(json.dumps({**CONFIG, "network_dim": "x", "seed": "y"}))
    assert command.main(["add", str(folder)], store) == 1
    told = capsys.readouterr()
    assert "network_dim" in told.err and "No base model is given" in told.err
    assert "network_dim: " in told.err.partition("e.json")[2] and "\nseed: " in told.err
    assert "Not on this computer: base.safetensors (pretrained_model_name_or_path)" in told.out
    assert names(store) == ["cat", "b"]
    assert store.read().bakes[0].settings["train_data_dir"] == str(tmp_path / "in")
    with pytest.raises(SuiteError, match="no config"):
        configs_in(tmp_path)


def test_the_command_lists_changes_and_runs(store, stand_in, monkeypatch, capsys):
    monkeypatch.setattr(command, "run_queue",
                        lambda *arguments: run_queue(*arguments, stand_in))  # fmt: skip
    assert command.main(["list"], store) == 0
    assert "empty" in capsys.readouterr().out
    add(store, "good", "bad")
    assert command.main(["move", "2", "1"], store) == 0
    assert names(store) == ["bad", "good"]
    assert command.main(["run"], store) == 1
    assert "Bakes that ran: 2, of them done: 1." in capsys.readouterr().out
    assert command.main(["again", "1"], store) == 0
    assert command.main(["remove", "7"], store) == 1
    command.main(["list", "--json"], store)
    shown = capsys.readouterr().out
    assert [bake["state"] for bake in json.loads(shown[shown.index("{"):])["bakes"]] == [
        "waiting", "done",
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_stops_the_running_bake_safely(store, tmp_path, stand_in):
    import subprocess

    add(store, "long", "rest")
    code = (
        "import sys; from pathlib import Path\n"
        "from easy_scripts.queue import __main__ as command, runner\n"
        "from easy_scripts.queue.store import QueueStore\n"
        "from easy_scripts.wizard import child\n"
        f"child.PROJECT_FOLDER = Path({str(tmp_path)!r})\n"
        f"run = runner.run_queue\n"
        f"command.run_queue = lambda *a: run(*a, {stand_in!r})\n"
        f"sys.exit(command.main(['run'], QueueStore(Path({str(store.folder)!r}))))\n"
    )
    root = Path(__file__).resolve().parents[3]
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE)
    for _ in range(200):
        if states(store)["long"] == RUNNING:
            break
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 2
    assert states(store) == {"long": STOPPED, "rest": WAITING}
