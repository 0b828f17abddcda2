"""From an empty folder to the practice bake by the real commands, with all that can come between.

Downloads that break off, a disk that is full, and the whole of it killed at any point: it always
ends whole after another start, or with one clear sentence. The made-up packages make it take
seconds; the slow test at the end does it with the real ones.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from breaking_index import breaking_index
from made_up_project import ROOT, MadeUp, make_project, make_wheels

from easy_scripts.install.make_environment import Wishes, check_environment
from easy_scripts.install.setup_lock import setup_lock
from easy_scripts.launcher.judge import judge
from easy_scripts.launcher.project import Project
from scripts.core.errors import SuiteError

SEED = 20260601
KILLS = 10
MEGABYTE = 1_000_000
NAME = "Äpfel & Birnen"  # a folder as people have them
# Megabytes that are left: with Python 3.11 too few for the log, the environment, its pip, a newer
# pip, and twice for the packages.
ROOMS = (0, 0.03, 8, 33, 48, 80)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """Small wheels."""
    return make_wheels(tmp_path_factory.mktemp("small") / "wheels")


def make_large_wheels(folder: Path, megabytes: int) -> Path:
    """The same, and one of them has so many MB that cannot be packed, as twice as many letters."""
    return make_wheels(folder / "wheels", random.Random(1).randbytes(megabytes * MEGABYTE).hex())


@pytest.fixture(scope="module")
def huge_wheels(tmp_path_factory) -> Path:
    """Wheels that need more room than all the rest of the environment."""
    return make_large_wheels(tmp_path_factory.mktemp("huge"), 20)


@pytest.fixture
def empty(tmp_path, wheels) -> MadeUp:
    """A folder in which nothing was set up yet."""
    return make_project(tmp_path / NAME, wheels)


def use_index(made_up: MadeUp, address: str) -> None:
    """Let pip fetch from `address` in place of a folder."""
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        made_up.variables.pop(name, None)
    made_up.variables["PIP_INDEX_URL"] = address


def assert_whole(project: Project) -> None:
    """The launcher's own judge and the look at every file find nothing."""
    judgement = judge(project)
    assert judgement.whole, judgement.sentence
    assert check_environment(project, Wishes(), lambda event: None) is None
    assert not project.workspace.exists()


def assert_one_sentence(err: str, says: str) -> None:
    """What a person reads is one line, and no traceback."""
    assert says in err, err
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err, err


@pytest.mark.slow
def test_every_download_breaks_off_again_and_again(empty, tmp_path):
    with breaking_index(make_large_wheels(tmp_path, 1), breaks=3) as (address, asked):
        use_index(empty, address)
        code, out, err = empty.run("setup")
    assert code == 0, out + err
    assert asked["tiny-1.0-py3-none-any.whl"] == 4  # it went on, and did not begin anew
    assert out.splitlines()[-1].startswith("  Ready: the processor, ")
    assert empty.baked
    assert_whole(empty.project)


# --- a disk of 200 MB ------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 MB. Skipped where nobody may mount one: it takes root."""
    place = tmp_path / "small disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200000000", "easy-lora-test", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def leave_room(disk: Path, megabytes: float) -> Path:
    """Fill the disk but for so much; the file that does it."""
    free = shutil.disk_usage(disk).free - round(megabytes * MEGABYTE)
    ballast = disk / "holiday.mp4"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free)
    return ballast


