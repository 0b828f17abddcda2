"""The losses and weightings against the reference's tables, closed forms and the step's order."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from scripts.settings.train import TrainSettings
from scripts.training.loss import (
    huber_parameter,
    masked_mean,
    pointwise_loss,
    timestep_weights,
)
from scripts.training.noise import NoiseDraw, NoiseSchedule
from scripts.training.step import denoising_loss
from scripts.training.unused_weightings import unused_weightings

ALL = torch.arange(1000)


@pytest.fixture(scope="module")
def tables():
    return load_file(Path(__file__).parents[1] / "data" / "step" / "noise_schedule.safetensors")


@pytest.mark.parametrize(
    ("table", "settings", "v_prediction"),
    [
        ("weight_min_snr1_eps", {"min_snr_gamma": 1.0}, False),
        ("weight_min_snr5_eps", {"min_snr_gamma": 5.0}, False),
        ("weight_min_snr1_v", {"min_snr_gamma": 1.0}, True),
        ("weight_min_snr5_v", {"min_snr_gamma": 5.0}, True),
        ("weight_scale_v_pred", {"scale_v_pred_loss_like_noise_pred": True}, True),
        ("weight_v_pred_like_loss_0.5", {"v_pred_like_loss": 0.5}, False),
        ("weight_debiased_eps", {"debiased_estimation_loss": True}, False),
        ("weight_debiased_v", {"debiased_estimation_loss": True}, True),
    ],
)
def test_weights_equal_the_reference_at_every_timestep(tables, table, settings, v_prediction):
    weights = timestep_weights(ALL, NoiseSchedule(), TrainSettings(**settings), v_prediction)
    assert torch.equal(weights, tables[table])


def test_weightings_multiply_and_none_is_none(tables):
    both = TrainSettings(min_snr_gamma=5.0, debiased_estimation_loss=True)
    weights = timestep_weights(ALL, NoiseSchedule(), both, False)
    expected = tables["weight_min_snr5_eps"] * tables["weight_debiased_eps"]
    torch.testing.assert_close(weights, expected)
    assert timestep_weights(ALL, NoiseSchedule(), TrainSettings(), False) is None


def test_weightings_for_the_other_kind_of_model_do_nothing_and_say_so():
    scale = TrainSettings(scale_v_pred_loss_like_noise_pred=True)
    like = TrainSettings(v_pred_like_loss=0.5)
    assert timestep_weights(ALL, NoiseSchedule(), scale, False) is None
    assert timestep_weights(ALL, NoiseSchedule(), like, True) is None
    assert "predicts noise" in unused_weightings(scale, v_prediction=False)[0]
    assert "predicts velocity" in unused_weightings(like, v_prediction=True)[0]
    assert unused_weightings(scale, True) == unused_weightings(like, False) == []


@pytest.mark.parametrize("v_prediction", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {"min_snr_gamma": 5.0},
        {"debiased_estimation_loss": True},
        {"v_pred_like_loss": 0.5},
        {"scale_v_pred_loss_like_noise_pred": True},
        {"loss_type": "huber", "huber_schedule": "snr"},
    ],
)
def test_zero_terminal_snr_gives_finite_weights(settings, v_prediction):
    schedule = NoiseSchedule(zero_terminal_snr=True)
    settings = TrainSettings(**settings)
    for numbers in (
        timestep_weights(ALL, schedule, settings, v_prediction),
        huber_parameter(ALL, schedule, settings),
    ):
        assert numbers is None or (torch.isfinite(numbers).all() and numbers.max() < 250)


def test_zero_terminal_weights_follow_the_new_schedule():
    schedule = NoiseSchedule(zero_terminal_snr=True)
    settings = TrainSettings(min_snr_gamma=5.0)
    snr = schedule.alphas_cumprod.double() / (1 - schedule.alphas_cumprod.double())
    expected = (snr.clamp(max=5) / (snr + 1)).float()
    weights = timestep_weights(ALL, schedule, settings, True)
    torch.testing.assert_close(weights, expected, rtol=1e-3, atol=1e-9)
    assert weights[-1] == 0
    assert timestep_weights(ALL, schedule, settings, False)[-1] == 1


@pytest.mark.parametrize("schedule_name", ["constant", "exponential", "snr"])
def test_huber_parameter_equals_the_reference(tables, schedule_name):
    settings = TrainSettings(loss_type="huber", huber_schedule=schedule_name)
    c = huber_parameter(ALL, NoiseSchedule(), settings)
    assert torch.equal(c, tables[f"huber_c_{schedule_name}"])
    assert huber_parameter(ALL, NoiseSchedule(), TrainSettings()) is None


def test_losses_in_closed_form():
    prediction = torch.tensor([3.0, 0.0]).view(2, 1, 1, 1)
    target = torch.tensor([0.0, 4.0]).view(2, 1, 1, 1)
    c = torch.tensor([4.0, 3.0])
    assert pointwise_loss(prediction, target, "l2").flatten().tolist() == [9, 16]
    assert pointwise_loss(prediction, target, "l1").flatten().tolist() == [3, 4]
    # sqrt(3² + 4²) = 5 twice, by the 3-4-5 triangle
    assert pointwise_loss(prediction, target, "smooth_l1", c).flatten().tolist() == [2, 4]
    assert pointwise_loss(prediction, target, "huber", c).flatten().tolist() == [8, 12]
    with pytest.raises(ValueError, match="no huber_c"):
        pointwise_loss(prediction, target, "huber")


def test_mask_multiplies_before_the_mean():
    loss = torch.ones(2, 4, 2, 2)
    masks = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]], [[[0.5, 0.5], [0.5, 0.0]]]])
    assert masked_mean(loss, masks).tolist() == [0.5, 0.375]
    assert masked_mean(loss).tolist() == [1, 1]


class Zero(torch.nn.Module):
    """Predicts zero and remembers what it was given."""

    def forward(self, noisy, timesteps, encoder_hidden_states):
        self.noisy, self.timesteps = noisy, timesteps
        return SimpleNamespace(sample=torch.zeros_like(noisy))


def run_step(settings, v_prediction=False, masks=None, weights=(1.0, 1.0), dtype=torch.float32):
    latents, noise = torch.full((2, 4, 4, 4), 2.0), torch.full((2, 4, 4, 4), 3.0)
    timesteps = torch.tensor([100, 900])
    unet = Zero()
    step = denoising_loss(
        unet, NoiseSchedule(), settings, latents,
        {"encoder_hidden_states": torch.zeros(2, 77, 8, dtype=dtype)},
        NoiseDraw(noise, noise + 1, timesteps), torch.tensor(weights), masks,
        v_prediction=v_prediction,
    )  # fmt: skip
    return step, unet


def test_step_in_closed_form():
    step, unet = run_step(TrainSettings(), weights=(1.0, 0.25))
    assert step.per_sample.tolist() == [9, 2.25] and step.loss.item() == 5.625
    alphas = NoiseSchedule().alphas_cumprod[[100, 900]]
    expected = alphas.sqrt() * 2 + (1 - alphas).sqrt() * 4  # the input has the perturbed noise
    torch.testing.assert_close(unet.noisy[:, 0, 0, 0], expected)
    step, _ = run_step(TrainSettings(), v_prediction=True)
    velocity = alphas.sqrt() * 3 - (1 - alphas).sqrt() * 2
    torch.testing.assert_close(step.per_sample, velocity**2)


def test_step_masks_and_weighs():
    masks = torch.zeros(2, 1, 4, 4)
    masks[0, :, :2] = 1
    step, _ = run_step(TrainSettings(min_snr_gamma=5.0), masks=masks)
    snr = NoiseSchedule().snr[100].item()
    assert step.per_sample.tolist() == pytest.approx([4.5 * 5 / snr if snr > 5 else 4.5, 0])


def test_the_loss_is_float32_whatever_the_network_is():
    step, unet = run_step(TrainSettings(), dtype=torch.bfloat16)
    assert unet.noisy.dtype == torch.bfloat16
    assert step.loss.dtype == torch.float32 and step.loss.item() == 9
    assert math.isfinite(step.per_sample.sum().item())
