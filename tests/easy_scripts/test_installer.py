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

from easy_scripts.install import installer, installer_files
from easy_scripts.install.installer_entries import IN_MENU, SHORTCUTS, apps_entry
from easy_scripts.install.installer_files import LIST, notices, payload, unpack
from easy_scripts.install.installer_start import command_line, outside_environment, start_setup
from easy_scripts.install.pack import write_zip
from easy_scripts.launcher.project import project_date, project_version
from scripts.core.errors import SuiteError

ROOT = Path(__file__).resolve().parents[2]


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
    unpack(first, folder)
    assert (folder / "setup.bat").read_text() == "1" and (folder / "scripts/old.py").exists()


def test_over_an_older_version_the_users_own_files_stay(first, second, tmp_path):
    folder = tmp_path / "EasyLoRA"
    unpack(first, folder)
    (folder / "output").mkdir()
    (folder / "output" / "cat.safetensors").write_text("mine")
    (folder / "scripts" / "mine.py").write_text("mine")
    unpack(second, folder)
    assert (folder / "a" / "b.py").read_text() == "2" and (folder / "a" / "new.py").exists()
    assert not (folder / "scripts" / "old.py").exists()
    assert (folder / "output" / "cat.safetensors").read_text() == "mine"
    assert (folder / "scripts" / "mine.py").exists()


def test_a_list_cannot_remove_files_elsewhere(first, second, tmp_path):
    folder = tmp_path / "EasyLoRA"
    unpack(first, folder)
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    os.symlink(tmp_path, folder / "link")
    (folder / LIST).write_text(f"../victim.txt\n{victim}\na/../../victim.txt\nlink/victim.txt\n")
    unpack(second, folder)
    assert victim.exists()


def test_an_unpacking_that_broke_off_can_be_begun_anew(first, second, tmp_path, monkeypatch):
    folder = tmp_path / "EasyLoRA"
    unpack(first, folder)

    def break_off(self, folder):
        self.extract("a/new.py", folder)
        raise OSError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(zipfile.ZipFile, "extractall", break_off)
        for place in (folder, tmp_path / "fresh"):
            with pytest.raises(OSError, match="the power went"):
                unpack(second, place)
    for place in (folder, tmp_path / "fresh"):
        unpack(second, place)
        found = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
        assert found == {"setup.bat", "a/b.py", "a/new.py", LIST}


def test_while_a_training_runs_there_nothing_is_unpacked(first, second, tmp_path, monkeypatch):
    folder = tmp_path / "EasyLoRA"
    unpack(first, folder)
    busy = {folder / ".venv": [4711]}
    monkeypatch.setattr(installer_files, "running_from", busy.__getitem__)
    with pytest.raises(SuiteError, match=r"at work in this folder \(process 4711\)"):
        unpack(second, folder)
    assert (folder / "setup.bat").read_text() == "1"


