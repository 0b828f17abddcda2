"""The settings of `scripts.train`, declared once, under the names that sd-scripts gives them.

The declarations lie in `train_groups`, a module for each group. From them come the keys of the
config files, the flags, `--help`, docs/settings.md and the wizard's rows. `read_train_settings`
makes the object and reports all errors at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.config import read_config
from scripts.core.declare import build, names_of_tables, overridden
from scripts.settings.train_checks import check_together
from scripts.settings.train_groups.base_model import BaseModelSettings
from scripts.settings.train_groups.lora import CURVES, LoraSettings
from scripts.settings.train_groups.loss import LossSettings
from scripts.settings.train_groups.memory import MemorySettings
from scripts.settings.train_groups.optimiser import OPTIMIZERS, SCHEDULERS, OptimiserSettings
from scripts.settings.train_groups.pictures import PictureSettings
from scripts.settings.train_groups.result import PRECISIONS, SAMPLERS, ResultSettings
from scripts.settings.train_reading import COMBINED_KEYS, expand_combined_keys, read_foreign

__all__ = [
    "CURVES", "OPTIMIZERS", "PRECISIONS", "SAMPLERS", "SCHEDULERS", "TrainSettings",
    "flags_over_config", "read_train_config", "read_train_settings", "read_unfinished_settings",
]  # fmt: skip


@dataclass(frozen=True)
class TrainSettings(  # dataclasses put the fields of the last base first
    ResultSettings,
    MemorySettings,
    LossSettings,
    OptimiserSettings,
    LoraSettings,
    PictureSettings,
    BaseModelSettings,
):
    """Everything that a training run can be told. None means "not set"."""

    @property
    def alpha(self) -> float:
        """The network alpha in force: as set, else half of dim."""
        return self.network_dim / 2 if self.network_alpha is None else self.network_alpha

    @property
    def alpha_of_convolutions(self) -> float | None:
        """The alpha of the 3x3 convolutions in force, None without conv_dim."""
        if self.conv_dim is None:
            return None
        return self.conv_dim / 2 if self.conv_alpha is None else self.conv_alpha

    @property
    def unet_rate(self) -> float:
        """The U-Net's base learning rate; 0 when it is not trained."""
        if self.network_train_text_encoder_only:
            return 0.0
        return self.learning_rate if self.unet_lr is None else self.unet_lr

    @property
    def text_encoder_rate(self) -> float:
        """The text encoder's base learning rate; 0 when it is not trained."""
        if self.network_train_unet_only:
            return 0.0
        return self.learning_rate if self.text_encoder_lr is None else self.text_encoder_lr


def read_train_settings(values: Mapping[str, Any]) -> tuple[TrainSettings, list[str]]:
    """The settings from raw values by name, and notes on renamed and unneeded keys.

    Raises SettingErrors with everything that is wrong.
    """
    return build(TrainSettings, expand_combined_keys(values), check_together, read_foreign)


def read_unfinished_settings(values: Mapping[str, Any]) -> TrainSettings:
    """The settings while some are still to be chosen: whether they go together is not asked.

    Raises SettingErrors with every value that cannot be read.
    """
    return build(TrainSettings, expand_combined_keys(values), foreign=read_foreign)[0]


def read_train_config(path: Path) -> dict[str, Any]:
    """The raw values of a config file. Raises SuiteError when it cannot be read."""
    return read_config(path, {*COMBINED_KEYS, *names_of_tables(TrainSettings)})


def flags_over_config(given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Raw values from a config with the flags `given` in their place, whatever their names.

    Raises SettingErrors when a key that holds several settings cannot be read.
    """
    return overridden(TrainSettings, expand_combined_keys(values), expand_combined_keys(given))
