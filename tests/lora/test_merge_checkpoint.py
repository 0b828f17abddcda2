"""A LoRA merged into a checkpoint: against the reference, the same U-Net output as the LoRA beside
the model, and not another byte changed."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lora_models import DATA
from safetensors.torch import load_file, save_file

from scripts.core.errors import Cancelled, SettingError, SuiteError
from scripts.core.events import Control
from scripts.core.safetensors_header import read_header
from scripts.lora import checkpoint_writer
from scripts.lora.checkpoint_keys import TEXT_ENCODER, open_checkpoint
from scripts.lora.merge_checkpoint import merge_into_checkpoint
from scripts.settings.merge import read_merge_settings

REFERENCE = json.loads((DATA / "merge" / "merge.json").read_text(encoding="utf-8"))
SD1, SDXL = DATA / "models" / "tiny_sd15.safetensors", DATA / "models" / "tiny_sdxl.safetensors"
LORA = DATA / "step" / "lora_init_sd15_dim2_conv1.safetensors"
LORA_XL = DATA / "step" / "lora_init_sdxl_dim1_alpha1.safetensors"
OUT_PROJ = "lora_te_text_model_encoder_layers_0_self_attn_out_proj"


def merge(**values):
    """(path of the result, events)."""
    settings, _ = read_merge_settings(values)
    events = []
    return merge_into_checkpoint(settings, events.append, Control()), events


def in_precision(path, dtype, target):
    """The checkpoint in another precision, with metadata of its own."""
    state = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor
             for key, tensor in load_file(path).items()}  # fmt: skip
    save_file(state, target, {**read_header(path).metadata, "mine": "kept"})
    return target


def deltas(lora, checkpoint, ratio) -> dict[str, torch.Tensor]:
    """The change of each tensor in float64: ratio · alpha / rank · up · down, by its place."""
    state = load_file(lora)
    places, shapes = open_checkpoint(checkpoint).modules, open_checkpoint(checkpoint).shapes
    changes = {}
    for key, down in state.items():
        name, _, part = key.partition(".")
        if part != "lora_down.weight":
            continue
        up, place = state[f"{name}.lora_up.weight"].double(), places[name]
        change = up.flatten(1) @ down.double().flatten(1)
        change *= ratio * float(state[f"{name}.alpha"]) / len(down)
        whole = changes.setdefault(place.key, torch.zeros(shapes[place.key], dtype=torch.float64))
        rows = place.rows(whole)
        rows += change.reshape(rows.shape)
    return changes


def test_the_tensors_of_the_reference(tmp_path):
    base = in_precision(SD1, torch.float32, tmp_path / "base.safetensors")
    path, _ = merge(models=[LORA], ratios=[0.8], sd_model=base, save_to=tmp_path / "merged")
    before, after = load_file(base), load_file(path)
    reference = REFERENCE["checkpoint_merge"]
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert sorted(changed) == sorted(reference["changed_tensors"])
    for key, norm in reference["fro_of_change"].items():
        assert float((after[key] - before[key]).norm()) == pytest.approx(norm, rel=1e-5)
    sample = load_file(DATA / "merge" / "checkpoint_changed_sample.safetensors")
    assert sample
    for key, tensor in sample.items():
        assert (after[key] - tensor).abs().max() < 1e-6, key


@pytest.mark.parametrize(("base", "lora"), [(SD1, LORA), (SDXL, LORA_XL)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_change_is_exact_and_every_other_byte_stays(base, lora, dtype, tmp_path):
    base = in_precision(base, dtype, tmp_path / "base.safetensors")
    path, _ = merge(models=[lora], ratios=[-0.7], sd_model=base, save_to=tmp_path / "merged")
    before, after = load_file(base), load_file(path)
    changes = deltas(lora, base, -0.7)
    assert any("in_proj_weight" in key for key in changes) == (lora is LORA_XL)
    for key, tensor in before.items():
        if key not in changes:
            assert torch.equal(tensor, after[key]), key
            continue
        expected = (tensor.double() + changes[key]).to(dtype).double()
        # the sum is rounded from float32, not from float64: at most one last place away
        step = expected.abs().clamp(min=1e-3) * torch.finfo(dtype).eps * 1.01
        assert ((after[key].double() - expected).abs() <= step + 1e-6).all(), key
    old, new = read_header(base), read_header(path)
    assert list(old.tensors.items()) == list(new.tensors.items())
    merged = new.metadata.pop("easy_lora_merged")
    assert old.metadata == new.metadata and old.metadata["mine"] == "kept"
    assert json.loads(merged)[0]["ratio"] == -0.7


def test_the_unet_gives_what_it_gives_with_the_lora_beside_it(tmp_path):
    from scripts.models.load import load_unet
    from scripts.models.recognise import recognise

    base = in_precision(SD1, torch.float32, tmp_path / "base.safetensors")
    path, _ = merge(models=[LORA], ratios=[1], sd_model=base, save_to=tmp_path / "merged")
    generator = torch.Generator().manual_seed(0)
    unet, merged = load_unet(recognise(base)), load_unet(recognise(path))
    latents = torch.randn(1, 4, 8, 8, generator=generator)
    captions = torch.randn(1, 77, unet.config.cross_attention_dim, generator=generator)
    with torch.no_grad():
        alone = unet(latents, 500, captions).sample
        unet.load_lora_adapter(_for_diffusers(unet), prefix=None)
        beside = unet(latents, 500, captions).sample
        inside = merged(latents, 500, captions).sample
    assert (beside - alone).abs().max() > 1e-3
    assert torch.allclose(inside, beside, atol=2e-5, rtol=1e-4)


def _for_diffusers(unet) -> dict[str, torch.Tensor]:
    """The LoRA of the U-Net under diffusers' names, its scale in the second factor."""
    state = load_file(LORA)
    converted = {}
    for path, layer in unet.named_modules():
        name = f"lora_unet_{path.replace('.', '_')}"
        if f"{name}.alpha" in state and hasattr(layer, "weight"):
            down = state[f"{name}.lora_down.weight"].float()
            scale = float(state[f"{name}.alpha"]) / len(down)
            converted[f"{path}.lora_A.weight"] = down
            converted[f"{path}.lora_B.weight"] = scale * state[f"{name}.lora_up.weight"].float()
    return converted