@pytest.mark.parametrize("verb", ["setup", "practice"])
def test_the_real_thing_says_at_once_that_200_megabytes_are_too_few(small_disk, verb):
    root = small_disk / NAME
    leave_out = shutil.ignore_patterns("__pycache__")
    for name in ("easy_scripts", "scripts/core"):
        shutil.copytree(ROOT / name, root / name, ignore=leave_out)
    for name in ("scripts/__init__.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    files = {path for path in root.rglob("*") if path.is_file()}
    made_up = MadeUp(Project(root), {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    code, out, err = made_up.run(verb, *(["--kind", "cpu"] if verb == "setup" else []))
    assert code == 1, out + err
    assert_one_sentence(err, "There is too little room on the drive of")
    assert "about 2.5 GB are needed and 0.2 GB are free. Make room and start again." in err
    assert not made_up.project.environment.exists()
    news = {path for path in root.rglob("*") if path.is_file()} - files
    assert {path.parent for path in news} == {root / "logs"}, "something was fetched"


def test_the_doctor_still_speaks_when_the_disk_is_full(small_disk, wheels):
    made_up = make_project(small_disk / NAME, wheels)
    leave_room(small_disk, 0)
    code, out, err = made_up.run("doctor")
    assert code == 1
    assert "- There is too little room on the drive of" in out and "0.0 GB are free" in out
    assert_one_sentence(err, "The disk is full: doctor-")


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS)
def test_a_disk_that_fills_up_all_the_same_is_told_and_another_start_goes_on(
    small_disk, huge_wheels, room
):
    made_up = make_project(small_disk / NAME, huge_wheels)
    ballast = leave_room(small_disk, room)
    with breaking_index(huge_wheels, breaks=0) as (address, _):
        use_index(made_up, address)
        code, out, err = made_up.run("practice", blind=True)
        assert code == 1, out + err
        assert_one_sentence(err, "The disk is full. Make room on the drive")
        assert not judge(made_up.project).whole and not made_up.baked
        ballast.unlink()
        code, out, err = made_up.run("practice", blind=True)
    assert code == 0, out + err
    assert made_up.baked
    assert_whole(made_up.project)


# --- killed ----------------------------------------------------------------------------------


def wait_until_free(project: Project) -> None:
    """Wait for the lock of a set-up that was killed: its pip holds it until it is really dead."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with setup_lock(project.logs):
                return
        except SuiteError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def kill_after(process: subprocess.Popen, seconds: float) -> bool:
    """Kill a process with all its children after a time; whether it was still running."""
    try:
        process.communicate(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True


@pytest.fixture(scope="module")
def seconds_undisturbed(tmp_path_factory, wheels) -> float:
    """How long it takes from the empty folder to the end of the bake."""
    made_up = make_project(tmp_path_factory.mktemp("undisturbed") / NAME, wheels)
    started = time.monotonic()
    code, out, err = made_up.run("practice")
    assert code == 0 and made_up.baked, out + err
    return time.monotonic() - started


@pytest.mark.slow
@pytest.mark.parametrize("tenth", range(KILLS))
def test_killed_at_a_random_point_it_is_whole_after_another_start(
    empty, seconds_undisturbed, tenth
):
    moment = (tenth + random.Random(SEED + tenth).random()) / KILLS * seconds_undisturbed
    print(f"seed {SEED + tenth}: killed after {moment:.3f} of {seconds_undisturbed:.3f} s")
    killed = kill_after(empty.start("practice"), moment)
    assert killed or tenth >= KILLS / 3, "it was over too early to be killed"
    wait_until_free(empty.project)
    code, out, err = empty.run("practice")
    assert code == 0, out + err
    assert empty.baked
    assert_whole(empty.project)


@pytest.mark.slow
def test_the_real_packages_whole_after_three_kills(tmp_path):
    """The real thing, by the package source of this machine; only the bake is left out."""
    root = tmp_path / NAME
    leave_out = shutil.ignore_patterns("__pycache__")
    for name in ("easy_scripts", "scripts"):
        shutil.copytree(ROOT / name, root / name, ignore=leave_out)
    shutil.copy(ROOT / "pyproject.toml", root)
    made_up = MadeUp(Project(root), dict(os.environ))
    chance = random.Random(SEED)
    for _ in range(3):
        moment = chance.uniform(2, 25)
        killed = kill_after(made_up.start("setup", "--kind", "cpu", "--no-bake"), moment)
        print(f"seed {SEED}: killed after {moment:.1f} s: {killed}")
        wait_until_free(made_up.project)
    code, out, err = made_up.run("setup", "--no-bake")
    assert code == 0, out + err
    assert "Ready: " in out.splitlines()[-1]
    assert_whole(made_up.project)
