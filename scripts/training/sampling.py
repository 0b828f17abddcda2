"""Draw pictures with a U-Net and a VAE: the sampling loop and the decoding, nothing else.

Used by the previews and by the practice bake:

    scheduler = create_scheduler(sampler_named("dpm++ 2m"))
    latents = sample_latents(unet, scheduler, conditioning, unconditioning, noise, steps=20,
                             guidance=3.0)
    pictures = decode(vae, latents, latent_scale=0.18215)  # (batch, height, width, 3) uint8
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SchedulerMixin

PIXELS_AT_ONCE = 1024 * 1024  # decoded in one go: one SDXL picture, or 256 of 64 x 64
LATENT_SIDE = 8  # pixels of a latent's side

log = logging.getLogger(__name__)


def draw_start_noise(seeds: Sequence[int], width: int, height: int) -> tuple[Tensor, list]:
    """The noise that sampling starts from, and the generators for the noise of later steps.

    Drawn on the CPU, so that a seed gives the same picture on every machine, and the same
    picture alone or in a batch. Noise: (len(seeds), 4, height / 8, width / 8) float32.
    """
    shape = (1, 4, height // LATENT_SIDE, width // LATENT_SIDE)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    noise = [torch.randn(shape, generator=generator) for generator in generators]
    return torch.cat(noise), generators


@torch.no_grad()
def sample_latents(
    unet: nn.Module,
    scheduler: SchedulerMixin,
    conditioning: Mapping[str, Any],
    unconditioning: Mapping[str, Any] | None,
    noise: Tensor,
    steps: int,
    guidance: float,
    callback: Callable[[int, int], None] | None = None,
    generators: list[torch.Generator] | None = None,
) -> Tensor:
    """Latents drawn from noise by `steps` steps of `scheduler`.

    Classifier-free guidance (Ho and Salimans 2022): what counts at each step is
    u + guidance · (c - u), with c the U-Net's output for the prompt and u that for the negative
    prompt. Both run in one batch; with guidance 1, or without `unconditioning`, only c is run.

    Args:
        unet: called as unet(latents, timestep, **conditioning).sample.
        scheduler: from `create_scheduler`, with the model's kind of prediction.
        conditioning, unconditioning: keyword arguments of the U-Net, tensors or dicts of
            tensors, with the batch as first axis.
        noise: (batch, 4, height / 8, width / 8), standard normal, on the U-Net's device.
        callback: called after each call of the U-Net with (done, total); what it raises ends
            the sampling. Second-order samplers call the U-Net twice a step.
        generators: one for each picture, for samplers that add noise; torch's default if None.

    Returns: latents of the shape and type of `noise`, scaled by the family's latent scale.
    """
    guided = unconditioning is not None and guidance != 1
    arguments = _joined(unconditioning, conditioning) if guided else conditioning
    if steps == 1 and "timestep_spacing" in scheduler.config:
        scheduler.register_to_config(timestep_spacing="trailing")  # else it is the last one, 0
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # else equal timesteps (Karras) make it skip steps
    options = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        options["generator"] = generators
    text = arguments.get("encoder_hidden_states")
    computed_in = noise.dtype if text is None else text.dtype  # as in a training step
    latents = noise * scheduler.init_noise_sigma
    total = len(scheduler.timesteps)
    for done, timestep in enumerate(scheduler.timesteps, 1):
        seen = scheduler.scale_model_input(latents, timestep)
        if guided:
            seen = torch.cat([seen, seen])
        predicted = unet(seen.to(computed_in), timestep, **arguments).sample.to(latents.dtype)
        if guided:
            without, wanted = predicted.chunk(2)
            predicted = without + guidance * (wanted - without)
        latents = scheduler.step(predicted, timestep, latents, **options).prev_sample
        if callback is not None:
            callback(done, total)
    return latents


def _joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two sets of U-Net arguments as one batch, `first` before `second`."""
    both = {}
    for name, value in first.items():
        if isinstance(value, Mapping):
            both[name] = _joined(value, second[name])
        else:
            both[name] = torch.cat([value, second[name]])
    return both


def moved(arguments: Mapping[str, Any], device: torch.device | str) -> dict[str, Any]:
    """U-Net arguments with every tensor on `device`."""
    return {
        name: moved(value, device) if isinstance(value, Mapping) else value.to(device)
        for name, value in arguments.items()
    }


@torch.no_grad()
def decode_pixels(vae: AutoencoderKL, latents: Tensor, latent_scale: float) -> Tensor:
    """Pixels of latents, (batch, 3, height, width) float32 on the CPU, about 0 to 1.

    Runs in the VAE's own type, without autocast. Should a half-precision VAE give numbers that
    are not finite, as the SDXL VAE does in fp16, it is run again in float32. When memory runs
    out, the picture is decoded in overlapping tiles. Numbers stay not finite if the latents are.
    """
    pictures_at_once = max(1, PIXELS_AT_ONCE // (latents[0, 0].numel() * LATENT_SIDE**2))
    pixels = [_decode_some(vae, some / latent_scale) for some in latents.split(pictures_at_once)]
    return torch.cat(pixels)


def to_bytes(pixels: Tensor) -> np.ndarray:
    """(batch, 3, height, width) in 0 to 1 as (batch, height, width, 3) uint8; NaN is black."""
    whole = (torch.nan_to_num(pixels, nan=0.0) * 255).round().clamp(0, 255)
    return whole.permute(0, 2, 3, 1).to(torch.uint8).numpy()


def decode(vae: AutoencoderKL, latents: Tensor, latent_scale: float) -> np.ndarray:
    """Pictures of latents, (batch, height, width, 3) uint8. See `decode_pixels`."""
    return to_bytes(decode_pixels(vae, latents, latent_scale))


def _decode_some(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    parameter = next(vae.parameters())
    dtype = parameter.dtype
    latents = latents.to(parameter.device)
    pixels = _decode_within_memory(vae, latents.to(dtype))
    if not _finite(pixels) and dtype != torch.float32 and _finite(latents):
        log.warning("The VAE gave numbers that are not finite in %s; decoding in float32.", dtype)
        nn.Module.to(vae, torch.float32)
        try:
            pixels = _decode_within_memory(vae, latents.float())
        finally:
            nn.Module.to(vae, dtype)
    return pixels.float().cpu() / 2 + 0.5


def _decode_within_memory(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    with torch.autocast(latents.device.type, enabled=False):
        try:
            return vae.decode(latents).sample
        except torch.OutOfMemoryError:
            log.warning("Too little memory to decode a preview at once; decoding it in tiles.")
        torch.cuda.empty_cache()
        with _in_tiles(vae):
            return vae.decode(latents).sample


@contextmanager
def _in_tiles(vae: AutoencoderKL) -> Iterator[None]:
    before = vae.use_tiling
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.use_tiling = before


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


@contextmanager
def resting(*modules: nn.Module) -> Iterator[None]:
    """All modules in eval mode (no dropout); then each in the mode in which it was found."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    """Autocast to `precision` as the training does; nothing for float32."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def give_memory_back(device: torch.device) -> None:
    """Hand what torch keeps in reserve on a graphics card back to the driver."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