@pytest.mark.parametrize("by_output", [True, False])
def test_a_dora_is_merged_exactly(by_output, tmp_path):
    base = in_precision(SD1, torch.float32, tmp_path / "base.safetensors")
    place = open_checkpoint(base).modules[OUT_PROJ]
    weight = load_file(base)[place.key].double()
    generator = torch.Generator().manual_seed(1)
    up = torch.randn(place.shape[0], 2, generator=generator)
    down = torch.randn(2, place.shape[1], generator=generator)
    axis = 1 if by_output else 0
    magnitude = 1 + torch.rand(weight.sum(axis, keepdim=True).shape, generator=generator)
    lora = tmp_path / "dora.safetensors"
    save_file({f"{OUT_PROJ}.lora_up.weight": up, f"{OUT_PROJ}.lora_down.weight": down,
               f"{OUT_PROJ}.alpha": torch.tensor(1.0), f"{OUT_PROJ}.dora_scale": magnitude},
              lora)  # fmt: skip
    path, _ = merge(models=[lora], ratios=[0.5], sd_model=base, save_to=tmp_path / "merged")
    moved = weight + 0.5 * (up.double() @ down.double())
    target = magnitude.double() * moved / moved.norm(dim=axis, keepdim=True)
    expected = weight + 0.5 * (target - weight)
    assert torch.allclose(load_file(path)[place.key].double(), expected, atol=1e-6)


def test_a_dora_by_peft_is_merged_as_peft_merges_it(tmp_path):
    """On Linear layers and on convolutions, whose magnitudes PEFT keeps as (1, out, 1, 1)."""
    from peft import LoraConfig, get_peft_model

    from scripts.models.load import load_unet
    from scripts.models.recognise import recognise

    base = in_precision(SD1, torch.float32, tmp_path / "base.safetensors")
    torch.manual_seed(0)
    wrapped = ["to_q", "proj_in", "conv1", "conv_shortcut"]
    config = LoraConfig(r=2, lora_alpha=3, target_modules=wrapped, use_dora=True,
                        init_lora_weights=False)  # fmt: skip
    model = get_peft_model(load_unet(recognise(base)), config)
    for name, parameter in model.named_parameters():
        if "magnitude" in name:
            parameter.data *= 0.5 + torch.rand_like(parameter)
    model.save_pretrained(str(tmp_path))
    path, _ = merge(models=[tmp_path / "adapter_model.safetensors"], ratios=[1], sd_model=base,
                    save_to=tmp_path / "merged")  # fmt: skip
    ours, before = (load_unet(recognise(file)).state_dict() for file in (path, base))
    theirs = model.merge_and_unload().state_dict()
    changed = {name for name in before if not torch.equal(before[name], theirs[name])}
    assert {name.split(".")[-2] for name in changed} == set(wrapped)
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=2e-6)


