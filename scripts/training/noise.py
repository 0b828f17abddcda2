"""The noise of a training step: the schedule of noise levels, and the random draws.

The schedule is Stable Diffusion's: 1000 timesteps, betas from 0.00085 to 0.012 in even steps of
their square roots ("scaled linear"). All numbers are float32, computed in the order that
sd-scripts computes them, so that they agree to the last bit.

    schedule = NoiseSchedule(zero_terminal_snr=False).to(device)
    draw = draw_noise(latents, settings)
    noisy = schedule.add_noise(latents, draw.noise_for_input, draw.timesteps)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings

TIMESTEPS = 1000
FIRST_BETA, LAST_BETA = 0.00085, 0.012


class NoiseSchedule:
    """How much of a noisy latent is picture and how much is noise, by timestep.

    Attributes, each (1000,) float32:
        alphas_cumprod: ᾱ, the share of the picture's variance that is left.
        picture_scale, noise_scale: √ᾱ and √(1 − ᾱ).
        snr: ᾱ / (1 − ᾱ), of the schedule in force; 0 at the last step of a zero-terminal one.
        snr_above_zero: the same, but never below the lowest value of the ordinary schedule
            (0.0047), for the weightings that divide by it.
    """

    def __init__(self, zero_terminal_snr: bool = False) -> None:
        ordinary = ordinary_alphas_cumprod()
        self.alphas_cumprod = rescale_to_zero_terminal_snr(ordinary) if zero_terminal_snr \
            else ordinary  # fmt: skip
        self.picture_scale = self.alphas_cumprod.sqrt()
        self.noise_scale = (1.0 - self.alphas_cumprod).sqrt()
        self.snr = signal_to_noise(self.alphas_cumprod)
        self.snr_above_zero = self.snr.clamp(min=signal_to_noise(ordinary)[-1])

    def to(self, device: torch.device | str) -> NoiseSchedule:
        """Move the tables to `device`; returns the same object."""
        for name, table in vars(self).items():
            setattr(self, name, table.to(device))
        return self

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """√ᾱ·latents + √(1 − ᾱ)·noise (DDPM, Ho et al. 2020, eq. 4).

        Args:
            latents, noise: (batch, channels, height, width).
            timesteps: (batch,) int64, on the same device as the tables.
        """
        picture, noise_part = self._scales(timesteps)
        return picture * latents + noise_part * noise

    def velocity(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """√ᾱ·noise − √(1 − ᾱ)·latents, the target of v-prediction (Salimans and Ho 2022)."""
        picture, noise_part = self._scales(timesteps)
        return picture * noise - noise_part * latents

    def _scales(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1, 1, 1, 1)
        return self.picture_scale[timesteps].view(shape), self.noise_scale[timesteps].view(shape)


def ordinary_alphas_cumprod() -> Tensor:
    """ᾱ of Stable Diffusion's schedule: the running product of 1 − β, (1000,) float32."""
    roots = torch.linspace(FIRST_BETA**0.5, LAST_BETA**0.5, TIMESTEPS, dtype=torch.float32)
    return torch.cumprod(1.0 - roots**2, dim=0)


def rescale_to_zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """Shift and scale √ᾱ so that the last is 0 and the first stays as it was.

    Algorithm 1 of "Common Diffusion Noise Schedules and Sample Steps are Flawed"
    (Lin et al. 2023).
    """
    roots = alphas_cumprod.sqrt()
    first, last = roots[0].clone(), roots[-1].clone()
    roots = (roots - last) * (first / (first - last))
    squares = roots**2
    alphas = torch.cat([squares[:1], squares[1:] / squares[:-1]])
    betas = 1 - alphas
    return torch.cumprod(1.0 - betas, dim=0)


def signal_to_noise(alphas_cumprod: Tensor) -> Tensor:
    """ᾱ / (1 − ᾱ), computed as (√ᾱ / √(1 − ᾱ))²."""
    return (alphas_cumprod.sqrt() / (1.0 - alphas_cumprod).sqrt()) ** 2


