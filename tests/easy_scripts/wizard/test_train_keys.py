"""The training wizard as a program of its own, used by the keyboard of the screen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_real_keys import keyboard, wait_for
from test_train_wizard import BASE, TINY

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys
from pathlib import Path
from easy_scripts import window
from easy_scripts.wizard import remembered
folder = Path(sys.argv[1])
remembered.memory_folder = lambda: folder
sys.exit(window.main(["train", *sys.argv[2:]]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("xdotool"), reason="xdotool is not installed")
def test_a_dropped_config_is_baked_by_return_alone(screen, tmp_path):
    from scripts.practice.draw import draw_practice_set

    draw_practice_set(tmp_path / "pictures")
    config = tmp_path / "run.json"
    config.write_text(json.dumps({
        **TINY, "max_train_epochs": 1, "output_dir": str(tmp_path / "out"), "output_name": "one",
        "train_data_dir": str(tmp_path / "pictures"), "pretrained_model_name_or_path": str(BASE),
    }))  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "kept"), str(config)], cwd=ROOT,
        env={**os.environ, "EASY_LORA_LANGUAGE": "en"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        subprocess.run(["xdotool", "search", "--sync", "--onlyvisible", "--name", "Train a LoRA"],
                       timeout=30, check=True)  # fmt: skip
        time.sleep(4)  # the config is read
        keyboard("Return")
        time.sleep(4)  # the plan is made
        keyboard("Return")
        wait_for(lambda: (tmp_path / "out" / "one.safetensors").exists(), process)
        bakes = tmp_path / "kept" / "bakes"
        wait_for(lambda: not list(bakes.iterdir()), process)  # its end has been seen
        time.sleep(1)
        keyboard("Escape")
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
