"""The dataset TOML of sd-scripts (`dataset_config`)."""

from __future__ import annotations

from pathlib import Path

from scripts.core.errors import SettingError
from scripts.dataset.buckets import Size
from scripts.dataset.subsets import Layout
from scripts.settings.train import TrainSettings


def parts_from_toml(path: Path, settings: TrainSettings, default_resolution: Size) -> Layout:
    raise SettingError("dataset_config", "soon")
