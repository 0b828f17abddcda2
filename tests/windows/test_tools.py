"""A resize and a merge to their end in their windows, with a real Windows Python under Wine.

The robot of the other tests sits in the window's process; the command is the window's own child, in
NumPy for Windows. NumPy is 1.26.4, as the C library of Wine 8 lacks what NumPy 2 needs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file
from wine_pc import ROOT, windows_path

pytestmark = pytest.mark.slow
LORA = ROOT / "tests" / "data" / "resize" / "input.safetensors"  # dim 32, fp16

PROGRAM = """
import importlib, json, sys
sys.path[:0] = sys.argv[1:3]
from robot import Robot
from tool_hands import finish, known
robot = Robot(importlib.import_module("easy_scripts." + sys.argv[3]).PLAN, json.loads(sys.argv[4]))
for button in ("Next", "Next", "Start"):
    known(robot)
    robot.click(button)
finish(robot)
print("seen: " + json.dumps(robot.seen()))
robot.end()
"""


@pytest.fixture(scope="session")
def numpy_for_windows(tmp_path_factory):
    """NumPy for Windows; fetched once and kept in `cache`."""
    folder = ROOT / "cache" / "windows_numpy"
    if not (folder / "numpy").is_dir():
        part = tmp_path_factory.mktemp("numpy")
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(part), "--no-deps",
             "--platform", "win_amd64", "--python-version", "3.11", "--only-binary=:all:",
             "numpy==1.26.4"],
            check=True,
        )  # fmt: skip
        shutil.copytree(part, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture
def use(wine_on_screen, windows_python, numpy_for_windows, tmp_path):
    """A function: go through a wizard with what is given to it; every text of its last page."""
    python, project = tmp_path / "python", tmp_path / "Äpfel & Birnen"
    shutil.copytree(windows_python, python, copy_function=os.link)
    packages = python / "Lib" / "site-packages"
    shutil.copytree(numpy_for_windows / "numpy", packages / "numpy")
    shutil.copytree(numpy_for_windows / "numpy.libs", packages / "numpy.libs")
    for name in ("sv_ttk", "tktooltip", "tkinterdnd2", "tqdm"):
        [folder] = importlib.util.find_spec(name).submodule_search_locations
        shutil.copytree(folder, packages / name)
    for name in ("easy_scripts", "scripts"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", project)
    program = tmp_path / "use.py"
    program.write_text(PROGRAM)

    def go(verb, given):
        hands = ROOT / "tests" / "easy_scripts" / "wizard"
        done = wine_on_screen.run(
            [windows_path(python / "python.exe"), windows_path(program), windows_path(project),
             windows_path(hands), verb, json.dumps(given)],
            tmp_path, {"EASY_LORA_LANGUAGE": "en"},
        )  # fmt: skip
        *_, last = done.stdout.strip().splitlines()
        assert last.startswith("seen: "), done.stdout
        return json.loads(last.removeprefix("seen: "))

    return go


@pytest.fixture
def loras(tmp_path):
    """Two LoRAs in a folder of a difficult name."""
    folder = tmp_path / "日本 & ü"
    folder.mkdir()
    return [shutil.copy(LORA, folder / name) for name in ("hero.safetensors", "style.safetensors")]


def changes(path):
    """ΔW of each layer, by name."""
    state = {key: array.astype(np.float64) for key, array in load_file(path).items()}
    found = {}
    for name in {key.split(".")[0] for key in state}:
        up, down = state[f"{name}.lora_up.weight"], state[f"{name}.lora_down.weight"]
        scale = state[f"{name}.alpha"] / len(down)
        found[name] = scale * up.reshape(len(up), -1) @ down.reshape(len(down), -1)
    return found


def test_a_lora_is_made_smaller(use, loras):
    seen = use("resize", {"model": [windows_path(loras[0])], "new_rank": [8]})
    made = loras[0].with_name("hero-dim8.safetensors")
    assert "hero-dim8.safetensors" in seen and "keeps 97.6 %" in seen
    before, after = changes(LORA), changes(made)
    assert before.keys() == after.keys()
    for name, change in before.items():
        up, values, down = np.linalg.svd(change, full_matrices=False)
        best = (up[:, :8] * values[:8]) @ down[:8]
        assert np.linalg.matrix_rank(after[name], tol=values[0] * 1e-3) <= 8
        assert np.linalg.norm(after[name] - best) < 2e-3 * np.linalg.norm(best)


def test_two_loras_are_merged(use, loras):
    given = {"models": [windows_path(path) for path in loras], "ratios": [0.75, -0.25],
             "new_rank": "exact"}  # fmt: skip
    seen = use("merge", given)
    assert "0.75 x hero - 0.25 x style" in seen
    merged = changes(loras[0].with_name("hero + style.safetensors"))
    for name, change in changes(LORA).items():
        error = np.linalg.norm(merged[name] - 0.5 * change)
        assert error < 2e-3 * np.linalg.norm(change), name
