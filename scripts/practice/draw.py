"""Draw the little scenes that the practice model knows, and the pictures of the practice bake.

A scene is one figure on a plain background, 64 x 64 pixels, with a caption that names all of it:

    a red circle, blue background                        (plain)
    a white heart in a green square, yellow background   (inset: one shape inside another)
    a blue circle with a white band, gray background     (banded)

The concept behind the trigger word ``zyx`` is a yellow star in a purple circle. The base model sees
yellow stars, purple circles, stars in circles of other colours, and other yellow things in purple
circles, but never this one combination.

    python -m scripts.practice.draw FOLDER      draws the training pictures of the practice bake
"""

from __future__ import annotations

import argparse
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 64  # pixels, both ways
OVERSAMPLING = 4  # drawn this much larger, then averaged: smooth edges

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (216, 36, 40),
    "yellow": (248, 214, 36),
    "green": (36, 160, 68),
    "blue": (40, 84, 216),
    "purple": (150, 48, 184),
    "white": (248, 248, 248),
    "black": (20, 20, 20),
    "gray": (128, 128, 128),
}
FIGURE_COLOURS = ("red", "yellow", "green", "blue", "purple", "white", "black")
BACKGROUND_COLOURS = tuple(COLOURS)

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "heart")
HOSTS = ("circle", "square")  # shapes with room for another one, or for a band
INSETS = ("circle", "square", "triangle", "star", "cross", "heart")
BAND = "band"

INSET_SCALE = 0.66  # size of the inner shape relative to its host
BAND_HALF_HEIGHT = 0.30  # of the host's size; 14 to 16 pixels in all: finer stripes do not survive

TRIGGER = "zyx"


@dataclass(frozen=True)
class Figure:
    """A shape of one colour, with perhaps a second part: a smaller shape inside, or a band across.

    ``part`` is None for a plain figure, ``"band"``, or one of INSETS.
    """

    shape: str
    colour: str
    part: str | None = None
    part_colour: str | None = None

    @property
    def words(self) -> str:
        if self.part is None:
            return f"a {self.colour} {self.shape}"
        if self.part == BAND:
            return f"a {self.colour} {self.shape} with a {self.part_colour} band"
        return f"a {self.part_colour} {self.part} in a {self.colour} {self.shape}"

    @property
    def colours(self) -> tuple[str, ...]:
        return (self.colour,) if self.part_colour is None else (self.colour, self.part_colour)


@dataclass(frozen=True)
class Scene:
    """A figure on a background. Colours of the figure differ from each other and from it."""

    figure: Figure
    background: str

    @property
    def caption(self) -> str:
        return f"{self.figure.words}, {self.background} background"


@dataclass(frozen=True)
class Placement:
    """Where the figure lies: centre and size (half of its height, roughly) in pixels."""

    x: float = SIZE / 2
    y: float = SIZE / 2
    size: float = 24.0


CONCEPT = Figure("circle", "purple", "star", "yellow")
CONCEPT_BACKGROUNDS = ("red", "green", "blue", "white", "black", "gray")


def all_figures() -> list[Figure]:
    """Every figure of this world, the concept included."""
    figures = [Figure(shape, colour) for shape in SHAPES for colour in FIGURE_COLOURS]
    for host in HOSTS:
        for part in (*INSETS, BAND):
            figures += [
                Figure(host, colour, part, part_colour)
                for colour in FIGURE_COLOURS
                for part_colour in FIGURE_COLOURS
                if part_colour != colour
            ]
    return figures


def is_held_out(scene: Scene) -> bool:
    """True for about one ordinary scene in twelve, kept from training to measure the base on."""
    return zlib.crc32(scene.caption.encode()) % 12 == 0


def all_scenes() -> list[Scene]:
    """Every scene of the world, without the concept."""
    return [
        Scene(figure, background)
        for figure in all_figures()
        if figure != CONCEPT
        for background in BACKGROUND_COLOURS
        if background not in figure.colours
    ]


def base_scenes() -> list[Scene]:
    """The scenes that the base model is trained on."""
    return [scene for scene in all_scenes() if not is_held_out(scene)]


def held_out_scenes() -> list[Scene]:
    """The ordinary scenes that it never sees."""
    return [scene for scene in all_scenes() if is_held_out(scene)]


def kind_of(figure: Figure) -> str:
    """``plain``, ``inset`` or ``banded``."""
    if figure.part is None:
        return "plain"
    return "banded" if figure.part == BAND else "inset"


def sample_scenes(
    scenes: list[Scene], count: int, rng: np.random.Generator, shares: dict[str, float]
) -> list[Scene]:
    """Draw ``count`` scenes, the kinds in the given shares, evenly within a kind."""
    groups = {kind: [s for s in scenes if kind_of(s.figure) == kind] for kind in shares}
    kinds = rng.choice(list(shares), size=count, p=list(shares.values()))
    return [groups[kind][rng.integers(len(groups[kind]))] for kind in kinds]


def sample_placement(rng: np.random.Generator, figure: Figure) -> Placement:
    """A figure near the middle; those of two parts a little larger."""
    low, high = (21.0, 25.5) if figure.part is None else (24.0, 27.0)
    x, y = SIZE / 2 + rng.uniform(-3, 3, size=2)
    return Placement(float(x), float(y), rng.uniform(low, high))


# Outlines in units of the figure's size, y downwards, centred on its middle.


