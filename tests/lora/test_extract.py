"""LoRAs taken out of two models: a known LoRA comes back, and the rest is the best possible."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from lora_models import DATA
from model_files import open_clip_shapes
from safetensors.torch import load_file, save_file

from scripts.core.errors import Cancelled, SettingErrors, SuiteError
from scripts.core.events import Control, Facts, Note
from scripts.core.safetensors_header import read_header
from scripts.extract_lora import main
from scripts.lora import extract as extract_module
from scripts.lora.checkpoint_keys import ATTENTION, RESNET, TEXT_ENCODER, open_checkpoint
from scripts.lora.extract import extract
from scripts.lora.merge_checkpoint import merge_into_checkpoint
from scripts.lora.modules import open_lora
from scripts.settings.extract import read_extract_settings
from scripts.settings.merge import read_merge_settings

SD1, SDXL = DATA / "models" / "tiny_sd15.safetensors", DATA / "models" / "tiny_sdxl.safetensors"
LOCON = DATA / "step" / "lora_init_sd15_dim2_conv1.safetensors"
LORA_XL = DATA / "step" / "lora_init_sdxl_dim1_alpha1.safetensors"


def run(org, tuned, target, control=None, **values):
    """(the facts, the notes) of an extraction that is saved as `target`."""
    settings, _ = read_extract_settings(
        {"model_org": org, "model_tuned": tuned, "save_to": target, **values}
    )
    events = []
    assert extract(settings, events.append, control or Control()) == target
    facts = [event.facts for event in events if isinstance(event, Facts)]
    assert len(facts) == 1
    return facts[0], [event.text for event in events if isinstance(event, Note)]


def changes_in(path) -> dict[str, np.ndarray]:
    """ΔW (out, columns) in float64, by module."""
    with open_lora(path) as lora:
        found = {}
        for name, module in lora.modules.items():
            up, down, scale = module.factors()
            found[name] = scale * up.astype(np.float64) @ down.astype(np.float64)
    return found


def differences(org, tuned, parts) -> dict[str, np.ndarray]:
    """W_tuned - W_org in float64, by module."""
    before, after = load_file(org), load_file(tuned)
    return {
        name: (place.rows(after[place.key]).double() - place.rows(before[place.key]).double())
        .reshape(place.shape[0], -1).numpy()
        for name, place in open_checkpoint(org).modules.items() if place.part in parts
    }  # fmt: skip


def changed(source, target, part=".", dtype=torch.float32, rank=None):
    """A copy of the model in which the matrices whose key holds `part` are others, by a change of
    that rank."""
    generator = torch.Generator().manual_seed(2)
    state = load_file(source)
    for key, tensor in state.items():
        if part in key and tensor.ndim > 1 and "position_ids" not in key:
            noise = torch.randn(tensor.shape, generator=generator)
            if rank is not None:
                right = torch.randn(rank, tensor[0].numel(), generator=generator)
                noise = (noise.flatten(1)[:, :rank] @ right).reshape(tensor.shape)
            tensor = tensor.float() + 0.1 * tensor.float().std() * noise
        state[key] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    save_file(state, target, read_header(source).metadata)
    return target


@pytest.fixture
def base(tmp_path):
    """The tiny SD1 in float32."""
    return changed(SD1, tmp_path / "base.safetensors", "nothing")


@pytest.mark.parametrize(("source", "lora", "dim"), [(SD1, LOCON, 4), (SDXL, LORA_XL, 2)])
def test_a_lora_that_was_merged_in_comes_back(source, lora, dim, tmp_path):
    base = changed(source, tmp_path / "base.safetensors", "nothing")
    settings, _ = read_merge_settings(
        {"models": [lora], "ratios": [1], "sd_model": base, "save_to": tmp_path / "tuned"}
    )
    tuned = merge_into_checkpoint(settings, lambda _: None, Control())
    path = tmp_path / "lora.safetensors"
    facts, _ = run(base, tuned, path, dim=dim, conv_dim=dim, save_precision="float")
    truth, found = changes_in(lora), changes_in(path)
    present = {name for name, change in truth.items() if np.abs(change).max() > 1e-6}
    assert present and present <= set(found) <= set(truth)
    for name in present:
        rounding = 2e-7 * np.sqrt(truth[name].size)  # of float32 weights of size 1
        assert np.linalg.norm(found[name] - truth[name]) < rounding, name
    assert facts["kept"] > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_it_is_the_best_approximation_and_the_facts_say_so(dtype, tmp_path):
    org = changed(SD1, tmp_path / "org.safetensors", "nothing", dtype)
    tuned = changed(SD1, tmp_path / "tuned.safetensors", dtype=dtype)
    path = tmp_path / "lora.safetensors"
    facts, _ = run(org, tuned, path, dim=6, conv_dim=3, save_precision="float")
    truth = differences(org, tuned, (ATTENTION, RESNET, TEXT_ENCODER))
    found = changes_in(path)
    assert set(found) == set(truth)
    kept = everything = 0.0
    with open_lora(path) as lora:
        wide = {name for name, module in lora.modules.items() if module.is_conv_3x3}
        for name, module in lora.modules.items():
            rank = min(3 if name in wide else 6, *truth[name].shape)
            assert module.rank == rank and module.alpha == rank, name
            values = np.linalg.svd(truth[name], compute_uv=False)
            optimum = np.sqrt(np.sum(values[rank:] ** 2))
            error = np.linalg.norm(truth[name] - found[name])
            assert error <= 1.001 * optimum + 1e-6 * values[0], name
            kept += np.sum(values[:rank] ** 2)
            everything += np.sum(values**2)
    assert facts["kept"] == pytest.approx(math.sqrt(kept / everything), abs=1e-5)
    assert facts["error"] == pytest.approx(math.sqrt(1 - kept / everything), abs=1e-4)
    assert "BASE" in facts["kept_by_block"] and "MID" in facts["kept_by_block"]
    assert facts["after"]["dim"] == "Dynamic" and facts["equal_share"] == 0


def tiny_sd2(tmp_path):
    """SD1's tiny U-Net with matrices for 1x1 convolutions, as SD2 has, and a text encoder of
    open_clip of the width that its captions have."""
    state = {}
    for key, tensor in load_file(SD1).items():
        if key.startswith("cond_stage_model."):
            continue
        if key.endswith(("proj_in.weight", "proj_out.weight")):
            tensor = tensor.flatten(1)
        state[key] = tensor.float()
    width = next(t.shape[1] for k, t in state.items() if k.endswith("attn2.to_k.weight"))
    generator = torch.Generator().manual_seed(4)
    for key, shape in open_clip_shapes("cond_stage_model.model.", width, 2, 4 * width).items():
        state[key] = torch.randn(shape, generator=generator)
    path = tmp_path / "v2-1_512.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path,
              read_header(SD1).metadata)  # fmt: skip
    return path


def test_sd2(tmp_path):
    org = tiny_sd2(tmp_path)
    tuned = changed(org, tmp_path / "tuned.safetensors")
    path = tmp_path / "lora.safetensors"
    facts, _ = run(org, tuned, path, dim=4096, save_precision="float")
    assert facts["family"] == "sd2"
    truth, found = differences(org, tuned, (ATTENTION, TEXT_ENCODER)), changes_in(path)
    assert set(found) == set(truth)
    for name, change in truth.items():
        assert np.linalg.norm(found[name] - change) < 1e-5 * np.linalg.norm(change), name
    assert read_header(path).metadata["ss_base_model_version"] == "sd_v2"


@pytest.mark.parametrize("told", ["name", "metadata"])
def test_of_models_that_predict_v_the_metadata_say_so(told, tmp_path):
    org = tiny_sd2(tmp_path).rename(tmp_path / ("v2-1_768.safetensors" if told == "name" else "o"))
    tuned = changed(org, tmp_path / "tuned.safetensors", "attn1.to_q")
    if told == "metadata":
        save_file(load_file(tuned), tuned,
                  {**read_header(org).metadata, "modelspec.prediction_type": "v"})  # fmt: skip
    run(org, tuned, tmp_path / "lora.safetensors", dim=1)
    metadata = read_header(tmp_path / "lora.safetensors").metadata
    assert (metadata["ss_base_model_version"], metadata["ss_v2"]) == ("sd_v2_v", "True")
    assert metadata["modelspec.architecture"] == "stable-diffusion-v2-768-v/lora"
    assert metadata["modelspec.prediction_type"] == "v"


def test_diffusers_makes_the_tuned_model_of_it(base, tmp_path):
    from scripts.models.load import load_unet
    from scripts.models.recognise import recognise

    tuned = changed(base, tmp_path / "tuned.safetensors", "transformer_blocks", rank=4)
    path = tmp_path / "lora.safetensors"
    run(base, tuned, path, dim=4, save_precision="float")
    generator = torch.Generator().manual_seed(0)
    unet, wanted = load_unet(recognise(base)), load_unet(recognise(tuned))
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    captions = torch.randn(1, 77, unet.config.cross_attention_dim, generator=generator)
    state = load_file(path)
    from diffusers import StableDiffusionPipeline

    count = len(state)
    converted, alphas = StableDiffusionPipeline.lora_state_dict(state, unet_config=unet.config)
    # No key is left over: of each layer two factors, and its alpha beside.
    assert not state and 3 * len(converted) == 2 * count and 3 * len(alphas) == count
    with torch.no_grad():
        alone = unet(latents, 500, captions).sample
        StableDiffusionPipeline.load_lora_into_unet(converted, alphas, unet)
        with_lora = unet(latents, 500, captions).sample
        expected = wanted(latents, 500, captions).sample
    assert (alone - expected).abs().max() > 1e-3
    assert torch.allclose(with_lora, expected, atol=2e-5, rtol=1e-4)


def test_what_is_equal_is_left_out(base, tmp_path):
    tuned = changed(base, tmp_path / "tuned.safetensors", "attn1.to_q")
    facts, notes = run(base, tuned, tmp_path / "lora.safetensors", dim=2)
    names = set(changes_in(tmp_path / "lora.safetensors"))
    assert names and all(name.endswith("attn1_to_q") for name in names)
    assert facts["text_encoder"] is False and 0.8 < facts["equal_share"] < 1
    assert any("text encoder is the same" in text for text in notes)


def test_rounding_to_another_format_is_no_difference(base, tmp_path):
    half = changed(base, tmp_path / "half.safetensors", "attn1.to_q", torch.float16)
    run(base, half, tmp_path / "lora.safetensors", dim=2)
    names = set(changes_in(tmp_path / "lora.safetensors"))
    assert names and all(name.endswith("attn1_to_q") for name in names)
    same = changed(base, tmp_path / "same.safetensors", "nothing", torch.float16)
    with pytest.raises(SuiteError, match="are equal in all"):
        run(base, same, tmp_path / "none.safetensors")


def test_a_ckpt_gives_the_same(base, tmp_path, monkeypatch):
    tuned = changed(base, tmp_path / "tuned.safetensors")
    plain, path = tmp_path / "plain.safetensors", tmp_path / "lora.safetensors"
    run(base, tuned, plain, dim=8)
    # A .ckpt cannot say that this model has no usual widths, so its twin says it.
    ckpt = tmp_path / "tuned.ckpt"
    torch.save({"state_dict": load_file(tuned)}, ckpt)
    twin = replace(open_checkpoint(tuned), path=ckpt)
    monkeypatch.setattr("scripts.lora.compare.open_checkpoint",
                        lambda path: twin if path == ckpt else open_checkpoint(path))  # fmt: skip
    run(base, ckpt, path, dim=8)
    expected, found = load_file(plain), load_file(path)
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[key]) for key, tensor in expected.items())


def test_dynamic_methods_clamping_and_no_text_encoder(base, tmp_path):
    tuned = changed(base, tmp_path / "tuned.safetensors")
    path = tmp_path / "lora.safetensors"
    best, _ = run(base, tuned, path, dim=8, no_text_encoder=True)
    assert all(name.startswith("lora_unet_") for name in changes_in(path))
    for method, param in (("sv_fro", 0.5), ("sv_cumulative", 0.3), ("sv_ratio", 1.5)):
        run(base, tuned, path, dim=8, dynamic_method=method, dynamic_param=param, overwrite=True)
        ranks = {len(tensor) for key, tensor in load_file(path).items() if "lora_down" in key}
        assert len(ranks) > 1 and max(ranks) <= 8, method
        assert read_header(path).metadata["ss_network_dim"] == "Dynamic"
    clamped, _ = run(base, tuned, path, dim=8, clamp_quantile=0.9, no_text_encoder=True,
                     overwrite=True)  # fmt: skip
    truth, found = differences(base, tuned, (ATTENTION,)), changes_in(path)
    error = sum(np.linalg.norm(truth[name] - found[name]) ** 2 for name in truth)
    whole = sum(np.linalg.norm(change) ** 2 for change in truth.values())
    assert clamped["error"] == pytest.approx(math.sqrt(error / whole), abs=2e-3)
    assert clamped["error"] > best["error"]


def test_the_metadata_are_true(base, tmp_path):
    tuned = changed(base, tmp_path / "tuned.safetensors", "attn1")
    path = tmp_path / "My LoRA.safetensors"
    run(base, tuned, path, dim=4, save_precision="bf16")
    metadata = read_header(path).metadata
    assert metadata["ss_network_dim"] == "4" and metadata["ss_network_alpha"] == "4.0"
    assert metadata["ss_network_module"] == "networks.lora"
    assert metadata["ss_base_model_version"] == "sd_v1" and metadata["ss_output_name"] == "My LoRA"
    assert json.loads(metadata["easy_lora_extracted"]) == {
        "model_org": base.name, "model_tuned": tuned.name}  # fmt: skip
    data = path.read_bytes()[read_header(path).data_start :]
    assert metadata["sshs_model_hash"] == hashlib.sha256(data).hexdigest()
    assert {info.dtype for info in read_header(path).tensors.values()} == {"BF16"}


def test_many_cores_do_not_take_many_layers_into_memory_at_once(base, tmp_path, monkeypatch):
    tuned = changed(base, tmp_path / "tuned.safetensors")
    at_once, most, lock = 0, 0, threading.Lock()

    def counted(*arguments):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.002)
        with lock:
            at_once -= 1
        return difference(*arguments)

    difference = extract_module._difference
    monkeypatch.setattr(extract_module, "_difference", counted)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    run(base, tuned, tmp_path / "lora.safetensors", dim=2)
    assert 1 < most <= extract_module.AT_ONCE


def test_mistakes_are_a_sentence_and_write_nothing(base, tmp_path):
    tuned = changed(base, tmp_path / "tuned.safetensors", "attn1.to_q")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(tuned.read_bytes()[:-1000])
    state = load_file(tuned)
    key = next(key for key in state if key.endswith("attn1.to_q.weight"))
    state[key][0, 0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors", read_header(base).metadata)
    target = tmp_path / "new" / "lora.safetensors"
    for org, other, message in (
        (base, SDXL, "no difference to take"),
        (base, base, "given as both models"),
        (base, tmp_path / "missing.safetensors", "There is no file"),
        (base, LOCON, "seems to be a LoRA"),
        (base, broken, "cut off"),
        (base, tmp_path / "nan.safetensors", "not numbers"),
    ):
        with pytest.raises(SuiteError, match=message):
            run(org, other, target)
    with pytest.raises(SuiteError, match="one of the files that are read"):
        run(base, tuned, tuned, overwrite=True)
    stopped = Control()
    stopped.stop()
    with pytest.raises(Cancelled):
        run(base, tuned, target, control=stopped)
    assert not target.exists() and not list(tmp_path.rglob("*.part"))
    with pytest.raises(SettingErrors) as found:
        read_extract_settings({"dim": 0, "dynamic_method": "sv_ratio"})
    assert {error.setting for error in found.value.errors} == {
        "dim", "dynamic_param", "model_org", "model_tuned", "save_to"}  # fmt: skip


def test_the_command(base, tmp_path, capsys):
    tuned = changed(base, tmp_path / "tuned é&.safetensors", "attn1.to_q")
    words = ["--model_org", str(base), "--model_tuned", str(tuned), "--save_to",
             str(tmp_path / "lora"), "--dim", "2", "--device", "cuda"]  # fmt: skip
    assert main(words) == 0
    assert "keeps" in capsys.readouterr().out and (tmp_path / "lora.safetensors").exists()
    assert main(words) == 1
    assert "already" in capsys.readouterr().err


def test_a_list_of_sizes_gives_a_lora_of_each(base, tmp_path, capfd):
    tuned = changed(SD1, tmp_path / "tuned.safetensors", "attn2.to_k")
    queue, place = tmp_path / "queue.txt", tmp_path / "out"
    queue.write_text("# dim, and that of convolutions\n2\n\n3, 1\n2\n2 2\n", encoding="utf-8")
    flags = [f"--model_org={base}", f"--model_tuned={tuned}", f"--queue={queue}",
             f"--save_to={place}", "--no_text_encoder"]  # fmt: skip
    assert main(flags) == 0
    files = {path.name: path for path in place.iterdir()}
    assert sorted(files) == ["tuned-dim2-conv2.safetensors", "tuned-dim2.safetensors",
                             "tuned-dim3-conv1.safetensors"], "without the second number there "\
        "are no convolutions"  # fmt: skip
    for name, rank in (("tuned-dim2.safetensors", 2), ("tuned-dim3-conv1.safetensors", 3)):
        with open_lora(files[name]) as lora:
            assert {module.rank for module in lora.modules.values()} == {rank}
    assert main(flags) == 1, "what is there is not written over"
    for line, told in (("4 four", "Line 1 of queue.txt"), ("1 2 3", "is no size"), ("0", "no size"),
                       ("5000", "a dim up to 4096"), ("# none", "names no size")):  # fmt: skip
        queue.write_text(line, encoding="utf-8")
        assert main(flags) == 1 and told in capfd.readouterr().err, line
    assert main([*flags, "--dim=8"]) == 1
    assert "Both a size and a list of sizes are given" in capfd.readouterr().err
