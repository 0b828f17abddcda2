"""The model families that can be trained, one entry each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """What all models of a family have in common.

    `latent_scale` is the factor on the VAE's latents; `unet_heads` the number of attention heads
    at every level, or None where a head has `head_size` channels. `base_model_version` is the
    value of ss_base_model_version, `modelspec` that of modelspec.architecture without "/lora".
    """

    name: str
    title: str
    latent_scale: float
    base_resolution: int
    v_resolution: int
    text_encoder_count: int
    base_model_version: str
    modelspec: str
    modelspec_v: str
    unet_heads: int | None
    pad_ids: tuple[int, ...]
    head_size: int = 64
    groups: int = 32

    def resolution(self, v_prediction: bool | None) -> int:
        """The side of the square pictures that the models of the family were made with."""
        return self.v_resolution if v_prediction else self.base_resolution

    def heads(self, channels: tuple[int, ...]) -> tuple[int, ...]:
        """The standard number of attention heads at U-Net levels with these channels."""
        if self.unet_heads is not None:
            return (self.unet_heads,) * len(channels)
        return tuple(max(1, width // self.head_size) for width in channels)


END_OF_TEXT = 49407
EXCLAMATION_MARK = 0  # "!", what open_clip pads with

SD1 = Family(
    name="sd1",
    title="Stable Diffusion 1.x",
    latent_scale=0.18215,
    base_resolution=512,
    v_resolution=512,
    text_encoder_count=1,
    base_model_version="sd_v1",
    modelspec="stable-diffusion-v1",
    modelspec_v="stable-diffusion-v1",
    unet_heads=8,
    pad_ids=(END_OF_TEXT,),
)
SD2 = Family(
    name="sd2",
    title="Stable Diffusion 2.x",
    latent_scale=0.18215,
    base_resolution=512,
    v_resolution=768,
    text_encoder_count=1,
    base_model_version="sd_v2",
    modelspec="stable-diffusion-v2-512",
    modelspec_v="stable-diffusion-v2-768-v",
    unet_heads=None,
    pad_ids=(EXCLAMATION_MARK,),
)
SDXL = Family(
    name="sdxl",
    title="Stable Diffusion XL",
    latent_scale=0.13025,
    base_resolution=1024,
    v_resolution=1024,
    text_encoder_count=2,
    base_model_version="sdxl_base_v1-0",
    modelspec="stable-diffusion-xl-v1-base",
    modelspec_v="stable-diffusion-xl-v1-base",
    unet_heads=None,
    pad_ids=(END_OF_TEXT, EXCLAMATION_MARK),
)
FAMILIES = {family.name: family for family in (SD1, SD2, SDXL)}
