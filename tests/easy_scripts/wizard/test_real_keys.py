"""The wizard as a program of its own, used by the keyboard of the screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LORA = ROOT / "tests" / "data" / "resize" / "input.safetensors"
PROGRAM = """
import sys
from pathlib import Path
from easy_scripts import window
from easy_scripts.wizard import remembered
folder = Path(sys.argv[1])
remembered.memory_folder = lambda: folder
sys.exit(window.main(["resize", *sys.argv[2:]]))
"""


def keyboard(*keys: str) -> None:
    """Press keys as the screen's keyboard does."""
    subprocess.run(["xdotool", "key", "--delay", "30", *keys], check=True, timeout=30)


def wait_for(holds, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)


@pytest.fixture
def start(screen, tmp_path):
    """A function that starts the wizard on files and waits until its window has the keyboard."""
    if sys.platform != "linux":
        pytest.skip("xdotool is for Linux")
    if not shutil.which("xdotool"):
        pytest.skip("xdotool is not installed")
    processes = []

    def start_it(*files: Path) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "kept"), *map(str, files)], cwd=ROOT,
            env={**os.environ, "EASY_LORA_LANGUAGE": "en"}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        found = subprocess.run(["xdotool", "search", "--sync", "--onlyvisible", "--name",
                                "Make LoRAs smaller"], timeout=30, check=True)  # fmt: skip
        assert found.returncode == 0
        time.sleep(1)
        return process

    yield start_it
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_from_a_dropped_file_to_the_finished_one_in_four_keys(start, tmp_path):
    lora = Path(shutil.copy(LORA, tmp_path / "hero.safetensors"))
    process = start(lora)
    keyboard("alt+n")
    time.sleep(3)  # the LoRA is looked at
    keyboard("alt+n")
    time.sleep(0.5)
    keyboard("alt+s")
    wait_for(lambda: list(tmp_path.glob("hero-dim*.safetensors")), process)
    time.sleep(2)
    keyboard("Escape")
    assert process.wait(timeout=20) == 0
    assert process.stderr.read() == ""


@pytest.mark.slow
def test_escape_leaves_at_once(start, tmp_path):
    process = start(Path(shutil.copy(LORA, tmp_path / "hero.safetensors")))
    keyboard("Escape")
    assert process.wait(timeout=20) == 0
    assert process.stderr.read() == ""


def test_without_a_screen_it_is_one_sentence(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "DISPLAY"}
    if sys.platform in ("win32", "darwin"):
        pytest.skip("there is always a screen")
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT, env=environment,
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "There is no screen to show a window on. Without a window: "
        "python -m easy_scripts resize --help\n"
    )


def test_without_tk_it_is_one_sentence(tmp_path):
    program = "import sys\nsys.modules['tkinter'] = None\n" + PROGRAM
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT,
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("The windows cannot be shown, because this Python has no Tk.")
    assert done.stderr.count("\n") == 1
