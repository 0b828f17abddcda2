"""Settings of noise and loss: in whole trainings, the closed formulas hold with the values given.

The formulas themselves, over all timesteps, are tested in test_noise and test_loss.
"""

import math

import pytest
import torch
from watched_training import TINY_SDXL, draw_pictures

from scripts.training.loop import seed_batch

# Four noise levels at once, and for speed the smaller half of the LoRA.
BATCH = {"train_batch_size": 4, "network_train_text_encoder_only": True}


def alphas_cumprod(zero_terminal_snr=False):
    """ᾱ of Stable Diffusion in float64, made anew; Lin et al. 2023, algorithm 1, if asked for."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, 0)
    if zero_terminal_snr:
        roots = kept.sqrt()
        kept = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    return kept


def snr(step, kept=None):
    """The signal-to-noise ratio of each sample, (batch,)."""
    kept = (alphas_cumprod() if kept is None else kept)[step.timesteps]
    return kept / (1 - kept)


def noised(latents, noise, timesteps, kept):
    share = kept[timesteps].view(-1, 1, 1, 1)
    return share.sqrt() * latents + (1 - share).sqrt() * noise


def squared_error(step):
    """The plain loss of each sample of a model that predicts noise."""
    return ((step.prediction - step.noise) ** 2).double().mean((1, 2, 3))


def assert_weighted(step, weights):
    """The per-sample losses are the squared errors times the weights."""
    expected = squared_error(step) * weights
    torch.testing.assert_close(step.per_sample.double(), expected, rtol=1e-4, atol=1e-7)
    plain = squared_error(step)
    assert (expected - plain).abs().max() > 1e-3 * plain.max()  # the setting matters here


def test_without_settings_the_loss_is_the_plain_error_of_plain_noise(watch):
    trained = watch(**BATCH)
    (step,) = trained.steps
    assert torch.equal(step.noise, step.first_noise)
    assert torch.equal(step.noise, step.noise_for_input)
    torch.testing.assert_close(
        step.noisy.double(),
        noised(step.latents.double(), step.noise.double(), step.timesteps, alphas_cumprod()),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    torch.testing.assert_close(step.per_sample.double(), squared_error(step), rtol=1e-5, atol=0)
    assert trained.of("step")[0].loss == pytest.approx(squared_error(step).mean().item(), rel=1e-5)


def test_noise_offset_moves_every_channel_by_one_number(watch):
    (step,) = watch(noise_offset=0.5, **BATCH).steps
    offset = step.noise - step.first_noise
    assert (offset - offset[:, :, :1, :1]).abs().max() < 1e-6
    assert 0.2 < offset[:, :, 0, 0].std().item() < 0.9  # 16 numbers with deviation 0.5


def test_adaptive_noise_scale_adds_a_share_of_the_mean_latent(watch):
    (plain,) = watch(noise_offset=0.5, **BATCH).steps
    (adapted,) = watch(noise_offset=0.5, adaptive_noise_scale=0.8, **BATCH).steps
    numbers = (plain.noise - plain.first_noise)[:, :, 0, 0] / 0.5
    means = adapted.latents.mean((2, 3)).abs()
    offset = (adapted.noise - adapted.first_noise)[:, :, 0, 0]
    torch.testing.assert_close(offset, numbers * (0.5 + 0.8 * means), rtol=1e-4, atol=1e-5)


def test_multires_noise_adds_coarser_noise_with_its_discount(watch):
    """The sum is divided by its deviation; one iteration with discount 0 changes only that."""
    (step,) = watch(multires_noise_iterations=6, multires_noise_discount=0.9, **BATCH).steps
    assert step.noise.std().item() == pytest.approx(1, abs=1e-5)

    def coarse_share(noise):  # of the variance, what is left in the mean of each channel
        return (noise.mean((2, 3)).var() / noise.var()).item()

    (less,) = watch(multires_noise_iterations=6, multires_noise_discount=0.1, **BATCH).steps
    assert coarse_share(step.noise) > 4 * coarse_share(less.noise)
    assert coarse_share(step.noise) > 4 * coarse_share(step.first_noise)


def test_ip_noise_gamma_perturbs_the_input_alone(watch):
    (step,) = watch(ip_noise_gamma=0.3, **BATCH).steps
    assert torch.equal(step.noise, step.first_noise)
    extra = (step.noise_for_input - step.noise) / 0.3
    assert extra.std().item() == pytest.approx(1, abs=0.1)  # 1024 numbers
    torch.testing.assert_close(
        step.noisy.double(),
        noised(step.latents.double(), step.noise_for_input.double(), step.timesteps,
               alphas_cumprod()),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    torch.testing.assert_close(step.per_sample.double(), squared_error(step), rtol=1e-5, atol=0)


def test_timesteps_stay_between_the_first_and_the_last(watch):
    trained = watch(min_timestep=600, max_timestep=603, max_train_steps=6, **BATCH)
    drawn = {time.item() for step in trained.steps for time in step.timesteps}
    assert drawn == {600, 601, 602}
    assert trained.metadata()["modelspec.timestep_range"] == "600,603"


def test_min_snr_gamma(watch):
    (step,) = watch(min_snr_gamma=0.02, **BATCH).steps
    ratio = snr(step)
    assert_weighted(step, ratio.clamp(max=0.02) / ratio)


def test_debiased_estimation(watch):
    (step,) = watch(debiased_estimation_loss=True, **BATCH).steps
    assert_weighted(step, 1 / snr(step).clamp(max=1000).sqrt())


def test_v_pred_like_loss(watch):
    (step,) = watch(v_pred_like_loss=0.5, **BATCH).steps
    ratio = snr(step).clamp(max=1000)
    assert_weighted(step, 1 + 0.5 * (ratio + 1) / ratio)


def velocity(step, kept):
    share = kept[step.timesteps].view(-1, 1, 1, 1)
    return share.sqrt() * step.noise.double() - (1 - share).sqrt() * step.latents.double()


def test_v_parameterization_makes_velocity_the_target(watch):
    trained = watch(v_parameterization=True, **BATCH)
    (step,) = trained.steps
    assert step.v_prediction
    error = (step.prediction.double() - velocity(step, alphas_cumprod())) ** 2
    torch.testing.assert_close(step.per_sample.double(), error.mean((1, 2, 3)), rtol=1e-4, atol=0)
    assert trained.metadata()["ss_base_model_version"] == "sd_v1_v"
    assert trained.metadata()["modelspec.prediction_type"] == "v"


def test_a_v_loss_scaled_like_a_noise_loss(watch):
    (step,) = watch(v_parameterization=True, scale_v_pred_loss_like_noise_pred=True, **BATCH).steps
    error = ((step.prediction.double() - velocity(step, alphas_cumprod())) ** 2).mean((1, 2, 3))
    ratio = snr(step).clamp(max=1000)
    expected = error * ratio / (ratio + 1)
    torch.testing.assert_close(step.per_sample.double(), expected, rtol=1e-4, atol=1e-7)


def test_what_a_weighting_cannot_do_for_this_model_is_said(plan):
    assert "scale_v_pred_loss_like_noise_pred is for v-prediction" in "\n".join(
        plan(scale_v_pred_loss_like_noise_pred=True).notes
    )
    made = plan(v_pred_like_loss=0.5, v_parameterization=True)
    assert any("v_pred_like_loss is for models that predict noise" in note for note in made.notes)


def test_zero_terminal_snr_ends_in_pure_noise(watch):
    trained = watch(zero_terminal_snr=True, v_parameterization=True, min_timestep=999, **BATCH)
    (step,) = trained.steps
    assert set(step.timesteps.tolist()) == {999}
    torch.testing.assert_close(step.noisy, step.noise_for_input)  # nothing of the picture is left
    (plain,) = watch(v_parameterization=True, min_timestep=999, **BATCH).steps
    assert (plain.noisy - plain.noise_for_input).abs().max() > 0.01
    assert trained.metadata()["ss_zero_terminal_snr"] == "True"
    # And min-SNR counts with the schedule in force: min(s, γ) / (s + 1) with s = 0 is 0.
    (weighted,) = watch(zero_terminal_snr=True, v_parameterization=True, min_timestep=999,
                        min_snr_gamma=5, **BATCH).steps  # fmt: skip
    assert weighted.per_sample.abs().max().item() < 1e-6


def pseudo_huber(step, c, factor):
    c = torch.as_tensor(c, dtype=torch.float64).expand(len(step.timesteps)).view(-1, 1, 1, 1)
    difference = (step.prediction - step.noise).double()
    loss = 2 * ((difference**2 + c**2).sqrt() - c)
    return (loss * c if factor else loss).mean((1, 2, 3))


def huber_by_schedule(name, c, scale, timesteps):
    if name == "constant":
        return torch.full((len(timesteps),), c * scale, dtype=torch.float64)
    if name == "exponential":
        return torch.exp(math.log(c) * timesteps.double() / 1000) * scale
    kept = alphas_cumprod()[timesteps]
    sigma = ((1 - kept) / kept).sqrt()
    return (1 - c) / (1 + sigma) ** 2 + c


@pytest.mark.parametrize(
    ("loss_type", "schedule"),
    [("huber", "snr"), ("huber", "exponential"), ("smooth_l1", "constant")],
)
def test_huber_losses_with_their_schedules(watch, loss_type, schedule):
    (step,) = watch(loss_type=loss_type, huber_schedule=schedule, huber_c=0.3, huber_scale=0.7,
                    **BATCH).steps  # fmt: skip
    c = huber_by_schedule(schedule, 0.3, 0.7, step.timesteps)
    expected = pseudo_huber(step, c, factor=loss_type == "huber")
    torch.testing.assert_close(step.per_sample.double(), expected, rtol=1e-4, atol=1e-7)


def test_the_absolute_error(watch):
    (step,) = watch(loss_type="l1", **BATCH).steps
    expected = (step.prediction - step.noise).abs().mean((1, 2, 3))
    torch.testing.assert_close(step.per_sample, expected)


def test_prior_loss_weight_counts_regularisation_pictures(watch, folder):
    reg = folder / "reg"
    draw_pictures(reg / "1_animal", captions=["an animal"])
    trained = watch(reg_data_dir=reg, prior_loss_weight=0.25, max_train_epochs=1,
                    text_encoder_lr=1e-3)  # fmt: skip
    weights = [weight for step in trained.steps for weight in step.loss_weights.tolist()]
    seen = list(zip(trained.every_caption, weights, strict=True))
    assert len(seen) == 8
    assert {weight for caption, weight in seen if caption == "an animal"} == {0.25}
    assert {weight for caption, weight in seen if caption != "an animal"} == {1.0}
    for step in trained.steps:
        torch.testing.assert_close(
            step.per_sample.double(), squared_error(step) * step.loss_weights, rtol=1e-5, atol=0
        )
    assert trained.metadata()["ss_num_reg_images"] == "4"
    assert '"1_animal"' in trained.metadata()["ss_reg_dataset_dirs"]


def test_the_latents_have_the_scale_of_their_family(watch):
    for base, scale in ((None, 0.18215), (TINY_SDXL, 0.13025)):
        more = {"pretrained_model_name_or_path": base} if base else {}
        trained = watch(network_train_unet_only=True, **more)
        (step,), ((_, stored),) = trained.steps, trained.batches
        with torch.random.fork_rng(devices=[]):
            seed_batch(seed=42, epoch=1, number=0, rank=0)
            drawn = stored.mean + stored.std * torch.randn_like(stored.std)
        torch.testing.assert_close(step.latents, drawn * scale)
