"""Set-up for real, but small: real venvs, real pip, wheels of a few bytes, no network."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from breaking_index import breaking_index
from made_up_wheels import make_torch, make_wheel, repack_pip
from private_python import posix_only

from easy_scripts.install import install_packages, package_source, pip_steps, skeleton
from easy_scripts.install import make_environment as making
from easy_scripts.install.bitsandbytes_patch import EightBit
from easy_scripts.install.kinds import Gpu, Graphics
from easy_scripts.install.make_environment import Wishes, check_environment, make_environment
from easy_scripts.install.setup_lock import setup_lock
from easy_scripts.launcher.handover import work_environment
from easy_scripts.launcher.judge import State, judge, read_json
from easy_scripts.launcher.project import Project
from scripts.core.errors import SuiteError
from scripts.core.events import Note, Stage

DRIVER = Path(__file__).with_name("set_up_made_up_project.py")
TINY = {"tiny.py": "NAME = 'tiny'\n", "tiny_data.txt": "x" * 1000}
WISHES = Wishes(
    kind="cpu", imports=("torch", "tiny"), reachable=lambda *_: False,
    fetch=lambda wanted, folder, report: None,
)  # fmt: skip


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    make_torch(folder, "2.13.0", None)
    (folder / "own_index").mkdir()
    make_torch(folder / "own_index", "2.13.0+cu126", "12.6")
    make_torch(folder / "own_index", "2.13.0+cu130", None)  # the wrong build under that label
    make_wheel(folder, "tiny", "1.0", TINY)
    make_wheel(folder, "tiny", "1.1", {**TINY, "tiny.py": "NAME = 'newer'\n"})
    make_wheel(folder, "tool", "3.0", {"tool.py": ""})
    make_wheel(folder, "broken", "1.0", {"broken.py": "raise OSError('libmissing.so: not there')"})
    (folder / "pip_version").write_text(repack_pip(folder))
    return folder


@pytest.fixture(autouse=True)
def offline(wheels, monkeypatch):
    """pip finds the made-up wheels and nothing else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


@pytest.fixture
def own_index(wheels, monkeypatch):
    """Makes PyTorch's own index answer; returns the addresses asked for, and what to ask."""
    asked = []

    def reachable(address, seconds):
        asked.append(address)
        monkeypatch.setenv("PIP_FIND_LINKS", f"{wheels} {wheels / 'own_index'}")
        return True

    return asked, reachable


def write_locks(project, wheels, tiny="1.0"):
    project.locks.mkdir(parents=True, exist_ok=True)
    texts = {
        "pip": f"pip=={(wheels / 'pip_version').read_text()}\n",
        "common": f"tiny=={tiny}\n",
        "cuda13-linux": "",
        "cpu": "-r common.txt\ntorch==2.13.0+cpu\n",
        "cu126": "-r common.txt\ntorch==2.13.0+cu126\n",
        "cu130": "-r common.txt\ntorch==2.13.0+cu130\n",
        "test": "tool==3.0\n",
    }
    for name, text in texts.items():
        (project.locks / f"{name}.txt").write_text(text)


@pytest.fixture
def empty(tmp_path, wheels):
    """A project that was never set up."""
    project = Project(tmp_path / "Easy LoRA für alle")
    write_locks(project, wheels)
    return project


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory, wheels):
    """A project that was set up; made once, for the tests to copy."""
    project = Project(tmp_path_factory.mktemp("finished") / "Easy LoRA")
    write_locks(project, wheels)
    return project


@pytest.fixture
def moved(finished_once, tmp_path):
    """A set-up project that was then copied to another folder."""
    if not finished_once.environment.exists():
        set_up(finished_once)
    project = Project(tmp_path / "Moved ü")
    shutil.copytree(finished_once.root, project.root, symlinks=True)
    return project


def set_up(project, wishes=WISHES):
    """Set up, and return what was reported."""
    events = []
    make_environment(project, wishes, events.append)
    return events


def notes(events):
    return " ".join(event.text for event in events if isinstance(event, Note))


def stages(events):
    return [event.name for event in events if isinstance(event, Stage)]