def _star_outline() -> list[tuple[float, float]]:
    points = []
    for corner in range(10):
        radius = 1.2 if corner % 2 == 0 else 0.52
        angle = -math.pi / 2 + corner * math.pi / 5
        points.append((radius * math.cos(angle), 0.06 + radius * math.sin(angle)))
    return points


def _heart_outline() -> list[tuple[float, float]]:
    """The parametric heart x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, scaled."""
    points = []
    for step in range(72):
        t = 2 * math.pi * step / 72
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((x / 15.0, -(y + 2.5) / 15.0))
    return points


def _cross_outline() -> list[tuple[float, float]]:
    arm, half = 1.05, 0.36
    quarter = [(half, -arm), (half, -half), (arm, -half)]
    points = []
    for turn in range(4):
        c, s = round(math.cos(turn * math.pi / 2)), round(math.sin(turn * math.pi / 2))
        points += [(c * x - s * y, s * x + c * y) for x, y in quarter]
    return points


_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "triangle": [(0.0, -1.1), (1.1, 0.85), (-1.1, 0.85)],
    "star": _star_outline(),
    "cross": _cross_outline(),
    "heart": _heart_outline(),
}
_RING_HOLE = 0.5


def _paint(draw: ImageDraw.ImageDraw, shape: str, place: Placement, scale: float, ink: int) -> None:
    size = place.size * scale * OVERSAMPLING
    x, y = place.x * OVERSAMPLING, place.y * OVERSAMPLING
    if shape in ("circle", "ring"):
        draw.ellipse((x - size, y - size, x + size, y + size), fill=ink)
        if shape == "ring":
            hole = size * _RING_HOLE
            draw.ellipse((x - hole, y - hole, x + hole, y + hole), fill=0)
        return
    draw.polygon([(x + size * px, y + size * py) for px, py in _OUTLINES[shape]], fill=ink)


def _coverage(shape: str, place: Placement, scale: float = 1.0) -> np.ndarray:
    """How much of each pixel the shape covers, 0 to 1. Shape (64, 64)."""
    canvas = Image.new("L", (SIZE * OVERSAMPLING, SIZE * OVERSAMPLING), 0)
    _paint(ImageDraw.Draw(canvas), shape, place, scale, 255)
    cells = np.asarray(canvas, dtype=np.float32).reshape(SIZE, OVERSAMPLING, SIZE, OVERSAMPLING)
    return cells.mean(axis=(1, 3)) / 255.0


def masks(figure: Figure, place: Placement) -> tuple[np.ndarray, np.ndarray | None]:
    """Coverage of the figure as a whole and of its second part (None if it has none)."""
    whole = _coverage(figure.shape, place)
    if figure.part is None:
        return whole, None
    if figure.part == BAND:
        rows = np.arange(SIZE, dtype=np.float32) + 0.5
        inside = place.size * BAND_HALF_HEIGHT + 0.5 - np.abs(rows - place.y)
        return whole, whole * np.clip(inside, 0, 1)[:, None]
    return whole, np.minimum(_coverage(figure.part, place, INSET_SCALE), whole)


def draw_scene(
    scene: Scene, rng: np.random.Generator | None = None, place: Placement | None = None
) -> np.ndarray:
    """Draw a scene. With ``rng`` the place and the shades vary a little.

    Returns: (64, 64, 3) uint8.
    """
    if place is None:
        place = Placement() if rng is None else sample_placement(rng, scene.figure)
    whole, part = masks(scene.figure, place)

    def shade(name: str) -> np.ndarray:
        wobble = 0.0 if rng is None else rng.uniform(-6, 6, 3)
        return np.asarray(COLOURS[name], dtype=np.float32) + wobble

    picture = np.broadcast_to(shade(scene.background), (SIZE, SIZE, 3))
    picture = picture + whole[..., None] * (shade(scene.figure.colour) - picture)
    if part is not None:
        picture = picture + part[..., None] * (shade(scene.figure.part_colour) - picture)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def concept_scenes(count: int) -> list[Scene]:
    """The concept on its backgrounds, in turn."""
    grounds = CONCEPT_BACKGROUNDS
    return [Scene(CONCEPT, grounds[index % len(grounds)]) for index in range(count)]


def draw_practice_set(folder: Path, count: int = 18, repeats: int = 10, seed: int = 7) -> Path:
    """Draw the training pictures of the practice bake into ``folder/<repeats>_zyx``.

    Each picture ``zyx_01.png`` has a caption beside it, ``zyx_01.txt``: "zyx, red background".

    Returns: the sub-folder. Files of the same name there are replaced.
    """
    rng = np.random.default_rng(seed)
    target = Path(folder) / f"{repeats}_{TRIGGER}"
    target.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(concept_scenes(count), start=1):
        stem = target / f"{TRIGGER}_{number:02d}"
        Image.fromarray(draw_scene(scene, rng)).save(stem.with_suffix(".png"))
        caption = f"{TRIGGER}, {scene.background} background"
        stem.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pictures of the practice bake.")
    parser.add_argument("folder", type=Path, help="folder to draw into")
    parser.add_argument("--count", type=int, default=18, help="number of pictures")
    parser.add_argument("--repeats", type=int, default=10, help="repeats, put before the name")
    options = parser.parse_args()
    print(draw_practice_set(options.folder, options.count, options.repeats))


if __name__ == "__main__":
    main()
