"""One denoising step: from latents, text and noise to the loss.

Reads in the order in which it happens. Precision and device are the caller's (autocast); the
loss itself is always float32. Nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from scripts.training.loss import (
    huber_parameter,
    masked_mean,
    pointwise_loss,
    timestep_weights,
)
from scripts.training.noise import NoiseDraw, NoiseSchedule

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings


@dataclass(frozen=True)
class StepLoss:
    """`loss` is the scalar to go backward from, `per_sample` (batch,) what it is the mean of."""

    loss: Tensor
    per_sample: Tensor


def denoising_loss(
    unet: nn.Module,
    schedule: NoiseSchedule,
    settings: TrainSettings,
    latents: Tensor,
    conditioning: Mapping[str, Any],
    draw: NoiseDraw,
    loss_weights: Tensor,
    masks: Tensor | None = None,
    *,
    v_prediction: bool,
) -> StepLoss:
    """The loss of one batch: noise is added, the U-Net predicts it, the error is weighted.

    loss = mean over the batch of (mean over the sample of error · mask) · loss_weights ·
    timestep_weights.

    Args:
        unet: predicts noise or velocity: `unet(noisy, timesteps, **conditioning).sample`.
        schedule: the noise levels, on the latents' device.
        settings: the settings of the loss.
        latents: (batch, 4, height/8, width/8), scaled by the family's factor.
        conditioning: keyword arguments for the U-Net; `encoder_hidden_states` among them.
        draw: noise and timesteps of this step.
        loss_weights: (batch,); 1, or prior_loss_weight for a regularisation picture.
        masks: (batch, 1, height/8, width/8) from 0 to 1, or None.
        v_prediction: whether the U-Net predicts velocity in place of noise.
    """
    timesteps = draw.timesteps
    noisy = schedule.add_noise(latents, draw.noise_for_input, timesteps)
    if v_prediction:
        target = schedule.velocity(latents, draw.noise, timesteps)
    else:
        target = draw.noise
    # The input follows the text: half precision in an all-bf16 run, and with SDXL, whose states
    # have no final norm that would make them float32 under autocast.
    noisy = noisy.to(conditioning["encoder_hidden_states"].dtype)
    prediction = unet(noisy, timesteps, **conditioning).sample.float()

    huber_c = huber_parameter(timesteps, schedule, settings)
    error = pointwise_loss(prediction, target.float(), settings.loss_type, huber_c)
    per_sample = masked_mean(error, masks) * loss_weights
    weights = timestep_weights(timesteps, schedule, settings, v_prediction)
    if weights is not None:
        per_sample = per_sample * weights
    return StepLoss(loss=per_sample.mean(), per_sample=per_sample)
