"""python -m easy_scripts: help, version, unknown verbs, Pythons that cannot be used."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from pathlib import Path

import pytest

from easy_scripts import verbs
from easy_scripts.launcher.project import (
    Project,
    dated_version,
    project_date,
    project_version,
)
from easy_scripts.launcher.python_version import refuse_python
from scripts.core.errors import SuiteError

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments, folder=ROOT, door=("-m", "easy_scripts")):
    # -I -S: nothing but the standard library can be imported (and -I needs the path spelled out)
    bare = ["-S"] if door[0] == "-m" else ["-I", "-S"]
    return subprocess.run(
        [sys.executable, *bare, *door, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.mark.parametrize("flag", [["--help"], ["-h"], []])
def test_help_names_every_verb_and_needs_the_standard_library_only(flag):
    result = start(*flag)
    assert result.returncode == 0, result.stderr
    for name, verb in verbs.VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.summary)}$", result.stdout, re.M)


@pytest.mark.parametrize("verb", ["setup", "test"])
def test_help_of_a_verb(verb):
    result = start(verb, "--help")
    assert result.returncode == 0
    assert f"easy_scripts {verb}" in result.stdout


@pytest.mark.parametrize("verb", ["practice", "train"])
def test_help_before_setup_says_how_to_get_on(verb, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verbs, "Project", lambda: Project(tmp_path))
    assert verbs.run([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"easy_scripts {verb}" in shown and "python -m easy_scripts setup" in shown


def test_version_and_date_are_those_of_pyproject():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    version, date = (
        next(line.split('"')[1] for line in lines if line.startswith(f"{key} ="))
        for key in ("version", "released")
    )
    assert start("--version").stdout == f"Easy LoRA {version} ({date})\n"
    assert datetime.date.fromisoformat(date) and re.fullmatch(r"\d+\.\d+\.\d+", version)


def test_neither_stands_anywhere_else():
    """Files that say a version of their own would tell the old one after the next release."""
    paths = [*ROOT.glob("*.bat"), ROOT / "README.md", *(ROOT / ".github").rglob("*.yml")]
    paths += (ROOT / "easy_scripts" / "install").glob("installer*")
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert project_version() not in text and project_date() not in text, path


def test_a_missing_pyproject_is_told(tmp_path):
    with pytest.raises(SuiteError, match="Download Easy LoRA again"):
        project_version(tmp_path)


def test_from_another_folder(tmp_path):
    result = start("--version", folder=tmp_path, door=(str(ROOT / "easy_scripts"),))
    assert result.stdout == f"Easy LoRA {dated_version()}\n", result.stderr


def test_an_unknown_verb_is_told_with_those_that_exist():
    result = start("bake")
    assert result.returncode == 1
    assert "bake" in result.stderr and "practice" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("version", "bits", "reason"),
    [
        ((2, 7), 64, "too old"),
        ((3, 9), 64, "too old"),
        ((3, 10), 64, None),
        ((3, 11), 64, None),
        ((3, 12), 64, None),
        ((3, 13), 64, None),
        ((3, 14), 64, "so new"),
        ((4, 0), 64, "so new"),
        ((3, 12), 32, "32-bit"),
    ],
)
def test_pythons(version, bits, reason):
    sentence = refuse_python(version, bits)
    if reason is None:
        assert sentence is None
    else:
        assert reason in sentence and f"{version[0]}.{version[1]}" in sentence


def test_where_there_are_no_tests_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(verbs, "Project", lambda: Project(tmp_path))
    assert verbs.run(["test"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("There is no folder tests here") and told.count("\n") == 1


def test_a_bug_of_ours_gets_a_log_and_its_own_exit_code(tmp_path, monkeypatch, capsys):
    def broken(_arguments):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(verbs, "Project", lambda: Project(tmp_path))
    monkeypatch.setitem(verbs.VERBS, "test", verbs.Verb("test", "", broken))
    assert verbs.run(["test"]) == 70
    (log,) = (tmp_path / "logs").iterdir()
    assert "ZeroDivisionError: ours" in log.read_text()
    assert str(log) in capsys.readouterr().err


def test_ctrl_c_is_a_word_and_its_own_exit_code(monkeypatch, capsys):
    def stopped(_arguments):
        raise KeyboardInterrupt

    monkeypatch.setitem(verbs.VERBS, "doctor", verbs.Verb("doctor", "", stopped))
    assert verbs.run(["doctor"]) == 2
    assert capsys.readouterr().err == "Stopped.\n"


def test_the_readme_names_only_verbs_that_exist_and_files_that_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"python -m easy_scripts (\w+)", text)) == set(verbs.VERBS)
    for target in re.findall(r"\]\((?!https?:|#)([^)]+)\)", text):
        assert (ROOT / target).exists(), f"README.md speaks of {target}"


def test_the_readme_says_what_windows_asks_of_a_download_and_names_what_a_release_holds():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    steps, _ = text.split("## Three steps")[1].split("On Linux and macOS", 1)
    assert re.findall(r"^(\d)\. ", steps, re.M) == ["1", "2", "3"]
    for words in ("*Unblock*", "*Windows protected your PC*", "*Run anyway*"):
        assert words in " ".join(steps.split())
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    [created] = re.findall(r"gh release create .*", workflow)
    released = re.findall(r"[\w-]+\.(?:exe|zip)", created)
    assert len(released) == 2 and all(f"`{name}`" in steps for name in released)
