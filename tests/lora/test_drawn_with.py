"""Finished LoRAs of every kind and naming, put into a model to draw with: the ΔW that they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lora_models import DATA, weight_change
from random_loras import CONV, KINDS, LINEAR, WIDE, flat, write_random_lora

from scripts.drawing.lora_versions import open_versions, read_factors, shapes_of
from scripts.lora.network import LoRANetwork
from scripts.lora.targets import text_encoder_targets, unet_targets
from scripts.models.load import load_text_encoders, load_unet
from scripts.models.recognise import recognise


@pytest.fixture(scope="module")
def parts():
    """The base model of the SD1.5 layout with its U-Net and its text encoders."""
    base = recognise(DATA / "models" / "tiny_sd15.safetensors")
    return base, load_unet(base), load_text_encoders(base)


@pytest.mark.parametrize("naming", ["kohya", "peft", "diffusers", "kohya.pt"])
@pytest.mark.parametrize("seed", range(4))
def test_the_change_is_the_one_in_the_file(parts, tmp_path, naming, seed):
    base, unet, text_encoders = parts
    targets = text_encoder_targets(text_encoders) + unet_targets(unet, "sd1")
    places = shapes_of(targets)
    shapes = {target.name: target.layer.weight.shape for target in targets}
    sides = {name: tuple(shapes[name][:2]) for name in (*LINEAR, *CONV, *WIDE) if name in shapes}
    naming, _, ending = naming.partition(".")
    file = tmp_path / f"one.{ending or 'safetensors'}"
    truth = write_random_lora(file, np.random.default_rng(seed), naming, KINDS, sides)
    (version,) = open_versions([file], base)
    factors = read_factors(version, places)
    network = LoRANetwork.of_factors(factors, unet, text_encoders, base.family, "loras")
    try:
        changes = {name: weight_change(layer) for name, layer in network.layers()}
        assert changes.keys() == truth.keys()
        for name, change in changes.items():
            expected = flat(truth[name])
            error = np.abs(change.flatten(1).double().numpy() - expected).max()
            assert error <= 1e-5 * max(1, np.abs(expected).max()), name
            assert not any(weight.requires_grad for weight in network.parameters())
    finally:
        network.remove()
    assert not any("LoRA" in type(module).__name__ for module in unet.modules())
    assert isinstance(unet.conv_in, torch.nn.Conv2d)