def test_the_place_of_our_own_python_is_refused(first, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    with pytest.raises(SuiteError, match="its own Python"):
        unpack(first, tmp_path / "EasyLoRA")
    unpack(first, tmp_path / "Programs" / "EasyLoRA")


def test_a_folder_in_onedrive_is_told_of():
    [sentence] = notices(Path("C:/Users/x/OneDrive - Firma/EasyLoRA"))
    assert "OneDrive" in sentence
    assert notices(Path("C:/EasyLoRA")) == []


@pytest.mark.parametrize(
    ("user", "folder"),
    [
        ("Tom", "/Users/Tom/AppData/Local/Programs/EasyLoRA"),
        ("x" * 22, "/home/x/EasyLoRA"),  # 61 letters are one too many
    ],
)
def test_the_default_folder_is_never_one_that_is_refused(monkeypatch, user, folder):
    monkeypatch.setenv("LOCALAPPDATA", f"/Users/{user}/AppData/Local")
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.setattr(installer_files.sys, "platform", "win32")
    monkeypatch.setattr(installer_files, "long_paths_on", lambda: False)
    assert installer_files.default_folder().as_posix() == folder


def leave_free(monkeypatch, free):
    """Let every disk have this many bytes of room."""
    usage = shutil._ntuple_diskusage(10**12, 10**12, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)


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
        leave_free(monkeypatch, 40 * 10**6)
    with pytest.raises(SuiteError, match=r"other files|is a file|too little room"):
        unpack(first, folder)
    assert not folder.is_dir() or not (folder / "setup.bat").exists()


@pytest.mark.parametrize(("free", "enough"), [(110, False), (130, True)])
def test_room_is_needed_for_the_files_alone(tmp_path, monkeypatch, free, enough):
    """What set-up fetches may be there already, and set-up looks by itself."""
    packed = make_zip(tmp_path / "large.zip", {"setup.bat": "x" * 20 * 10**6})
    leave_free(monkeypatch, free * 10**6)
    if enough:
        assert unpack(packed, tmp_path / "a") == ["setup.bat"]
    else:
        with pytest.raises(SuiteError, match="too little room"):
            unpack(packed, tmp_path / "a")


@pytest.fixture
def silently(first, tmp_path, monkeypatch):
    """A function: install silently into a folder; the exit code, and what the log there says."""
    monkeypatch.setattr(installer, "payload", lambda: first)
    monkeypatch.setattr(installer.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(installer.sys, "stderr", None)  # as in a program without a console

    def install(folder, *options, log=None):
        code = installer.main(["--silent", "--folder", str(folder), *options])
        return code, (log or folder / "logs" / installer.LOG).read_text(encoding="utf-8")

    return install


def test_silently(silently, tmp_path, monkeypatch):
    runs = []

    def run(folder, output, kind):
        runs.append((folder, kind))
        output.write("Checking that everything works\n")
        return 7

    monkeypatch.setattr(installer, "start_setup", run)
    folder = tmp_path / "x"
    code, log = silently(folder, "--no-setup")
    assert code == 0 and not runs and "3 files of Easy LoRA were unpacked" in log
    code, log = silently(folder, "--kind", "cpu")
    assert code == 7 and runs == [(folder, "cpu")]
    assert "Checking that everything works\n" in log and "Set-up ended with 7." in log


def test_a_failure_without_a_console_is_in_the_log(silently, tmp_path, monkeypatch):
    elsewhere = tmp_path / installer.LOG
    (tmp_path / "y").write_text("")
    code, log = silently(tmp_path / "y", log=elsewhere)
    assert code == 1 and "is a file" in log

    def break_down(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(installer, "unpack", break_down)
    code, log = silently(tmp_path / "z", log=elsewhere)
    assert code == 70 and "RuntimeError: a bug" in log and "Traceback" in log


def test_what_is_started_does_not_see_the_packed_python():
    packed = {
        "TCL_LIBRARY": "/_MEI1/tcl", "TK_LIBRARY": "/_MEI1/tk", "_PYI_ARCHIVE_FILE": "x",
        "_PYI_APPLICATION_HOME_DIR": "/_MEI1", "_PYI_PARENT_PROCESS_LEVEL": "1", "PATH": "/bin",
        "LD_LIBRARY_PATH": "/_MEI1", "LD_LIBRARY_PATH_ORIG": "/opt/lib",
    }  # fmt: skip
    assert outside_environment(packed) == {"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/lib"}
    del packed["LD_LIBRARY_PATH_ORIG"]
    assert outside_environment(packed) == {"PATH": "/bin"}


def test_set_up_is_started_by_its_full_path_and_with_its_quotes():
    """cmd finds nothing beside itself in a folder of a network; it takes the outer quotes off."""
    line = command_line(Path("//server/Tom & Ann/setup.bat"), "--no-window")
    program, _, rest = line.partition(" /d /c ")
    assert program.endswith("cmd.exe") and os.path.dirname(program)
    assert rest == '""' + str(Path("//server/Tom & Ann/setup.bat")) + '" --no-window"'


@pytest.mark.skipif(sys.platform == "win32", reason="there it is setup.bat")
def test_set_up_really_runs(tmp_path, monkeypatch):
    package = tmp_path / "easy_scripts"
    package.mkdir()
    (package / "__main__.py").write_text(
        "import os, sys\nprint(sys.argv[1:], 'TCL_LIBRARY' in os.environ)\nsys.exit(7)\n"
    )
    monkeypatch.setenv("TCL_LIBRARY", "/gone")
    with (tmp_path / "log").open("w+") as output:
        assert start_setup(tmp_path, output, "cpu") == 7
        output.seek(0)
        assert output.read() == "['setup', '--no-window', '--kind', 'cpu'] False\n"


def test_an_installer_without_its_payload_says_so():
    with pytest.raises(SuiteError, match="Download it again"):
        payload()


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
    assert subprocess.run(command).returncode == 0
    assert (target / "setup.bat").exists()
    (target / LIST).unlink(missing_ok=True)
    target.mkdir(exist_ok=True)
    shutil.rmtree(target / "easy_scripts", ignore_errors=True)
    (target / "letter.txt").write_text("mine")
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1 and "holds other files" in refused.stderr


def test_every_tool_gets_a_shortcut_and_the_menu_that_to_uninstall():
    bats = {path.name for path in ROOT.glob("*.bat")}
    assert set(SHORTCUTS.values()) == bats - {"uninstall.bat"}
    assert set(IN_MENU.values()) == bats


def test_settings_are_told_how_to_uninstall():
    entry = apps_entry(Path("/Tom & Ann/EasyLoRA"))
    bat = str(Path("/Tom & Ann/EasyLoRA/uninstall.bat"))
    assert entry["DisplayVersion"] == project_version()
    assert entry["UninstallString"].endswith(f'/c ""{bat}""')
    assert entry["QuietUninstallString"].endswith(f'/c ""{bat}" yes"')


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
