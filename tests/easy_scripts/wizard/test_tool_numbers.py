"""What the windows of the LoRA tools say and make, against the numbers in the files."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tool_hands import DATA, LORA, finish, given, known

from easy_scripts import merge, resize
from easy_scripts.lora_pages.result_page import BlockBars

SDXL_LORA = DATA / "step" / "lora_init_sdxl_dim1_alpha1.safetensors"
BLOCKS = {  # of the layers in LORA, as people call them
    "lora_te": "BASE", "lora_unet_down_blocks_0_attentions_0": "IN01",
    "lora_unet_up_blocks_2_attentions_1": "OUT07",
}  # fmt: skip


def changes(path):
    """ΔW of each layer in a file, in float64, by name."""
    state = {key: array.astype(np.float64) for key, array in load_file(path).items()}
    found = {}
    for name in {key.split(".")[0] for key in state}:
        up, down = state[f"{name}.lora_up.weight"], state[f"{name}.lora_down.weight"]
        scale = state[f"{name}.alpha"] / len(down)
        found[name] = scale * up.reshape(len(up), -1) @ down.reshape(len(down), -1)
    return found


def block_of(name):
    """The block of a layer in LORA."""
    return next(block for start, block in BLOCKS.items() if name.startswith(start))


def kept_at(rank, block=""):
    """The share of LORA's change that its best approximation of this rank keeps, in per cent."""
    kept = everything = 0.0
    for name, change in changes(LORA).items():
        if block in ("", block_of(name)):
            squares = np.linalg.svd(change, compute_uv=False) ** 2
            kept, everything = kept + squares[:rank].sum(), everything + squares.sum()
    return 100 * float(np.sqrt(kept / everything))


def test_loras_of_two_families_are_warned_of_at_once(open_robot, loras):
    xl = Path(shutil.copy(SDXL_LORA, loras[0].with_name("xl.safetensors")))
    robot = open_robot(merge.PLAN, given("models", [*loras, xl]))
    known(robot)
    robot.pump()
    said = ("These LoRAs do not fit together: hero.safetensors, style v2.safetensors: Stable "
            "Diffusion 1.x; xl.safetensors: Stable Diffusion XL.")  # fmt: skip
    assert said in robot.seen(), "before Next is pressed"
    robot.press("<Alt-n>")
    assert said in robot.seen() and robot.page.name == "merge_files"
    robot.click(robot.page.cards[str(xl)].cross)
    assert "do not fit together" not in robot.seen()
    robot.press("<Alt-n>")
    assert robot.page.name == "merge_target"


def test_a_model_of_another_family_than_the_loras_is_refused(open_robot, loras, tiny_sdxl):
    base = Path(shutil.copy(tiny_sdxl, loras[0].with_name("base xl.safetensors")))
    robot = open_robot(merge.PLAN, {**given("models", loras), "sd_model": str(base)})
    known(robot)
    robot.press("<Alt-n>")
    known(robot)
    robot.press("<Alt-n>")
    assert robot.page.name == "merge_target"
    assert robot.page.rows["sd_model"]._message.cget("text") == (
        "The LoRAs were not made for this model (Stable Diffusion XL, 3 MB). Choose one that they "
        "were made for.")  # fmt: skip


def test_strengths_by_block_reach_the_result(open_robot, loras):
    """26 numbers: the text encoder, then 25 blocks; the LoRA has layers in three of these."""
    factors = {"BASE": 0.25, "IN01": 0.5, "OUT07": -2.0}
    numbers = [1.0] * 26
    numbers[0], numbers[2], numbers[21] = factors.values()
    robot = open_robot(merge.PLAN, given("models", loras[:1]))
    known(robot)
    robot.click(robot.find("▸  Strengths by block of the model"))
    box = robot.page._blocks._lines[str(loras[0])].box
    box.focus_force()
    robot.type(",".join(f"{number:g}" for number in numbers))
    robot.press("<Alt-n>")
    robot.fill("new_rank", "exact")
    robot.press("<Alt-n>")
    robot.press("<Alt-s>")
    finish(robot)
    before, after = changes(LORA), changes(loras[0].with_name("hero-merged.safetensors"))
    assert before.keys() == after.keys()
    for name, change in before.items():
        wanted = factors[block_of(name)] * change
        error = np.linalg.norm(after[name] - wanted) / np.linalg.norm(wanted)
        assert error < 2e-3, name  # fp16


@pytest.mark.parametrize("size", [2, 8])
def test_the_result_tells_what_was_kept(open_robot, loras, size):
    robot = open_robot(resize.PLAN, {**given("model", loras[:1]), "new_rank": [size]})
    for keys in ("<Alt-n>", "<Alt-n>", "<Alt-s>"):
        known(robot)
        robot.press(keys)
    finish(robot)
    made = loras[0].with_name(f"hero-dim{size}.safetensors")
    (line,) = re.findall(r"size 32 → .*", robot.seen())
    found = re.fullmatch(r"size 32 → (\d+) · (\d+) kB → (\d+) kB · keeps ([\d.]+) %", line)
    assert int(found[1]) == size
    assert int(found[2]) == round(LORA.stat().st_size / 1000)
    assert int(found[3]) == round(made.stat().st_size / 1000)
    assert float(found[4]) == pytest.approx(kept_at(size), abs=0.06)
    (bars,) = [widget for widget in robot.widgets() if isinstance(widget, BlockBars)]
    texts = [bars.itemcget(item, "text") for item in bars.find_all() if bars.type(item) == "text"]
    told = dict(zip(texts[::2], texts[1::2], strict=True))
    assert told == {block: f"{kept_at(size, block):.0f} %" for block in BLOCKS.values()}
    boxes = [bars.coords(item) for item in bars.find_all() if bars.type(item) == "rectangle"]
    for block, whole, kept in zip(told, boxes[::2], boxes[1::2], strict=True):
        share = (kept[2] - kept[0]) / (whole[2] - whole[0])
        assert share == pytest.approx(kept_at(size, block) / 100, abs=0.01)


def test_a_dynamic_method_gives_no_one_size(open_robot, loras):
    method = {"new_rank": [32], "dynamic_method": "sv_fro", "dynamic_param": [0.5]}
    robot = open_robot(resize.PLAN, {**given("model", loras[:1]), **method})
    for keys in ("<Alt-n>", "<Alt-n>", "<Alt-s>"):
        known(robot)
        robot.press(keys)
    finish(robot)
    assert "size 32 → varying by layer · 437 kB → 32 kB · keeps 77.8 %" in robot.seen()
