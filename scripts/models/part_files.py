"""Which files of a diffusers folder hold a part's tensors. Standard library only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.core.errors import SuiteError

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
ENDINGS = (".safetensors", ".fp16.safetensors", ".non_ema.safetensors", ".bin", ".fp16.bin")


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file of a diffusers folder. Raises SuiteError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SuiteError(
            f"The diffusers folder has no file {path.parent.name}/{path.name}. Download the whole "
            "folder again."
        ) from error
    except (OSError, ValueError) as error:
        raise SuiteError(f"The file {path} is not readable JSON. Download it again.") from error
    if not isinstance(content, dict):
        raise SuiteError(f"The file {path} holds no settings of a model. Download it again.")
    return content


def part_files(folder: Path) -> list[Path]:
    """The files with the tensors of the part in `folder`; several where it is split.

    Raises SuiteError when there is none, or a piece is missing.
    """
    for stem in STEMS:
        for ending in ENDINGS:
            whole = folder / f"{stem}{ending}"
            if whole.is_file():
                return [whole]
            index = folder / f"{stem}{ending}.index.json"
            if index.is_file():
                return _pieces(index)
    raise SuiteError(
        f"The folder {folder} holds no weights (such as {STEMS[0]}.safetensors). Download the "
        "whole folder again."
    )


def _pieces(index: Path) -> list[Path]:
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise SuiteError(f"{index.parent} lacks the piece {name}. Download it again.")
    return [index.parent / name for name in names]
