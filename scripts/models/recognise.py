"""Find out what a base model is, from its head alone: family, prediction, sizes.

    base = recognise(Path("model.safetensors"))
    print(base.title)                     # Stable Diffusion XL, v-prediction, 6.9 GB

Standard library only, so that a window can ask too. A file that is no base model is refused by
the name of what it seems to be (`scripts.models.other_kinds`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.errors import SuiteError
from scripts.models.families import SD1, SD2, SDXL, Family
from scripts.models.file_head import FileHead, read_head
from scripts.models.folder_shapes import text_shape_of, unet_shape_of, vae_shape_of
from scripts.models.other_kinds import FULL_MODEL, other_kind
from scripts.models.part_files import part_files, read_json
from scripts.models.shapes import (
    UNET_PREFIX,
    VAE_PREFIX,
    ModelShape,
    OddShapes,
    Shapes,
    read_notes,
    text_shapes,
    unet_shape,
    vae_shape,
)
from scripts.models.vae_file import recognise_vae

FIRST_CONV = "input_blocks.0.0.weight"
INPUT_KINDS = {  # channels of the first convolution -> what such a model is
    9: "an inpainting model",
    8: "an instruct-pix2pix model",
    7: "an upscaling model",
    5: "a depth-to-image model",
}
PIPELINES = (
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "LatentConsistencyModelPipeline",
)
V_NAME = re.compile(r"v[-_ ]?pred", re.IGNORECASE)
SD2_V_NAME = re.compile(r"768|v[-_ ]?pred", re.IGNORECASE)
SD2_BASE_NAME = re.compile(r"512|[-_]base", re.IGNORECASE)


@dataclass(frozen=True)
class Prediction:
    """What the U-Net predicts: v (True), noise (False) or not known (None); the same for the
    zero-terminal-SNR schedule. `is_guess` tells that only the name of the file says so."""

    v: bool | None = None
    zero_terminal_snr: bool | None = None
    is_guess: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class BaseModel:
    """A base model that can be trained.

    `layout` is "single_file" (safetensors), "ckpt" or "diffusers" (a folder). `v_prediction` and
    `zero_terminal_snr` are None where the file cannot tell; `v_prediction_is_guess` tells that
    v_prediction was only guessed from the file's name, so a setting may say otherwise.
    """

    path: Path
    family: Family
    layout: str
    v_prediction: bool | None
    v_prediction_is_guess: bool
    zero_terminal_snr: bool | None
    shape: ModelShape
    size_bytes: int
    title: str
    notes: tuple[str, ...]

    @property
    def resolution(self) -> int:
        """The side of the square pictures that the model was made with, in pixels."""
        return self.family.resolution(self.v_prediction)


def recognise(path: Path | str, vae: Path | None = None) -> BaseModel:
    """The base model at `path`: a .safetensors or .ckpt file, or a diffusers folder.

    `vae` is the VAE file that is used in place of its own: a model without one is then fine.

    Raises SuiteError when there is no such file, it is broken, lacks a part, or is something else
    than Stable Diffusion 1.x, 2.x or XL; the message names what it seems to be.
    """
    path = Path(path)
    if vae is not None:
        recognise_vae(vae)
    if path.is_dir():
        return _folder(path, vae)
    head = read_head(path)
    family, shape = family_and_shape(path, head)
    _check_parts(path, family, shape, vae)
    prediction = prediction_of(path, family, head)
    return _model(path, family, head.layout, prediction, shape, path.stat().st_size)


def family_and_shape(
    path: Path, head: FileHead, any_input: bool = False
) -> tuple[Family, ModelShape]:
    """The family and sizes of the model in one file; its VAE or a text encoder may be missing.

    `any_input` lets models pass that take more than the latent picture (inpainting and the like).

    Raises SuiteError when it is something else than Stable Diffusion 1.x, 2.x or XL.
    """
    _refuse_others(path, head)
    if not any_input:
        _refuse_more_input(path, head.shapes)
    family = _family(path, head.shapes)
    try:
        notes = read_notes(head.metadata)
        shape = ModelShape(
            unet_shape(head.shapes, family, notes),
            vae_shape(head.shapes, family, notes) if _has_vae(head.shapes) else None,
            text_shapes(head.shapes, family, notes),
        )
    except OddShapes as error:
        raise SuiteError(_odd(path, family, error)) from error
    return family, shape


def _model(
    path: Path, family: Family, layout: str, prediction: Prediction, shape: ModelShape, size: int
) -> BaseModel:
    words = [family.title]
    if prediction.v:
        words.append("v-prediction")
    words.append(f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB")
    return BaseModel(
        path=path,
        family=family,
        layout=layout,
        v_prediction=prediction.v,
        v_prediction_is_guess=prediction.is_guess,
        zero_terminal_snr=prediction.zero_terminal_snr,
        shape=shape,
        size_bytes=size,
        title=", ".join(words),
        notes=prediction.notes,
    )


def _odd(path: Path, family: Family, error: OddShapes) -> str:
    return (
        f"{path.name} looks like {family.title}, but {error}. Such a variant cannot be used "
        "here: choose the standard model that it was made from."
    )


def _has_vae(shapes: Shapes) -> bool:
    return all(f"{VAE_PREFIX}{side}.conv_in.weight" in shapes for side in ("encoder", "decoder"))


def _refuse_others(path: Path, head: FileHead) -> None:
    """Refuse what has no U-Net of the original layout, or has something else beside it."""
    shapes = head.shapes
    has_unet = UNET_PREFIX + FIRST_CONV in shapes
    kind = other_kind(shapes, beside_unet=has_unet)
    if kind is not None:
        raise SuiteError(f"{path.name} is not a base model: it seems to be {kind.title}. "
                         f"{kind.advice}")  # fmt: skip
    if has_unet:
        return
    if not shapes:
        raise SuiteError(f"{path.name} holds no tensors, so it is no model. {FULL_MODEL}")
    if any(name.startswith("model_ema.") for name in shapes):
        raise SuiteError(f"{path.name} holds only the running averages (EMA) of a training under "
                         "their training names. Choose the finished model.")  # fmt: skip
    if FIRST_CONV in shapes or f"diffusion_model.{FIRST_CONV}" in shapes:
        raise SuiteError(f"{path.name} holds only a U-Net: its text encoder and VAE are missing. "
                         f"{FULL_MODEL}")  # fmt: skip
    if "conv_in.weight" in shapes and any(name.startswith("down_blocks.") for name in shapes):
        raise SuiteError(f"{path.name} is only the U-Net of a diffusers folder. Choose the folder "
                         "that holds model_index.json.")  # fmt: skip
    raise SuiteError(f"{path.name} is no Stable Diffusion model that is known here. {FULL_MODEL}")


def _refuse_more_input(path: Path, shapes: Shapes) -> None:
    channels = shapes[UNET_PREFIX + FIRST_CONV]
    if len(channels) == 4 and channels[1] != 4:
        what = INPUT_KINDS.get(channels[1], f"a model with {channels[1]} input channels")
        raise SuiteError(f"{path.name} seems to be {what}, which cannot be trained here. "
                         "Choose the base model that it was made from.")  # fmt: skip


def _family(path: Path, shapes: Shapes) -> Family:
    """The family by its marks: SDXL adds sizes to the time embedding, SD2 has linear projections
    around its attention. Raises SuiteError for their kin that cannot be trained."""
    if any(name.startswith(f"{UNET_PREFIX}label_emb.") for name in shapes):
        if any(name.startswith("conditioner.embedders.0.model.") for name in shapes):
            raise SuiteError(f"{path.name} is the refiner of Stable Diffusion XL. "
                             "Choose the base model of Stable Diffusion XL.")  # fmt: skip
        if any(name.startswith(("cond_stage_model.", "embedder.")) for name in shapes):
            raise SuiteError(f"{path.name} seems to be an unCLIP model, which cannot be used "
                             "here. Choose the Stable Diffusion 2.x model itself.")  # fmt: skip
        return SDXL
    for name, shape in shapes.items():
        if name.startswith(UNET_PREFIX) and name.endswith(".proj_in.weight"):
            return SD2 if len(shape) == 2 else SD1
    return SD1


def _check_parts(path: Path, family: Family, shape: ModelShape, vae: Path | None) -> None:
    """Raise SuiteError naming the parts that are missing."""
    missing = []
    if len(shape.texts) < family.text_encoder_count:
        some = "one of " if shape.texts else ""
        missing.append(f"{some}its two text encoders" if family is SDXL else "its text encoder")
    if shape.vae is None and vae is None:
        missing.append("its VAE")
    if not missing:
        return
    remedy = "Choose the full model"
    if missing == ["its VAE"]:
        remedy += ", or give a VAE file as vae"
    raise SuiteError(f"{path.name} is {family.title}, but it lacks {' and '.join(missing)}. "
                     f"{remedy}.")  # fmt: skip


def prediction_of(path: Path, family: Family, head: FileHead) -> Prediction:
    """From marker tensors, else the metadata, else (as a guess) the name of the file."""
    zero_snr = True if "ztsnr" in head.shapes else None
    if "v_pred" in head.shapes:
        return Prediction(True, zero_snr)
    stated = head.metadata.get("modelspec.prediction_type", "").lower()
    if stated in ("v", "v_prediction", "epsilon"):
        return Prediction(stated != "epsilon", zero_snr)
    if (SD2_V_NAME if family is SD2 else V_NAME).search(path.stem):
        note = (
            f"v-prediction is assumed because of the name {path.name}; set v_parameterization to "
            "false if that is wrong."
        )
        return Prediction(True, zero_snr, is_guess=True, notes=(note,))
    if family is not SD2:
        return Prediction(None, zero_snr)
    if SD2_BASE_NAME.search(path.stem):
        return Prediction(False, zero_snr, is_guess=True)
    note = (
        "Whether this Stable Diffusion 2.x model predicts noise (512) or v (768) cannot be seen in "
        "the file; noise is assumed. Set v_parameterization for a 768-v model."
    )
    return Prediction(None, zero_snr, notes=(note,))


def _folder(path: Path, vae: Path | None) -> BaseModel:
    if not (path / "unet" / "config.json").is_file():
        models = sorted(file.name for file in path.glob("*.safetensors"))
        advice = "Choose a model file, or the folder of a model."
        if models:
            advice = f"Choose a file in it, such as {models[0]}."
        raise SuiteError(
            f"The folder {path} is no diffusers model (it has no unet/config.json). {advice}"
        )
    index = read_json(path / "model_index.json") if (path / "model_index.json").is_file() else {}
    pipeline = index.get("_class_name", PIPELINES[0])
    unet = read_json(path / "unet" / "config.json")
    if pipeline not in PIPELINES or unet.get("in_channels", 4) != 4:
        what = INPUT_KINDS.get(unet.get("in_channels"), f"a model for {pipeline}")
        raise SuiteError(f"The folder {path.name} seems to hold {what}, which cannot be trained "
                         f"here. {FULL_MODEL}")  # fmt: skip
    family = _folder_family(path, unet)
    try:
        shape = _folder_shape(path, family, unet)
    except OddShapes as error:
        raise SuiteError(_odd(path, family, error)) from error
    _check_parts(path, family, shape, vae)
    parts = ["unet", "text_encoder", "text_encoder_2", "vae"]
    files = [file for part in parts if (path / part).is_dir() for file in part_files(path / part)]
    for file in files:
        read_head(file)
    size = sum(file.stat().st_size for file in files)
    return _model(path, family, "diffusers", _folder_prediction(path), shape, size)


def _folder_family(path: Path, unet: Mapping[str, Any]) -> Family:
    if unet.get("addition_embed_type") == "text_time":
        if not (path / "text_encoder" / "config.json").is_file():
            raise SuiteError(f"The folder {path.name} has no first text encoder: it may be the "
                             "refiner of Stable Diffusion XL. Choose the base model.")  # fmt: skip
        return SDXL
    return SD2 if unet.get("use_linear_projection") else SD1


def _folder_shape(path: Path, family: Family, unet: Mapping[str, Any]) -> ModelShape:
    texts = []
    for index in range(family.text_encoder_count):
        part = "text_encoder" if index == 0 else f"text_encoder_{index + 1}"
        if (path / part / "config.json").is_file():
            texts.append(text_shape_of(read_json(path / part / "config.json"), index > 0))
    has_vae = (path / "vae" / "config.json").is_file()
    vae = vae_shape_of(read_json(path / "vae" / "config.json")) if has_vae else None
    return ModelShape(unet_shape_of(unet), vae, tuple(texts))


def _folder_prediction(path: Path) -> Prediction:
    file = path / "scheduler" / "scheduler_config.json"
    config = read_json(file) if file.is_file() else {}
    kind = config.get("prediction_type")
    v_prediction = None if kind is None else kind == "v_prediction"
    return Prediction(v_prediction, True if config.get("rescale_betas_zero_snr") else None)
