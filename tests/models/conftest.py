"""The tiny reference models by name."""

from pathlib import Path

import pytest

MODELS = Path(__file__).parents[1] / "data" / "models"


@pytest.fixture(scope="session")
def tiny_models() -> dict[str, Path]:
    return {name: MODELS / f"{name}.safetensors" for name in ("tiny_sd15", "tiny_sdxl")}
