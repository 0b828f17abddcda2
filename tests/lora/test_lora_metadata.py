"""The metadata of a LoRA file against a file that sd-scripts wrote for the same training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest
import safetensors.torch

from scripts.lora.base_hashes import BaseHashes, hash_model
from scripts.lora.metadata import RunFacts, training_metadata
from scripts.lora.network import NetworkSummary
from scripts.models.families import SD1, SD2, SDXL, Family
from scripts.settings.train import TrainSettings

DATA = Path(__file__).parents[1] / "data"
REFERENCE = json.loads((DATA / "metadata" / "metadata.json").read_text())
# What the dataset tells of itself; its own tests compare it with the reference.
OF_THE_DATASET = (
    "ss_num_train_images", "ss_num_reg_images", "ss_tag_frequency", "ss_dataset_dirs",
    "ss_reg_dataset_dirs", "ss_batch_size_per_device", "ss_resolution", "ss_color_aug",
    "ss_flip_aug", "ss_random_crop", "ss_shuffle_caption", "ss_enable_bucket",
    "ss_bucket_no_upscale", "ss_min_bucket_reso", "ss_max_bucket_reso", "ss_keep_tokens",
    "ss_bucket_info",
)  # fmt: skip
OWN = (  # true of that program or of that day only
    "ss_session_id", "ss_sd_scripts_commit_hash", "modelspec.implementation_version",
    "modelspec.date",
)  # fmt: skip
SUMMARY = NetworkSummary(72, 192, 1000, 2, 1.0)


@dataclass(frozen=True)
class Base:
    path: Path
    family: Family


def reference_file(name: str, folder: Path) -> Path:
    """A file that the reference hashed, as it was: the tiny model has got a shape in its header
    since then."""
    path = DATA / name
    if "models/" in name:
        original = folder / path.name
        original.write_bytes(safetensors.torch.save(safetensors.torch.load_file(path), {}))
        return original
    return path


@pytest.fixture
def base(tmp_path):
    return Base(reference_file("models/tiny_sd15.safetensors", tmp_path), SD1)


@pytest.fixture
def hashes(base, tmp_path):
    return BaseHashes(base.path, None, tmp_path / "hashes.json")


@pytest.fixture
def reference_settings(base):
    """The settings of the reference run (tests/data/step/trajectory.json)."""
    return TrainSettings(
        pretrained_model_name_or_path=base.path, output_name="tiny_lora", network_dim=2,
        network_alpha=1.0, learning_rate=1e-3, unet_lr=2e-3, text_encoder_lr=5e-4,
        lr_scheduler="cosine", lr_warmup_steps=1, max_train_steps=4, train_batch_size=2,
        min_snr_gamma=5.0, noise_offset=0.05, seed=42, clip_skip=2, mixed_precision="no",
        training_comment="reference run", resolution=(128, 128),
    )  # fmt: skip


@pytest.fixture
def facts():
    return RunFacts(
        epoch=1, step=4, epochs=1, steps=4, batches_per_epoch=4, processes=1,
        mixed_precision="no", started=1795361437.111767, finished=1795361439.8762116,
        optimizer="torch.optim.adamw.AdamW(weight_decay=0.1,betas=(0.9, 0.99))",
    )  # fmt: skip


def dataset_entries() -> dict[str, str]:
    return {key: REFERENCE[key] for key in OF_THE_DATASET}


def test_same_as_the_reference_file(reference_settings, base, facts, hashes):
    found = training_metadata(
        reference_settings, base, dataset_entries(), SUMMARY, facts, hashes
    )  # fmt: skip
    written_by_save = {"sshs_model_hash", "sshs_legacy_hash"}
    assert set(found) == set(REFERENCE) - written_by_save
    assert {k: v for k, v in found.items() if k not in OWN} == {
        k: v for k, v in REFERENCE.items() if k not in (*OWN, *written_by_save)
    }
    assert all(isinstance(value, str) for value in found.values())
    assert found["modelspec.implementation_version"].startswith("easy-lora/")
    assert datetime.fromisoformat(found["modelspec.date"]).timestamp() == int(facts.finished)


def test_progress_and_processes(reference_settings, base, facts, hashes):
    halfway = replace(facts, epoch=3, step=7, epochs=9, steps=90, processes=2)
    settings = replace(reference_settings, gradient_accumulation_steps=4, lr_warmup_steps=0.1)
    found = training_metadata(settings, base, {}, SUMMARY, halfway, hashes)
    assert [found[f"ss_{key}"] for key in ("epoch", "steps", "num_epochs", "max_train_steps")] == [
        "3", "7", "9", "90",
    ]  # fmt: skip
    assert found["ss_total_batch_size"] == "16"
    assert found["ss_lr_warmup_steps"] == "9"
    again = training_metadata(settings, base, {}, SUMMARY, replace(halfway, step=8), hashes)
    assert again["ss_session_id"] == found["ss_session_id"]


@pytest.mark.parametrize(
    ("family", "is_velocity", "expected"),
    [
        (SD1, False, ("sd_v1", "False", "stable-diffusion-v1/lora", "epsilon", "512x512")),
        (SD1, True, ("sd_v1_v", "False", "stable-diffusion-v1/lora", "v", "512x512")),
        (SD2, False, ("sd_v2", "True", "stable-diffusion-v2-512/lora", "epsilon", "512x512")),
        (SD2, True, ("sd_v2_v", "True", "stable-diffusion-v2-768-v/lora", "v", "768x768")),
        (SDXL, False, ("sdxl_base_v1-0", "False", "stable-diffusion-xl-v1-base/lora", "epsilon",
                       "1024x1024")),
        (SDXL, True, ("sdxl_base_v1-0", "False", "stable-diffusion-xl-v1-base/lora", "v",
                      "1024x1024")),
    ],
)  # fmt: skip
def test_families(family, is_velocity, expected, reference_settings, base, facts, hashes):
    settings = replace(reference_settings, v_parameterization=is_velocity, resolution=None)
    found = training_metadata(
        settings, replace(base, family=family), {}, SUMMARY, facts, hashes
    )  # fmt: skip
    keys = ("ss_base_model_version", "ss_v2", "modelspec.architecture",
            "modelspec.prediction_type", "modelspec.resolution")  # fmt: skip
    assert tuple(found[key] for key in keys) == expected
    assert ("modelspec.encoder_layer" in found) == (family is not SDXL)
    assert ("generative-models" in found["modelspec.implementation"]) == (family is SDXL)


def test_texts_of_the_user(reference_settings, base, facts, hashes):
    texts = {"title": "Größe", "author": "Ann", "description": "a\nb", "license": "MIT",
             "tags": "style, cat"}  # fmt: skip
    given = {f"metadata_{key}": value for key, value in texts.items()}
    settings = replace(reference_settings, min_timestep=100, max_timestep=900, **given)
    found = training_metadata(settings, base, {}, SUMMARY, facts, hashes)
    assert {key: found[f"modelspec.{key}"] for key in texts} == texts
    assert found["modelspec.timestep_range"] == "100,900"


def test_no_metadata_keeps_what_loading_needs(reference_settings, base, facts, hashes):
    settings = replace(reference_settings, no_metadata=True, conv_dim=4)
    found = training_metadata(
        settings, base, dataset_entries(), SUMMARY, facts, hashes
    )  # fmt: skip
    assert {key: value for key, value in found.items() if key.startswith("ss_")} == {
        "ss_v2": "False",
        "ss_base_model_version": "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "2",
        "ss_network_alpha": "1.0",
        "ss_network_args": '{"conv_dim": "4", "conv_alpha": "2.0"}',
    }
    assert found["modelspec.resolution"] == "128x128"


def test_network_arguments(reference_settings, base, facts, hashes):
    settings = replace(reference_settings, rank_dropout=0.1, down_lr_weight="cosine")
    found = training_metadata(settings, base, {}, SUMMARY, facts, hashes)
    assert json.loads(found["ss_network_args"]) == {
        "rank_dropout": "0.1", "down_lr_weight": "cosine",
    }  # fmt: skip


def test_sizes_from_weights(reference_settings, base, facts, hashes):
    settings = replace(
        reference_settings, dim_from_weights=True, network_weights=Path("a"), network_alpha=None
    )
    same, mixed = replace(SUMMARY, dim=8, alpha=4.0), replace(SUMMARY, dim=None, alpha=None)
    for summary, expected in ((same, ("8", "4.0")), (mixed, ("Dynamic", "Dynamic"))):
        found = training_metadata(settings, base, {}, summary, facts, hashes)
        assert (found["ss_network_dim"], found["ss_network_alpha"]) == expected


def test_other_vae_is_named(reference_settings, base, facts, tmp_path):
    entry = next(e for e in json.loads((DATA / "metadata/hashes.json").read_text())
                 if e["file"] == "models/tiny_sd15.safetensors")  # fmt: skip
    hashes = BaseHashes(base.path, base.path, tmp_path / "hashes.json")
    found = training_metadata(reference_settings, base, {}, SUMMARY, facts, hashes)
    assert found["ss_vae_name"] == "tiny_sd15.safetensors"
    assert found["ss_vae_hash"] == entry["webui_model_hash"]
    assert found["ss_new_vae_hash"] == entry["webui_sha256"]


@pytest.mark.parametrize("entry", json.loads((DATA / "metadata/hashes.json").read_text()),
                         ids=lambda entry: Path(entry["file"]).stem)  # fmt: skip
def test_base_hashes_match_reference(entry, tmp_path):
    found = hash_model(reference_file(entry["file"], tmp_path), tmp_path / "hashes.json")
    assert (found.short, found.sha256) == (entry["webui_model_hash"], entry["webui_sha256"])


def test_a_hash_is_worked_out_once_until_the_file_changes(tmp_path, monkeypatch):
    model, cache = tmp_path / "model.safetensors", tmp_path / "cache" / "hashes.json"
    model.write_bytes(b"first")
    first = hash_model(model, cache)
    monkeypatch.setattr("scripts.lora.base_hashes.sha256_of_file", lambda path: "hashed again")
    assert hash_model(model, cache) == first
    model.write_bytes(b"other length")
    assert hash_model(model, cache).sha256 == "hashed again"
    cache.write_text("broken")
    assert hash_model(model, cache).sha256 == "hashed again"


def test_no_hash_for_folders_and_files_that_went_away(tmp_path):
    assert hash_model(tmp_path, tmp_path / "c.json").sha256 is None
    assert hash_model(tmp_path / "gone", tmp_path / "c.json").name == "gone"


def test_a_cache_that_cannot_be_written_costs_no_hash(tmp_path):
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    in_the_way = tmp_path / "project"
    in_the_way.touch()  # a file stands for a folder that is read only
    hashes = BaseHashes(model, None, in_the_way / "cache" / "hashes.json")
    assert hashes.model().sha256 == hashlib.sha256(b"weights").hexdigest()
