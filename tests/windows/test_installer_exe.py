"""The built installer under Wine: what it unpacks, writes down, shows, and starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import pytest
from wine_pc import ROOT, WINE, last_call, read_calls, wait_for_window, windows_path

from easy_scripts.launcher.project import project_version

pytestmark = pytest.mark.slow
FOLDER = r"C:\Äpfel & Birnen\EasyLoRA"  # a short path
ENTRY = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Uninstall\EasyLoRA"
OF_THE_PACKED = ("TCL_LIBRARY", "TK_LIBRARY", "_PYI_ARCHIVE_FILE", "_PYI_APPLICATION_HOME_DIR",
                 "_PYI_PARENT_PROCESS_LEVEL")  # fmt: skip


@pytest.fixture(scope="session")
def pyinstaller(tmp_path_factory):
    """PyInstaller for Windows, with what it needs there; fetched once and kept in `cache`."""
    folder = ROOT / "cache" / "windows_pyinstaller"
    if not (folder / "PyInstaller").is_dir():
        part = tmp_path_factory.mktemp("pyinstaller")
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(part),
             "--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:",
             "pyinstaller==6.22.3", "pefile", "pywin32-ctypes"],
            check=True,
        )  # fmt: skip
        shutil.copytree(part, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def program(wine, windows_python, pyinstaller, tmp_path_factory):
    """EasyLoRA-Setup.exe, built by the spec."""
    source = tmp_path_factory.mktemp("source")
    for name in ("easy_scripts", "scripts/core", "scripts/settings", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.bat"), ROOT / "pyproject.toml", ROOT / "scripts" / "__init__.py"):
        shutil.copy(path, source / path.relative_to(ROOT))
    for command in (
        ["-m", "easy_scripts.install.pack", "build/EasyLoRA.zip"],
        ["-m", "PyInstaller", "--log-level", "ERROR", "easy_scripts/install/installer.spec"],
    ):
        done = wine.run(
            [windows_path(windows_python / "python.exe"), *command], source,
            {"PYTHONPATH": windows_path(pyinstaller)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    return source / "dist" / "EasyLoRA-Setup.exe"


@pytest.fixture
def stubbed(computer):
    """A PC on which a stub stands in for Python; what the programs there are told of it."""
    computer.put(computer.folder / "bin" / "py.exe")
    computer.log = computer.folder / "calls.txt"
    computer.variables = {
        "STUB_LOG": windows_path(computer.log), "STUB_PY": "3.12",
        "WINEPATH": windows_path(computer.folder / "bin"),
    }  # fmt: skip
    return computer


def installed_in(wine):
    return wine.prefix / "drive_c" / "Äpfel & Birnen" / "EasyLoRA"


def python_calls(log):
    """How Python was started, without the questions of start.bat."""
    return [call for call in read_calls(log) if call.name == "py.exe" and not call.is_question]


def assert_clean(call):
    """The call knows nothing of the folder of the moment that the installer unpacks itself into."""
    assert not set(OF_THE_PACKED) & set(call.variables)
    assert not [name for name, value in call.variables.items() if "_MEI" in value.upper()]


def test_explorer_shows_the_version(program):
    assert project_version().encode("utf-16-le") in program.read_bytes()


def test_silently_it_unpacks_a_folder_that_works(program, pc):
    done = pc.wine.run(
        [windows_path(program), "--silent", "--no-setup", "--folder", FOLDER], pc.folder
    )
    target = installed_in(pc.wine)
    assert done.returncode == 0, done.stdout
    code, _, shown = pc.start("setup.bat", "--check", folder=target)
    assert code == 1 and "has not been set up in this folder yet" in shown
    shutil.rmtree(target)


def test_silently_it_runs_set_up_and_passes_on_its_exit_code(program, stubbed):
    done = stubbed.wine.run(
        [windows_path(program), "--silent", "--kind", "cpu", "--folder", FOLDER], stubbed.folder,
        {**stubbed.variables, "STUB_CODE": "9", "TCL_LIBRARY": "C:\\other"},
    )  # fmt: skip
    target = installed_in(stubbed.wine)
    log = (target / "logs" / "EasyLoRA-Setup.log").read_text("utf-8")
    assert done.returncode == 9 and "Set-up ended with 9." in log, (done.stdout, log)
    call = last_call(read_calls(stubbed.log))
    assert call.arguments == [
        "-3.12", f"{FOLDER}\\easy_scripts", "setup", "--no-window", "--kind", "cpu"
    ]  # fmt: skip
    assert_clean(call)
    entry = stubbed.wine.run(["reg", "query", ENTRY], stubbed.folder).stdout
    assert 'EasyLoRA\\uninstall.bat""' in entry and project_version() in entry
    stubbed.start("uninstall.bat", "yes", folder=target)
    assert stubbed.wine.run(["reg", "query", ENTRY], stubbed.folder).returncode != 0
    shutil.rmtree(target)


def test_a_failure_is_in_the_log_for_there_is_no_console(program, stubbed):
    taken = stubbed.wine.prefix / "drive_c" / "taken"
    taken.mkdir()
    (taken / "letter.txt").touch()
    done = stubbed.wine.run(
        [windows_path(program), "--silent", "--folder", "C:\\taken"], stubbed.folder
    )
    [log] = stubbed.wine.prefix.rglob("Temp/EasyLoRA-Setup.log")
    assert done.returncode == 1 and "holds other files" in log.read_text("utf-8")
    shutil.rmtree(taken)


def test_the_window_unpacks_makes_shortcuts_and_starts_set_up(program, stubbed, wine_on_screen):
    wine = wine_on_screen
    shell = wine.prefix / "drive_c/windows/system32/WindowsPowerShell/v1.0/powershell.exe"
    shell.unlink(missing_ok=True)
    stubbed.put(shell)
    window = subprocess.Popen(
        [WINE, windows_path(program), "--folder", FOLDER],
        env={**wine.variables, **stubbed.variables},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        number = wait_for_window(wine, "Install Easy LoRA")
        keys = {**os.environ, **wine.screen}
        subprocess.run(["xdotool", "windowfocus", number, "key", "Return"], env=keys, check=True)
        assert window.wait(timeout=90) == 0
        end = time.monotonic() + 60
        while not python_calls(stubbed.log):
            assert time.monotonic() < end, "set-up was not started"
            time.sleep(0.2)
    finally:
        window.kill()
        window.wait()
    call = last_call([call for call in read_calls(stubbed.log) if call.name == "py.exe"])
    assert call.arguments == ["-3.12", f"{FOLDER}\\easy_scripts", "setup"]
    assert call.folder == FOLDER
    assert_clean(call)
    links = [call.variables for call in read_calls(stubbed.log) if call.name == "powershell.exe"]
    made = {
        link["EASY_LORA_LINK"].rpartition("\\")[2]: link["EASY_LORA_TARGET"].rpartition("\\")
        for link in links
    }
    assert made["Uninstall Easy LoRA.lnk"] == (FOLDER, "\\", "uninstall.bat")
    assert made["Easy LoRA - Train.lnk"] == (FOLDER, "\\", "run_training.bat")
    assert len(made) == len(links) == 6
    assert {link["EASY_LORA_FOLDER"] for link in links} == {FOLDER}


DLL_FOLDER = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
from easy_scripts.install.installer_start import forget_our_libraries
kernel, found = ctypes.windll.kernel32, ctypes.create_unicode_buffer(260)
kernel.SetDllDirectoryW("C:\\\\_MEI1")  # as PyInstaller's start does
for act in (lambda: None, forget_our_libraries):
    act()
    kernel.GetDllDirectoryW(260, found)
    print(repr(found.value))
"""


def test_children_do_not_look_for_dlls_in_the_packed_folder(wine, windows_python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(DLL_FOLDER)
    python = windows_path(windows_python / "python.exe")
    done = wine.run([python, windows_path(script), windows_path(ROOT)], tmp_path)
    assert done.stdout.split() == [r"'C:\\_MEI1'", "''"], done.stdout
