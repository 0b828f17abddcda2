"""Reading and writing LoRA files: the format, the hashes, and what is refused."""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from scripts.core.errors import SettingError, SuiteError
from scripts.lora.file import PRECISIONS, load_lora, raw_tensors, save_lora, split_layers
from scripts.lora.safetensors_writer import hashes, write_safetensors

DATA = Path(__file__).parents[1] / "data"
HASHES = json.loads((DATA / "metadata" / "hashes.json").read_text())


def small_state(size: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "lora_unet_b.alpha": torch.tensor(2.0),
        "lora_unet_b.lora_down.weight": torch.randn(4, size),
        "lora_unet_b.lora_up.weight": torch.randn(size, 4),
        "lora_unet_a.alpha": torch.tensor(1.0),
        "lora_unet_a.lora_down.weight": torch.randn(4, size, 3, 3),
        "lora_unet_a.lora_up.weight": torch.randn(size, 4, 1, 1),
    }


@pytest.mark.parametrize("entry", HASHES, ids=lambda entry: Path(entry["file"]).stem)
def test_hashes_match_reference(entry):
    path = DATA / entry["file"]
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    found = hashes(raw_tensors(safetensors.torch.load_file(path)), metadata)
    assert found == {
        "sshs_model_hash": entry["precalculated_sshs_model_hash"],
        "sshs_legacy_hash": entry["precalculated_sshs_legacy_hash"],
    }


def test_rewritten_reference_file_has_the_same_hashes_stored(tmp_path):
    state, metadata = load_lora(DATA / "metadata" / "trained_lora.safetensors")
    stored = {key: metadata.pop(key) for key in ("sshs_model_hash", "sshs_legacy_hash")}
    save_lora(tmp_path / "copy.safetensors", state, metadata, "float")
    again, again_metadata = load_lora(tmp_path / "copy.safetensors")
    assert again_metadata == {**metadata, **stored}
    assert {key: value.tolist() for key, value in again.items()} == {
        key: value.tolist() for key, value in state.items()
    }


def as_written(data):
    """The length of the header, its entries in their order (but for the metadata, which the
    package shuffles), and the bytes behind it."""
    end = 8 + int.from_bytes(data[:8], "little")
    return end, list(json.loads(data[8:end]).items()), data[end:]


def test_file_is_what_the_safetensors_package_writes(tmp_path):
    kinds = ("float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
             "float8_e4m3fn", "float8_e5m2")  # fmt: skip
    ends = {f"end {n % 3}{kind}": torch.arange(5).to(getattr(torch, kind))
            for n, kind in enumerate(kinds)}  # fmt: skip
    state = small_state() | ends
    path = tmp_path / "own.safetensors"
    metadata = {"ss_comment": 'Größe "5" \\ \n 花'}
    write_safetensors(path, raw_tensors(state), metadata)
    metadata |= hashes(raw_tensors(state), metadata)
    theirs = safetensors.torch.save(state, metadata)
    assert as_written(path.read_bytes()) == as_written(theirs)


@pytest.mark.parametrize("precision", ["float", "fp16", "bf16"])
def test_hashes_cover_the_converted_file(tmp_path, precision):
    """Over 1 MiB, so that the old hash has bytes to cover."""
    path = tmp_path / "large.safetensors"
    save_lora(path, small_state(90_000), {"ss_steps": "1", "modelspec.title": "x"}, precision)
    header_length = int.from_bytes(path.read_bytes()[:8], "little")
    state, metadata = load_lora(path)
    assert {tensor.dtype for tensor in state.values()} == {PRECISIONS[precision]}
    body = path.read_bytes()[8 + header_length :]
    assert metadata["sshs_model_hash"] == hashlib.sha256(body).hexdigest()
    alone = safetensors.torch.save(state, {"ss_steps": "1"})
    window = hashlib.sha256(alone[0x100000:0x110000]).hexdigest()[:8]
    assert metadata["sshs_legacy_hash"] == window != "e3b0c442"


