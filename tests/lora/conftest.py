"""Fixtures of the LoRA tests: tiny models, and settings that need nothing else."""

from __future__ import annotations

import pytest
import torch
from lora_models import (
    STABLE_DIFFUSION,
    STABLE_DIFFUSION_XL,
    build_text_encoders,
    build_unet,
)

from scripts.settings.train import TrainSettings


@pytest.fixture
def settings():
    """Makes TrainSettings with dim 4, alpha 2, and what else is given."""

    def make(**values) -> TrainSettings:
        return TrainSettings(**{"network_dim": 4, "network_alpha": 2.0, **values})

    return make


@pytest.fixture
def tiny_sd15():
    torch.manual_seed(0)
    return build_unet("tiny_sd15"), build_text_encoders("tiny_sd15")


@pytest.fixture
def tiny_sdxl():
    torch.manual_seed(0)
    return build_unet("tiny_sdxl"), build_text_encoders("tiny_sdxl")


@pytest.fixture(params=["sd1", "sdxl"])
def tiny_model(request):
    """(family, U-Net, text encoders) of both layouts, one after the other."""
    torch.manual_seed(0)
    model = "tiny_sd15" if request.param == "sd1" else "tiny_sdxl"
    family = STABLE_DIFFUSION if request.param == "sd1" else STABLE_DIFFUSION_XL
    return family, build_unet(model), build_text_encoders(model)
