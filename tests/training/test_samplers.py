"""The samplers, checked against the exact solution for pictures that are plain Gaussian noise.

When every latent value is drawn from a normal distribution (MEAN, SPREAD), the best U-Net is
known in closed form, and so is where each start noise must end: with the deterministic samplers
x = MEAN + (x_T - √ᾱ_T·MEAN)·SPREAD / √(ᾱ_T·SPREAD² + 1 - ᾱ_T) (the probability-flow equation of
Song et al. 2021); with the others the result must have that mean and spread.
"""

from types import SimpleNamespace

import pytest
import torch

from scripts.core.errors import SettingError
from scripts.settings import train
from scripts.training.noise import NoiseSchedule
from scripts.training.samplers import SAMPLERS, create_scheduler, sampler_named
from scripts.training.sampling import draw_start_noise, sample_latents

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # of diffusers

MEAN, SPREAD = 1.5, 0.5
RANDOM = {"DDPM", "Euler a", "DPM2 a", "DPM++ 2M SDE", "DPM++ 2M SDE Karras"}
MODELS = {"noise": (False, False), "v": (True, False), "v, zero terminal SNR": (True, True)}


class BestUNet(torch.nn.Module):
    """E[noise | x] or E[v | x] for Gaussian pictures, at whole and broken timesteps."""

    def __init__(self, v_prediction, zero_terminal_snr):
        super().__init__()
        table = NoiseSchedule(zero_terminal_snr).alphas_cumprod.double()
        self.last = float(table[-1])
        kept = table.clamp(min=2.0**-24)
        self.log_sigma = ((1 - kept) / kept).sqrt().log()
        self.v_prediction = v_prediction
        self.calls = 0

    def forward(self, x, timestep):
        self.calls += 1
        t = torch.as_tensor(timestep).double()
        low = t.floor().long().clamp(0, 999)
        share = t - low
        high = (low + 1).clamp(max=999)
        sigma = torch.exp((1 - share) * self.log_sigma[low] + share * self.log_sigma[high])
        kept = 1 / (1 + sigma**2)
        x, a, b = x.double(), kept.sqrt(), (1 - kept).sqrt()
        picture = MEAN + a * SPREAD**2 / (kept * SPREAD**2 + 1 - kept) * (x - a * MEAN)
        noise = (x - a * picture) / b
        output = a * noise - b * picture if self.v_prediction else noise
        return SimpleNamespace(sample=output.float())


def draw(sampler, model, steps=25):
    v_prediction, zero_terminal_snr = MODELS[model]
    unet = BestUNet(v_prediction, zero_terminal_snr)
    scheduler = create_scheduler(
        sampler, v_prediction=v_prediction, zero_terminal_snr=zero_terminal_snr
    )
    noise, generators = draw_start_noise([1, 2, 3, 4], 128, 128)
    latents = sample_latents(unet, scheduler, {}, None, noise, steps, 1.0, generators=generators)
    spread = (unet.last * SPREAD**2 + 1 - unet.last) ** 0.5
    exact = MEAN + (noise.double() - unet.last**0.5 * MEAN) * SPREAD / spread
    return latents, exact, unet


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.title)
def test_sampler_draws_the_right_distribution(sampler, model):
    latents, exact, _ = draw(sampler, model)
    assert abs(latents.mean() - exact.mean()) < 0.06
    assert abs(latents.std() / SPREAD - 1) < 0.22
    if sampler.title not in RANDOM:
        assert (latents - exact).abs().max() < 0.5
        assert (latents - exact).abs().mean() < 0.09


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.title)
def test_noise_and_v_prediction_draw_the_same_picture(sampler):
    """v and noise are the same statement in other words, so nothing may change."""
    assert (draw(sampler, "noise")[0] - draw(sampler, "v")[0]).abs().max() < 2e-3


@pytest.mark.parametrize("name", ["LMS", "Heun", "DPM2 Karras", "DPM++ 2M Karras", "PLMS"])
def test_higher_orders_are_more_exact_than_euler(name):
    def error(sampler):
        latents, exact, _ = draw(sampler, "noise")
        return float((latents - exact).abs().mean())

    assert error(sampler_named(name)) < error(sampler_named("euler")) / 3


