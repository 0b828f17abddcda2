"""A screen for the tests of windows, and a robot that uses a wizard as a person does."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tool_hands import LORA, ROOT, TINY_LORA
from virtual_screen import virtual_screen


@pytest.fixture(scope="session")
def screen():
    """A screen of 1366 x 768 that nobody sees; on Windows and macOS the real one.

    Tests that need it are skipped where there is no Tk or no Xvfb, which fails in CI.
    """
    with virtual_screen(1366, 768):
        yield


@pytest.fixture
def memory_folder(tmp_path, monkeypatch):
    """Where the wizards of a test remember things."""
    from easy_scripts.wizard import remembered

    folder = tmp_path / "remembered"
    monkeypatch.setattr(remembered, "memory_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def freed_windows():
    """What is left of a test's windows is freed by its thread, before other tests start threads."""
    yield
    gc.collect()
    gc.enable()


@pytest.fixture
def open_robot(screen, memory_folder, monkeypatch):
    """A function that opens a wizard and gives the robot that uses it; closed at the end."""
    from robot import Robot

    monkeypatch.setenv("EASY_LORA_LANGUAGE", "en")
    monkeypatch.setenv("EASY_LORA_THEME", "light")
    monkeypatch.setenv("EASY_LORA_SCALE", "100")
    robots = []

    def open_it(plan, given=None) -> Robot:
        robots.append(Robot(plan, given))
        return robots[-1]

    yield open_it
    while robots:
        robots.pop().end()


@pytest.fixture
def loras(tmp_path):
    """Two LoRAs in a folder whose name is a trap."""
    folder = tmp_path / "my LoRAs & ü"
    folder.mkdir()
    names = ("hero.safetensors", "style v2.safetensors")
    return [Path(shutil.copy(LORA, folder / name)) for name in names]


@pytest.fixture
def models(tiny_sd15, tmp_path):
    """An original model, and one in which some layers were tuned."""
    folder = tmp_path / "models"
    folder.mkdir()
    original = Path(shutil.copy(tiny_sd15, folder / "plain.safetensors"))
    tuned = folder / "tuned.safetensors"
    subprocess.run(
        [sys.executable, "-m", "scripts.merge_lora", "--models", str(TINY_LORA), "--sd_model",
         str(original), "--save_to", str(tuned)],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return original, tuned


@pytest.fixture(scope="session")
def own_copy(tmp_path_factory):
    """Easy LoRA in a folder with a difficult name."""
    from own_copy import make_own_copy

    return make_own_copy(tmp_path_factory.mktemp("pc") / "Easy LoRA ü & co")


@pytest.fixture
def open_window(own_copy, monkeypatch):
    """A function that starts the program by its launcher, with files dropped onto it, and gives its
    window to a person with a mouse; nothing of it is left running or remembered."""
    pytest.importorskip("tkinter", reason="this Python has no Tk")
    for program in ("Xvfb", "xdotool"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    from seen_from_outside import Window, guarded_screen

    for name, value in guarded_screen().items():
        monkeypatch.setenv(name, value)
    own_copy.tidy()
    windows = []

    def open_it(*files) -> Window:
        windows.append(Window(own_copy.start(*files)))
        return windows[-1]

    yield open_it
    own_copy.end_all()
    for window in windows:
        window.let_go()


@pytest.fixture
def drawn_pictures(tmp_path):
    """Drawn pictures, each with a caption that says no more than that it is a figure."""
    from scripts.practice.draw import draw_practice_set

    draw_practice_set(tmp_path / "my pictures")
    (inside,) = (tmp_path / "my pictures").iterdir()
    for number, caption in enumerate(sorted(inside.glob("*.txt"))):
        caption.write_text(f"a figure, number {number}", encoding="utf-8")
    return inside.rename(inside.with_name("10_figure")).parent
