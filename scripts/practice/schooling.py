"""What both trainings of the practice model share: pictures, learning rate, checkpoints."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.practice.draw import (
    Scene,
    base_scenes,
    draw_scene,
    sample_scenes,
)

KIND_SHARES = {"plain": 0.35, "inset": 0.50, "banded": 0.15}


def drawn_pictures(count: int, seed: int) -> tuple[torch.Tensor, list[Scene]]:
    """Scenes the base is allowed to see, drawn.

    Returns: pictures (count, 3, 64, 64) uint8, and their scenes.
    """
    rng = np.random.default_rng(seed)
    scenes = sample_scenes(base_scenes(), count, rng, KIND_SHARES)
    pictures = np.stack([draw_scene(scene, rng) for scene in scenes])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous(), scenes


def to_signed(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 to float -1..1."""
    return pictures.float() / 127.5 - 1.0


def cosine_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Learning rate: a linear warm-up to ``peak``, then half a cosine down to a hundredth of it."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def plateau_rate(step: int, steps: int, falling: int, peak: float, warmup: int = 100) -> float:
    """Learning rate: a linear warm-up to ``peak``, which holds until the last ``falling`` steps.

    There it falls linearly to a hundredth. How long to train can so be decided late.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * min(1.0, max(0.01, (steps - step) / falling))


def generator_for(seed: int, step: int) -> torch.Generator:
    """The randomness of one step, the same whether or not the run was interrupted before it."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint beside its place, then rename it onto it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    torch.save(state, unfinished)
    os.replace(unfinished, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """The checkpoint, or None if there is none yet."""
    if not path.exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)
