"""The judge is right about drawn pictures, near misses and spoiled ones included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from scripts.practice.draw import (
    BACKGROUND_COLOURS,
    CONCEPT,
    FIGURE_COLOURS,
    INSETS,
    Figure,
    Scene,
    all_scenes,
    concept_scenes,
    draw_scene,
)
from scripts.practice.judge import read_picture, shows_concept, shows_scene


def spoiled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blurred and noisy, as pictures of a small model are."""
    soft = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(1.2))
    noisy = np.asarray(soft, dtype=np.float32) + rng.normal(0, 10, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def near_misses() -> list[Scene]:
    """The concept with one thing changed."""
    others = [replace(CONCEPT, part=part) for part in (*INSETS, "band") if part != CONCEPT.part]
    others += [replace(CONCEPT, colour=c) for c in FIGURE_COLOURS if c not in CONCEPT.colours]
    others += [replace(CONCEPT, part_colour=c) for c in FIGURE_COLOURS if c not in CONCEPT.colours]
    others += [
        replace(CONCEPT, shape="square"),
        Figure("circle", "yellow", "star", "purple"),
        Figure("star", "yellow"),
        Figure("circle", "purple"),
        Figure("ring", "purple"),
    ]
    return [
        Scene(figure, ground)
        for figure in others
        for ground in BACKGROUND_COLOURS
        if ground not in figure.colours
    ]


@pytest.mark.parametrize("spoil", [False, True])
def test_the_concept_is_seen(spoil):
    rng = np.random.default_rng(0)
    pictures = [draw_scene(scene, rng) for scene in concept_scenes(120)]
    if spoil:
        pictures = [spoiled(picture, rng) for picture in pictures]
    assert np.mean([shows_concept(picture) for picture in pictures]) >= 0.98


@pytest.mark.parametrize("spoil", [False, True])
def test_near_misses_are_not_the_concept(spoil):
    rng = np.random.default_rng(1)
    pictures = [draw_scene(scene, rng) for scene in near_misses()]
    if spoil:
        pictures = [spoiled(picture, rng) for picture in pictures]
    assert np.mean([shows_concept(picture) for picture in pictures]) <= 0.01


@pytest.mark.parametrize("spoil", [False, True])
def test_ordinary_scenes_are_read_right(spoil):
    rng = np.random.default_rng(2)
    scenes = all_scenes()
    some = [scenes[i] for i in rng.choice(len(scenes), 300, replace=False)]
    pictures = [draw_scene(scene, rng) for scene in some]
    if spoil:
        pictures = [spoiled(picture, rng) for picture in pictures]
    right = [shows_scene(p, scene) for p, scene in zip(pictures, some, strict=True)]
    assert np.mean(right) >= 0.98
    assert np.mean([shows_concept(picture) for picture in pictures]) <= 0.01


def test_another_caption_is_not_right():
    picture = draw_scene(Scene(Figure("circle", "red"), "blue"))
    assert shows_scene(picture, Scene(Figure("circle", "red"), "blue"))
    assert not shows_scene(picture, Scene(Figure("circle", "red"), "green"))
    assert not shows_scene(picture, Scene(Figure("circle", "green"), "blue"))
    assert not shows_scene(picture, Scene(Figure("square", "red"), "blue"))


def test_pictures_of_nothing_are_nothing():
    rng = np.random.default_rng(3)
    empty = np.full((64, 64, 3), 128, dtype=np.uint8)
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    halves = np.zeros((64, 64, 3), dtype=np.uint8)
    halves[:, 32:] = 255
    for picture in (empty, noise, halves):
        assert not read_picture(picture).clear
        assert not shows_concept(picture)


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(64, 64, 3\)"):
        read_picture(np.zeros((32, 32, 3), dtype=np.uint8))
