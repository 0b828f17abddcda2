"""What the tests of the LoRA tools' wizards share: files, and the steps that the robot takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from scripts.core.safetensors_header import read_header

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT / "tests" / "data"
TINY_LORA = DATA / "metadata" / "trained_lora.safetensors"  # for the tiny SD1.5 model
LORA = DATA / "resize" / "input.safetensors"  # dim 32, SD1.5


def given(name, files):
    """What the verb gives to the wizard for dropped files."""
    return {name: [str(path) for path in files]}


def known(robot):
    """Wait until the files chosen have been looked at."""
    pages = robot.wizard.pages
    askers = [getattr(page, name) for page in pages for name in ("reader", "asking")
              if hasattr(page, name)]  # fmt: skip
    robot.until(lambda: not any(asker.busy for asker in askers), "the files are looked at")


def finish(robot):
    """Wait for the result."""
    robot.until(lambda: robot.page.name == "result" or not robot.page.busy, "the work is done")
    assert robot.page.name == "result", robot.seen()


def dims(path):
    """The dims of the layers in a file."""
    shapes = read_header(path).tensors
    return {entry.shape[0] for key, entry in shapes.items() if key.endswith("lora_down.weight")}


def resized(dim, path):
    """The LoRA of the tests at another dim, made by the command."""
    subprocess.run(
        [sys.executable, "-m", "scripts.resize_lora", "--model", str(LORA), "--new_rank", str(dim),
         "--save_to", str(path)],
        cwd=ROOT, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return path


def write_oft(path):
    """A file of a kind that can be told of, and neither resized nor merged."""
    from safetensors.numpy import save_file  # the Windows Python of the tests is without it

    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    blocks = {f"{layer}.oft_blocks": np.ones((4, 4, 4), np.float32)}
    save_file({**blocks, f"{layer}.alpha": np.array(1.0, np.float32)}, path)
    return path


def write_dora(path):
    """The LoRA for the tiny model with a magnitude of 1 for each output."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(TINY_LORA)
    ups = {key: value for key, value in tensors.items() if key.endswith(".lora_up.weight")}
    for key, up in ups.items():
        magnitude = np.ones((len(up), *[1] * (up.ndim - 1)), up.dtype)
        tensors[key.replace(".lora_up.weight", ".dora_scale")] = magnitude
    save_file(tensors, path)
    return path