def test_a_pruned_checkpoint_and_what_it_lacks(tmp_path):
    whole = load_file(SD1)
    kept = {key: tensor for key, tensor in whole.items()
            if not key.startswith(("first_stage_model.", "cond_stage_model."))}  # fmt: skip
    base = tmp_path / "pruned.safetensors"
    save_file(kept, base, read_header(SD1).metadata)
    path, events = merge(models=[LORA], sd_model=base, save_to=tmp_path / "merged")
    facts = next(event.facts for event in events if event.kind == "facts")
    places = open_checkpoint(SD1).modules.values()
    assert set(facts["left_out"]) == {one.name for one in places if one.part == TEXT_ENCODER}
    note = next(event.text for event in events if event.kind == "note")
    assert "has no place for lora_te_text_model_encoder_layers_0_mlp_fc1" in note
    assert set(load_file(path)) == set(kept)


def test_bad_inputs_are_one_sentence_and_leave_nothing(tmp_path, monkeypatch):
    base = in_precision(SD1, torch.float16, tmp_path / "base.safetensors")
    fp8 = in_precision(SD1, torch.float8_e4m3fn, tmp_path / "fp8.safetensors")
    half = tmp_path / "half.safetensors"
    save_file({key: part for key, part in load_file(LORA).items() if "lora_up" not in key}, half)
    before = sorted(tmp_path.iterdir())
    for values, message in (
        ({"models": [half], "sd_model": base}, "half.safetensors"),
        ({"models": [LORA, half], "sd_model": base}, "half.safetensors"),
        ({"models": [LORA_XL], "sd_model": base}, "is for Stable Diffusion XL, and base"),
        ({"models": [LORA], "sd_model": LORA}, "it seems to be a LoRA"),
        ({"models": [LORA], "sd_model": fp8}, "keeps its weights as F8_E4M3"),
        ({"models": [LORA], "sd_model": base, "ratios": [1e9]}, "too large for F16"),
        ({"models": [LORA], "sd_model": tmp_path / "no.safetensors"}, "There is no file"),
    ):
        with pytest.raises(SuiteError, match=message):
            merge(save_to=tmp_path / "merged", **values)
    with pytest.raises(SettingError, match="one of the files that are read"):
        merge(models=[LORA], sd_model=base, save_to=base, overwrite=True)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(SettingError, match="Make room there"):
        merge(models=[LORA], sd_model=base, save_to=tmp_path / "merged")
    assert sorted(tmp_path.iterdir()) == before


def test_loras_that_cancel_each_other_are_refused(tmp_path):
    given = {"models": [LORA, LORA], "sd_model": SD1, "save_to": tmp_path / "new" / "sum"}
    with pytest.raises(SettingError, match="nothing would change: the LoRAs cancel each other"):
        merge(ratios=[0.4, -0.4], **given)
    assert not list(tmp_path.iterdir())
    assert merge(ratios=[0.4, -0.39], **given)[0].is_file()


def test_a_checkpoint_that_is_cut_off_is_refused(tmp_path):
    base = tmp_path / "base.safetensors"
    base.write_bytes(SD1.read_bytes()[:-1000])
    with pytest.raises(SettingError, match=r"base\.safetensors is cut off") as caught:
        merge(models=[LORA], sd_model=base, save_to=tmp_path / "merged")
    assert caught.value.setting == "sd_model"
    assert [path.name for path in tmp_path.iterdir()] == [base.name]


@pytest.mark.parametrize("where", ["write", "flush"])
def test_a_disk_that_gets_full_leaves_the_older_file(where, tmp_path, monkeypatch):
    """In the middle of the writing, or when the system has taken the bytes and has no place."""
    older = tmp_path / "merged.safetensors"
    older.write_bytes(b"precious")
    calls = []

    def full(real, *arguments):
        calls.append(real)
        if len(calls) > (100 if where == "write" else 0):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    if where == "write":
        real = checkpoint_writer._write_all
        monkeypatch.setattr(checkpoint_writer, "_write_all", partial(full, real))
    else:
        monkeypatch.setattr(checkpoint_writer, "PAUSE", 0.001)
        monkeypatch.setattr("os.fsync", partial(full, os.fsync))
    with pytest.raises(SuiteError, match=r"The disk is full: merged\.safetensors"):
        merge(models=[LORA], sd_model=SD1, save_to=older, overwrite=True)
    assert len(calls) > (100 if where == "write" else 0)
    assert [path.name for path in tmp_path.iterdir()] == [older.name]
    assert older.read_bytes() == b"precious"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a file its place at once")
