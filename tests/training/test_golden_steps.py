"""Whole training steps against sd-scripts: losses, gradients and a run of four steps.

The numbers were made by the unmodified reference on tiny models (tests/data/step/README.md).
Losses must agree to 1e-5, gradients to 1e-4 relative, in float32.
"""

import argparse
import json
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scripts.core.declare import build
from scripts.core.flags import add_flags
from scripts.lora.network import LoRANetwork
from scripts.models.conditioning import unet_conditioning
from scripts.models.load import load_text_encoders, load_tokenizers, load_unet
from scripts.models.recognise import recognise
from scripts.models.text import encode, tokenize
from scripts.settings.train import TrainSettings
from scripts.training.loss import huber_parameter
from scripts.training.noise import NoiseDraw, NoiseSchedule
from scripts.training.optimizers import (
    create_optimizer,
    create_scheduler,
    current_learning_rates,
)
from scripts.training.step import denoising_loss

DATA = Path(__file__).parents[1] / "data"
CASES = {
    case["name"]: case
    for case in json.loads((DATA / "step" / "cases.json").read_text("utf-8"))["cases"]
}
LOSS, GRADIENT = 1e-5, 1e-4  # relative tolerances that the project promises
# A few gradients of SDXL have a norm below 1e-5, next to others of 3e-2: float32 rounding shows.
SMALLEST = 1e-9


@cache
def models(name):
    """(base, U-Net, text encoders, tokenizers) of a tiny model, in float32 on the CPU."""
    base = recognise(DATA / name)
    return (
        base,
        load_unet(base, torch.float32, "cpu"),
        load_text_encoders(base, torch.float32, "cpu"),
        load_tokenizers(base),
    )


def read_settings(flags, **values):
    """The settings that the reference's command-line options mean here."""
    parser = argparse.ArgumentParser()
    add_flags(parser, TrainSettings)
    given = vars(parser.parse_args(flags.split()))
    return build(TrainSettings, {**given, **values})[0]


def settings_of(case):
    stored = case["settings"]
    values = {"network_dim": stored["network_dim"], "network_alpha": stored["network_alpha"]}
    values |= stored["network_args"]
    values["max_token_length"] = stored["max_token_length"] or 75
    return read_settings(stored["train_args"], **values)


@pytest.fixture
def network_on():
    """Make networks on the shared models and take them off again at the end."""
    made = []

    def create(base, unet, text_encoders, settings, weights):
        network = LoRANetwork.create(unet, text_encoders, base.family, settings)
        made.append(network)
        trained = {name for name, _ in network.layers()}
        network.load_file_state(
            {key: value for key, value in weights.items() if key.split(".")[0] in trained}
        )
        return network.train()

    yield create
    for network in made:
        network.remove()


def use_stored_dropout(network, tensors):
    """Put the reference's random masks and numbers in place of torch's."""
    for name, layer in network.layers():
        mask, numbers = tensors.get(f"rng.mask.{name}"), tensors.get(f"rng.rand.{name}")
        if mask is not None:
            keep = mask.float() / (1 - layer.network_dropout)
            layer._drop_values = lambda h, keep=keep: h * keep
        if numbers is not None:
            layer._draw = lambda *shape, numbers=numbers, **_: numbers.view(shape)


def compare(name, value, expected, tolerance):
    """The difference relative to the norm of the whole tensor."""
    difference = (value.double() - expected.double()).norm()
    assert difference <= tolerance * expected.double().norm() + SMALLEST, name


@cache
def stored_tensors(file):
    return load_file(DATA / "step" / file)


def compared_conditioning(case, tensors, settings):
    """The U-Net's conditioning for a case, after tokens and states were compared."""
    base, unet, text_encoders, tokenizers = models(case["model"])
    ids = tokenize(tokenizers, case["captions"], settings.max_token_length)
    names = ["in.input_ids"] if len(ids) == 1 else ["in.input_ids1", "in.input_ids2"]
    for tokens, name in zip(ids, names, strict=True):
        assert torch.equal(tokens, tensors[name])
    text = encode(text_encoders, ids, base.family, settings.clip_skip)
    if base.family.name != "sdxl":
        compare("hidden", text.hidden, tensors["out.te_hidden"], LOSS)
        return unet_conditioning(text)
    both = torch.cat([tensors["out.te1_hidden"], tensors["out.te2_hidden"]], dim=-1)
    compare("hidden", text.hidden, both, LOSS)
    compare("pooled", text.pooled, tensors["out.te2_pooled"], LOSS)
    names = ("original_sizes_hw", "crop_top_lefts", "target_sizes_hw")
    conditioning = unet_conditioning(text, tuple(tensors[f"in.{name}"] for name in names))
    numbers = conditioning["added_cond_kwargs"]["time_ids"]  # (batch, 6)
    waves = unet.add_time_proj(numbers.flatten()).view(len(numbers), -1)
    compare("size embeddings", waves, tensors["out.size_embeddings"], 1e-6)
    return conditioning


