"""Settings of the optimiser, the schedule and the amount of training."""

import math

import pytest
import torch
from watched_training import Watched, watch_training

from scripts.core.errors import SettingErrors
from scripts.training import loop
from scripts.training.noise import NoiseDraw

# The class that each name must really use; 8-bit ones may give way where bitsandbytes is missing.
CLASSES = {
    "AdamW": "torch.optim.adamw.AdamW",
    "AdamW8bit": "bitsandbytes.optim.adamw.AdamW8bit",
    "PagedAdamW8bit": "bitsandbytes.optim.adamw.PagedAdamW8bit",
    "Lion": "pytorch_optimizer.optimizer.lion.Lion",
    "Lion8bit": "bitsandbytes.optim.lion.Lion8bit",
    "SGDNesterov": "torch.optim.sgd.SGD",
    "SGDNesterov8bit": "bitsandbytes.optim.sgd.SGD8bit",
    "DAdaptation": "pytorch_optimizer.optimizer.dadapt.DAdaptAdam",
    "AdaFactor": "transformers.optimization.Adafactor",
    "Prodigy": "pytorch_optimizer.optimizer.prodigy.Prodigy",
    "CAME": "pytorch_optimizer.optimizer.came.CAME",
    "StableAdamW": "pytorch_optimizer.optimizer.adamw.StableAdamW",  # any class of the library
}
PLAIN_SGD = {"optimizer_type": "torch.optim.SGD", "learning_rate": 1.0}


def norm(tensors):
    return math.sqrt(sum(tensor.double().pow(2).sum().item() for tensor in tensors))


def moved(trained: Watched):
    """How far every weight has gone from its start."""
    state = trained.state()
    return {key: state[key] - first for key, first in trained.first_weights.items()
            if not key.endswith(".alpha")}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_the_optimizer_named_is_the_one_used(folder, name):
    trained = watch_training(folder, optimizer_type=name, network_train_unet_only=True,
                             learning_rate=1.0 if name in ("Prodigy", "DAdaptation") else 1e-3,
                             max_train_steps=2)  # fmt: skip
    title = trained.metadata()["ss_optimizer"]
    optimizer = trained.run.optimizer.optimizer
    assert title.startswith(f"{type(optimizer).__module__}.{type(optimizer).__qualname__}")
    if f"{name} does not run on this machine" not in trained.notes():
        assert title.partition("(")[0] == CLASSES[name]
    else:
        assert "8bit" in name
    assert norm(moved(trained).values()) > 0
    if name == "SGDNesterov":
        group = optimizer.param_groups[0]
        assert group["momentum"] == 0.9 and group["nesterov"] is True
    if name == "DAdaptation":
        assert optimizer.param_groups[0]["weight_decouple"] is True


def test_optimizer_args_reach_the_optimizer(watch):
    trained = watch(optimizer_args=["weight_decay=0.37", "betas=0.5,0.6"])
    group = trained.run.optimizer.optimizer.param_groups[0]
    assert (group["weight_decay"], group["betas"]) == (0.37, (0.5, 0.6))
    assert "weight_decay=0.37" in trained.metadata()["ss_optimizer"]


def test_each_part_has_its_own_learning_rate_or_the_common_one(watch):
    assert watch(learning_rate=3e-3).rates() == [{"text_encoder": 3e-3, "unet": 3e-3}]
    own = watch(learning_rate=3e-3, unet_lr=2e-3, text_encoder_lr=1e-3)
    assert own.rates() == [{"text_encoder": 1e-3, "unet": 2e-3}]


def test_a_rate_of_zero_leaves_its_part_out(watch):
    without_unet, without_text = watch(unet_lr=0), watch(text_encoder_lr=0)
    assert {name[:8] for name in without_unet.modules()} == {"lora_te_"}
    assert {name[:8] for name in without_text.modules()} == {"lora_une"}
    assert list(without_text.rates()[0]) == ["unet"]


def half_wave(progress):
    return (1 + math.cos(math.pi * progress)) / 2


