"""The installer and the zip that it unpacks."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from easy_scripts.install import installer
from easy_scripts.install.pack import write_zip
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


def test_every_tool_gets_a_shortcut():
    tools = {path.name for path in ROOT.glob("*.bat")} - {"uninstall.bat"}
    assert set(installer.SHORTCUTS.values()) == tools


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