def test_alpha_has_no_dimensions_and_the_dtype_of_the_file(tmp_path):
    save_lora(tmp_path / "a.safetensors", small_state(), {}, "fp16")
    loaded = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert loaded["lora_unet_a.alpha"].shape == ()
    assert loaded["lora_unet_a.alpha"].dtype == torch.float16
    assert loaded["lora_unet_b.alpha"].item() == 2.0


@pytest.mark.parametrize("ending", ["ckpt", "pt"])
def test_pickled_formats(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    save_lora(path, small_state(), {"ss_steps": "1"}, "float", ending)
    state, metadata = load_lora(path)
    assert metadata == {}
    assert {key: value.tolist() for key, value in state.items()} == {
        key: value.tolist() for key, value in small_state().items()
    }


class Harmful:
    def __reduce__(self):
        return (open, ("harm-was-done", "w"))


def test_malicious_pickle_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"lora_unet_a.alpha": Harmful()}, tmp_path / "bad.pt")
    with pytest.raises(SuiteError, match="might do harm"):
        load_lora(tmp_path / "bad.pt")
    assert not (tmp_path / "harm-was-done").exists()


def test_broken_files_are_refused_in_one_sentence(tmp_path):
    whole = tmp_path / "whole.safetensors"
    save_lora(whole, small_state(), {}, "fp16")
    (tmp_path / "half.safetensors").write_bytes(whole.read_bytes()[:-10])
    (tmp_path / "empty.safetensors").write_bytes(b"")
    (tmp_path / "text.safetensors").write_bytes(b"not a model at all")
    (tmp_path / "text.pt").write_bytes(b"not a model at all")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("half.safetensors", "empty.safetensors", "text.safetensors", "text.pt",
                 "empty.pt", "list.pt", "missing.safetensors", "missing.pt"):  # fmt: skip
        with pytest.raises(SuiteError) as caught:
            load_lora(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(SettingError) as caught:
        load_lora(tmp_path / "half.safetensors", setting="network_weights")
    assert caught.value.setting == "network_weights"


def test_values_that_are_no_numbers_are_not_saved_over_an_older_file(tmp_path):
    path = tmp_path / "a.safetensors"
    save_lora(path, small_state(), {}, "fp16")
    before = path.read_bytes()
    bad = small_state()
    bad["lora_unet_a.lora_up.weight"][0] = 1e6  # finite in float32, infinite in fp16
    with pytest.raises(SuiteError, match="lora_unet_a"):
        save_lora(path, bad, {}, "fp16")
    assert path.read_bytes() == before
    safetensors.torch.save_file({"x": torch.tensor(float("nan"))}, tmp_path / "nan.safetensors")
    with pytest.raises(SuiteError, match="damaged"):
        load_lora(tmp_path / "nan.safetensors")


def test_full_disk_keeps_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    save_lora(path, small_state(), {}, "fp16")
    before = path.read_bytes()

    def full(temporary, *_):
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("scripts.lora.file.write_safetensors", full)
    with pytest.raises(SuiteError, match="disk is full"):
        save_lora(path, small_state(5), {}, "fp16")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


def test_layers_without_alpha_scale_by_one():
    state = small_state()
    del state["lora_unet_a.alpha"]
    state["lora_unet_b.alpha"] = torch.tensor(0.0)
    layers = split_layers(state, "network_weights")
    assert {name: (part.dim, part.alpha) for name, part in layers.items()} == {
        "lora_unet_a": (4, 4.0),
        "lora_unet_b": (4, 4.0),
    }


@pytest.mark.parametrize("key", ["lora_unet_a.lora_mid.weight", "lora_unet_c.hada_w1_a",
                                 "model.diffusion_model.input_blocks.0.0.weight"])  # fmt: skip
def test_other_kinds_of_files_are_refused(key):
    with pytest.raises(SettingError, match="not a plain LoRA"):
        split_layers({**small_state(), key: torch.zeros(4, 4)}, "network_weights")
