"""The sizes of a model's parts, read from the configs of a diffusers folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.models.shapes import OddShapes, TextShape, UNetShape, VAEShape


def unet_shape_of(config: Mapping[str, Any]) -> UNetShape:
    """The shape of the U-Net with this config.json. Raises OddShapes."""
    try:
        channels = tuple(config["block_out_channels"])
        count = len(channels)
        heads = config.get("num_attention_heads") or config.get("attention_head_dim", 8)
        depths = _spread(config.get("transformer_layers_per_block", 1), count)
        attention = ["CrossAttn" in kind for kind in config["down_block_types"]]
        is_xl = config.get("addition_embed_type") == "text_time"
        if config.get("mid_block_type", "UNetMidBlock2DCrossAttn") != "UNetMidBlock2DCrossAttn":
            raise OddShapes("its middle block is of another kind")
        return UNetShape(
            channels=channels,
            layers=_one(config.get("layers_per_block", 2)),
            depths=tuple(
                int(depth) if has else 0 for depth, has in zip(depths, attention, strict=True)
            ),
            context_width=_one(config["cross_attention_dim"]),
            heads=_spread(heads, count),
            groups=int(config.get("norm_num_groups", 32)),
            linear_projection=bool(config.get("use_linear_projection", False)),
            in_channels=int(config.get("in_channels", 4)),
            label_width=config.get("projection_class_embeddings_input_dim") if is_xl else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise OddShapes(f"its config is not that of a U-Net ({error})") from error


def vae_shape_of(config: Mapping[str, Any]) -> VAEShape:
    """The shape of the VAE with this config.json. Raises OddShapes."""
    try:
        shape = VAEShape(
            channels=tuple(config["block_out_channels"]),
            layers=int(config.get("layers_per_block", 2)),
            groups=int(config.get("norm_num_groups", 32)),
            latent_channels=int(config.get("latent_channels", 4)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise OddShapes(f"its config is not that of a VAE ({error})") from error
    if shape.latent_channels != 4 or len(shape.channels) != 4:
        raise OddShapes(f"its VAE has {shape.latent_channels} latent channels, not 4")
    return shape


def text_shape_of(config: Mapping[str, Any], with_projection: bool) -> TextShape:
    """The shape of the CLIP text encoder with this config.json. Raises OddShapes."""
    try:
        shape = TextShape(
            width=int(config["hidden_size"]),
            layers=int(config["num_hidden_layers"]),
            mlp_width=int(config["intermediate_size"]),
            heads=int(config["num_attention_heads"]),
            prefix="",
            open_clip=False,
            vocabulary=int(config.get("vocab_size", 49408)),
            projection=int(config["projection_dim"]) if with_projection else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise OddShapes(f"its config is not that of a CLIP text encoder ({error})") from error
    if shape.vocabulary != 49408:
        raise OddShapes(f"its text encoder has {shape.vocabulary} words, not 49408")
    return shape


def _spread(value: Any, count: int) -> tuple[int, ...]:
    values = (value,) * count if isinstance(value, int) else tuple(value)
    if len(values) != count or not all(isinstance(item, int) for item in values):
        raise OddShapes("its blocks are not alike within a level")
    return values


def _one(value: Any) -> int:
    values = {value} if isinstance(value, int) else set(value)
    if len(values) != 1:
        raise OddShapes("its blocks are not alike")
    return int(values.pop())
