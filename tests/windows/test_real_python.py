"""setup.bat with a real Windows Python under Wine: it is found, judged, started, and sets up."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from wine_pc import ROOT, WINE, windows_path

from easy_scripts.launcher.project import project_version

pytestmark = pytest.mark.slow
sys.path.append(str(ROOT / "tests" / "easy_scripts"))


def test_it_is_found_and_the_verb_runs(pc):
    code, _, shown = pc.start("setup.bat", "--check")
    assert code == 1
    assert "Easy LoRA has not been set up in this folder yet." in shown
    code, _, shown = pc.start("setup.bat", "--help")
    assert code == 0 and "easy_scripts setup" in shown


def test_a_python_without_tk_is_passed_over(pc, windows_python, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(windows_python, bare)
    shutil.rmtree(bare / "Lib" / "tkinter")
    done = pc.wine.run(
        [windows_path(bare / "python.exe"), "-I", "-S",
         windows_path(pc.project / "easy_scripts" / "launcher" / "usable.py")],
        pc.folder,
    )  # fmt: skip
    assert done.returncode == 1
    code, _, shown = pc.start("setup.bat", "--check", WINEPATH=windows_path(bare))
    assert code == 1 and "No usable Python was found" in shown


def test_the_environment_is_made_and_is_whole(pc, windows_python, tmp_path):
    from made_up_wheels import make_torch, make_wheel, repack_pip

    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_torch(wheels, "2.13.0", None)
    make_wheel(wheels, "tiny", "1.0", {"tiny.py": "NAME = 'tiny'\n"})
    pip = repack_pip(wheels)
    locks = pc.project / "easy_scripts" / "install" / "locks"
    for name, text in {
        "pip": f"pip=={pip}\n", "common": "tiny==1.0\n", "cuda13-linux": "",
        "cpu": "-r common.txt\ntorch==2.13.0+cpu\n",
    }.items():  # fmt: skip
        (locks / f"{name}.txt").write_text(text)
    tests = pc.project / "tests" / "easy_scripts"
    tests.mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "easy_scripts" / "set_up_made_up_project.py", tests)
    command = [
        windows_path(windows_python / "python.exe"),
        windows_path(tests / "set_up_made_up_project.py"), windows_path(pc.project),
    ]  # fmt: skip
    source = {
        "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": windows_path(wheels), "PIP_NO_CACHE_DIR": "1",
    }  # fmt: skip
    done = pc.wine.run(command, pc.folder, source)
    assert done.returncode == 1 and "Move the folder to a short path" in done.stdout
    assert not (pc.project / ".venv").exists()
    file_system = r"HKLM\SYSTEM\CurrentControlSet\Control\FileSystem"
    allow = ["reg", "add", file_system, "/v", "LongPathsEnabled", "/t", "REG_DWORD", "/d", "1",
             "/f"]  # fmt: skip
    pc.wine.run(allow, pc.folder)
    try:
        done = pc.wine.run(command, pc.folder, source)
    finally:
        pc.wine.run(["reg", "delete", file_system, "/v", "LongPathsEnabled", "/f"], pc.folder)
    assert done.returncode == 0, done.stdout
    assert (pc.project / ".venv" / "easy_lora_whole.json").exists()
    again = pc.wine.run(
        [windows_path(pc.project / ".venv" / "Scripts" / "python.exe"), "-X", "utf8", "-c",
         "import sys, tiny; print(tiny.NAME, sys.prefix)"],
        pc.folder,
    )  # fmt: skip
    assert again.stdout.strip() == "tiny " + windows_path(pc.project / ".venv")
    assert os.path.lexists(pc.project / ".venv" / "Scripts" / "pythonw.exe")
    assert Path(pc.project / "logs").exists()


# The tests of what behaves in its own way on Windows; -k: of those that set up, a few.
ON_WINDOWS = ("handover", "self_test", "launcher_judge", "doctor", "bitsandbytes_patch",
              "fetch_wheel", "make_environment")  # fmt: skip
FEW = (
    "not real_package and not that_of_adamw and (not make_environment or moved_folder or "
    "build_that_arrived or training_runs or damage_pip)"
)


def test_the_tests_of_set_up_pass_with_a_windows_python(wine, windows_python, tmp_path):
    """What is started, found, mended and killed there is another system's."""
    packages, source = tmp_path / "packages", tmp_path / "EasyLoRA"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages),
         "--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:",
         "pytest==9.2.0", "colorama"],
        check=True,
    )  # fmt: skip
    for name in ("easy_scripts", "scripts", "tests/easy_scripts", "tests/data/gpus"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", source)
    files = [f"tests/easy_scripts/test_{name}.py" for name in ON_WINDOWS]
    done = wine.run(
        [windows_path(windows_python / "python.exe"), "-m", "pytest", "--noconftest", "-k", FEW,
         "-p", "no:cacheprovider", r"--basetemp=C:\t", *files],
        source, {"PYTHONPATH": windows_path(packages)}, seconds=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "[100%]" in done.stdout


WINDOW = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from easy_scripts.install.setup_window import SetupWindow
from easy_scripts.launcher.project import Project
from easy_scripts.wizard.screen import open_root
window = SetupWindow(open_root("Easy LoRA", ""), Project(Path(sys.argv[2])), [])
window.root.deiconify()
end = time.monotonic() + 30
while time.monotonic() < end and not window.start.instate(["!disabled"]):
    window.root.update()
    time.sleep(0.02)
print(window.root.winfo_viewable(), window.root.winfo_width() > 300, window.notes["text"])
"""


TOOL_WINDOW = """
import sys, time
sys.path[:0] = sys.argv[1:3]
import importlib
from easy_scripts.wizard.window import open_wizard
wizard = open_wizard(importlib.import_module("easy_scripts." + sys.argv[3]).PLAN)
end = time.monotonic() + 2
while time.monotonic() < end:
    wizard.root.update()
    time.sleep(0.02)
print(wizard.root.winfo_viewable(), wizard.root.winfo_width() > 600, wizard.root.title())
wizard.end()
"""
TITLES = {
    "resize": "Make LoRAs smaller", "merge": "Merge LoRAs", "extract": "LoRA from two models",
    "train": "Train a LoRA",
}  # fmt: skip


def test_the_window_of_setup_opens(run_on_screen, pc):
    shown = run_on_screen(WINDOW, windows_path(pc.project), "C:\\EasyLoRA")
    assert shown.startswith("1 True No NVIDIA or Intel Arc graphics card"), shown


def test_the_windows_of_the_tools_open(run_on_screen, pc, tmp_path):
    packages = tmp_path / "packages"
    for name in ("sv_ttk", "tktooltip", "tkinterdnd2"):
        [folder] = importlib.util.find_spec(name).submodule_search_locations
        shutil.copytree(folder, packages / name)
    for verb, title in TITLES.items():
        shown = run_on_screen(TOOL_WINDOW, windows_path(pc.project), windows_path(packages), verb)
        assert shown.split(None, 2)[:2] == ["1", "True"] and title in shown, shown


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


def wait_for_window(wine, title):
    """Wait until a window bears the title."""
    end = time.monotonic() + 60
    search = ["xdotool", "search", "--onlyvisible", "--name", title]
    while subprocess.run(search, env={**os.environ, **wine.screen}, capture_output=True).returncode:
        assert time.monotonic() < end, f"no window {title}"
        time.sleep(0.2)


def test_the_installer_is_built_and_unpacks_a_folder_that_works(
    pc, windows_python, pyinstaller, wine_on_screen, tmp_path
):
    python = windows_path(windows_python / "python.exe")
    source = tmp_path / "source"
    for name in ("easy_scripts", "scripts/core", "scripts/settings", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.bat"), ROOT / "pyproject.toml", ROOT / "scripts" / "__init__.py"):
        shutil.copy(path, source / path.relative_to(ROOT))
    packages = {"PYTHONPATH": windows_path(pyinstaller)}
    for command in (
        ["-m", "easy_scripts.install.pack", "build/EasyLoRA.zip"],
        ["-m", "PyInstaller", "--log-level", "ERROR", "easy_scripts/install/installer.spec"],
    ):
        done = pc.wine.run([python, *command], source, packages)
        assert done.returncode == 0, done.stdout
    program = source / "dist" / "EasyLoRA-Setup.exe"
    target = pc.wine.prefix / "drive_c" / "Äpfel & Birnen" / "EasyLoRA"  # a short path
    done = pc.wine.run(
        [windows_path(program), "--silent", "--no-setup", "--folder",
         r"C:\Äpfel & Birnen\EasyLoRA"],
        tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    code, _, shown = pc.start("setup.bat", "--check", folder=target)
    assert code == 1 and "has not been set up in this folder yet" in shown
    version = project_version().encode("utf-16-le")
    assert version in program.read_bytes(), "Explorer is to show the version"
    window = subprocess.Popen(
        [WINE, windows_path(program)], env=wine_on_screen.variables, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for_window(wine_on_screen, "Install Easy LoRA")
    finally:
        window.kill()
        window.wait()
