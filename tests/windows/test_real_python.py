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
from wine_pc import ROOT, WINE, wait_for_window, windows_path

from easy_scripts.launcher.project import Project

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
    assert code == 1 and "Python could not be fetched" in shown


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


STAMP = """
import sys
import time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from easy_scripts.install.lockfiles import lock_hash
from easy_scripts.launcher.judge import read_pyvenv_cfg, this_machine
from easy_scripts.launcher.project import Project, write_json
project = Project(Path(sys.argv[1]))
write_json(project.stamp, {
    "kind": "cpu", "lock": lock_hash(project.locks, "cpu"), "folder": str(project.root),
    "python": ".".join(map(str, sys.version_info[:3])), "machine": this_machine(),
    "base": read_pyvenv_cfg(project.environment)["home"], "environment": {}})
"""
TITLES = {
    "resize": "Make LoRAs smaller", "merge": "Merge LoRAs", "extract": "LoRA from two models",
    "train": "Train a LoRA",
}  # fmt: skip


def test_the_window_of_setup_opens(run_on_screen, pc):
    shown = run_on_screen(WINDOW, windows_path(pc.project), "C:\\EasyLoRA")
    assert shown.startswith("1 True No NVIDIA or Intel Arc graphics card"), shown


@pytest.fixture
def set_up_pc(pc, wine_on_screen, windows_python, tmp_path):
    """The PC after set-up, as far as windows need it: an environment with a stamp, made from the
    real Python with the packages of the windows."""
    environment = Project(pc.project).environment
    python = windows_path(windows_python / "python.exe")
    made = wine_on_screen.run(
        [python, "-m", "venv", "--without-pip", windows_path(environment)], tmp_path)  # fmt: skip
    assert made.returncode == 0, made.stdout
    for name in ("sv_ttk", "tktooltip", "tkinterdnd2"):
        [folder] = importlib.util.find_spec(name).submodule_search_locations
        shutil.copytree(folder, environment / "Lib" / "site-packages" / name)
    script = tmp_path / "stamp.py"
    script.write_text(STAMP)
    stamped = wine_on_screen.run([python, windows_path(script), windows_path(pc.project)], tmp_path)
    assert stamped.returncode == 0, stamped.stdout
    return pc


def picture_of(wine, title, name):
    """The window with this title as a picture, when it no longer changes; kept to be looked at
    where EASY_LORA_PICTURES names a folder."""
    from PIL import ImageGrab

    wait_for_window(wine, title)
    search = ["xdotool", "search", "--onlyvisible", "--name", title, "getwindowgeometry", "--shell"]
    shown = subprocess.run(search, env={**os.environ, **wine.screen}, capture_output=True,
                           text=True, check=True).stdout  # fmt: skip
    facts = dict(line.split("=") for line in shown.splitlines())
    x, y, width, height = (int(facts[key]) for key in ("X", "Y", "WIDTH", "HEIGHT"))
    before, end = None, time.monotonic() + 60
    while True:
        box = (max(0, x), max(0, y), min(1280, x + width), min(900, y + height))
        picture = ImageGrab.grab(box, xdisplay=wine.screen["DISPLAY"])
        if picture.tobytes() == before and len(picture.getcolors(1 << 24)) > 9:
            break
        assert time.monotonic() < end, f"{title} is never drawn"
        before = picture.tobytes()
        time.sleep(1)
    if folder := os.environ.get("EASY_LORA_PICTURES"):
        picture.save(Path(folder) / f"wine-{name}.png")
    return picture


def test_the_windows_of_the_tools_open(set_up_pc, wine_on_screen):
    """Through the .bat file and the launcher, as after a double-click."""
    wine, bats = wine_on_screen, {"train": "run_training"}
    for verb, title in TITLES.items():
        bat = f"{bats.get(verb, f'lora_{verb}')}.bat"
        window = subprocess.Popen(
            [WINE, "cmd", "/c", bat], cwd=set_up_pc.project, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**wine.variables, **set_up_pc.variables, "EASY_LORA_THEME": "light"},
        )  # fmt: skip
        try:
            picture = picture_of(wine, title, verb)
        finally:
            subprocess.run(["xdotool", "search", "--name", title, "windowkill"], check=False,
                           env={**os.environ, **wine.screen})  # fmt: skip
            window.wait(timeout=60)
        colours = {colour: count for count, colour in picture.getcolors(1 << 24)}
        assert picture.width > 600 and picture.height > 400, (verb, picture.size)
        assert len(colours) > 50, "text, lines and buttons"
        assert colours.get((0xFA, 0xFA, 0xFA), 0) > picture.width * picture.height / 3, "paper"
        blue = sum(count for (red, _, blue), count in colours.items() if blue - red > 120)
        assert blue > 1000, "the button that most will take"