@pytest.mark.parametrize("model", ["noise", "v, zero terminal SNR"])
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.title)
def test_few_steps_give_numbers(sampler, steps, model):
    latents, _, _ = draw(sampler, model, steps)
    assert torch.isfinite(latents).all()
    if (sampler.title, steps) != ("DPM2 a", 2):  # its midpoint overshoots there by nature
        assert abs(latents.mean() - MEAN) < 1.0


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("ddim", "DDIM"), ("pndm", "PLMS"), ("lms", "LMS"), ("euler", "Euler"),
        ("euler_a", "Euler a"), ("heun", "Heun"), ("dpm_2", "DPM2"), ("dpm_2_a", "DPM2 a"),
        ("dpmsolver", "DPM-Solver"), ("dpmsolver++", "DPM++ 2M"), ("dpmsingle", "DPM++ 2S"),
        ("k_lms", "LMS"), ("k_euler", "Euler"), ("k_euler_a", "Euler a"), ("k_dpm_2", "DPM2"),
        ("k_dpm_2_a", "DPM2 a"), ("ddpm", "DDPM"), ("UniPC", "UniPC"),
        ("dpm++ 2m", "DPM++ 2M"), ("DPM++ 2M Karras", "DPM++ 2M Karras"),
        ("DPM++ 2M SDE", "DPM++ 2M SDE"), ("Euler A", "Euler a"), ("  heun ", "Heun"),
    ],
)  # fmt: skip
def test_names_of_sd_scripts_and_of_the_web_interfaces(name, title):
    assert sampler_named(name).title == title


def test_every_suggestion_of_the_setting_is_known():
    for name in train.SAMPLERS:
        sampler_named(name)


def test_unknown_sampler():
    with pytest.raises(SettingError, match=r'"foo".*euler_a') as caught:
        sampler_named("foo")
    assert caught.value.setting == "sample_sampler"


def test_no_name_stands_for_two_samplers():
    names = [name for sampler in SAMPLERS for name in {*sampler.names}]
    assert len(names) == len(set(names))


def test_zero_terminal_snr_uses_the_table_of_the_training():
    table = NoiseSchedule(zero_terminal_snr=True).alphas_cumprod
    scheduler = create_scheduler(sampler_named("ddim"), v_prediction=True, zero_terminal_snr=True)
    torch.testing.assert_close(scheduler.alphas_cumprod[:-1], table[:-1], rtol=1e-5, atol=1e-7)
    assert scheduler.alphas_cumprod[-1] == pytest.approx(2.0**-24, rel=1e-3)
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[0] == 999


def test_guidance_is_the_weighted_difference_and_runs_in_one_batch():
    """u + g (c - u), with a U-Net whose output is the text itself."""
    seen = []

    def unet(x, timestep, encoder_hidden_states):
        seen.append(len(x))
        return SimpleNamespace(sample=encoder_hidden_states.view(-1, 1, 1, 1).expand_as(x))

    def drawn(positive, negative, guidance):
        scheduler = create_scheduler(sampler_named("euler"))
        text = torch.tensor([[positive]])
        negative_text = torch.tensor([[negative]])
        noise, _ = draw_start_noise([1], 64, 64)
        return sample_latents(
            unet, scheduler, {"encoder_hidden_states": text},
            {"encoder_hidden_states": negative_text}, noise, 3, guidance,
        )  # fmt: skip

    combined = drawn(0.5, -0.25, 3.0)
    assert seen == [2, 2, 2]
    seen.clear()
    torch.testing.assert_close(combined, drawn(-0.25 + 3 * 0.75, 0.0, 1.0))
    assert seen == [1, 1, 1]


def test_a_picture_is_the_same_alone_and_in_a_batch():
    for name in ("euler_a", "ddpm", "dpm++ 2m sde"):
        unet = BestUNet(False, False)
        together, generators = draw_start_noise([5, 6], 64, 64)
        alone, generator = draw_start_noise([6], 64, 64)
        both = sample_latents(unet, create_scheduler(sampler_named(name)), {}, None, together, 6,
                              1.0, generators=generators)  # fmt: skip
        one = sample_latents(unet, create_scheduler(sampler_named(name)), {}, None, alone, 6,
                             1.0, generators=generator)  # fmt: skip
        torch.testing.assert_close(both[1:], one)


def test_callback_counts_every_call_of_the_unet_and_can_end_it():
    class Enough(Exception):
        pass

    told = []

    def callback(done, total):
        told.append((done, total))
        if done == 4:
            raise Enough

    unet = BestUNet(False, False)
    noise, _ = draw_start_noise([1], 64, 64)
    with pytest.raises(Enough):
        sample_latents(unet, create_scheduler(sampler_named("heun")), {}, None, noise, 5, 1.0,
                       callback)  # fmt: skip
    assert told == [(1, 9), (2, 9), (3, 9), (4, 9)]
    assert unet.calls == 4
