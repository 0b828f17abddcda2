"""The .bat files: how they are written, and that they find Python from everywhere (under Wine)."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from wine_pc import (
    BAT_FILES,
    ROOT,
    START,
    copy_start_files,
    last_call,
    windows_path,
    with_variable,
)

from easy_scripts.launcher import usable
from easy_scripts.verbs import VERBS

# Without a percent sign, which Wine's cmd looks for in what %~dp0 gave; Windows' does not.
TORTURES = [
    "With some spaces", "Tom & Ann", "Wow! It's !here!", "Ca^ret ^^",
    "OneDrive - Firma", "(brackets) [x] {y}", "it's, a=b;c", "Größe äöü", "Кириллица",
    "日本語",
]  # fmt: skip


def verb_of(name):
    (verb,) = re.findall(r'start\.bat" (\w+) %\*', (ROOT / name).read_text("ascii"))
    return verb


@pytest.mark.parametrize(
    "path", [*(ROOT / name for name in BAT_FILES), START], ids=lambda p: p.name
)
def test_plain_ascii_with_the_line_ends_of_windows(path):
    data = path.read_bytes()
    data.decode("ascii")
    assert data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r")
    assert b"%~dp0" in data and b"chcp" not in data and b"powershell" not in data.lower()


def test_the_files_to_click_are_short_and_alike_but_for_the_verb():
    texts = set()
    for name in BAT_FILES:
        lines = (ROOT / name).read_text("ascii").splitlines()
        assert 10 <= len(lines) <= 30
        verb = verb_of(name)
        assert verb in VERBS, f"{name} starts a verb that does not exist"
        text = "\n".join([lines[0], *lines[2:]])  # the second line says what it is for
        texts.add(text.replace(name, "NAME").replace(verb, "VERB"))
    assert len(texts) == 1


@pytest.mark.slow
@pytest.mark.parametrize("place", TORTURES)
def test_every_path_that_people_have(computer, place):
    project = copy_start_files(computer.folder / place)
    computer.put(project / ".venv" / "Scripts" / "python.exe")
    file = windows_path(computer.folder / place / "my lora & more!.safetensors")
    code, calls, shown = computer.start("setup.bat", file, folder=project, STUB_PY="3.11")
    assert calls == [], "set-up must not start from the environment that it may replace"
    assert code == 1 and "could not be fetched" in shown
    for name in set(BAT_FILES) - {"setup.bat"}:
        code, calls, shown = computer.start(name, file, folder=project, STUB_CODE="42")
        assert code == 42, shown
        call = last_call(calls)
        assert call.program == windows_path(project / ".venv" / "Scripts" / "python.exe")
        assert call.arguments == [windows_path(project) + "\\easy_scripts", verb_of(name), file]
    computer.put(computer.folder / "bin" / "py.exe")
    code, calls, shown = computer.start(
        "setup.bat", file, folder=project, STUB_PY="3.11", STUB_CODE="41"
    )
    assert code == 41, shown
    call = last_call(calls)
    root = windows_path(project)
    assert call.arguments == ["-3.11", root + "\\easy_scripts", "setup", file]
    assert call.folder == root
    assert (project / "easy_scripts" / "launcher" / "usable.py").exists()


@pytest.mark.parametrize("name", [name for name in BAT_FILES if name != "setup.bat"])
def test_a_tool_starts_with_the_private_environment(computer, name):
    python = computer.put(computer.project / ".venv" / "Scripts" / "python.exe")
    code, calls, shown = computer.start(name, "C:\\one file.safetensors", "D:\\two", STUB_CODE="1")
    assert code == 1, shown
    call = last_call(calls)
    assert call.program == windows_path(python)
    assert call.arguments[1:] == [verb_of(name), "C:\\one file.safetensors", "D:\\two"]


def test_started_from_another_folder(computer):
    python = computer.put(computer.folder / "bin" / "python.exe")
    elsewhere = computer.folder / "else where"
    elsewhere.mkdir()
    bat = windows_path(computer.project / "setup.bat")
    code, calls, shown = computer.start(bat, "relative.json", folder=elsewhere, STUB_CODE="2")
    assert code == 2, shown
    call = last_call(calls)
    assert call.program == windows_path(python)
    assert call.folder == windows_path(elsewhere)
    assert call.arguments == [
        windows_path(computer.project) + "\\easy_scripts", "setup", "relative.json",
    ]  # fmt: skip


def test_variables_that_lead_python_astray_are_cleared(computer):
    """Python's own, Tk's, and those that let the launcher py install a Python by itself."""
    astray = ("PYTHONHOME", "PYTHONPATH", "TCL_LIBRARY", "TK_LIBRARY",
              "PYLAUNCHER_ALLOW_INSTALL", "PYLAUNCHER_ALWAYS_INSTALL")  # fmt: skip
    computer.put(computer.folder / "bin" / "py.exe")
    _, calls, _ = computer.start("setup.bat", STUB_PY="3.12", **dict.fromkeys(astray, "C:\\gone"))
    assert len(calls) == 2
    for call in calls:
        assert not set(astray) & set(call.variables)
        assert call.variables["PYTHON_MANAGER_AUTOMATIC_INSTALL"] == "false"
        assert call.variables["NoDefaultCurrentDirectoryInExePath"] == "1"


def test_the_question_does_not_take_what_was_typed_for_the_verb(computer):
    computer.put(computer.folder / "bin" / "python.exe")
    _, calls, _ = computer.start("setup.bat", typed="yes\n", STUB_READS="1")
    assert [call.read for call in calls] == ["", "yes"]


def test_the_best_python_of_the_launcher_is_taken(computer):
    computer.put(computer.folder / "bin" / "py.exe")
    _, calls, _ = computer.start("setup.bat", STUB_PY="3.9 3.10 3.13 3.14")
    assert last_call(calls).arguments[0] == "-3.13"


def test_the_store_alias_is_never_started(computer):
    alias = computer.put(computer.folder / "Microsoft" / "WindowsApps" / "python.exe")
    code, calls, _ = computer.start("setup.bat", WINEPATH=windows_path(alias.parent))
    assert (code, calls) == (1, [])
    good = computer.put(computer.folder / "Python & co" / "python.exe")
    both = f"{windows_path(alias.parent)};{windows_path(good.parent)}"
    code, calls, _ = computer.start("setup.bat", WINEPATH=both)
    assert code == 0 and last_call(calls).program == windows_path(good)


def test_a_python_that_cannot_be_used_is_passed_over(computer):
    bad = computer.put(computer.folder / "Python27" / "python.exe")
    (bad.parent / "python.exe.unusable").touch()
    good = computer.put(computer.folder / "Python312" / "python.exe")
    path = f"{windows_path(bad.parent)};{windows_path(good.parent)}"
    code, calls, _ = computer.start("setup.bat", WINEPATH=path)
    assert code == 0
    assert [call.program for call in calls] == [windows_path(each) for each in (bad, good, good)]


def test_a_python_that_only_the_registry_knows(computer):
    python = computer.put(computer.folder / "Programs" / "Python 311" / "python.exe")
    key = r"HKCU\Software\Python\PythonCore\3.11\InstallPath"
    computer.wine.run(
        ["reg", "add", key, "/v", "ExecutablePath", "/d", windows_path(python), "/f"],
        computer.folder,
    )
    try:
        code, calls, shown = computer.start("setup.bat")
    finally:
        computer.wine.run(["reg", "delete", key, "/f"], computer.folder)
    assert code == 0, shown
    assert last_call(calls).program == windows_path(python)


def test_quotes_in_path(computer):
    """(With empty places in PATH, Wine takes a missing py.exe for one that ended well.)"""
    python = computer.put(computer.folder / "bin" / "python.exe")
    listed = rf'"C:\with quotes";{windows_path(python.parent)};C:\windows\system32'
    code, calls, shown = computer.start(with_variable(computer, "PATH", listed))
    assert code == 0, shown
    assert last_call(calls).program == windows_path(python)


def test_usable_py_refuses_and_accepts():
    file = ROOT / "easy_scripts" / "launcher" / "usable.py"

    def ask(**variables):
        return subprocess.run([sys.executable, "-I", "-S", str(file)], env=variables).returncode

    assert ask() == 0
    assert ask(PROCESSOR_IDENTIFIER="ARMv8 (64-bit) Family 8") == 1


def test_usable_py_refuses_the_pythons_of_the_store(monkeypatch):
    """Those that the launcher py starts without an alias."""
    assert usable.main() == 0
    store = r"C:\Program Files\WindowsApps\PythonSoftwareFoundation.Python.3.12_3.12.2800.0_x64"
    monkeypatch.setattr(sys, "base_prefix", store)
    assert usable.main() == 1


@pytest.mark.parametrize(
    ("platform", "code"), [("win-amd64", 0), ("mingw_x86_64_ucrt_gnu", 1), ("win-arm64", 1)]
)
def test_a_python_of_another_kind_of_system_is_passed_over(monkeypatch, platform, code):
    """Such as the one that MSYS2 puts on PATH: there are no packages for it."""
    monkeypatch.setattr(usable.sys, "platform", "win32")
    monkeypatch.setattr(usable.sysconfig, "get_platform", lambda: platform)
    assert usable.main() == code
