"""The loss of a training step: how the error is measured, masked and weighted.

Mathematics only: tensors in, tensors out. `scripts.training.step` puts the parts together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from scripts.training.noise import TIMESTEPS, NoiseSchedule

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings

LARGEST_SNR = 1000.0  # the weightings after debiased estimation cap the SNR here


def pointwise_loss(
    prediction: Tensor, target: Tensor, loss_type: str, huber_c: Tensor | None = None
) -> Tensor:
    """The error of every element, with d = prediction − target and c = `huber_c`.

    l2: d².  l1: |d|.  huber: 2c·(√(d² + c²) − c).  smooth_l1: 2·(√(d² + c²) − c).
    The last two are the smooth (pseudo-)Huber loss of "Improving Diffusion Models's
    Data-Corruption Resistance using Scheduled Pseudo-Huber Loss" (Khrapov et al. 2024).

    Args:
        prediction, target: (batch, channels, height, width).
        loss_type: "l1", "l2", "huber" or "smooth_l1".
        huber_c: (batch,), needed for huber and smooth_l1.
    """
    if loss_type == "l2":
        return functional.mse_loss(prediction, target, reduction="none")
    if loss_type == "l1":
        return functional.l1_loss(prediction, target, reduction="none")
    if loss_type not in ("huber", "smooth_l1") or huber_c is None:
        raise ValueError(f"no such loss, or no huber_c: {loss_type}")
    c = huber_c.view(-1, 1, 1, 1)
    smooth = 2 * (torch.sqrt((prediction - target) ** 2 + c**2) - c)
    return c * smooth if loss_type == "huber" else smooth


def huber_parameter(
    timesteps: Tensor, schedule: NoiseSchedule, settings: TrainSettings
) -> Tensor | None:
    """c of the huber and smooth_l1 losses for each timestep, (batch,); None for other losses.

    exponential: huber_c^(t / 1000) · huber_scale.  constant: huber_c · huber_scale.
    snr: (1 − huber_c) / (1 + σ)² + huber_c with σ = √((1 − ᾱ) / ᾱ).
    """
    if settings.loss_type not in ("huber", "smooth_l1"):
        return None
    if settings.huber_schedule == "exponential":
        rate = math.log(settings.huber_c) / TIMESTEPS
        return torch.exp(rate * timesteps.float()) * settings.huber_scale
    if settings.huber_schedule == "snr":
        alphas_cumprod = schedule.alphas_cumprod[timesteps]
        sigma = ((1.0 - alphas_cumprod) / alphas_cumprod).sqrt()
        return (1 - settings.huber_c) / (1 + sigma) ** 2 + settings.huber_c
    constant = settings.huber_c * settings.huber_scale
    return torch.full(timesteps.shape, constant, device=timesteps.device)


def masked_mean(loss: Tensor, masks: Tensor | None = None) -> Tensor:
    """The mean of each sample, (batch,), after multiplying by the mask.

    Masks are not made up for: a sample half of whose mask is 0 counts half, as in sd-scripts, so
    that a small thing on a large ground weighs little.

    Args:
        loss: (batch, channels, height, width).
        masks: (batch, 1, height, width) from 0 (left out) to 1, or None.
    """
    if masks is not None:
        loss = loss * masks
    return loss.mean(dim=(1, 2, 3))


def timestep_weights(
    timesteps: Tensor, schedule: NoiseSchedule, settings: TrainSettings, v_prediction: bool
) -> Tensor | None:
    """The factor on each sample's loss that depends on its noise level, (batch,).

    The product of the weightings that are set; None when none is. With s the signal-to-noise
    ratio of the schedule in force and c = min(s, 1000):

    - min_snr_gamma g: min(s, g) / s, with v-prediction min(s, g) / (s + 1)
      (Hang et al. 2023, eq. 6 and its v form).
    - scale_v_pred_loss_like_noise_pred: c / (c + 1), with v-prediction only.
    - v_pred_like_loss w: 1 + w·(c + 1) / c, without v-prediction only.
    - debiased_estimation_loss: 1 / √c, with v-prediction 1 / (c + 1) (Yu et al. 2023).

    Where a zero-terminal schedule would divide by 0, the lowest SNR of the ordinary schedule
    stands in.
    """
    factors = []
    snr = schedule.snr[timesteps]
    capped = schedule.snr_above_zero[timesteps].clamp(max=LARGEST_SNR)
    if settings.min_snr_gamma:
        factors.append(_min_snr(snr, settings.min_snr_gamma, v_prediction))
    if settings.scale_v_pred_loss_like_noise_pred and v_prediction:
        factors.append(_v_to_noise(snr.clamp(max=LARGEST_SNR)))
    if settings.v_pred_like_loss and not v_prediction:
        factors.append(1 + settings.v_pred_like_loss / _v_to_noise(capped))
    if settings.debiased_estimation_loss:
        factors.append(1 / (snr.clamp(max=LARGEST_SNR) + 1) if v_prediction else 1 / capped.sqrt())
    if not factors:
        return None
    return math.prod(factors[1:], start=factors[0])


def _min_snr(snr: Tensor, gamma: float, v_prediction: bool) -> Tensor:
    if v_prediction:
        return snr.clamp(max=gamma) / (snr + 1)
    return (snr.clamp(max=gamma) / snr).nan_to_num(nan=1.0)  # 0 / 0 where s is 0: its limit, 1


def _v_to_noise(snr: Tensor) -> Tensor:
    """c / (c + 1), the weight that turns a velocity loss into a noise loss."""
    return snr / (snr + 1)
