"""From a picture of the data set to what the VAE takes: resized, cropped, mirrored; its mask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scripts.dataset import pictures
from scripts.dataset.buckets import crop_place, sdxl_crop_box
from scripts.dataset.dataset import CACHED_CROPS, Example, Picture

KEY_VERSION = 1


@dataclass(frozen=True)
class Variant:
    """One way to cut a picture: mirrored or not, crop number (see `buckets.crop_place`)."""

    flip: bool
    crop: int


@dataclass(frozen=True)
class Prepared:
    """Pixels (3, height, width) as bytes, and the mask (1, height/8, width/8) or None."""

    pixels: np.ndarray
    mask: np.ndarray | None


def variants_of(picture: Picture) -> list[Variant]:
    """Every variant of a picture that an example of a cached data set can ask for."""
    flips = [False, True] if picture.subset.flip_aug else [False]
    crops = [0]
    if picture.subset.random_crop and picture.can_be_cropped_elsewhere:
        crops = list(range(1, CACHED_CROPS + 1))
    return [Variant(flip, crop) for flip in flips for crop in crops]


def variant_key(
    picture: Picture, variant: Variant, content: str, mask_content: str, vae_key: str
) -> str:
    """The name of a cached row: everything that its numbers depend on.

    `content` is the SHA-256 of the picture's bytes and the first 16 letters of the key;
    `mask_content` that of the mask picture, "alpha", or "" without a mask.
    """
    place = crop_place(picture.resized, picture.bucket, variant.crop)
    facts = [KEY_VERSION, content, vae_key, picture.bucket, picture.resized, place, variant.flip,
             mask_content]  # fmt: skip
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    return f"{content[:16]}-{digest[:32]}"


def prepare(picture: Picture, wanted: Iterable[Variant], colours: str = "") -> list[Prepared]:
    """Open a picture once and make the wanted variants of it.

    Raises UnreadablePicture for the picture or its mask.
    """
    rgb, alpha = pictures.open_picture(picture.path)
    rgb = pictures.resize(rgb, picture.resized)
    if colours:
        rgb = pictures.vary_colours(rgb, colours)
    mask = _mask(picture, alpha)
    prepared = []
    for variant in wanted:
        place = crop_place(picture.resized, picture.bucket, variant.crop)
        cut = pictures.crop(rgb, place, picture.bucket)
        cut_mask = pictures.crop(mask, place, picture.bucket) if mask else None
        if variant.flip:
            cut = pictures.mirror(cut)
            cut_mask = pictures.mirror(cut_mask) if cut_mask else None
        prepared.append(
            Prepared(
                pictures.to_array(cut),
                pictures.mask_to_latent_size(cut_mask) if cut_mask else None,
            )
        )
    return prepared


def _mask(picture: Picture, alpha: Image.Image | None) -> Image.Image | None:
    mask = alpha if picture.mask_from_alpha else None
    if picture.mask is not None:
        mask = open_mask(picture.mask)
    elif picture.mask_from_alpha and alpha is None:
        mask = Image.new("L", picture.size, 255)
    return pictures.resize(mask, picture.resized) if mask else None


def open_mask(path: Path) -> Image.Image:
    """A mask picture as grey. Raises UnreadablePicture."""
    try:
        return pictures.open_picture(path)[0].convert("L")
    except pictures.UnreadablePicture as error:
        raise pictures.UnreadablePicture(f"its mask {path.name} cannot be used: {error}") from error


def mask_source(picture: Picture) -> Path | str:
    """The mask picture, "alpha", or "" without a mask."""
    return picture.mask or ("alpha" if picture.mask_from_alpha else "")


def crop_top_left(example: Example) -> tuple[int, int]:
    """Top and left as SDXL is told them; a mirrored picture has left and right exchanged."""
    picture = example.picture
    left, top, right, _ = sdxl_crop_box(picture.bucket, picture.size)
    if example.flip:
        left = picture.bucket[0] - right
    return round(top), round(left)