@pytest.mark.parametrize("error", [0, errno.EOPNOTSUPP, 524, errno.ENOSPC])
def test_the_result_has_its_place_on_the_disk_before_it_is_written(tmp_path, monkeypatch, error):
    """Where the system can give it one: 524 is what some network drives say."""
    asked = []

    def fallocate(_file, mode, start, size):
        asked.append((mode, start.value, size.value))
        return -1 if error else 0

    libc = SimpleNamespace(fallocate=fallocate)
    monkeypatch.setattr(checkpoint_writer.ctypes, "CDLL", lambda *_, **__: libc)
    monkeypatch.setattr(checkpoint_writer.ctypes, "get_errno", lambda: error)
    if error == errno.ENOSPC:
        with pytest.raises(SuiteError, match=r"The disk is full: merged\.safetensors"):
            merge(models=[LORA], sd_model=SD1, save_to=tmp_path / "merged")
        assert not list(tmp_path.iterdir())
    else:
        path, _ = merge(models=[LORA], sd_model=SD1, save_to=tmp_path / "merged")
        assert asked == [(0, 0, path.stat().st_size)]


def test_a_base_that_goes_is_told_of_and_not_the_result(tmp_path, monkeypatch):
    """As when the stick that it lies on is pulled out in the middle."""
    base = in_precision(SD1, torch.float16, tmp_path / "base.safetensors")
    real, reads = Path.open, []

    class Going(io.FileIO):
        def readinto(self, data):
            reads.append(len(data))
            if len(reads) > 20:
                raise OSError(errno.EIO, "Input/output error")
            return super().readinto(data)

    def going(self, mode="r", buffering=-1, **options):
        return Going(self) if (self, buffering) == (base, 0) else real(self, mode, buffering)

    monkeypatch.setattr(Path, "open", going)
    with pytest.raises(SuiteError, match=r"base\.safetensors cannot be read: Input/output error"):
        merge(models=[LORA], sd_model=base, save_to=tmp_path / "merged")
    assert len(reads) > 20 and list(tmp_path.iterdir()) == [base]


def test_a_merged_checkpoint_can_be_merged_into_again(tmp_path):
    first, _ = merge(models=[LORA], ratios=[1], sd_model=SD1, save_to=tmp_path / "one")
    second, _ = merge(models=[LORA], ratios=[-1], sd_model=first, save_to=tmp_path / "two")
    merged = json.loads(read_header(second).metadata["easy_lora_merged"])
    assert [entry["ratio"] for entry in merged] == [1, -1]
    before, after = load_file(SD1), load_file(second)
    for key, tensor in before.items():
        if tensor.is_floating_point():
            np.testing.assert_allclose(after[key].float(), tensor.float(), atol=4e-3)


def test_hashes_of_the_base_do_not_stay_and_its_number_format_does(tmp_path):
    stale = {"sshs_model_hash": "0" * 64, "modelspec.hash_sha256": "0x00", "mine": "kept"}
    base = tmp_path / "base.safetensors"
    save_file(load_file(SD1), base, {**read_header(SD1).metadata, **stale})
    path, events = merge(models=[LORA], sd_model=base, save_to=tmp_path / "c",
                         save_precision="bf16")  # fmt: skip
    metadata = read_header(path).metadata
    assert metadata["mine"] == "kept"
    assert all(metadata.get(key) != value for key, value in stale.items() if key != "mine")
    assert any("keeps its number format" in event.text for event in events if event.kind == "note")
    formats = [{one.dtype for one in read_header(file).tensors.values()} for file in (base, path)]
    assert formats[0] == formats[1]


def test_strengths_by_block_reach_the_checkpoint(tmp_path):
    base = in_precision(SD1, torch.float32, tmp_path / "base.safetensors")
    numbers = ",".join(["0"] * 12 + ["0.5"] + ["0"] * 12)
    path, _ = merge(models=[LORA], ratios=[2], sd_model=base, save_to=tmp_path / "merged",
                    block_ratios=[numbers])  # fmt: skip
    before, after = load_file(base), load_file(path)
    changes, seen = deltas(LORA, base, 1.0), set()
    for key, change in changes.items():
        block = key.removeprefix("model.diffusion_model.").partition(".")[0]
        seen.add(block)
        factor = {"input_blocks": 0, "output_blocks": 0, "middle_block": 1}.get(block, 2)
        expected = before[key].double() + factor * change
        assert torch.allclose(after[key].double(), expected, atol=1e-5), key
    assert {"input_blocks", "middle_block", "output_blocks"} <= seen and len(seen) > 3


def test_a_stop_half_way_leaves_nothing(tmp_path):
    control, told = Control(), []

    def report(event):
        told.append(event)
        if event.kind == "stage" and event.done:
            control.stop()

    settings, _ = read_merge_settings(
        {"models": [LORA], "sd_model": SD1, "save_to": tmp_path / "merged"}
    )
    with pytest.raises(Cancelled):
        merge_into_checkpoint(settings, report, control)
    assert any(event.kind == "stage" and 0 < event.done < event.total for event in told)
    assert not list(tmp_path.iterdir())