STEPS = 8  # two of them to warm up with
SCHEDULES = {  # settings, and the factor on the rate for step s = 0, 1, ..., 7
    "linear": ({}, lambda s: s / 2 if s < 2 else (8 - s) / 6),
    "cosine": ({}, lambda s: s / 2 if s < 2 else half_wave((s - 2) / 6)),
    "cosine_with_restarts": (
        {"lr_scheduler_num_cycles": 2}, lambda s: s / 2 if s < 2 else half_wave((s - 2) / 3 % 1),
    ),
    "polynomial": (  # diffusers' polynomial ends at 1e-7 in place of 0
        {"lr_scheduler_power": 2},
        lambda s: s / 2 if s < 2 else 1e-7 / 1e-2 + (1 - 1e-7 / 1e-2) * ((8 - s) / 6) ** 2,
    ),
    "constant": ({"lr_warmup_steps": 0}, lambda s: 1),
    "constant_with_warmup": ({}, lambda s: s / 2 if s < 2 else 1),
    "piecewise_constant": (
        {"lr_warmup_steps": 0, "lr_scheduler_args": ["step_rules=1:3,0.5:6,0.1"]},
        lambda s: 1 if s < 3 else 0.5 if s < 6 else 0.1,
    ),
    "inverse_sqrt": (
        {"lr_scheduler_timescale": 3}, lambda s: s / 2 if s < 2 else 1 / math.sqrt((s + 1) / 3),
    ),
    "warmup_stable_decay": (
        {"lr_decay_steps": 0.5, "lr_scheduler_min_lr_ratio": 0.2},
        lambda s: 0.2 + 0.8 * (s / 2 if s < 2 else 1 if s < 4 else half_wave((s - 4) / 4)),
    ),
    "cosine_with_min_lr": (
        {"lr_scheduler_min_lr_ratio": 0.1},
        lambda s: s / 2 if s < 2 else 0.1 + 0.9 * half_wave((s - 2) / 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_planned_rates_follow_the_formula_of_the_schedule(plan, name):
    more, factor = SCHEDULES[name]
    settings = {"lr_scheduler": name, "lr_warmup_steps": 2, "max_train_steps": STEPS, **more}
    rates = plan(**settings).as_dict()["learning_rates"]
    assert rates["unet"] == pytest.approx([1e-2 * factor(step) for step in range(STEPS)])
    assert rates["text_encoder"] == rates["unet"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cosine_with_restarts", "polynomial", "warmup_stable_decay"])
def test_every_step_is_taken_with_the_rate_of_the_formula(watch, name):
    more, factor = SCHEDULES[name]
    trained = watch(lr_scheduler=name, max_train_steps=STEPS, lr_warmup_steps=0.25, **more)
    rates = [rates["unet"] for rates in trained.rates()]
    assert rates == pytest.approx([1e-2 * factor(step) for step in range(STEPS)])


def test_a_rate_of_zero_in_the_warm_up_moves_nothing(watch):
    """Plain SGD moves by rate times gradient: not at all in the first step of a warm-up."""
    still = watch(**PLAIN_SGD, lr_scheduler="constant_with_warmup", lr_warmup_steps=1)
    assert still.rates() == [{"text_encoder": 0.0, "unet": 0.0}]
    assert norm(moved(still).values()) == 0
    assert norm(moved(watch(**PLAIN_SGD)).values()) > 0


def test_the_adafactor_schedule_leaves_the_rates_to_adafactor(watch, plan):
    trained = watch(optimizer_type="AdaFactor", lr_scheduler="adafactor")
    # Shazeer and Stern 2018, algorithm 6: min(0.01, 1 / √t) · max(0.001, RMS of the weights)
    key = next(key for key in trained.first_weights if key.endswith("lora_down.weight"))
    root = trained.first_weights[key].square().mean().sqrt().item()
    assert root > 1e-3
    assert trained.rates()[0]["text_encoder"] == pytest.approx(0.01 * root, rel=0.05)
    with pytest.raises(SettingErrors, match="only with the AdaFactor optimiser"):
        plan(optimizer_type="AdamW", lr_scheduler="adafactor")


def test_max_grad_norm_limits_the_whole_gradient(watch):
    """Plain SGD with rate 1 moves by the gradient itself."""
    free = moved(watch(**PLAIN_SGD, max_grad_norm=0))
    held = moved(watch(**PLAIN_SGD, max_grad_norm=0.003))
    length = norm(free.values())
    assert length > 0.003
    assert norm(held.values()) == pytest.approx(0.003, rel=1e-3)
    for key, gone in free.items():
        torch.testing.assert_close(held[key], gone * 0.003 / length, rtol=1e-3, atol=1e-7)


def test_accumulated_batches_move_as_far_as_one_large_batch(folder, monkeypatch):
    """With the same noise for the same picture, 2 x 2 pictures give the gradient of 4."""

    def noise_of_picture(latents, settings):
        draws = []
        for picture in latents:
            generator = torch.Generator().manual_seed(int(picture.sum().item() * 1e3))
            noise = torch.randn(picture.shape, generator=generator)
            draws.append((noise, torch.randint(1000, (), generator=generator)))
        noise = torch.stack([noise for noise, _ in draws])
        return NoiseDraw(noise, noise, torch.stack([time for _, time in draws]))

    monkeypatch.setattr(loop, "draw_noise", noise_of_picture)
    monkeypatch.setattr(loop.torch, "randn_like", torch.zeros_like)  # latents without spread
    settings = {**PLAIN_SGD, "max_grad_norm": 0, "max_train_epochs": 1}
    large = watch_training(folder, **settings, train_batch_size=4)
    small = watch_training(folder, **settings, train_batch_size=2, gradient_accumulation_steps=2)
    assert [len(step.latents) for step in large.steps] == [4]
    assert [len(step.latents) for step in small.steps] == [2, 2]
    assert [event.done for event in small.of("step")] == [1]  # one change of the weights
    together, apart = moved(large), moved(small)
    length = norm(together.values())
    assert length > 0
    for key, gone in together.items():
        torch.testing.assert_close(apart[key], gone, rtol=1e-3, atol=1e-5 * length)
    metadata = small.metadata()
    assert metadata["ss_gradient_accumulation_steps"] == "2"
    assert metadata["ss_total_batch_size"] == "4"


def test_batch_size_steps_and_epochs(watch):
    by_steps = watch(train_batch_size=3, max_train_steps=5)
    sizes = [len(step.latents) for step in by_steps.steps]
    # An epoch of 4 pictures is a 3 and a 1, in any order.
    assert sorted(sizes[:2]) == sorted(sizes[2:4]) == [1, 3] and sizes[4] in (1, 3)
    assert by_steps.of("step")[-1].done == 5 and by_steps.metadata()["ss_num_epochs"] == "3"
    by_epochs = watch(train_batch_size=3, max_train_steps=5, max_train_epochs=2)
    assert by_epochs.of("step")[-1].done == 4
    assert by_epochs.metadata()["ss_max_train_steps"] == "4"


@pytest.mark.slow
def test_another_seed_draws_other_weights_noise_and_order(watch):
    one, two = watch(seed=1), watch(seed=2)
    key = "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"
    assert not torch.equal(one.first_weights[key], two.first_weights[key])
    assert not torch.equal(one.steps[0].noise, two.steps[0].noise)
    orders = [watch(seed=seed, max_train_epochs=1, train_batch_size=1).every_caption
              for seed in (1, 2, 3)]  # fmt: skip
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
