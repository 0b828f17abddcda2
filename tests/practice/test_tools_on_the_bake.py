"""The LoRA of the practice bake, made smaller and merged: its concept is still there."""

import numpy as np
import pytest

from scripts import merge_lora, resize_lora
from scripts.core.safetensors_header import read_header
from scripts.practice.bake import BASE_MODEL, GUIDANCE, STEPS, trigger_prompts
from scripts.practice.judge import shows_concept
from scripts.practice.renderer import Renderer

PICTURES = 60
SEEDS = range(1000, 1000 + PICTURES)  # those of the bake
LEAST_LEFT = 0.75  # of the share of pictures that the whole LoRA gets right

pytestmark = pytest.mark.slow


def draw(base, lora, count=PICTURES, strength=1.0):
    """Pictures for the trigger word, as the bake draws them."""
    renderer = Renderer(base, lora)
    return renderer.draw(trigger_prompts(count), list(SEEDS)[:count], strength, STEPS, GUIDANCE)


def share_with_the_concept(lora):
    """The share of pictures that show what was taught."""
    return np.mean([shows_concept(picture) for picture in draw(BASE_MODEL, lora)])


@pytest.fixture(scope="module")
def whole_share(baked):
    """What the LoRA itself reaches; the bake has checked that it is enough."""
    return share_with_the_concept(baked.lora)


@pytest.fixture(scope="module")
def quarter(baked, tmp_path_factory):
    """The LoRA, dim 8, resized to dim 2."""
    path = tmp_path_factory.mktemp("tools") / "a quarter.safetensors"
    words = ["--model", str(baked.lora), "--save_to", str(path), "--new_rank", "2"]
    assert resize_lora.main(words) == 0
    return path


def test_a_quarter_of_it_still_shows_the_concept(baked, quarter, whole_share):
    assert read_header(quarter).metadata["ss_network_dim"] == "2"
    assert quarter.stat().st_size < baked.lora.stat().st_size / 2
    assert share_with_the_concept(quarter) >= LEAST_LEFT * whole_share


def test_merged_half_and_half_it_still_shows_the_concept(baked, quarter, whole_share, tmp_path):
    both = tmp_path / "both.safetensors"
    words = ["--models", str(baked.lora), str(quarter), "--ratios", "0.5", "0.5", "--save_to",
             str(both)]  # fmt: skip
    assert merge_lora.main(words) == 0
    assert share_with_the_concept(both) >= LEAST_LEFT * whole_share


def test_merged_into_the_model_it_draws_the_same_pictures(baked, tmp_path):
    """The model's own numbers are fp16, so that a pixel may be off by a little."""
    model = tmp_path / "model.safetensors"
    words = ["--sd_model", str(BASE_MODEL), "--models", str(baked.lora), "--ratios", "1",
             "--save_to", str(model)]  # fmt: skip
    assert merge_lora.main(words) == 0
    beside = draw(BASE_MODEL, baked.lora, 8).astype(float)
    inside = draw(model, baked.lora, 8, strength=0.0).astype(float)
    without = draw(BASE_MODEL, baked.lora, 8, strength=0.0).astype(float)
    difference = np.abs(inside - beside).mean()
    assert difference < 0.02 * np.abs(without - beside).mean()
