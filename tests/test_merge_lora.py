"""The merge command as a window starts it: a config file in, events out."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scripts.core.files import PROJECT_FOLDER

LAYER = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


def write_lora(path, seed):
    generator = torch.Generator().manual_seed(seed)
    up, down = (torch.randn(*size, generator=generator) for size in ((16, 2), (2, 12)))
    save_file({f"{LAYER}.lora_up.weight": up, f"{LAYER}.lora_down.weight": down,
               f"{LAYER}.alpha": torch.tensor(2.0)}, path)  # fmt: skip
    return up.double() @ down.double()


def run(config, folder):
    """(exit code, events) of the command; its input stays open, as that of a window does."""
    file = folder / "Größe & Form.json"
    file.write_text(json.dumps(config), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.merge_lora", "--config", str(file), "--events"],
        cwd=PROJECT_FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    out = process.stdout.read()
    process.stdin.close()
    process.stdout.close()
    return process.wait(), [json.loads(line) for line in out.decode("utf-8").splitlines()]


@pytest.mark.parametrize("damaged", [False, True])
def test_config_in_and_events_out(damaged, tmp_path):
    models = [tmp_path / "ä b.safetensors", tmp_path / "c&d.safetensors"]
    first, second = (write_lora(path, seed) for seed, path in enumerate(models))
    if damaged:
        models[1].write_bytes(models[1].read_bytes()[:-8])
    result = tmp_path / "out" / "both.safetensors"
    code, events = run({"models": [str(path) for path in models], "ratios": [0.5, -2],
                        "new_rank": "exact", "save_to": str(result)}, tmp_path)  # fmt: skip
    kinds = [event["event"] for event in events]
    if damaged:
        (problem,) = (event for event in events if event["event"] == "problem")
        assert (code, problem["setting"]) == (1, "models") and "is cut off" in problem["message"]
        assert kinds[-1] == "problem" and not result.exists()
        return
    assert code == 0 and kinds[0] == "start" and kinds[-1] == "done"
    assert {"stage", "saved", "facts"} <= set(kinds)
    assert events[-1]["path"] == str(result)
    state = {key: tensor.double().numpy() for key, tensor in load_file(result).items()}
    up, down = state[f"{LAYER}.lora_up.weight"], state[f"{LAYER}.lora_down.weight"]
    merged = state[f"{LAYER}.alpha"] / len(down) * up @ down
    np.testing.assert_allclose(merged, 0.5 * first - 2 * second, atol=1e-5)
