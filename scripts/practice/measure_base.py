"""Measure the practice model: does it draw what prompts say that it was never trained on?

python -m scripts.practice.measure_base [FILE]      shares right at guidance 3, 20 steps
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from scripts.practice.caption_tokens import CaptionTokens
from scripts.practice.draw import SIZE, Scene, held_out_scenes, kind_of, sample_scenes
from scripts.practice.judge import shows_scene
from scripts.practice.original_layout import read_single_file
from scripts.practice.tiny_models import LATENT_SCALE
from scripts.training.samplers import create_scheduler, sampler_named
from scripts.training.sampling import decode, draw_start_noise, sample_latents

BASE_FILE = Path(__file__).parent / "base.safetensors"
BATCH = 25


@dataclass(frozen=True)
class Score:
    """Right and asked pictures of each kind of figure."""

    right: dict[str, int]
    asked: dict[str, int]

    @property
    def share(self) -> float:
        return sum(self.right.values()) / sum(self.asked.values())

    def __str__(self) -> str:
        kinds = ", ".join(
            f"{kind} {self.right.get(kind, 0)} of {asked}" for kind, asked in self.asked.items()
        )
        return f"{self.share:.1%} right ({kinds})"


@torch.no_grad()
def render(
    models: nn.ModuleDict, prompts: list[str], seed: int, steps: int = 20, guidance: float = 3.0
) -> np.ndarray:
    """Pictures for prompts, the seed counting up: (prompts, 64, 64, 3) uint8.

    ``models`` holds ``vae``, ``unet`` and ``text_encoder``.
    """
    tokens = CaptionTokens()
    encode = models["text_encoder"]
    no_words = encode(tokens.encode([""])).last_hidden_state
    noise, _ = draw_start_noise(range(seed, seed + len(prompts)), SIZE, SIZE)
    pictures = []
    for start in range(0, len(prompts), BATCH):
        some = slice(start, start + BATCH)
        words = encode(tokens.encode(prompts[some])).last_hidden_state
        latents = sample_latents(
            models["unet"],
            create_scheduler(sampler_named("ddim")),
            {"encoder_hidden_states": words},
            {"encoder_hidden_states": no_words.expand_as(words)},
            noise[some],
            steps,
            guidance,
        )
        pictures.append(decode(models["vae"], latents, LATENT_SCALE))
    return np.concatenate(pictures)


def held_out_sample(count: int, seed: int) -> list[Scene]:
    """Scenes kept from training, the kinds in fixed shares."""
    shares = {"plain": 0.4, "inset": 0.4, "banded": 0.2}
    return sample_scenes(held_out_scenes(), count, np.random.default_rng(seed), shares)


def measure(models: nn.ModuleDict, count: int = 200, seed: int = 5, guidance: float = 3.0) -> Score:
    """Share of held-out prompts whose figure, colours and background all come out right."""
    scenes = held_out_sample(count, seed)
    pictures = render(models, [scene.caption for scene in scenes], seed, guidance=guidance)
    right = [
        kind_of(scene.figure)
        for scene, picture in zip(scenes, pictures, strict=True)
        if shows_scene(picture, scene)
    ]
    return Score(dict(Counter(right)), dict(Counter(kind_of(scene.figure) for scene in scenes)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the practice model.")
    parser.add_argument("file", type=Path, nargs="?", default=BASE_FILE)
    parser.add_argument("--count", type=int, default=200, help="number of prompts")
    options = parser.parse_args()
    print(measure(read_single_file(options.file), options.count))


if __name__ == "__main__":
    main()
