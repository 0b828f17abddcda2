"""The installer and the zip that it unpacks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from easy_scripts.install import installer
from easy_scripts.install.pack import write_zip
from easy_scripts.launcher.project import project_date
from scripts.core.errors import SuiteError

ROOT = Path(__file__).resolve().parents[2]
ROOM = 0.01  # GB


def make_zip(path, files):
    with zipfile.ZipFile(path, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return path


@pytest.fixture
def first(tmp_path):
    return make_zip(tmp_path / "1.zip", {"setup.bat": "1", "scripts/old.py": "1", "a/b.py": "1"})


@pytest.fixture
def second(tmp_path):
    return make_zip(tmp_path / "2.zip", {"setup.bat": "2", "a/b.py": "2", "a/new.py": "2"})


def test_into_a_new_folder(first, tmp_path):
    folder = tmp_path / "Easy LoRA für alle"
    installer.unpack(first, folder, ROOM)
    assert (folder / "setup.bat").read_text() == "1" and (folder / "scripts/old.py").exists()


def test_over_an_older_version_the_users_own_files_stay(first, second, tmp_path):
    folder = tmp_path / "EasyLoRA"
    installer.unpack(first, folder, ROOM)
    (folder / "output").mkdir()
    (folder / "output" / "cat.safetensors").write_text("mine")
    (folder / "scripts" / "mine.py").write_text("mine")
    installer.unpack(second, folder, ROOM)
    assert (folder / "a" / "b.py").read_text() == "2" and (folder / "a" / "new.py").exists()
    assert not (folder / "scripts" / "old.py").exists()
    assert (folder / "output" / "cat.safetensors").read_text() == "mine"
    assert (folder / "scripts" / "mine.py").exists()


def test_a_list_cannot_remove_files_elsewhere(first, second, tmp_path):
    folder = tmp_path / "EasyLoRA"
    installer.unpack(first, folder, ROOM)
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (folder / installer.LIST).write_text("../victim.txt\n")
    installer.unpack(second, folder, ROOM)
    assert victim.exists()


@pytest.mark.parametrize("what", ["files", "file", "full"])
def test_a_folder_that_is_no_good_is_left_alone(first, tmp_path, monkeypatch, what):
    folder = tmp_path / "Documents"
    if what == "file":
        folder.write_text("mine")
    else:
        folder.mkdir()
    if what == "files":
        (folder / "letter.txt").write_text("mine")
    if what == "full":
        free = shutil._ntuple_diskusage(10**12, 10**12, 200 * 10**6)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(SuiteError, match=r"other files|is a file|too little room"):
        installer.unpack(first, folder, 9.0 if what == "full" else ROOM)
    assert not folder.is_dir() or not (folder / "setup.bat").exists()


def test_silently(first, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(installer, "payload", lambda: first)
    monkeypatch.setattr(installer, "NEEDED_GB", ROOM)
    runs = []
    monkeypatch.setattr(installer, "run_setup", lambda folder, silently: runs.append(folder) or 7)
    folder = tmp_path / "x"
    assert installer.main(["--silent", "--no-setup", "--folder", str(folder)]) == 0 and not runs
    assert installer.main(["--silent", "--folder", str(folder)]) == 7 and runs == [folder]
    (tmp_path / "y").write_text("")
    assert installer.main(["--silent", "--folder", str(tmp_path / "y")]) == 1
    assert "is a file" in capsys.readouterr().err


def test_an_installer_without_its_payload_says_so():
    with pytest.raises(SuiteError, match="Download it again"):
        installer.payload()


@pytest.mark.parametrize(
    ("menu", "desktop", "names"),
    [(True, False, ["Programs"]), (False, True, ["Desktop"]), (True, True, ["Programs", "Desktop"]),
     (False, False, [])],
)  # fmt: skip
def test_shortcuts_go_where_they_are_wanted(tmp_path, monkeypatch, menu, desktop, names):
    for name in ("Programs", "Desktop"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(installer, "shell_folder", lambda name: tmp_path / name)
    assert installer.shortcut_places(menu, desktop) == [tmp_path / name for name in names]
    monkeypatch.setattr(installer, "shell_folder", lambda name: tmp_path / "gone")
    assert installer.shortcut_places(menu, desktop) == []


def can_be_packed():
    """Whether PyInstaller can take this Python along: it needs it as a library."""
    if sys.platform != "linux":
        return False
    library = Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("LDLIBRARY"))
    return library.suffix != ".a" and library.exists()


@pytest.mark.slow
@pytest.mark.skipif(not can_be_packed(), reason="this Python is no library")
def test_the_same_spec_builds_on_linux(tmp_path):
    tools, source, target = tmp_path / "tools", tmp_path / "source", tmp_path / "Äpfel & Birnen"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tools)]
    subprocess.run([*pip, "pyinstaller==6.22.3"], check=True)
    for name in ("easy_scripts", "scripts/core", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.bat"), ROOT / "pyproject.toml", ROOT / "scripts" / "__init__.py"):
        shutil.copy(path, source / path.relative_to(ROOT))
    write_zip(source / "build" / "EasyLoRA.zip", source)
    subprocess.run(
        [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR",
         "easy_scripts/install/installer.spec"],
        cwd=source, env={**os.environ, "PYTHONPATH": str(tools)}, check=True,
    )  # fmt: skip
    program = source / "dist" / "EasyLoRA-Setup"
    command = [str(program), "--silent", "--no-setup", "--folder", str(target)]
    if shutil.disk_usage(tmp_path).free > installer.NEEDED_GB * 1e9:
        assert subprocess.run(command).returncode == 0
        assert (target / "setup.bat").exists()
    (target / installer.LIST).unlink(missing_ok=True)
    target.mkdir(exist_ok=True)
    shutil.rmtree(target / "easy_scripts", ignore_errors=True)
    (target / "letter.txt").write_text("mine")
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1 and "holds other files" in refused.stderr


def test_every_tool_gets_a_shortcut():
    tools = {path.name for path in ROOT.glob("*.bat")} - {"uninstall.bat"}
    assert set(installer.SHORTCUTS.values()) == tools


def test_the_zip_bears_the_day_of_the_version(tmp_path):
    write_zip(tmp_path / "EasyLoRA.zip")
    with zipfile.ZipFile(tmp_path / "EasyLoRA.zip") as packed:
        days = {entry.date_time[:3] for entry in packed.infolist()}
    assert days == {tuple(int(part) for part in project_date().split("-"))}


def test_the_zip_holds_what_is_needed_and_nothing_more(tmp_path):
    names = set(write_zip(tmp_path / "EasyLoRA.zip"))
    for needed in (
        "setup.bat", "lora_resize.bat", "README.md", "LICENSE", "pyproject.toml",
        "easy_scripts/__main__.py", "easy_scripts/launcher/start.bat", "docs/settings.md",
        "easy_scripts/install/locks/cu130.txt", "scripts/practice/base.safetensors",
        "scripts/train.py",
    ):  # fmt: skip
        assert needed in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", ".", "logs/"))]
    assert not [name for name in names if name.endswith(".pyc")]
    with zipfile.ZipFile(tmp_path / "EasyLoRA.zip") as packed:
        start = packed.read("easy_scripts/launcher/start.bat")
    assert start.count(b"\r\n") == start.count(b"\n")
