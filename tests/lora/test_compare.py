"""Whether two models are related: known changes of known layers."""

from __future__ import annotations

import json

import pytest
import torch
from lora_models import DATA
from safetensors.torch import load_file, save_file

from scripts import compare_models
from scripts.core.events import Control
from scripts.core.safetensors_header import read_header
from scripts.lora import compare as module
from scripts.lora.checkpoint_keys import TEXT_ENCODER, open_checkpoint
from scripts.lora.compare import Relation, compare, open_pair
from scripts.settings.extract import ExtractSettings

SD1, SDXL = DATA / "models" / "tiny_sd15.safetensors", DATA / "models" / "tiny_sdxl.safetensors"


def relation(org, tuned) -> Relation:
    """What the comparison says."""
    return compare(open_pair(ExtractSettings(org, tuned)), lambda _: None, Control())


def altered(source, target, change, dtype=torch.float32):
    """A copy of the model whose tensors went through `change(key, tensor in float32)`."""
    state = {
        key: change(key, tensor.float()).to(dtype) if tensor.is_floating_point() else tensor
        for key, tensor in load_file(source).items()
    }
    save_file(state, target, read_header(source).metadata)
    return target


@pytest.mark.parametrize("source", [SD1, SDXL])
def test_every_layer_larger_by_a_tenth_is_a_difference_of_a_tenth(source, tmp_path):
    org = altered(source, tmp_path / "org.safetensors", lambda _, tensor: tensor)
    tuned = altered(source, tmp_path / "tuned.safetensors", lambda _, tensor: tensor * 1.1)
    found = relation(org, tuned)
    assert found.equal == 0 and found.related
    assert found.difference == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("sample", [module.SAMPLE, 16])
def test_the_layers_that_changed_are_counted(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", sample)
    places = open_checkpoint(SD1).modules
    texts = {place.key for place in places.values() if place.part == TEXT_ENCODER}

    def change(key, tensor):
        return tensor * (2 if key in texts else 1)

    tuned = altered(SD1, tmp_path / "tuned.safetensors", change, torch.float16)
    found = relation(SD1, tuned)
    assert found.layers == 264 and found.equal == found.layers - len(texts)


def test_a_third_of_a_matrix_is_a_layer_of_its_own(tmp_path):
    """q, k and v of SDXL's second encoder lie in one tensor."""
    places = open_checkpoint(SDXL).modules.values()
    place = next(place for place in places if place.third == 1)

    def change(key, tensor):
        if key == place.key:
            place.rows(tensor).mul_(3)
        return tensor

    org = altered(SDXL, tmp_path / "org.safetensors", lambda _, tensor: tensor)
    tuned = altered(SDXL, tmp_path / "tuned.safetensors", change)
    found = relation(org, tuned)
    assert found.layers - found.equal == 1


def test_rounding_to_another_format_is_no_difference(tmp_path):
    org = altered(SD1, tmp_path / "org.safetensors", lambda _, tensor: tensor + 1e-5)
    half = altered(org, tmp_path / "half.safetensors", lambda _, tensor: tensor, torch.bfloat16)
    found = relation(org, half)
    assert found.equal == found.layers and found.difference == 0


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_model_made_smaller_by_fp8_is_the_same(dtype, tmp_path):
    org = altered(SD1, tmp_path / "org.safetensors", lambda _, tensor: tensor)
    small = altered(SD1, tmp_path / "small.safetensors", lambda _, tensor: tensor, dtype)
    found = relation(org, small)
    assert found.equal == found.layers
    tuned = altered(SD1, tmp_path / "tuned.safetensors", lambda _, tensor: tensor * 1.2, dtype)
    assert relation(org, tuned).equal < found.layers / 10


def test_models_that_were_trained_apart_are_strangers(tmp_path):
    generator = torch.Generator().manual_seed(1)

    def noise(_, tensor):
        return torch.randn(tensor.shape, generator=generator)

    paths = [altered(SD1, tmp_path / f"{name}.safetensors", noise) for name in "ab"]
    found = relation(*paths)
    assert not found.related and found.difference == pytest.approx(2**0.5, rel=0.02)


def test_the_command_says_it_for_people_and_programs(tmp_path, capsys):
    tuned = altered(SD1, tmp_path / "tuned.safetensors", lambda _, tensor: tensor * 1.25)
    org = altered(SD1, tmp_path / "org.safetensors", lambda _, tensor: tensor)
    assert compare_models.main([str(org), str(tuned)]) == 0
    said = capsys.readouterr().out
    assert "0% of the layers are equal" in said and "about 25.0%" in said
    assert compare_models.main([str(org), str(tuned), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["difference"] == pytest.approx(0.25) and facts["layers"] == 264
    assert compare_models.main([str(SD1), str(SDXL)]) == 1
    assert "there is no difference to take" in capsys.readouterr().err
    assert compare_models.main([str(org), str(org)]) == 1
