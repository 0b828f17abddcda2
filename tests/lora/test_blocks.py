"""Block weights against what sd-scripts does (tests/data/step/blocks.json)."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from lora_models import STABLE_DIFFUSION, STABLE_DIFFUSION_XL, build_text_encoders, build_unet
from torch import nn

from scripts.core.errors import SettingError
from scripts.lora.blocks import block_lr_weights, block_of, block_sizes, rate_groups
from scripts.lora.network import LoRANetwork

DATA = Path(__file__).parents[1] / "data"
REFERENCE = json.loads((DATA / "step" / "blocks.json").read_text())
CASES = [case for case in REFERENCE["cases"] if not case["name"].startswith("loraplus")]


def settings_of(case: dict, settings):
    arguments = dict(case["network_args"])
    kinds = {"conv_dim": int, "conv_alpha": float, "block_lr_zero_threshold": float}
    for name, kind in kinds.items():
        if name in arguments:
            arguments[name] = kind(arguments[name])
    if "conv_block_dims" in arguments:
        arguments.setdefault("conv_alpha", 1.0)  # sd-scripts' default; ours is half of the dim
    return settings(
        unet_lr=case["unet_lr"],
        text_encoder_lr=case["text_encoder_lr"],
        network_dim=case["network_dim"],
        network_alpha=case["network_alpha"],
        **arguments,
    )


@pytest.fixture(scope="module")
def meta_models():
    return {
        sdxl: (
            STABLE_DIFFUSION_XL if sdxl else STABLE_DIFFUSION,
            build_unet("tiny_sdxl" if sdxl else "tiny_sd15", "meta"),
            build_text_encoders("tiny_sdxl" if sdxl else "tiny_sd15", "meta"),
        )
        for sdxl in (False, True)
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_block_lr_weights_match_reference(case, settings):
    weights = block_lr_weights(settings_of(case, settings), "sdxl" if case["sdxl"] else "sd1")
    expected = case["block_lr_weight"]
    assert weights == (expected if expected is None else pytest.approx(expected, abs=1e-15))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_layers_sizes_and_groups_match_reference(case, settings, meta_models):
    family, unet, text_encoders = meta_models[case["sdxl"]]
    chosen = settings_of(case, settings)
    network = LoRANetwork.create(unet, text_encoders, family, chosen)
    try:
        check_network(case, network, chosen, family)
    finally:
        network.remove()


def check_network(case, network, chosen, family):
    layers = dict(network.layers())
    in_unet = {name: layer for name, layer in layers.items() if name.startswith("lora_unet_")}
    assert len(layers) - len(in_unet) == case["num_text_encoder_modules"]
    assert len(in_unet) == case["num_unet_modules"]
    assert not set(in_unet) & set(case["removed_unet_modules"])

    sizes: dict[str, set] = {}
    for name, layer in in_unet.items():
        wide = isinstance(layer.base, nn.Conv2d) and layer.base.kernel_size != (1, 1)
        kind = "conv3x3" if wide else "linear_or_1x1"
        sizes.setdefault(str(block_of(name)), set()).add((kind, layer.dim, layer.alpha))
    expected_sizes = {
        block: {tuple(entry) for entry in entries}
        for block, entries in case["unet_dims_alphas_by_block"].items()
    }
    assert sizes == expected_sizes
    text_sizes = {(v.dim, v.alpha) for k, v in layers.items() if k not in in_unet}
    assert [list(size) for size in text_sizes] == case["text_encoder_dims_alphas"]

    groups = network.param_groups(chosen)
    expected_groups = {
        group["description"].replace("textencoder", "text_encoder"): group
        for group in case["param_groups"]
    }
    assert {group["name"] for group in groups} == set(expected_groups)
    assert groups[0]["name"] == "text_encoder"
    owner = {id(layer.down.weight): layer for layer in layers.values()}
    for group in groups:
        expected = expected_groups[group["name"]]
        assert group["lr"] == pytest.approx(expected["lr"], rel=1e-12)
        # The reference counts the frozen tensors of the base layers (weight, bias) too.
        bases = [owner[id(weight)].base for weight in group["params"] if id(weight) in owner]
        frozen = sum(1 + (base.bias is not None) for base in bases)
        assert len(group["params"]) + frozen == expected["num_params"]
    assert [(g.name, g.rate) for g in rate_groups(chosen, family.name)] == [
        (group["name"], group["lr"]) for group in groups
    ]


@pytest.mark.parametrize("model", ["sd15", "sdxl"])
def test_block_of_every_layer(model):
    expected = REFERENCE["block_index_of_module"][model]
    assert {name: block_of(name) for name in expected} == expected


def test_popup_presets(settings):
    """The lists of the older popup scripts, cut to four digits there."""
    cosine = [1.0, 0.9898, 0.9594, 0.9096, 0.8412, 0.7557, 0.6548, 0.5406, 0.4154, 0.2817,
              0.1423, 0.0]  # fmt: skip
    linear = [0.0, 0.0909, 0.1818, 0.2727, 0.3636, 0.4545, 0.5454, 0.6363, 0.7272, 0.8181,
              0.909, 1.0]  # fmt: skip

    def down(curve: str) -> list[float]:
        return block_lr_weights(settings(down_lr_weight=curve), "sd1")[:12]

    assert down("cosine") == pytest.approx(cosine, abs=1e-4)
    assert down("sine") == pytest.approx(cosine[::-1], abs=1e-4)
    assert down("linear") == pytest.approx(linear, abs=1e-4)
    assert down("reverse linear") == pytest.approx(linear[::-1], abs=1e-4)
    assert down("max") == [1.0] * 12
    assert down("zeros") == [0.0] * 12


def test_sdxl_curve_has_nine_values(settings):
    weights = block_lr_weights(settings(up_lr_weight="sine"), "sdxl")
    assert weights[13:22] == pytest.approx([math.sin(math.pi * i / 16) for i in range(9)])


@pytest.mark.parametrize(
    "values",
    [
        {"down_lr_weight": "1,2,three"},
        {"down_lr_weight": ",".join(["1"] * 13)},
        {"mid_lr_weight": "1,1"},
        {"up_lr_weight": "-1"},
        {"up_lr_weight": "cosine+x"},
        {"block_dims": "4,4"},
        {"block_dims": ",".join(["2.5"] * 25)},
        {"conv_block_alphas": "nan"},
    ],
)
def test_unreadable_values_name_their_setting(values, settings):
    name = next(iter(values))
    with pytest.raises(SettingError) as caught:
        block_lr_weights(settings(**values), "sd1")
        block_sizes(settings(**values), "sd1")
    assert caught.value.setting == name


def test_conv_sizes_without_alpha_take_half(settings):
    sizes = block_sizes(settings(conv_block_dims=",".join(["6"] * 25)), "sd1")
    assert sizes.conv_dims == [6] * 25
    assert sizes.conv_alphas == [3.0] * 25
    assert sizes.dims == [4] * 25


def test_zero_rate_drops_the_group(settings):
    assert [g.name for g in rate_groups(settings(text_encoder_lr=0.0), "sd1")] == ["unet"]
    only_text = settings(network_train_text_encoder_only=True)
    assert [g.name for g in rate_groups(only_text, "sd1")] == ["text_encoder"]


@pytest.mark.parametrize("name", ["down_lr_weight", "block_dims"])
def test_nothing_to_train_is_refused(name, settings):
    zeros = ",".join(["0"] * 25)
    values = {"block_dims": zeros} if name == "block_dims" else {
        "down_lr_weight": "zeros", "mid_lr_weight": "0", "up_lr_weight": "zeros",
    }  # fmt: skip
    with pytest.raises(SettingError) as caught:
        rate_groups(settings(network_train_unet_only=True, **values), "sd1")
    assert caught.value.setting == name
    assert [group.name for group in rate_groups(settings(**values), "sd1")] == ["text_encoder"]
