"""Base models are recognised from their heads alone: published sizes, tiny ones, variants."""

import json
import subprocess
import sys

import pytest
from model_files import full_size_shapes, text_shapes_of, write_header_only

from scripts.core.errors import SuiteError
from scripts.models.families import FAMILIES, SD1, SD2, SDXL, Family
from scripts.models.recognise import recognise
from scripts.models.shapes import TextShape, UNetShape, VAEShape

CLIP_L = "cond_stage_model.transformer.text_model."


@pytest.fixture(scope="module", params=list(FAMILIES.values()), ids=list(FAMILIES))
def family(request) -> Family:
    return request.param


@pytest.fixture(scope="module")
def shapes(family):
    return full_size_shapes(family)


UNETS = {
    "sd1": UNetShape((320, 640, 1280, 1280), 2, (1, 1, 1, 0), 768, (8,) * 4, 32, False),
    "sd2": UNetShape((320, 640, 1280, 1280), 2, (1, 1, 1, 0), 1024, (5, 10, 20, 20), 32, True),
    "sdxl": UNetShape((320, 640, 1280), 2, (0, 2, 10), 2048, (5, 10, 20), 32, True, 4, 2816),
}
TEXTS = {
    "sd1": [TextShape(768, 12, 3072, 12, CLIP_L, False)],
    "sd2": [TextShape(1024, 23, 4096, 16, "cond_stage_model.model.", True)],
    "sdxl": [
        TextShape(
            768, 12, 3072, 12, "conditioner.embedders.0.transformer.text_model.", False
        ),
        TextShape(
            1280, 32, 5120, 20, "conditioner.embedders.1.model.", True, projection=1280
        ),
    ],
}  # fmt: skip


def test_published_models_by_their_heads(family, shapes, tmp_path):
    base = recognise(write_header_only(tmp_path / "model.safetensors", shapes))
    assert base.family is family
    assert base.layout == "single_file"
    assert base.shape.unet == UNETS[family.name]
    assert base.shape.vae == VAEShape((128, 256, 512, 512), 2, 32)
    assert list(base.shape.texts) == TEXTS[family.name]
    assert base.title.startswith(family.title + ", ")
    assert base.resolution == {"sd1": 512, "sd2": 512, "sdxl": 1024}[family.name]
    assert base.v_prediction is None
    assert base.zero_terminal_snr is None


def test_the_prediction_of_sd2_is_not_known_and_that_is_said(tmp_path):
    shapes = full_size_shapes(SD2)
    base = recognise(write_header_only(tmp_path / "model.safetensors", shapes))
    assert base.v_prediction is None
    assert "v_parameterization" in base.notes[0]


@pytest.mark.parametrize(
    ("name", "family", "v", "resolution"),
    [
        ("v2-1_768-ema-pruned", SD2, True, 768),
        ("768-v-ema", SD2, True, 768),
        ("v2-1_512-ema-pruned", SD2, False, 512),
        ("512-base-ema", SD2, False, 512),
        ("noob_V-Pred_1.0", SDXL, True, 1024),
        ("noobai vpred", SDXL, True, 1024),
        ("somemodel_768", SDXL, None, 1024),
        ("easyfluff_vpred", SD1, True, 512),
    ],
)
def test_a_name_is_a_guess(name, family, v, resolution, tmp_path):
    base = recognise(write_header_only(tmp_path / f"{name}.safetensors", full_size_shapes(family)))
    assert base.v_prediction is v
    assert base.v_prediction_is_guess is (v is not None)
    assert base.resolution == resolution
    assert bool(base.notes) is (v is True)


def test_marker_tensors_tell_v_prediction(tmp_path):
    shapes = full_size_shapes(SDXL) | {"v_pred": (), "ztsnr": ()}
    base = recognise(write_header_only(tmp_path / "model.safetensors", shapes))
    assert (base.v_prediction, base.zero_terminal_snr) == (True, True)
    assert not base.v_prediction_is_guess
    assert "v-prediction" in base.title


@pytest.mark.parametrize(("stated", "v"), [("v", True), ("epsilon", False), ("", None)])
def test_the_metadata_tell_the_prediction(stated, v, tmp_path):
    metadata = {"modelspec.prediction_type": stated}
    path = write_header_only(tmp_path / "m.safetensors", full_size_shapes(SDXL), metadata)
    assert recognise(path).v_prediction is v


def test_tiny_models_with_their_notes(tiny_sd15, tiny_sdxl):
    base = recognise(tiny_sd15)
    assert base.family is SD1
    assert base.shape.unet == UNetShape((8, 16, 24, 32), 2, (1, 1, 1, 0), 16, (2,) * 4, 4, False)
    assert base.shape.vae == VAEShape((8, 8, 16, 16), 2, 4)
    assert base.shape.texts == (TextShape(16, 12, 32, 2, CLIP_L, False),)
    base = recognise(tiny_sdxl)
    assert base.family is SDXL
    expected = UNetShape((4, 8, 16), 2, (0, 2, 10), 16, (1, 2, 4), 2, True, 4, 1544)
    assert base.shape.unet == expected
    assert [text.layers for text in base.shape.texts] == [12, 6]
    assert base.shape.texts[1].projection == 8


