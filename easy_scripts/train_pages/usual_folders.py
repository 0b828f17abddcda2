"""Base models in the usual folders of the programs that draw with them: WebUI, ComfyUI, …"""

from __future__ import annotations

import os
import string
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.core.files import PROJECT_FOLDER

MODEL_FOLDERS = (
    "stable-diffusion-webui/models/Stable-diffusion",
    "stable-diffusion-webui-forge/models/Stable-diffusion",
    "stable-diffusion-webui-reForge/models/Stable-diffusion",
    "webui_forge_cu121_torch231/webui/models/Stable-diffusion",
    "sd.webui/webui/models/Stable-diffusion",
    "ComfyUI/models/checkpoints",
    "ComfyUI_windows_portable/ComfyUI/models/checkpoints",
    "StabilityMatrix/Data/Models/StableDiffusion",
    "StabilityMatrix/Models/StableDiffusion",
    "Fooocus/models/checkpoints",
    "SwarmUI/Models/Stable-Diffusion",
)
INSIDE = ("", "AI", "SD", "Documents", "Desktop", "Downloads", "Programs")
ENDINGS = (".safetensors", ".ckpt")
MOST = 8


def find_base_models() -> list[Path]:
    """The newest models in the usual places, at most MOST."""
    found: dict[Path, float] = {}
    for folder in _folders():
        try:
            for entry in [*folder.iterdir(), *folder.glob("*/*")]:
                if entry.suffix.lower() in ENDINGS and entry.is_file():
                    found[entry.resolve()] = entry.stat().st_mtime
        except OSError:  # a folder that may not be looked into
            continue
    return sorted(found, key=found.__getitem__, reverse=True)[:MOST]


def _folders() -> Iterator[Path]:
    places = [PROJECT_FOLDER.parent, Path.home()]
    if sys.platform == "win32":
        places += [Path(f"{letter}:/") for letter in string.ascii_uppercase[2:]
                   if os.path.exists(f"{letter}:/")]  # fmt: skip
    for place in dict.fromkeys(places):
        for inside in INSIDE:
            for name in MODEL_FOLDERS:
                folder = place / inside / name
                if os.path.isdir(folder):  # False, no error, where access is denied
                    yield folder
