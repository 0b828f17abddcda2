"""Run a whole training on the tiny model and keep what went through it, for tests to look at."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from scripts.core.events import Control
from scripts.core.safetensors_header import read_header
from scripts.lora.file import load_lora
from scripts.models.text import CaptionEncoder
from scripts.settings.train import TrainSettings, read_train_settings
from scripts.training import loop, progress, start
from scripts.training.plan import Plan, make_plan

TINY_SD15 = Path(__file__).parents[1] / "data" / "models" / "tiny_sd15.safetensors"
TINY_SDXL = TINY_SD15.with_name("tiny_sdxl.safetensors")
CAPTIONS = [f"a cat, tag {number}, sitting" for number in range(4)]


@dataclass(repr=False)
class Step:
    """One batch on its way through the U-Net. All tensors are copies."""

    latents: Tensor
    text: Tensor
    noise: Tensor
    noise_for_input: Tensor
    timesteps: Tensor
    loss_weights: Tensor
    masks: Tensor | None
    noisy: Tensor
    prediction: Tensor
    per_sample: Tensor
    v_prediction: bool
    generator_state: Tensor  # torch's, before the noise was drawn

    @property
    def first_noise(self) -> Tensor:
        """Plain noise drawn from the same state of the generator: what no setting changed."""
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.generator_state)
            return torch.randn_like(self.latents)


@dataclass(repr=False)
class Watched:
    """What a training did and left behind."""

    path: Path = Path()
    events: list = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)  # as given to the text encoder
    batches: list = field(default_factory=list)  # (Batch, BatchTensors)
    run: Any = None
    first_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def every_caption(self) -> list[str]:
        """All captions that were encoded, in order."""
        return [caption for batch in self.captions for caption in batch]

    def of(self, kind: str) -> list:
        """The events of one kind."""
        return [event for event in self.events if event.kind == kind]

    def notes(self) -> str:
        """All notes in one text."""
        return "\n".join(event.text for event in self.of("note"))

    def state(self) -> dict[str, Tensor]:
        """The tensors of the finished file."""
        return load_lora(self.path)[0]

    def modules(self) -> set[str]:
        """The names of the file's layers."""
        return {key.partition(".")[0] for key in self.state()}

    def metadata(self) -> dict[str, str]:
        """The metadata of the finished file."""
        return read_header(self.path).metadata

    def rates(self) -> list[dict[str, float]]:
        """The learning rates by group, for every step."""
        return [event.learning_rates for event in self.of("step")]


def draw_pictures(
    folder: Path, count: int = 4, size: tuple[int, int] = (64, 64), captions: list[str] = CAPTIONS
) -> Path:
    """Pictures whose left and right, top and bottom differ, with captions in .txt files."""
    folder.mkdir(parents=True)
    for number in range(count):
        draw = random.Random(f"{folder.name} {number}")
        across = np.linspace(draw.randrange(128), 255, size[0])[None, :, None]
        down = np.linspace(draw.randrange(128), 255, size[1])[:, None, None]
        colour = np.array([draw.random() for _ in range(3)])
        pixels = (across * colour + down * (1 - colour)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        (folder / f"{number:03d}.txt").write_text(captions[number % len(captions)])
    return folder


def settings_for(folder: Path, **values: Any) -> TrainSettings:
    """Settings for a short training on the tiny model with the pictures in `folder`."""
    least = {
        "pretrained_model_name_or_path": TINY_SD15, "output_dir": folder / "out",
        "resolution": 64, "min_bucket_reso": 64, "max_bucket_reso": 128, "network_dim": 2,
        "optimizer_type": "AdamW", "learning_rate": 1e-2, "max_train_steps": 1,
        "train_batch_size": 2, "save_precision": "float", "lr_scheduler": "constant",
    }  # fmt: skip
    if "dataset_config" not in values:
        least["train_data_dir"] = folder / "pictures"
    return read_train_settings({**least, **values})[0]


def plan_for(folder: Path, **values: Any) -> Plan:
    """The plan of such a training."""
    return make_plan(settings_for(folder, **values))


def watch_training(folder: Path, **values: Any) -> Watched:
    """Train with the given settings; the cache lies in `folder` too."""
    seen = Watched()
    settings = settings_for(folder, **values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start, "CACHE_FOLDER", folder / "cache")
        patch.setattr(progress, "SECONDS_BETWEEN_REPORTS", 0.0)
        _spy_on_steps(patch, seen)
        _spy_on_captions(patch, seen)
        _spy_on_run(patch, seen)
        seen.path = start.train(settings, seen.events.append, Control())
    return seen


def _spy_on_steps(patch: pytest.MonkeyPatch, seen: Watched) -> None:
    draw_noise, denoising_loss = loop.draw_noise, loop.denoising_loss
    states = []

    def draw(*arguments):
        states.append(torch.get_rng_state())
        return draw_noise(*arguments)

    def loss(unet, schedule, settings, latents, conditioning, noise, weights, masks, **more):
        passed = {}
        hook = unet.register_forward_hook(
            lambda module, arguments, output: passed.update(
                noisy=arguments[0].detach().clone(), prediction=output.sample.detach().clone()
            )
        )
        result = denoising_loss(
            unet, schedule, settings, latents, conditioning, noise, weights, masks, **more
        )
        hook.remove()
        seen.steps.append(
            Step(
                latents=latents.clone(),
                text=conditioning["encoder_hidden_states"].detach().clone(),
                noise=noise.noise.clone(),
                noise_for_input=noise.noise_for_input.clone(),
                timesteps=noise.timesteps.clone(),
                loss_weights=weights.clone(),
                masks=masks,
                per_sample=result.per_sample.detach().clone(),
                v_prediction=more["v_prediction"],
                generator_state=states[-1],
                **passed,
            )
        )
        return result

    patch.setattr(loop, "draw_noise", draw)
    patch.setattr(loop, "denoising_loss", loss)


def _spy_on_captions(patch: pytest.MonkeyPatch, seen: Watched) -> None:
    encode = CaptionEncoder.encode

    def spy(encoder, captions):
        seen.captions.append(list(captions))
        return encode(encoder, captions)

    patch.setattr(CaptionEncoder, "encode", spy)


def _spy_on_run(patch: pytest.MonkeyPatch, seen: Watched) -> None:
    run_loop = start.run_loop

    def spy(run):
        seen.run = run
        state = run.network.state_dict_for_file()
        seen.first_weights = {key: tensor.clone() for key, tensor in state.items()}
        fetch = run.latents.fetch

        def fetch_seen(batch, upcoming=None):
            tensors = fetch(batch, upcoming)
            seen.batches.append((batch, tensors))
            return tensors

        run.latents.fetch = fetch_seen
        return run_loop(run)

    patch.setattr(start, "run_loop", spy)
