"""Find out how a VAE lies in a file or folder: its names, its prefix and its shape."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import SuiteError
from scripts.models.file_head import FileHead, read_head
from scripts.models.folder_shapes import vae_shape_of
from scripts.models.other_kinds import other_kind
from scripts.models.part_files import part_files, read_json
from scripts.models.shapes import VAE_PREFIX, OddShapes, VAEShape, read_notes, vae_shape

PREFIXES = (VAE_PREFIX, "vae.", "")


@dataclass(frozen=True)
class VAEFile:
    """Where a VAE lies. `original` tells that the names are those of a single file."""

    files: tuple[Path, ...]
    prefix: str
    original: bool
    shape: VAEShape


def recognise_vae(path: Path) -> VAEFile:
    """The VAE in a file of its own, in a whole model, or in a diffusers folder.

    Raises SuiteError when there is none of the kind that Stable Diffusion 1.x, 2.x and XL use.
    """
    try:
        return _in_folder(path) if path.is_dir() else _in_file(path, read_head(path))
    except OddShapes as error:
        raise SuiteError(
            f"The VAE {path.name} does not fit Stable Diffusion 1.x, 2.x or XL: {error}. "
            "Choose another VAE."
        ) from error


def _in_folder(path: Path) -> VAEFile:
    folder = path / "vae" if (path / "vae" / "config.json").is_file() else path
    shape = vae_shape_of(read_json(folder / "config.json"))
    return VAEFile(tuple(part_files(folder)), "", False, shape)


def _in_file(path: Path, head: FileHead) -> VAEFile:
    shapes = head.shapes
    for prefix in PREFIXES:
        if f"{prefix}encoder.conv_in.weight" not in shapes:
            continue
        if f"{prefix}encoder.down.0.block.0.conv1.weight" in shapes:
            shape = vae_shape(shapes, None, read_notes(head.metadata), prefix)
            return VAEFile((path,), prefix, True, shape)
        if f"{prefix}encoder.down_blocks.0.resnets.0.conv1.weight" in shapes:
            return VAEFile((path,), prefix, False, _diffusers_shape(path, shapes, prefix))
    kind = other_kind(shapes)
    seems = f" It seems to be {kind.title}." if kind and kind.title != "a VAE" else ""
    raise SuiteError(f"{path.name} holds no VAE.{seems} Choose a VAE file, or set none.")


def _diffusers_shape(path: Path, shapes: dict[str, tuple[int, ...]], prefix: str) -> VAEShape:
    config = path.parent / "config.json"
    if config.is_file() and "AutoencoderKL" in str(read_json(config).get("_class_name")):
        return vae_shape_of(read_json(config))
    pattern = re.escape(prefix) + r"encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.conv1\.weight"
    found = {
        (int(match[1]), int(match[2])): shape[0]
        for match, shape in ((re.match(pattern, name), shape) for name, shape in shapes.items())
        if match
    }
    levels = 1 + max(level for level, _ in found)
    layers = 1 + max(layer for _, layer in found)
    latent_channels = shapes.get(f"{prefix}decoder.conv_in.weight", (0, 0))[1]
    if levels != 4 or latent_channels != 4:
        raise OddShapes(f"it has {latent_channels} latent channels and {levels} levels, not 4")
    return VAEShape(tuple(found[level, 0] for level in range(levels)), layers, 32, 4)
