"""diffusers is imported without bitsandbytes, which can be imported all the same."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.models.lean_imports import hidden

PROJECT = Path(__file__).parents[2]
IMPORTS = """
import sys
from scripts.models.lean_imports import unet_class, vae_class
assert (unet_class().__name__, vae_class().__name__) == ("UNet2DConditionModel", "AutoencoderKL")
assert "bitsandbytes" not in sys.modules
"""

AFTER_DIFFUSERS = """
import diffusers.utils
from scripts.models.lean_imports import unet_class, vae_class
assert (unet_class().__name__, vae_class().__name__) == ("UNet2DConditionModel", "AutoencoderKL")
"""


@pytest.mark.slow
def test_diffusers_may_have_been_imported_before():
    subprocess.run([sys.executable, "-c", AFTER_DIFFUSERS], cwd=PROJECT, check=True)


@pytest.mark.slow
def test_diffusers_does_not_bring_bitsandbytes():
    subprocess.run([sys.executable, "-c", IMPORTS], cwd=PROJECT, check=True)


def test_a_package_is_hidden_only_inside_and_only_if_new(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with hidden("colorsys"):
        assert importlib.util.find_spec("colorsys") is None
        with pytest.raises(ModuleNotFoundError):
            import colorsys
    import colorsys

    with hidden("colorsys"):
        assert sys.modules["colorsys"] is colorsys
    assert sys.modules["colorsys"] is colorsys
