"""Resizing beside sd-scripts: the ranks, alphas and ΔW that it gives for known numbers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from random_loras import best_error, read_deltas

from scripts import resize_lora
from scripts.core.safetensors_header import read_header
from scripts.lora.ranks import METHODS, Size, block_title, choose_rank

DATA = Path(__file__).parents[1] / "data" / "resize"
CASES = [case for case in json.loads((DATA / "resize.json").read_text())["cases"]
         if case["name"] != "rank_up"]  # fmt: skip
# Where sd-scripts gives each layer an alpha of its own we give all the one of the largest allowed,
# half of it here: 24 for the LoRA; 10 for the convolutions of the LoCon.
ONE_ALPHA = {"sv_ratio": 12.0, "sv_cumulative": 12.0, "sv_fro": 12.0, "locon_sv_ratio": 5.0}
ROUNDING = {"float": 2e-7, "fp16": 2e-3}


def run(case: dict, output: Path) -> None:
    words = ["--model", str(DATA / case["input"]), "--save_to", str(output),
             "--save_precision", case["save_precision"], *shlex.split(case["args"])]  # fmt: skip
    assert resize_lora.main(words) == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_ranks_alphas_and_norms_are_the_references(case, tmp_path):
    output = tmp_path / "out.safetensors"
    run(case, output)
    found, truth = read_deltas(output), read_deltas(DATA / case["input"])
    assert set(found) == set(case["modules"])
    for name, facts in case["modules"].items():
        change, rank, alpha = found[name]
        assert rank == facts["rank"]
        assert alpha == ONE_ALPHA.get(case["name"], facts["alpha"])
        assert np.linalg.norm(change) == pytest.approx(facts["delta_fro"], rel=1e-3)
        whole = np.linalg.norm(truth[name][0])
        error = np.linalg.norm(change - truth[name][0])
        best = best_error(truth[name][0], rank)
        assert error <= best + (1e-6 + ROUNDING[case["save_precision"]]) * whole
        assert error / whole == pytest.approx(facts["rel_error_vs_input"], abs=1e-3)
    if case["weights_file"]:
        for name, (change, _, _) in read_deltas(DATA / case["weights_file"]).items():
            assert np.linalg.norm(change - found[name][0]) < 1e-3 * np.linalg.norm(change)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_metadata_are_the_references_where_those_are_true(case, tmp_path):
    output = tmp_path / "out.safetensors"
    run(case, output)
    ours, theirs = read_header(output).metadata, dict(case["metadata"])
    found = read_deltas(output).values()
    ranks, alphas = ({entry[place] for entry in found} for place in (1, 2))
    for key in ("sshs_model_hash", "ss_network_args"):
        ours.pop(key, None), theirs.pop(key, None)
    # the reference writes "Dynamic" or the linear dim at all times
    for key, values in (("ss_network_dim", ranks), ("ss_network_alpha", alphas)):
        if len(values) == 1:
            theirs[key] = str(values.pop())
    assert ours == theirs


def test_sizes_of_convolutions_are_said_as_they_are(tmp_path):
    output = tmp_path / "out.safetensors"
    run(next(case for case in CASES if case["name"] == "locon_fixed4"), output)
    arguments = json.loads(read_header(output).metadata["ss_network_args"])
    assert arguments == {"conv_dim": "4", "conv_alpha": "2.0"}


@pytest.mark.parametrize("method", METHODS)
def test_rules_of_the_dynamic_methods(method):
    """Counted by hand: 8, 4, 2, 1 sum up to 15, their squares to 85."""
    values = np.array([8.0, 4.0, 2.0, 1.0])
    counted = {  # param -> how many by the rule; one is added
        "sv_ratio": {1.5: 1, 3: 2, 5: 3, 100: 4},
        "sv_cumulative": {0.5: 1, 0.8: 2, 0.93: 3, 0.99: 4},
        "sv_fro": {0.8: 1, 0.96: 2, 0.99: 3, 0.999: 4},
    }[method]
    for param, count in counted.items():
        assert choose_rank(values, Size(9, method=method, param=param), 9) == min(count + 1, 4)
        assert choose_rank(values, Size(2, method=method, param=param), 2) == 2
        assert choose_rank(values, Size(1, method=method, param=param), 1) == 1
    assert choose_rank(np.zeros(4), Size(3, method=method, param=0.9), 3) == 1


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("lora_te_text_model_encoder_layers_3_mlp_fc1", "BASE"),
        ("lora_te2_text_model_encoder_layers_3_mlp_fc1", "BASE"),
        ("lora_unet_down_blocks_0_attentions_1_proj_in", "IN02"),
        ("lora_unet_down_blocks_2_downsamplers_0_conv", "IN09"),
        ("lora_unet_mid_block_attentions_0_proj_in", "MID"),
        ("lora_unet_up_blocks_1_attentions_0_proj_in", "OUT03"),
        ("lora_unet_up_blocks_3_attentions_2_proj_in", "OUT11"),
        ("lora_unet_input_blocks_4_1_proj_in", "IN04"),
        ("lora_unet_middle_block_1_proj_in", "MID"),
        ("lora_unet_output_blocks_0_1_proj_in", "OUT00"),
        ("lora_unet_conv_in", "OTHER"),
    ],
)
def test_titles_of_blocks(name, title):
    assert block_title(name) == title