def test_nothing_heavy_is_imported():
    """A window asks too: torch and its kin stay out."""
    code = (
        "import sys, scripts.models.recognise;"
        "print([m for m in ('torch', 'numpy', 'diffusers', 'transformers', 'safetensors',"
        " 'tokenizers') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def without(shapes, *starts):
    return {name: shape for name, shape in shapes.items() if not name.startswith(starts)}


@pytest.mark.parametrize(
    ("family", "starts", "message"),
    [
        (SD1, ["first_stage_model."], "but it lacks its VAE. Choose the full model, or give a VAE"),
        (SD1, ["cond_stage_model."], "it lacks its text encoder. Choose the full model."),
        (SD1, ["cond_stage_model.", "first_stage_model."], "its text encoder and its VAE. Choose"),
        (SDXL, ["conditioner.embedders.1."], "it lacks one of its two text encoders. Choose"),
        (SDXL, ["conditioner."], "it lacks its two text encoders. Choose"),
        (SDXL, ["first_stage_model.decoder"], "it lacks its VAE"),
    ],
)
def test_missing_parts_are_named(family, starts, message, tmp_path):
    shapes = without(full_size_shapes(family), *starts)
    path = write_header_only(tmp_path / "pruned.safetensors", shapes)
    with pytest.raises(SuiteError, match=message):
        recognise(path)


def test_a_model_without_vae_is_fine_with_another_vae(tmp_path, tiny_sd15):
    shapes = without(full_size_shapes(SD1), "first_stage_model.")
    path = write_header_only(tmp_path / "pruned.safetensors", shapes)
    assert recognise(path, vae=tiny_sd15).shape.vae is None
    with pytest.raises(SuiteError, match="holds no VAE"):
        recognise(path, vae=path)


@pytest.mark.parametrize(
    ("channels", "title"),
    [
        (9, "an inpainting model"),
        (8, "an instruct-pix2pix model"),
        (7, "an upscaling model"),
        (5, "a depth-to-image model"),
        (12, "a model with 12 input channels"),
    ],
)
def test_other_inputs_are_refused(channels, title, tmp_path):
    shapes = full_size_shapes(SD1)
    shapes["model.diffusion_model.input_blocks.0.0.weight"] = (320, channels, 3, 3)
    with pytest.raises(SuiteError, match=title):
        recognise(write_header_only(tmp_path / "model.safetensors", shapes))


def test_kin_of_sdxl_and_sd2_are_refused(tmp_path):
    refiner = without(full_size_shapes(SDXL), "conditioner.")
    refiner |= {
        name.replace("embedders.1", "embedders.0"): shape
        for name, shape in text_shapes_of(SDXL).items()
        if "embedders.1" in name
    }
    with pytest.raises(SuiteError, match="refiner"):
        recognise(write_header_only(tmp_path / "refiner.safetensors", refiner))
    unclip = full_size_shapes(SD2) | {
        "model.diffusion_model.label_emb.0.0.weight": (1280, 2048),
        "embedder.model.visual.proj": (1280, 1024),
    }
    with pytest.raises(SuiteError, match="unCLIP"):
        recognise(write_header_only(tmp_path / "unclip.safetensors", unclip))


def test_uneven_blocks_are_a_variant(tmp_path):
    """SSD-1B and its like have had layers taken out of SDXL."""
    block = "model.diffusion_model.input_blocks.8.1.transformer_blocks."
    fewer = without(full_size_shapes(SDXL), *(f"{block}{number}." for number in range(4, 10)))
    with pytest.raises(SuiteError, match="looks like Stable Diffusion XL, but its blocks are not"):
        recognise(write_header_only(tmp_path / "ssd.safetensors", fewer))


def test_odd_sizes_without_a_note_are_a_variant(tiny_sd15, tmp_path):
    from safetensors.torch import load_file, save_file

    save_file(load_file(tiny_sd15), tmp_path / "plain.safetensors")
    with pytest.raises(SuiteError, match="norms of 32 groups"):
        recognise(tmp_path / "plain.safetensors")
    notes = {"easy_lora_shape": "not JSON"}
    save_file(load_file(tiny_sd15), tmp_path / "broken.safetensors", metadata=notes)
    with pytest.raises(SuiteError, match="easy_lora_shape"):
        recognise(tmp_path / "broken.safetensors")
    notes = {"easy_lora_shape": json.dumps({"unet_groups": 4, "unet_heads": 3})}
    save_file(load_file(tiny_sd15), tmp_path / "heads.safetensors", metadata=notes)
    with pytest.raises(SuiteError, match="attention heads"):
        recognise(tmp_path / "heads.safetensors")


def test_text_encoder_names_without_text_model(tmp_path):
    """Some merged files leave "text_model" out."""
    shapes = {
        name.replace("transformer.text_model.", "transformer."): shape
        for name, shape in full_size_shapes(SD1).items()
    }
    base = recognise(write_header_only(tmp_path / "model.safetensors", shapes))
    assert base.shape.texts[0].prefix == "cond_stage_model.transformer."
    assert base.shape.texts[0].layers == 12


def test_a_safetensors_file_whose_header_begins_like_a_pickle(tmp_path):
    """The first byte is the length of the header: 0x80, with which pickles begin, is a length."""
    from scripts.models.file_head import read_head

    path, shapes = tmp_path / "a.safetensors", {"a": (2, 2)}
    write_header_only(path, shapes, {"note": ""})
    length = int.from_bytes(path.read_bytes()[:8], "little")
    write_header_only(path, shapes, {"note": "x" * (0x0280 - length)})
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert read_head(path).layout == "single_file"
