"""The .bat files: how they are written, and that they find Python from everywhere (under Wine)."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess

import pytest
from wine_pc import BAT_FILES, ROOT, copy_start_files, windows_path

from easy_scripts.verbs import VERBS

START = ROOT / "easy_scripts" / "launcher" / "start.bat"
# Without a percent sign, which Wine's cmd looks for in what %~dp0 gave; Windows' does not.
TORTURES = [
    "With some spaces", "Tom & Ann", "Wow! It's !here!", "Ca^ret ^^",
    "(brackets) [x] {y}", "it's, a=b;c", "Größe äöü", "Кириллица", "日本語",
]  # fmt: skip

SHELL_FOLDERS = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders"


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


def last_call(calls):
    (call,) = [call for call in calls if not call.is_question]
    return call


@pytest.mark.parametrize("place", TORTURES)
def test_every_path_that_people_have(computer, place):
    project = copy_start_files(computer.folder / place)
    computer.put(project / ".venv" / "Scripts" / "python.exe")
    file = windows_path(computer.folder / place / "my lora & more!.safetensors")
    code, calls, shown = computer.start("setup.bat", file, folder=project, STUB_PY="3.11")
    assert calls == [], "set-up must not start from the environment that it may replace"
    assert code == 1 and "none could be fetched" in shown
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
    computer.put(computer.folder / "bin" / "python.exe")
    _, calls, _ = computer.start("setup.bat", PYTHONHOME="C:\\gone", PYTHONPATH="C:\\gone")
    for call in calls:
        assert "PYTHONHOME" not in call.variables and "PYTHONPATH" not in call.variables


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


def with_variable(computer, name, value):
    """A .bat file that starts setup.bat with a variable that Wine sets anew in every program."""
    driver = computer.project / "driver.bat"
    driver.write_bytes(f'@set "{name}={value}"\r\n@setup.bat\r\n'.encode("ascii"))
    return driver.name


def windows_local(path):
    """A path in the prefix as Windows programs see it."""
    return "C:" + str(path).split("drive_c")[1].replace("/", "\\")


@pytest.fixture
def internet(computer):
    """curl, certutil, tar and, in what is fetched, uv; all of them stubs."""
    system = computer.wine.prefix / "drive_c" / "windows" / "system32"
    programs = [computer.put(system / name) for name in ("curl.exe", "tar.exe")]
    computer.put(computer.folder / "bin" / "certutil.exe")  # Wine has one that does nothing
    download = computer.folder / "release.zip"
    download.write_bytes(b"the zip of uv")
    computer.variables["STUB_ZIP"] = windows_path(download)
    (known,) = re.findall(r'set "SHA=([0-9a-f]{64})"', START.read_text("ascii"))
    computer.variables["STUB_SHA"] = known
    yield computer
    for program in programs:
        program.unlink()


def test_without_python_one_is_fetched_and_found_again(internet):
    code, calls, shown = internet.start("setup.bat", "--check", STUB_CODE="7")
    assert code == 7, shown
    assert "fetches one of its own" in shown
    assert [call.name for call in calls if not call.is_question] == [
        "curl.exe", "certutil.exe", "tar.exe", "uv.exe", "python.exe",
    ]  # fmt: skip
    curl, _, _, uv, python = [call for call in calls if not call.is_question]
    place = windows_local(internet.place)
    assert curl.arguments[-1].startswith("https://") and "--continue-at" in curl.arguments
    assert uv.arguments[:3] == ["python", "install", "3.12"]
    assert uv.variables["UV_PYTHON_INSTALL_DIR"] == place + "\\python"
    assert python.program.startswith(place + "\\python")
    assert python.arguments[-2:] == ["setup", "--check"]
    assert python.folder == windows_path(internet.project)
    _, calls, _ = internet.start("setup.bat")
    assert {call.name for call in calls} == {"python.exe"}  # nothing is fetched twice


def test_a_download_that_is_not_the_known_one_is_thrown_away(internet):
    sha = hashlib.sha256(b"something else").hexdigest()
    code, calls, shown = internet.start("setup.bat", STUB_SHA=sha)
    assert code == 1
    assert "broken off or damaged" in shown and "python.org" in shown
    assert "uv.exe" not in {call.name for call in calls}
    assert not (internet.place / "uv.zip").exists()


def test_a_download_that_broke_off_is_kept_and_goes_on(internet):
    zipped = internet.variables.pop("STUB_ZIP")
    internet.place.mkdir()
    (internet.place / "uv.zip.part").write_bytes(b"the first half")
    code, _, _ = internet.start("setup.bat")
    assert code == 1 and (internet.place / "uv.zip.part").read_bytes() == b"the first half"
    code, calls, shown = internet.start("setup.bat", STUB_ZIP=zipped)
    assert code == 0, shown
    assert "uv.exe" in {call.name for call in calls}
    assert not (internet.place / "uv.zip.part").exists()


def test_quotes_in_path(computer):
    """(With empty places in PATH, Wine takes a missing py.exe for one that ended well.)"""
    python = computer.put(computer.folder / "bin" / "python.exe")
    listed = rf'"C:\with quotes";{windows_path(python.parent)};C:\windows\system32'
    code, calls, shown = computer.start(with_variable(computer, "PATH", listed))
    assert code == 0, shown
    assert last_call(calls).program == windows_path(python)


def test_without_the_internet_it_says_what_to_do(internet):
    internet.variables.pop("STUB_ZIP")
    code, calls, shown = internet.start("setup.bat")
    assert code == 1
    assert [call.name for call in calls] == ["curl.exe"]
    assert "Check the connection to the internet" in shown


def test_an_arm_processor_is_told_at_once(internet):
    code, calls, shown = internet.start(
        with_variable(internet, "PROCESSOR_IDENTIFIER", "ARMv8 (64-bit) Family 8")
    )
    assert (code, calls) == (1, [])
    assert "ARM processor" in shown


def test_a_bat_file_started_alone_says_that_the_zip_must_be_unpacked(computer):
    alone = computer.folder / "Temp1_easy_lora.zip"
    alone.mkdir()
    shutil.copy(ROOT / "setup.bat", alone)
    code, calls, shown = computer.start("setup.bat", folder=alone)
    assert (code, calls) == (1, [])
    assert "Extract all" in shown


def test_the_command_line_of_a_double_click_is_passed_on(computer):
    """Python reads the dropped files from it. (Wine's cmd has no CMDCMDLINE of its own.)"""
    computer.put(computer.folder / "bin" / "python.exe")
    line = 'C:\\Windows\\cmd.exe /c ""C:\\Easy LoRA\\setup.bat" C:\\a&b.txt "C:\\c d.txt""'
    _, calls, _ = computer.start("setup.bat", CMDCMDLINE=line)
    assert last_call(calls).variables["EASY_LORA_LINE"] == line


@pytest.mark.parametrize(("answer", "removed"), [("yes", True), ("no", False)])
def test_uninstalling_keeps_what_is_the_users(computer, answer, removed):
    project = computer.folder / "Tom & Ann!"
    fetched = [project / ".venv" / "x", project / "cache" / "x", computer.place / "python" / "x"]
    own = [project / "output" / "cat.safetensors", project / "logs" / "x", project / "setup.bat"]
    profile = computer.place.parents[2]
    desktop = computer.folder / "OneDrive & co" / "Desktop"  # where OneDrive may have moved it
    menu = profile / "AppData/Roaming/Microsoft/Windows/Start Menu/Programs"
    fetched += [place / "Easy LoRA - Train.lnk" for place in (desktop, menu)]
    own += [place / "Easy Money.lnk" for place in (desktop, menu)]
    for path in fetched + own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    shutil.copy(ROOT / "uninstall.bat", project)
    computer.wine.run(
        ["reg", "add", SHELL_FOLDERS, "/v", "Desktop", "/d", windows_path(desktop), "/f"],
        computer.folder,
    )
    code, _, shown = computer.start("uninstall.bat", answer, folder=project)
    assert code == (0 if removed else 2), shown
    assert [path.exists() for path in fetched] == [not removed] * 5
    assert all(path.exists() for path in own)


def test_usable_py_refuses_and_accepts(tmp_path):
    import sys

    usable = ROOT / "easy_scripts" / "launcher" / "usable.py"

    def ask(**variables):
        return subprocess.run([sys.executable, "-I", "-S", str(usable)], env=variables).returncode

    assert ask() == 0
    assert ask(PROCESSOR_IDENTIFIER="ARMv8 (64-bit) Family 8") == 1