@pytest.mark.parametrize("name", CASES)
def test_step_of_the_reference(name, network_on):
    case, tensors = CASES[name], stored_tensors(CASES[name]["file"])
    settings = settings_of(case)
    base, unet, text_encoders, _ = models(case["model"])
    weights = stored_tensors(case["lora_init"])
    network = network_on(base, unet, text_encoders, settings, weights)
    use_stored_dropout(network, tensors)

    conditioning = compared_conditioning(case, tensors, settings)
    schedule = NoiseSchedule(settings.zero_terminal_snr)
    v_prediction = bool(settings.v_parameterization)
    latents, noise = tensors["in.latents"], tensors["in.noise"]
    timesteps = tensors["in.timesteps"]
    noise_for_input = noise
    if settings.ip_noise_gamma:
        noise_for_input = noise + settings.ip_noise_gamma * tensors["rng.noise.randn_like.1"]
    noisy = schedule.add_noise(latents, noise_for_input, timesteps)
    compare("noisy latents", noisy, tensors["out.noisy_latents"], 1e-6)
    target = schedule.velocity(latents, noise, timesteps) if v_prediction else noise
    compare("target", target, tensors["out.target"], 1e-6)
    if "out.huber_c" in tensors:
        c = huber_parameter(timesteps, schedule, settings)
        compare("huber_c", c, tensors["out.huber_c"], 1e-6)

    step = denoising_loss(
        unet, schedule, settings, latents, conditioning,
        NoiseDraw(noise, noise_for_input, timesteps), tensors["in.loss_weights"],
        v_prediction=v_prediction,
    )  # fmt: skip
    step.loss.backward()
    assert step.loss.item() == pytest.approx(case["loss"], rel=LOSS)
    assert step.per_sample.tolist() == pytest.approx(case["loss_per_sample"], rel=LOSS)
    compare_gradients(network, case, tensors, weights)


def compare_gradients(network, case, tensors, weights):
    """Every stored gradient, and the norm of every trained tensor's gradient."""
    gradients = {}
    for name, layer in network.layers():
        gradients[f"{name}.lora_down.weight"] = layer.down.weight.grad
        gradients[f"{name}.lora_up.weight"] = layer.up.weight.grad
    without = {key for key, value in gradients.items() if value is None}
    assert {key.split(".")[0] for key in without} == set(case["modules_with_no_grad"])
    trained = sorted(set(gradients) - without)
    assert set(trained) <= set(weights)

    norms = tensors["out.grad_norms"].tolist()
    ours = [gradients[key].double().norm().item() for key in trained]
    assert ours == pytest.approx(norms, rel=GRADIENT, abs=SMALLEST)
    assert sum(norm == 0 for norm in ours) == case["params_with_zero_grad"]
    stored = [key for key in tensors if key.startswith("grad.")]
    assert stored
    for key in stored:
        name = key.removeprefix("grad.")
        compare(name, gradients[name], tensors[key].view_as(gradients[name]), GRADIENT)


def test_all_cases_are_there():
    assert len(CASES) == 30
    kinds = {case["model"] for case in CASES.values()}
    assert kinds == {"models/tiny_sd15.safetensors", "models/tiny_sdxl.safetensors"}


def test_four_steps_end_in_the_file_of_the_reference(network_on):
    """Optimiser, schedule, clipping and step together, as the loop puts them together."""
    run = json.loads((DATA / "step" / "trajectory.json").read_text("utf-8"))
    batches = stored_tensors("trajectory.safetensors")
    settings = read_settings(run["train_args"].split(" --optimizer_args")[0],
                             optimizer_type="AdamW",
                             optimizer_args="weight_decay=0.1 betas=0.9,0.99")  # fmt: skip
    base, unet, text_encoders, _ = models("models/tiny_sd15.safetensors")
    weights = load_file(DATA / run["lora_init"])
    network = network_on(base, unet, text_encoders, settings, weights)
    made = create_optimizer(settings, network.param_groups(settings), "cpu")
    scheduler = create_scheduler(made.optimizer, settings, run["batches"])
    schedule = NoiseSchedule()

    for number in range(run["batches"]):
        batch = {key: batches[f"batch{number}.{key}"]
                 for key in ("latents", "noise", "timesteps", "input_ids")}  # fmt: skip
        text = encode(text_encoders, [batch["input_ids"]], base.family, settings.clip_skip)
        step = denoising_loss(
            unet, schedule, settings, batch["latents"], unet_conditioning(text, None),
            NoiseDraw(batch["noise"], batch["noise"], batch["timesteps"]), torch.ones(2),
            v_prediction=False,
        )  # fmt: skip
        step.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(
            network.trainable_parameters(), settings.max_grad_norm
        )
        rates = list(current_learning_rates(made.optimizer).values())
        assert step.loss.item() == pytest.approx(run["losses"][number], rel=LOSS)
        assert norm.item() == pytest.approx(run["grad_norm_before_clipping"][number], rel=1e-4)
        assert rates == pytest.approx(run["optimizer_step_lrs"][number], rel=1e-9)
        made.optimizer.step()
        scheduler.step()
        made.optimizer.zero_grad()

    finished = load_file(DATA / run["final_weights"])
    ours = network.state_dict_for_file()
    assert set(ours) == set(finished)
    for key, expected in finished.items():
        if key.endswith(".alpha"):
            assert ours[key] == expected
            continue
        # Compared by how far it moved: Adam divides by tiny second moments, so rounding shows.
        moved = expected - weights[key].view_as(expected)
        difference = ours[key].view_as(expected) - expected
        assert difference.norm() <= 3e-4 * moved.norm() + 1e-9, key
    metadata = json.loads((DATA / "metadata" / "metadata.json").read_text("utf-8"))
    assert made.title == metadata["ss_optimizer"]
