"""Import diffusers without the package that it imports only to see whether it is there.

diffusers imports bitsandbytes for kinds of quantized models that are not used here: a second and
50 MB for nothing at every start, and a message of its on the terminal. The optimisers that need
bitsandbytes import it themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def unet_class() -> type[UNet2DConditionModel]:
    """diffusers' U-Net."""
    with _lean():
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    return UNet2DConditionModel


def vae_class() -> type[AutoencoderKL]:
    """diffusers' VAE."""
    with _lean():
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    return AutoencoderKL


@contextmanager
def _lean() -> Iterator[None]:
    if "diffusers.utils.import_utils" in sys.modules:  # it has seen already what is there
        yield
    else:
        with hidden("bitsandbytes"):
            yield


@contextmanager
def hidden(package: str) -> Iterator[None]:
    """Inside the block `package` is not to be found, unless it has been imported before."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # import says: no such module
    try:
        yield
    finally:
        if sys.modules.get(package) is None:
            sys.modules.pop(package, None)