@dataclass(frozen=True)
class NoiseDraw:
    """What a step draws at random.

    `noise` is the target's noise and `noise_for_input` what is added to the latents, both
    (batch, 4, height/8, width/8); `timesteps` is (batch,) int64.
    """

    noise: Tensor
    noise_for_input: Tensor
    timesteps: Tensor


def draw_noise(
    latents: Tensor, settings: TrainSettings, generator: torch.Generator | None = None
) -> NoiseDraw:
    """Draw noise and timesteps for a batch, in the order of sd-scripts.

    The order is: noise, noise offset, multi-resolution noise, timesteps, input perturbation.
    Nothing here waits for the device.

    Args:
        latents: (batch, 4, height/8, width/8), scaled by the family's factor.
        settings: noise_offset, adaptive_noise_scale, multires_noise_iterations and _discount,
            min_timestep, max_timestep and ip_noise_gamma are used.
        generator: torch's default one when None.
    """
    noise = _normal_like(latents, generator)
    if settings.noise_offset:
        noise = noise + noise_offset(
            latents, settings.noise_offset, settings.adaptive_noise_scale, generator
        )
    if settings.multires_noise_iterations:
        noise = add_coarser_noise(
            noise, settings.multires_noise_iterations, settings.multires_noise_discount, generator
        )
    timesteps = torch.randint(
        settings.min_timestep, settings.max_timestep, (latents.shape[0],),
        generator=generator, device=latents.device,
    )  # fmt: skip
    noise_for_input = noise
    if settings.ip_noise_gamma:
        noise_for_input = noise + settings.ip_noise_gamma * _normal_like(latents, generator)
    return NoiseDraw(noise, noise_for_input, timesteps)


def noise_offset(
    latents: Tensor,
    strength: float,
    adaptive_scale: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One random number for each channel of each picture, (batch, 4, 1, 1).

    strength · N(0, 1) (crosslabs.org, "Diffusion with offset noise"); with `adaptive_scale` a the
    strength is max(0, strength + a·|mean of the channel|).
    """
    shape = (*latents.shape[:2], 1, 1)
    offset = torch.randn(shape, generator=generator, device=latents.device, dtype=latents.dtype)
    if adaptive_scale:
        means = latents.mean(dim=(2, 3), keepdim=True).abs()
        return (strength + adaptive_scale * means).clamp(min=0.0) * offset
    return strength * offset


def add_coarser_noise(
    noise: Tensor, iterations: int, discount: float, generator: torch.Generator | None = None
) -> Tensor:
    """Noise of several sizes, divided by the standard deviation of the whole tensor.

    For i = 0, 1, …: noise of size ⌊side / rⁱ⌋ with r drawn from 2 to 4, enlarged bilinearly, is
    added times discountⁱ, until a side is 1 ("Multi-resolution noise for diffusion model
    training", wandb.ai/johnowhitaker).
    """
    batch, channels, height, width = noise.shape
    for power in range(iterations):
        # Drawn on the CPU, where reading the number does not wait for the device.
        ratio = torch.rand((), generator=_on_cpu(generator), dtype=torch.float64).item() * 2 + 2
        size = max(1, int(height / ratio**power)), max(1, int(width / ratio**power))
        coarse = torch.randn((batch, channels, *size), generator=generator, device=noise.device,
                             dtype=noise.dtype)  # fmt: skip
        enlarged = functional.interpolate(coarse, size=(height, width), mode="bilinear")
        noise = noise + enlarged * discount**power
        if 1 in size:
            break
    return noise / noise.std()


def _normal_like(latents: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn_like(latents, generator=generator)


def _on_cpu(generator: torch.Generator | None) -> torch.Generator | None:
    """The generator if it draws on the CPU, else None for torch's default one there."""
    return generator if generator is not None and generator.device.type == "cpu" else None
