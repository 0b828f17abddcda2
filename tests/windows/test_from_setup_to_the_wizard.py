"""From an empty folder to a tool's window, by .bat files alone, with a real Windows Python.

Packages and practice bake are made up, everything else is as on a user's PC.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from wine_pc import ROOT, WINE, wait_for_window, windows_path

sys.path.append(str(ROOT / "tests" / "easy_scripts"))
from made_up_project import make_project, make_wheels

from easy_scripts.install.skeleton import LIBRARIES

pytestmark = pytest.mark.slow
OF_THE_WINDOWS = ("sv_ttk", "tktooltip", "tkinterdnd2")
TITLES = {"lora_resize.bat": "Make LoRAs smaller", "run_training.bat": "Train a LoRA"}


def processes_of(folder):
    """The command lines of the running programs that name the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode("utf-8", "replace").replace("\0", " ")
        except OSError:
            continue
        if folder in line:
            found.append(line)
    return found


def start_and_leave(wine, command, folder, variables):
    """Run a program to its own end; its exit code and what it printed.

    Under Wine, what it leaves running holds the pipe of its output open.
    """
    with subprocess.Popen(
        [WINE, *command], cwd=folder, env={**wine.variables, **variables},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        code = process.wait(timeout=120)
        os.set_blocking(process.stdout.fileno(), False)
        return code, os.read(process.stdout.fileno(), 65536).decode("utf-8", "replace")


def test_setup_then_the_tools_open_and_need_no_console(wine_on_screen, windows_python, tmp_path):
    wine = wine_on_screen
    wheels = make_wheels(tmp_path / "wheels")
    root = wine.prefix / "drive_c" / "Äpfel & Birnen"  # a short path
    make_project(root, wheels)
    shutil.copytree(ROOT / "scripts" / "settings", root / "scripts" / "settings")
    for path in ROOT.glob("*.bat"):
        shutil.copy(path, root)
    variables = {
        "WINEPATH": windows_path(windows_python), "EASY_LORA_LANGUAGE": "en",
        "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": windows_path(wheels),
        "https_proxy": "http://127.0.0.1:9",  # nothing gets out
    }  # fmt: skip
    done = wine.run(["cmd", "/c", "setup.bat"], root, variables, seconds=500)
    assert done.returncode == 0, done.stdout
    assert "Ready: the processor" in done.stdout
    assert (root / "output" / "baked.txt").exists()
    assert (root / ".venv" / "Lib" / "site-packages" / LIBRARIES).exists()
    variables["WINEPATH"] = "C:\\nothing"  # from here on, only the private environment is there

    def click(name):
        line = f"C:\\windows\\system32\\cmd.exe /c C:\\x\\{name}"
        return start_and_leave(wine, ["cmd", "/c", name], root, {**variables, "CMDCMDLINE": line})

    code, shown = click("lora_resize.bat")
    assert code == 1, shown
    assert (
        "This could not go on: No module named 'sv_ttk'. " in shown and "Start setup.bat" in shown
    )
    assert "Traceback" not in shown and "Press any key" in shown
    for name in OF_THE_WINDOWS:
        [folder] = importlib.util.find_spec(name).submodule_search_locations
        shutil.copytree(folder, root / ".venv" / "Lib" / "site-packages" / name)
    for name, title in TITLES.items():
        code, shown = click(name)  # comes back while the window stays
        assert code == 0, shown
        assert "Opening Easy LoRA..." in shown and "Press any key" not in shown
        wait_for_window(wine, title)
        assert len(processes_of(r".venv\Scripts\pythonw.exe")) >= 1
