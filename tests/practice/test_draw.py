"""The drawn scenes: sizes, colours, captions, and that the concept is in none of the base's."""

from __future__ import annotations

import numpy as np
from PIL import Image

from scripts.practice.draw import (
    COLOURS,
    CONCEPT,
    CONCEPT_BACKGROUNDS,
    Figure,
    Placement,
    Scene,
    all_figures,
    all_scenes,
    base_scenes,
    draw_practice_set,
    draw_scene,
    held_out_scenes,
    masks,
    sample_scenes,
)


def test_captions_name_all_there_is():
    plain = Scene(Figure("circle", "red"), "blue")
    inset = Scene(Figure("square", "green", "heart", "white"), "yellow")
    banded = Scene(Figure("circle", "blue", "band", "white"), "gray")
    assert plain.caption == "a red circle, blue background"
    assert inset.caption == "a white heart in a green square, yellow background"
    assert banded.caption == "a blue circle with a white band, gray background"


def test_the_base_never_sees_the_concept():
    assert CONCEPT in all_figures()
    assert all(scene.figure != CONCEPT for scene in all_scenes())
    assert all("yellow star in a purple circle" not in scene.caption for scene in base_scenes())


def test_the_base_knows_every_part_of_the_concept():
    figures = {scene.figure for scene in base_scenes()}
    assert Figure("star", "yellow") in figures
    assert Figure("circle", "purple") in figures
    assert any(f.shape == "circle" and f.part == "star" for f in figures)
    assert any(f.colour == "purple" and f.part_colour == "yellow" for f in figures)


def test_held_out_scenes_are_ordinary_and_apart():
    base, held_out = set(base_scenes()), set(held_out_scenes())
    assert not base & held_out
    assert base | held_out == set(all_scenes())
    assert 0.05 < len(held_out) / len(all_scenes()) < 0.12


def test_no_figure_has_the_colour_of_its_background():
    for scene in all_scenes():
        colours = (*scene.figure.colours, scene.background)
        assert len(set(colours)) == len(colours)


def test_a_scene_is_drawn_in_the_palette():
    picture = draw_scene(Scene(CONCEPT, "green"))
    assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
    assert tuple(picture[0, 0]) == COLOURS["green"]
    assert tuple(picture[32, 32]) == COLOURS["yellow"]
    assert tuple(picture[32, 10]) == COLOURS["purple"]


def test_areas_are_those_of_geometry():
    size = 20.0
    circle, _ = masks(Figure("circle", "red"), Placement(size=size))
    square, _ = masks(Figure("square", "red"), Placement(size=size))
    ring, _ = masks(Figure("ring", "red"), Placement(size=size))
    assert abs(circle.sum() - np.pi * size**2) < 0.03 * np.pi * size**2
    assert abs(square.sum() - (1.8 * size) ** 2) < 0.03 * (1.8 * size) ** 2
    assert abs(ring.sum() / circle.sum() - 0.75) < 0.03  # its hole has half the radius


def test_a_seed_draws_the_same_picture():
    scene = base_scenes()[100]
    first = draw_scene(scene, np.random.default_rng(3))
    again = draw_scene(scene, np.random.default_rng(3))
    other = draw_scene(scene, np.random.default_rng(4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_sampled_scenes_keep_their_shares():
    shares = {"plain": 0.5, "inset": 0.5}
    scenes = sample_scenes(base_scenes(), 400, np.random.default_rng(0), shares)
    plain = sum(scene.figure.part is None for scene in scenes)
    assert 160 < plain < 240
    assert all(scene.figure.part != "band" for scene in scenes)


def test_the_practice_set_is_a_kohya_folder(tmp_path):
    folder = draw_practice_set(tmp_path, count=18, repeats=10)
    assert folder == tmp_path / "10_zyx"
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == 18
    captions = [p.with_suffix(".txt").read_text(encoding="utf-8").strip() for p in pictures]
    assert set(captions) == {f"zyx, {ground} background" for ground in CONCEPT_BACKGROUNDS}
    assert len(CONCEPT_BACKGROUNDS) >= 6
    assert Image.open(pictures[0]).size == (64, 64)
