"""The noise schedule and the random draws against the reference's tables and tensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scripts.settings.train import TrainSettings
from scripts.training.noise import (
    TIMESTEPS,
    NoiseSchedule,
    add_coarser_noise,
    draw_noise,
    noise_offset,
)

STEP = Path(__file__).parents[1] / "data" / "step"


@pytest.fixture(scope="module")
def tables():
    return load_file(STEP / "noise_schedule.safetensors")


def test_schedule_equals_the_reference_to_the_last_bit(tables):
    schedule = NoiseSchedule()
    assert torch.equal(schedule.alphas_cumprod, tables["alphas_cumprod"])
    assert torch.equal(schedule.snr, tables["snr"])
    assert torch.equal(schedule.snr_above_zero, tables["snr"])


def test_zero_terminal_schedule_and_its_own_snr(tables):
    schedule = NoiseSchedule(zero_terminal_snr=True)
    alphas_cumprod = tables["zero_terminal_snr_alphas_cumprod"]
    assert torch.equal(schedule.alphas_cumprod, alphas_cumprod)
    assert schedule.alphas_cumprod[-1] == 0 and schedule.snr[-1] == 0
    # The reference keeps the old table here; ours is that of the schedule in force.
    exact = alphas_cumprod.double() / (1 - alphas_cumprod.double())
    torch.testing.assert_close(schedule.snr.double(), exact, rtol=2e-4, atol=0)
    assert schedule.snr_above_zero.min() == tables["snr"][-1]


def test_zero_terminal_schedule_agrees_with_diffusers():
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        rescale_betas_zero_snr=True,
    )  # fmt: skip
    ours = NoiseSchedule(zero_terminal_snr=True)
    torch.testing.assert_close(ours.alphas_cumprod, theirs.alphas_cumprod, rtol=1e-6, atol=0)


def test_add_noise_and_velocity_agree_with_diffusers():
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    latents, noise = torch.randn(3, 4, 4, 6), torch.randn(3, 4, 4, 6)
    timesteps = torch.tensor([0, 500, 999])
    ours = NoiseSchedule()
    assert torch.equal(
        ours.add_noise(latents, noise, timesteps), theirs.add_noise(latents, noise, timesteps)
    )
    assert torch.equal(
        ours.velocity(latents, noise, timesteps), theirs.get_velocity(latents, noise, timesteps)
    )


class StoredNumbers:
    """Stands in for torch's random functions and gives the reference's draws in their order."""

    def __init__(self, tensors, monkeypatch):
        self.tensors = tensors
        self.counts = {"randn_like": 0, "randn": 0, "random": 0}
        self.order = []
        monkeypatch.setattr(torch, "randn_like", lambda like, **_: self.next("randn_like"))
        monkeypatch.setattr(torch, "randn", lambda *shape, **_: self.next("randn", shape))
        monkeypatch.setattr(torch, "rand", lambda *shape, **_: self.next("random"))
        self.randint = torch.randint
        monkeypatch.setattr(torch, "randint", self.draw_timesteps)

    def next(self, kind, shape=None):
        tensor = self.tensors[f"rng.noise.{kind}.{self.counts[kind]}"]
        assert shape is None or tuple(shape[0]) == tuple(tensor.shape)
        self.counts[kind] += 1
        self.order.append(kind)
        return tensor

    def draw_timesteps(self, *arguments, **options):
        self.order.append("randint")
        return self.randint(*arguments, **options)


@pytest.mark.parametrize(
    ("case", "settings", "order"),
    [
        ("noise_offset", {"noise_offset": 0.1}, "randn_like randn randint"),
        (
            "noise_offset_adaptive",
            {"noise_offset": 0.05, "adaptive_noise_scale": 0.02},
            "randn_like randn randint",
        ),
        (
            "multires",
            {"multires_noise_iterations": 6, "multires_noise_discount": 0.3},
            "randn_like" + 4 * " random randn" + " randint",
        ),
        ("ip_noise", {"ip_noise_gamma": 0.1}, "randn_like randint randn_like"),
    ],
)
def test_draws_come_in_the_reference_order(case, settings, order, monkeypatch):
    tensors = load_file(STEP / f"{case}.safetensors")
    stored = StoredNumbers(tensors, monkeypatch)
    settings = TrainSettings(**settings)
    draw = draw_noise(tensors["in.latents"], settings)
    assert stored.order == order.split()
    torch.testing.assert_close(draw.noise, tensors["in.noise"], rtol=1e-6, atol=1e-7)
    noisy = NoiseSchedule().add_noise(
        tensors["in.latents"], draw.noise_for_input, tensors["in.timesteps"]
    )
    torch.testing.assert_close(noisy, tensors["out.noisy_latents"], rtol=1e-6, atol=1e-6)


def test_adaptive_offset_never_turns_negative():
    latents = torch.full((1, 4, 8, 8), 3.0)
    offset = noise_offset(latents, 0.05, adaptive_scale=-0.5)
    assert torch.equal(offset, torch.zeros(1, 4, 1, 1))


def test_coarser_noise_has_unit_deviation_and_is_smoother():
    torch.manual_seed(0)
    plain = torch.randn(2, 4, 32, 32)
    noise = add_coarser_noise(plain, 6, 0.8)
    assert noise.std().item() == pytest.approx(1, abs=1e-5)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean().item()
    assert neighbours > 0.15 > abs((plain[..., 1:] * plain[..., :-1]).mean().item())


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (2, 4, 1, 9), (1, 4, 3, 2)])
def test_coarser_noise_of_tiny_latents(shape):
    noise = add_coarser_noise(torch.randn(shape), 64, 0.3)
    assert noise.shape == shape and torch.isfinite(noise).all()


def test_timesteps_stay_in_their_range_and_reach_its_ends():
    torch.manual_seed(1)
    latents = torch.zeros(4000, 1, 1, 1)
    draw = draw_noise(latents, TrainSettings(min_timestep=200, max_timestep=210))
    assert draw.timesteps.dtype == torch.int64
    assert set(draw.timesteps.tolist()) == set(range(200, 210))
    draw = draw_noise(torch.zeros(30000, 1, 1, 1), TrainSettings())
    assert draw.timesteps.min() == 0 and draw.timesteps.max() == TIMESTEPS - 1


def test_same_seed_same_draw_and_offset_moves_channels():
    latents = torch.zeros(2, 4, 16, 16)
    settings = TrainSettings(noise_offset=2.0)
    draws = []
    for _ in range(2):
        torch.manual_seed(7)
        draws.append(draw_noise(latents, settings))
    assert torch.equal(draws[0].noise, draws[1].noise)
    assert torch.equal(draws[0].timesteps, draws[1].timesteps)
    # The offset is constant over a channel, so the means spread by it.
    assert draws[0].noise.mean(dim=(2, 3)).std() > 1


def test_a_generator_of_its_own_leaves_the_default_one_alone():
    settings = TrainSettings(multires_noise_iterations=4, ip_noise_gamma=0.1, noise_offset=0.1)
    before = torch.get_rng_state()
    first = draw_noise(torch.zeros(1, 4, 8, 8), settings, torch.Generator().manual_seed(3))
    again = draw_noise(torch.zeros(1, 4, 8, 8), settings, torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.noise_for_input, again.noise_for_input)