def run_inside(project, code):
    return subprocess.run(
        [str(project.python), "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_from_nothing(empty):
    assert judge(empty).state is State.MISSING
    events = set_up(empty)
    assert "ordinary package source, in the same version" in notes(events)
    assert "About 0.5 GB to download, 2 GB on the disk" in notes(events)
    assert judge(empty).whole
    assert read_json(empty.stamp)["torch"] == {"version": "2.13.0", "cuda": None, "xpu": None}
    assert run_inside(empty, "import tiny, torch; print(tiny.NAME, torch.__version__)") == (
        "tiny 2.13.0"
    )
    (log,) = empty.logs.glob("setup-*.log")
    assert "Successfully installed tiny-1.0" in log.read_text()
    assert not empty.workspace.exists()


def test_a_second_run_needs_no_network_and_changes_nothing(moved, monkeypatch):
    set_up(moved)
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    before = read_json(moved.stamp)
    events = set_up(moved)
    assert not any("Installing" in stage for stage in stages(events))
    assert read_json(moved.stamp) == before


def test_a_moved_folder_is_mended_without_installing_again(moved, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    assert judge(moved).state is State.MOVED
    set_up(moved)
    assert judge(moved).whole
    assert run_inside(moved, "import sys; print(sys.prefix)") == str(moved.environment)


def test_a_moved_folder_is_mended_by_its_own_interpreter(moved, monkeypatch):
    """On Windows a program that runs cannot be deleted, only renamed."""
    unlink = Path.unlink

    def windows_unlink(path, missing_ok=False):
        if path.name == moved.python.name:
            raise PermissionError(13, "in use")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", windows_unlink)
    set_up(moved)
    assert judge(moved).whole
    assert list(moved.python.parent.glob(skeleton.IN_USE + "*"))


def test_a_vanished_base_python_is_mended_without_installing_again(moved, monkeypatch):
    settings = moved.environment / "pyvenv.cfg"
    lines = settings.read_text().splitlines()
    gone = ["home = /gone/python/bin" if line.startswith("home") else line for line in lines]
    settings.write_text("\n".join(gone) + "\n")
    for link in moved.python.parent.glob("python*"):
        link.unlink()
        link.symlink_to("/gone/python/bin/python3")
    assert judge(moved).state is State.PYTHON_GONE
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    set_up(moved)
    assert judge(moved).whole
    assert run_inside(moved, "import tiny; print(tiny.NAME)") == "tiny"


@pytest.mark.slow
def test_packages_of_another_python_are_not_kept(moved):
    settings = moved.environment / "pyvenv.cfg"
    settings.write_text("home = /gone/python3.9/bin\nversion = 3.9.18\n")
    plan = read_json(moved.plan)
    making.write_json(moved.plan, {**plan, "python": "3.9.18"})
    marker = moved.environment / "old"
    marker.write_text("")
    set_up(moved)
    assert judge(moved).whole
    assert not marker.exists()
    assert not list(moved.root.glob(".venv-*"))


def site(project):
    return skeleton.site_packages(project)


def lose_a_file(project):
    (site(project) / "tiny.py").unlink()


def cut_a_file(project):
    (site(project) / "tiny_data.txt").write_text("x")


def lose_the_record(project):
    (site(project) / "tiny-1.0.dist-info" / "RECORD").unlink()


def lose_the_metadata(project):
    (site(project) / "tiny-1.0.dist-info" / "METADATA").unlink()


def leave_a_folder_aside(project):
    (site(project) / "tiny.py").rename(site(project) / "~iny.py")


def have_two_versions(project):
    old = site(project) / "tiny-1.0.dist-info"
    shutil.copytree(old, site(project) / "tiny-0.9.dist-info")


def damage_torch(project):
    (site(project) / "torch" / "version.py").unlink()


def damage_pip(project):
    shutil.rmtree(site(project) / "pip" / "_internal")


def files_of(folder):
    """All files but what Python keeps for itself, and when each was changed."""
    paths = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {path: path.lstat().st_mtime_ns for path in paths if not path.is_dir()}


@pytest.mark.parametrize(
    "damage",
    [
        lose_a_file,
        cut_a_file,
        lose_the_record,
        lose_the_metadata,
        leave_a_folder_aside,
        have_two_versions,
        damage_torch,
        damage_pip,
    ],
)
def test_damage_is_found_and_mended(moved, damage):
    set_up(moved)
    damage(moved)
    before = files_of(moved.environment)
    assert check_environment(moved, WISHES, lambda event: None)
    assert files_of(moved.environment) == before, "a check changes nothing"
    set_up(moved)
    assert check_environment(moved, WISHES, lambda event: None) is None
    assert run_inside(moved, "import tiny, torch; print(tiny.NAME, torch.version.cuda)") == (
        "tiny None"
    )
    assert len((site(moved) / "tiny_data.txt").read_text()) == 1000
    assert not list(site(moved).glob("~*"))


def test_eight_bit_optimisers_that_fail_are_told_to_the_work(moved, monkeypatch):
    set_up(moved)
    results = [EightBit(False, "no library for CUDA 13.0", "RTX 3060 12 GB"),
               EightBit(True, "", "RTX 3060 12 GB", {"BNB_CUDA_VERSION": "128"})]  # fmt: skip
    monkeypatch.setattr(making, "prepare_eight_bit", lambda *_: results.pop(0))
    set_up(moved)
    stamp = read_json(moved.stamp)
    assert stamp["environment"] == {"EASY_LORA_NO_8BIT": "no library for CUDA 13.0"}
    assert work_environment({}, stamp)["EASY_LORA_NO_8BIT"] == "no library for CUDA 13.0"
    set_up(moved)
    assert read_json(moved.stamp)["environment"] == {"BNB_CUDA_VERSION": "128"}


def test_a_changed_lock_brings_the_new_version(moved, wheels):
    set_up(moved)
    write_locks(moved, wheels, tiny="1.1")
    assert judge(moved).state is State.LOCK_CHANGED
    set_up(moved)
    assert judge(moved).whole
    assert run_inside(moved, "import tiny; print(tiny.NAME)") == "newer"


def test_an_extra_is_added_and_kept(moved):
    assert judge(moved, "test").state is State.MOVED
    set_up(moved, replace(WISHES, extra="test"))
    assert judge(moved, "test").whole
    (site(moved) / "tool.py").unlink()
    set_up(moved)  # without asking for it again
    assert judge(moved, "test").whole
    assert run_inside(moved, "import tool; print('there')") == "there"


def run_driver(project, *arguments):
    return subprocess.run(
        [sys.executable, str(DRIVER), str(project.root), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


@posix_only
@pytest.mark.parametrize(
    "stage",
    [
        "Installing PyTorch",
        *(
            pytest.param(stage, marks=pytest.mark.slow)
            for stage in ("Preparing", "Bringing", "Installing the other", "Checking")
        ),
    ],
)
def test_killed_when_a_step_begins(empty, stage):
    killed = run_driver(empty, stage)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert not judge(empty).whole
    set_up(empty)
    assert judge(empty).whole
    assert check_environment(empty, WISHES, lambda event: None) is None


def test_a_second_setup_is_refused_and_a_stale_lock_is_not(empty):
    with setup_lock(empty.logs):
        refused = run_driver(empty)
        assert refused.returncode == 1
        assert f"Another set-up is already running in this folder (process {os.getpid()}" in (
            refused.stdout
        )
    assert not empty.environment.exists()
    with setup_lock(empty.logs):  # the file is still there, its holder is not
        pass


@posix_only
def test_the_lock_lives_as_long_as_a_child_that_inherited_it(tmp_path):
    with setup_lock(tmp_path) as lock:
        child = subprocess.Popen(["sleep", "30"], pass_fds=(lock,))
    try:
        with pytest.raises(SuiteError, match="already running"), setup_lock(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()
    with setup_lock(tmp_path):
        pass


@pytest.fixture
def no_pause(monkeypatch):
    monkeypatch.setattr(package_source, "PAUSE", 0)


@pytest.mark.slow
def test_the_build_that_arrived_is_never_another_cards(empty, own_index, no_pause):
    """The ordinary source has this version too, but for the processor: it is left alone."""
    tries = []

    def silent(address, seconds):
        tries.append(seconds)
        return False

    wishes = replace(WISHES, kind="cu126", reachable=silent)
    with pytest.raises(SuiteError) as caught:
        set_up(empty, wishes)
    assert str(caught.value).startswith(
        "PyTorch for NVIDIA cards, CUDA 12.6 could not be fetched from download.pytorch.org. "
    )
    assert "check the connection to the internet" in str(caught.value)
    assert tries == [3.0, 10.0, 30.0]
    assert not empty.stamp.exists() and not list(site(empty).glob("torch*"))
    set_up(empty, replace(wishes, reachable=lambda _, seconds: seconds > 9 and own_index[1](_, 0)))
    assert read_json(empty.stamp)["torch"]["cuda"] == "12.6"


@pytest.mark.slow
def test_the_build_that_arrived_comes_from_a_mirror_that_only_pip_knows(
    empty, wheels, monkeypatch, no_pause
):
    monkeypatch.setenv("PIP_FIND_LINKS", f"{wheels} {wheels / 'own_index'}")
    set_up(empty, replace(WISHES, kind="cu126"))
    assert read_json(empty.stamp)["torch"]["cuda"] == "12.6"


def test_the_build_that_arrived_is_changed_when_the_index_answers(moved, own_index, no_pause):
    """An environment for the processor is to be one for a card."""
    wishes = replace(WISHES, kind="cu126")
    with pytest.raises(SuiteError, match=r"could not be fetched from download\.pytorch\.org"):
        set_up(moved, wishes)
    assert not judge(moved).whole
    assert check_environment(moved, WISHES, lambda event: None)
    asked, reachable = own_index
    set_up(moved, replace(wishes, kind=None, reachable=reachable))
    assert read_json(moved.stamp)["torch"]["version"] == "2.13.0+cu126"
    assert read_json(moved.stamp)["torch"]["cuda"] == "12.6"
    assert asked == ["https://download.pytorch.org/whl/cu126/torch/"]


def test_every_later_step_pins_torch(moved, monkeypatch):
    """An unpinned step would swap the build that was chosen for the newest one of the index."""
    calls = []

    def install(workshop, arguments, doing, on_line=None):
        pins = [Path(word).read_text() for flag, word in pairwise(arguments) if flag == "-c"]
        calls.append((list(arguments), "".join(pins)))
        real(workshop, arguments, doing, on_line)

    real = install_packages.pip_install
    monkeypatch.setattr(install_packages, "pip_install", install)
    lose_a_file(moved)
    (site(moved) / "torch" / "version.py").unlink()
    set_up(moved, replace(WISHES, extra="test"))
    assert judge(moved, "test").whole
    assert len(calls) == 3  # the extra, the damaged package, the damaged torch
    for arguments, pins in calls:
        assert "torch==2.13.0" in [*arguments, *pins.splitlines()] or "--no-deps" in arguments


def test_an_index_with_the_wrong_build_is_not_believed(moved, own_index):
    wishes = replace(WISHES, kind="cu130", reachable=own_index[1])
    with pytest.raises(SuiteError, match=r"build for the processor only.*CUDA 13\.0"):
        set_up(moved, wishes)
    assert not judge(moved).whole


def test_a_package_that_cannot_be_loaded_is_named(moved, wheels):
    (moved.locks / "common.txt").write_text("tiny==1.0\nbroken==1.0\n")
    with pytest.raises(SuiteError, match="broken is installed, but cannot be loaded") as caught:
        set_up(moved, replace(WISHES, imports=("torch", "broken")))
    assert "libmissing.so" in str(caught.value)
    assert not judge(moved).whole


def test_why_an_index_gave_no_answer_is_in_the_log(empty):
    with making._workshop(empty):
        assert not package_source.index_reachable("no address")
    [log] = empty.logs.glob("setup-*.log")
    assert "no address: unknown url type" in log.read_text()


def test_no_package_source_is_one_sentence_with_the_log(moved, monkeypatch):
    (moved.locks / "common.txt").write_text("tiny==1.0\nunknown==7.0\n")
    shutil.rmtree(moved.logs)
    with pytest.raises(SuiteError) as caught:
        set_up(moved)
    message = str(caught.value)
    (log,) = moved.logs.glob("setup-*.log")
    assert "The package source has no unknown==7.0 for this computer" in message
    assert str(log) in message and "\n" not in message
    assert "No matching distribution found" in log.read_text()
    assert not judge(moved).whole


@pytest.mark.slow
def test_a_folder_of_that_name_from_somebody_else_is_kept(empty):
    empty.environment.mkdir()
    (empty.environment / "my work.txt").write_text("dear to me")
    events = set_up(empty)
    (kept,) = empty.root.glob(".venv-not-from-easy-lora-*")
    assert (kept / "my work.txt").read_text() == "dear to me"
    assert str(kept) in notes(events)
    assert judge(empty).whole


def test_a_file_of_that_name_is_not_touched(empty):
    empty.environment.write_text("a file")
    with pytest.raises(SuiteError, match="is a file"):
        set_up(empty)
    assert empty.environment.read_text() == "a file"


def test_a_full_disk_is_noticed_before_anything_is_fetched(empty, monkeypatch):
    free = shutil._ntuple_diskusage(10**12, 10**12, 200 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(SuiteError, match=r"too little room .* 2\.5 GB are needed and 0\.2 GB are"):
        set_up(empty)
    assert not empty.environment.exists()


def test_a_python_without_venv_gets_the_remedy(empty, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        skeleton.importlib.util,
        "find_spec",
        lambda name: None if name == "ensurepip" else find(name),
    )
    with pytest.raises(SuiteError, match=r"sudo apt install python3\.\d+-venv"):
        set_up(empty)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PermissionError(13, "Permission denied"), "write into its folder .*Permission denied"),
        (OSError(28, "No space left on device"), r"The disk is full: setup\.lock could not be"),
    ],
)
def test_a_folder_in_which_nothing_can_be_written(empty, monkeypatch, error, sentence):
    def refuse(*_):
        raise error

    monkeypatch.setattr(os, "open", refuse)  # root, as in CI, may write anywhere
    with pytest.raises(SuiteError, match=sentence):
        set_up(empty)


def test_an_error_of_the_system_in_mid_work_is_a_sentence(moved, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    set_up(moved)
    monkeypatch.setattr(making, "inspect", fail)
    monkeypatch.setattr(making.PackageInstaller, "install", fail)
    for work in (check_environment, make_environment):
        with pytest.raises(SuiteError, match=r"could not go on\. The disk is full\. Make room"):
            work(moved, WISHES, lambda event: None)


def test_the_kind_is_chosen_once_and_kept_until_asked_again(moved):
    def no_card():
        return Graphics()

    set_up(moved, replace(WISHES, kind="auto", detect=no_card))
    assert read_json(moved.stamp)["asked"] == "auto"
    assert making.decide_kind(moved, replace(WISHES, kind=None, detect=no_card))[0] == "auto"
    making.write_json(moved.plan, {**read_json(moved.plan), "asked": "cu126"})
    asked, choice = making.decide_kind(moved, Wishes())
    assert (asked, choice.kind) == ("cu126", "cu126")


def test_a_machine_that_nothing_fits_is_told_what_to_change(empty):
    old_driver = Graphics((Gpu("NVIDIA GeForce RTX 5070", (12, 0)),), (12, 8))
    with pytest.raises(SuiteError, match="driver 580 or later"):
        set_up(empty, replace(WISHES, kind="auto", detect=lambda: old_driver))
    assert not empty.environment.exists()


def test_nothing_is_touched_while_a_training_runs(moved):
    set_up(moved)
    work = subprocess.Popen([str(moved.python), "-c", "import time; time.sleep(30)"])
    try:
        with pytest.raises(SuiteError, match=rf"at work in this folder \(process {work.pid}\)"):
            set_up(moved)
    finally:
        work.kill()
        work.wait()
    set_up(moved)


@pytest.fixture
def large_wheels(wheels, tmp_path):
    """The made-up wheels, with a package that is large enough to break off."""
    folder = tmp_path / "large"
    folder.mkdir()
    for path in wheels.glob("*.whl"):
        if not path.name.startswith("tiny"):
            shutil.copy(path, folder)
    noise = random.Random(1).randbytes(1_000_000).hex()
    make_wheel(folder, "tiny", "1.0", {**TINY, "tiny_noise.txt": noise})
    return folder


def use_index(monkeypatch, address):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", address)


@pytest.mark.slow
def test_downloads_that_always_break_are_one_sentence_and_a_rerun_mends(
    empty, large_wheels, monkeypatch
):
    monkeypatch.setattr(pip_steps, "RESUME_RETRIES", "2")
    monkeypatch.setattr(pip_steps, "TRIES", 2)
    monkeypatch.setenv("PIP_RETRIES", "0")
    with breaking_index(large_wheels, breaks=10**6) as (address, _):
        use_index(monkeypatch, address)
        with pytest.raises(SuiteError, match="broke off or was damaged") as caught:
            set_up(empty)
    assert "\n" not in str(caught.value)
    with breaking_index(large_wheels, breaks=0) as (address, _):
        monkeypatch.setenv("PIP_INDEX_URL", address)
        set_up(empty)
    assert judge(empty).whole


WINDOW = """
import sys
from dataclasses import replace
from itertools import pairwise
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from easy_scripts.install.command import run_for_window
from easy_scripts.install.make_environment import Wishes
from easy_scripts.launcher.project import Project
wishes = Wishes(kind="cpu", imports=("torch", "tiny"), reachable=lambda *_: False)
sys.exit(run_for_window(Project(Path(sys.argv[1])), wishes, with_bake=False))
"""


@pytest.mark.parametrize("how", ["asked", "gone"])
def test_a_window_gets_events_and_can_stop(moved, how):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", WINDOW, str(moved.root), str(root)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        events = [json.loads(line) for line in child.stdout]
    assert child.returncode == 0
    assert events[-1]["text"].startswith("Ready: the processor")
    assert {"stage", "note", "done"} <= {event["event"] for event in events}
    shutil.rmtree(moved.environment)
    deaf = ["import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"]  # as shells have it
    with subprocess.Popen(
        [*command[:2], "\n".join([*deaf, WINDOW]), *command[3:]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        child.stdout.readline()
        if how == "asked":
            child.stdin.write("stop\n")
            child.stdin.flush()
        else:
            child.stdin.close()
        events = [json.loads(line) for line in child.stdout]
    assert child.returncode == 2
    assert "goes on where it stopped" in events[-1]["message"]
