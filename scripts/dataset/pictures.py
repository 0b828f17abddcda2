"""Open pictures: sizes from headers, damage noticed early, pixels as the training wants them.

Every way a picture can be stored (turned by EXIF, transparent, palette, grey, CMYK, 16 bits) ends
as upright 8-bit RGB; transparency goes onto white and is kept apart for masks.
"""

from __future__ import annotations

import functools
import os
import random
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from scripts.core.errors import SuiteError
from scripts.dataset.buckets import Size
from scripts.dataset.folders import USUAL_PICTURES

TURN_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION_TAG = 0x0112
# What Pillow raises for damaged files, UnidentifiedImageError (an OSError) apart.
WHAT_DAMAGE_RAISES = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error,
)  # fmt: skip
TAIL = 32  # bytes read from the end of a file to see whether it is whole


class UnreadablePicture(SuiteError):
    """A picture that cannot be used; the message says why, without its name."""


@dataclass(frozen=True)
class PictureHeader:
    """Width and height as a person sees the picture (EXIF applied), and whether it has alpha."""

    size: Size
    has_alpha: bool


@functools.cache
def readable_endings() -> frozenset[str]:
    """The endings of picture files that can be opened here: AVIF and JPEG XL where Pillow can."""
    Image.init()
    known = Image.registered_extensions()
    return USUAL_PICTURES | {ending for ending in (".avif", ".jxl") if ending in known}


def read_header(path: Path) -> PictureHeader:
    """The size of a picture without decoding it, and a check that the file is whole.

    Raises UnreadablePicture for an empty, foreign, half or absurdly large file.
    """
    try:
        if os.path.getsize(path) == 0:
            raise UnreadablePicture("the file is empty (0 bytes)")
        with Image.open(path) as image:
            width, height = image.size
            if _orientation(image) >= 5:
                width, height = height, width
            has_alpha = "A" in image.getbands() or "transparency" in image.info
            if not _ends_well(path, image.format):
                image.load()
    except Image.DecompressionBombError as error:
        raise UnreadablePicture("it has more pixels than can be opened safely") from error
    except UnidentifiedImageError as error:
        raise UnreadablePicture("it is damaged or not a picture") from error
    except WHAT_DAMAGE_RAISES as error:
        raise UnreadablePicture(_reason(error)) from error
    return PictureHeader((width, height), has_alpha)


def _reason(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, OSError) and error.errno is not None:
        return f"it cannot be read ({error.strerror})"
    if "truncated" in text or "unexpected end" in text or isinstance(error, EOFError):
        return "it is only half there (the end of the file is missing)"
    return "it is damaged"


def _ends_well(path: Path, kind: str | None) -> bool:
    """Whether the file's own end mark is there; False means: decode it to be sure."""
    with path.open("rb") as file:
        head = file.read(32)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        tail = file.read()
    if kind == "JPEG":
        return tail.rstrip(b"\x00").endswith(b"\xff\xd9")
    if kind == "PNG":
        return b"IEND\xaeB`\x82" in tail
    if kind == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= size
    if kind == "AVIF":
        return _boxes_are_whole(path, size)
    if kind == "BMP":
        return 14 < int.from_bytes(head[2:6], "little") <= size
    return False


def _boxes_are_whole(path: Path, file_size: int) -> bool:
    """Whether the outermost boxes of an AVIF file (ISO base media format) fill it exactly."""
    position = 0
    with path.open("rb") as file:
        while position + 8 <= file_size:
            file.seek(position)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # the length follows as 64 bits
                length = int.from_bytes(head[8:16], "big")
            if length < 8:  # 0: to the end of the file, wherever that is
                return False
            position += length
    return position == file_size


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, read without decoding; Pillow turns TIFF itself."""
    if image.format == "TIFF":
        return 1
    if image.format == "PNG":  # asking Pillow for a PNG's EXIF would decode the whole picture
        data = image.info.get("exif")
        exif = Image.Exif()
        if data:
            exif.load(data)
    else:
        exif = image.getexif()
    value = exif.get(ORIENTATION_TAG, 1)
    return value if value in TURN_BY_ORIENTATION else 1


def open_picture(path: Path) -> tuple[Image.Image, Image.Image | None]:
    """The picture as upright RGB, and its transparency ("L", 255 is opaque) when it has any.

    Raises UnreadablePicture.
    """
    try:
        with Image.open(path) as image:
            orientation = _orientation(image)
            image.load()
            rgb, alpha = to_rgb(image)
    except Image.DecompressionBombError as error:
        raise UnreadablePicture("it has more pixels than can be opened safely") from error
    except UnidentifiedImageError as error:
        raise UnreadablePicture("it is damaged or not a picture") from error
    except WHAT_DAMAGE_RAISES as error:
        raise UnreadablePicture(_reason(error)) from error
    if orientation != 1:
        turn = TURN_BY_ORIENTATION[orientation]
        rgb = rgb.transpose(turn)
        alpha = alpha.transpose(turn) if alpha else None
    return rgb, alpha


def to_rgb(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """8-bit RGB with transparency put onto white, and the transparency itself or None."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image).convert("RGB"), None
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB"), rgba.getchannel("A")
    return image.convert("RGB"), None


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """8-bit grey from 16-bit whole numbers (0 to 65535), or from floats that go up to 1 or 255."""
    values = np.asarray(image, dtype=np.float64)
    if image.mode == "F":
        scale = 255.0 if values.max(initial=0.0) <= 1.0 else 1.0
    else:
        scale = 255.0 / 65535.0
    return Image.fromarray(np.clip(values * scale + 0.5, 0, 255).astype(np.uint8), "L")


def resize(image: Image.Image, size: Size) -> Image.Image:
    """Resize: shrinking averages areas, enlarging uses Lanczos."""
    if image.size == size:
        return image
    shrinks = size[0] <= image.size[0] and size[1] <= image.size[1]
    filter_ = Image.Resampling.BOX if shrinks else Image.Resampling.LANCZOS
    return image.resize(size, filter_)


def crop(image: Image.Image, place: Size, bucket: Size) -> Image.Image:
    """Cut `bucket` out of the picture at left and top `place`."""
    return image.crop((*place, place[0] + bucket[0], place[1] + bucket[1]))


def vary_colours(image: Image.Image, seed: str) -> Image.Image:
    """One time in three, turn the hue by up to 16 degrees or bend gamma by up to 5 %."""
    draw = random.Random(seed)
    if draw.random() >= 1 / 3:
        return image
    if draw.random() < 0.5:
        shift = round(draw.uniform(-8, 8) * 256 / 180)  # OpenCV counts hue to 180, Pillow to 256
        hue, saturation, value = image.convert("HSV").split()
        hue = hue.point([(level + shift) % 256 for level in range(256)])
        return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    gamma = draw.uniform(0.95, 1.05)
    return image.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)


def mirror(image: Image.Image) -> Image.Image:
    """The picture mirrored left to right."""
    return ImageOps.mirror(image)


def to_array(image: Image.Image) -> np.ndarray:
    """(3, height, width) bytes; `encoding.encode` scales them to the -1 to 1 of the VAE."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def mask_to_latent_size(mask: Image.Image, factor: int = 8) -> np.ndarray:
    """(1, height/factor, width/factor) float32 from 0 to 1: the mean over each square."""
    values = np.asarray(mask, dtype=np.float32) / 255.0
    height, width = values.shape[0] // factor, values.shape[1] // factor
    values = values[: height * factor, : width * factor]
    return values.reshape(height, factor, width, factor).mean(axis=(1, 3), dtype=np.float32)[None]
