"""What several tests need: tiny base models, folders of pictures, a run of the training."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from picture_folders import draw_pictures

# Tiny models gain nothing from threads, and several threads on a busy machine wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that starts us in the background has Ctrl+C ignored, also by all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["skip_guard"]

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def tiny_sd15() -> Path:
    """A tiny base model of the SD1.5 layout."""
    return DATA / "models" / "tiny_sd15.safetensors"


@pytest.fixture(scope="session")
def tiny_sdxl() -> Path:
    """A tiny base model of the SDXL layout."""
    return DATA / "models" / "tiny_sdxl.safetensors"


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A root folder with 2_cat: four pictures of 64 x 64 with captions."""
    captions = [f"a cat, tag {number}, sitting" for number in range(4)]
    draw_pictures(tmp_path / "pictures" / "2_cat", [(64, 64)] * 4, captions)
    return tmp_path / "pictures"


@dataclass
class Trained:
    """What a test run of the training left behind."""

    path: Path
    events: list = field(default_factory=list)

    def of(self, kind: str) -> list:
        """The events of one kind."""
        return [event for event in self.events if event.kind == kind]

    def state(self) -> dict:
        """The tensors of the LoRA file, read with the plain safetensors package."""
        from safetensors.torch import load_file

        return load_file(self.path)

    def metadata(self) -> dict[str, str]:
        """The metadata of the LoRA file."""
        from scripts.core.safetensors_header import read_header

        return read_header(self.path).metadata

    def notes(self) -> str:
        """All notes in one text."""
        return "\n".join(event.text for event in self.of("note"))


@pytest.fixture
def run_training(tiny_sd15, pictures, tmp_path, monkeypatch):
    """A function that trains on the tiny model with the given settings and gives a `Trained`.

    Defaults: 64 x 64 pixels, dim 2, AdamW, 3 steps, batch 2. `control` may be given to stop.
    """
    from scripts.core.events import Control
    from scripts.settings.train import read_train_settings
    from scripts.training import start

    monkeypatch.setattr(start, "CACHE_FOLDER", tmp_path / "cache")

    def run(control: Control | None = None, **values: Any) -> Trained:
        settings, _ = read_train_settings(
            {
                "pretrained_model_name_or_path": tiny_sd15, "train_data_dir": pictures,
                "output_dir": tmp_path / "out", "resolution": 64, "min_bucket_reso": 64,
                "max_bucket_reso": 128, "network_dim": 2, "optimizer_type": "AdamW",
                "learning_rate": 1e-2, "max_train_steps": 3, "train_batch_size": 2,
                "save_precision": "float", **values,
            }
        )  # fmt: skip
        trained = Trained(Path())
        trained.path = start.train(settings, trained.events.append, control or Control())
        return trained

    return run
