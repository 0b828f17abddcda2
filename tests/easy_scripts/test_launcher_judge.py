"""The launcher's judgement, on environments that are only made up of their small files."""

from __future__ import annotations

import pytest

from easy_scripts.install.lockfiles import lock_hash
from easy_scripts.launcher.judge import State, judge, this_machine
from easy_scripts.launcher.project import Project, write_json


@pytest.fixture
def project(tmp_path):
    """A project with a whole environment, as far as its small files tell."""
    project = Project(tmp_path / "Easy LoRA ü")
    project.locks.mkdir(parents=True)
    (project.locks / "common.txt").write_text("numpy==2.4.6\n")
    (project.locks / "cpu.txt").write_text("-r common.txt\ntorch==2.13.0+cpu\n")
    (project.locks / "test.txt").write_text("pytest==9.2.0\n")
    home = tmp_path / "base" / "bin"
    home.mkdir(parents=True)
    project.environment.mkdir()
    cfg = f"home = {home}\nversion = 3.11.7\n"
    (project.environment / "pyvenv.cfg").write_text(cfg, encoding="utf-8")
    write_json(project.plan, {"asked": "auto"})
    stamp = {
        "kind": "cpu",
        "lock": lock_hash(project.locks, "cpu"),
        "extras": {"test": lock_hash(project.locks, "test")},
        "python": "3.11.7",
        "base": str(home),
        "folder": str(project.root),
        "machine": this_machine(),
    }
    write_json(project.stamp, stamp)
    return project


def starts(_python):
    return "3.11.7"


def does_not_start(_python):
    return None


def change_stamp(project, **changes):
    write_json(project.stamp, {**judge(project, probe=starts).stamp, **changes})


def test_a_whole_environment(project):
    judgement = judge(project, probe=starts)
    assert judgement.whole and judgement.stamp["kind"] == "cpu"
    assert judge(project, "test", probe=starts).whole


def remove_environment(project):
    project.environment.rename(project.root / "elsewhere")


def remove_stamp(project):
    project.stamp.unlink()


def remove_stamp_and_plan(project):
    project.stamp.unlink()
    project.plan.unlink()


def halve_the_stamp(project):
    project.stamp.write_text(project.stamp.read_text()[:40])


def change_lock(project):
    (project.locks / "common.txt").write_text("numpy==2.4.7\n")


def remove_base(project):
    (project.root.parent / "base" / "bin").rmdir()


def move_folder(project):
    change_stamp(project, folder="/some/where/else")


def come_from_another_machine(project):
    change_stamp(project, machine="Plan9 z80")


def change_python(project):
    change_stamp(project, python="3.12.1")


def change_base(project):
    change_stamp(project, base="/another/python/bin")


def forget_extra(project):
    change_stamp(project, extras={})


@pytest.mark.parametrize(
    ("damage", "probe", "state"),
    [
        (remove_environment, starts, State.MISSING),
        (remove_stamp, starts, State.UNFINISHED),
        (remove_stamp, does_not_start, State.UNFINISHED),
        (remove_stamp_and_plan, starts, State.UNFINISHED),
        (halve_the_stamp, starts, State.UNFINISHED),
        (change_lock, starts, State.LOCK_CHANGED),
        (remove_base, starts, State.PYTHON_GONE),
        (lambda project: None, does_not_start, State.PYTHON_GONE),
        (move_folder, starts, State.MOVED),
        (come_from_another_machine, starts, State.OTHER_MACHINE),
        (change_python, starts, State.PYTHON_CHANGED),
        (change_base, starts, State.PYTHON_CHANGED),
        (forget_extra, starts, State.EXTRA_MISSING),
    ],
)
def test_what_can_be_the_matter(project, damage, probe, state):
    damage(project)
    judgement = judge(project, "test", probe)
    assert judgement.state is state
    assert not judgement.whole
    assert judgement.sentence.endswith(".")


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("# a new comment\n\nnumpy==2.4.6\r\n", True),
        ("numpy==2.4.6  # why\n", True),
        ("numpy==2.4.6\npillow==13.0.0\n", False),
    ],
)
def test_comments_and_line_ends_are_no_change_of_the_lock(project, text, whole):
    (project.locks / "common.txt").write_bytes(text.encode())
    assert judge(project, probe=starts).whole is whole


def test_a_new_patch_release_of_the_base_python_is_no_harm(project):
    assert judge(project, probe=lambda python: "3.11.9").whole


def test_an_extra_that_is_not_asked_for_does_not_count(project):
    forget_extra(project)
    assert judge(project, probe=starts).whole


def test_a_lock_that_no_longer_exists_is_a_change(project):
    change_stamp(project, kind="cu118")
    assert judge(project, probe=starts).state is State.LOCK_CHANGED
