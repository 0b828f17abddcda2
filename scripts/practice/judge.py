"""Say what a 64 x 64 picture shows: the measured criterion of the practice bake.

How: every pixel gets the name of the nearest of the eight colours. The background is what the
frame of the picture mostly is; the rest is the figure. Its outline is compared with each shape of
the same area and centre; the best overlap (intersection over union) wins. If a second colour fills
at least a tenth of the inside, it is the second part and is compared in the same way.

    reading = read_picture(picture)       what it shows, and how well the outlines fit
    shows_concept(picture)                a yellow star in a purple circle, on any background
    shows_scene(picture, scene)           this figure, in these colours, on this background

A picture with a poor fit counts as neither. Uses numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from scripts.practice.draw import (
    BAND,
    COLOURS,
    CONCEPT,
    HOSTS,
    INSETS,
    SHAPES,
    SIZE,
    Figure,
    Placement,
    Scene,
    masks,
)

FRAME = 3  # pixels at each edge that tell the background
MINIMUM_FIT = 0.74  # overlap of the figure's outline with its shape's
MINIMUM_PART_FIT = 0.62  # the same for the second part, which is smaller
SECOND_COLOUR_SHARE = 0.10  # of the figure's inside; the smallest part drawn fills 0.2
MINIMUM_AREA, MAXIMUM_AREA = 250, 3000  # pixels of a figure; drawn ones have 700 to 2400

_NAMES = tuple(COLOURS)
_PALETTE = np.array([COLOURS[name] for name in _NAMES], dtype=np.float32)  # (8, 3)


@dataclass(frozen=True)
class Reading:
    """What a picture seems to show; ``figure`` is None where nothing of a sensible size is there.

    ``fit`` and ``part_fit`` are overlaps from 0 to 1; ``part_fit`` is 1 for a plain figure.
    """

    background: str
    figure: Figure | None
    fit: float = 0.0
    part_fit: float = 0.0

    @property
    def clear(self) -> bool:
        """True where the outlines fit well enough to trust the reading."""
        return (
            self.figure is not None
            and self.fit >= MINIMUM_FIT
            and self.part_fit >= MINIMUM_PART_FIT
        )


def read_picture(picture: np.ndarray) -> Reading:
    """Read a picture of (64, 64, 3), 0 to 255.

    Raises ValueError if it has another shape.
    """
    if picture.shape != (SIZE, SIZE, 3):
        raise ValueError(f"a picture of shape (64, 64, 3) is wanted, this one has {picture.shape}")
    distances = np.linalg.norm(
        np.asarray(picture, dtype=np.float32)[:, :, None, :] - _PALETTE, axis=3
    )  # (64, 64, 8)
    labels = distances.argmin(axis=2)
    ground = _most_common(labels[_frame()])
    whole = _without_specks(labels != ground)
    if not MINIMUM_AREA <= whole.sum() <= MAXIMUM_AREA:
        return Reading(_NAMES[ground], None)
    shape, fit = _best_shape(whole, SHAPES)
    inside = _eroded(whole, 1)
    counts = np.bincount(labels[inside], minlength=len(_NAMES))
    counts[ground] = 0
    first, second = counts.argsort()[::-1][:2]
    if shape not in HOSTS or counts[second] < SECOND_COLOUR_SHARE * max(1, inside.sum()):
        return Reading(_NAMES[ground], Figure(shape, _NAMES[first]), fit, 1.0)
    return _two_parts(_NAMES[ground], shape, fit, whole, labels, distances, (first, second))


def shows_concept(picture: np.ndarray) -> bool:
    """True for a clear picture of the practice concept, whatever the background."""
    reading = read_picture(picture)
    return reading.clear and reading.figure == CONCEPT


def shows_scene(picture: np.ndarray, scene: Scene) -> bool:
    """True for a clear picture of this figure in its colours on this background."""
    reading = read_picture(picture)
    return (
        reading.clear and reading.figure == scene.figure and reading.background == scene.background
    )


def _two_parts(
    background: str,
    shape: str,
    fit: float,
    whole: np.ndarray,
    labels: np.ndarray,
    distances: np.ndarray,
    colours: tuple[int, int],
) -> Reading:
    """The host is the colour that makes the figure's rim; the other one is the part."""
    rim = labels[whole & ~_eroded(whole, 3)]
    host, part = sorted(colours, key=lambda colour: -(rim == colour).sum())
    nearer = distances[:, :, part] < distances[:, :, host]
    region = _without_specks(nearer & _eroded(whole, 1))
    name, part_fit = _best_shape(region, (*INSETS, f"{BAND}:{shape}"))
    figure = Figure(shape, _NAMES[host], name.partition(":")[0], _NAMES[part])
    return Reading(background, figure, fit, part_fit)


def _best_shape(region: np.ndarray, names: tuple[str, ...]) -> tuple[str, float]:
    """The shape whose outline overlaps best with the region, and its overlap.

    The region is moved so that its centre of mass lies in the middle; templates are tried in
    sizes around the one of equal area, and a pixel to each side.
    """
    area = int(region.sum())
    if area == 0:
        return names[0], 0.0
    rows, columns = np.nonzero(region)
    moved = np.roll(
        region,
        (round(SIZE / 2 - 0.5 - rows.mean()), round(SIZE / 2 - 0.5 - columns.mean())),
        axis=(0, 1),
    )
    shifts = [np.roll(moved, (dy, dx), axis=(0, 1)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    stack = np.stack(shifts).reshape(9, -1).astype(np.float32)
    best, overlap = names[0], 0.0
    for name in names:
        templates, areas = _templates(name)
        middle = int(np.abs(areas - area).argmin())
        few = slice(max(0, middle - 2), middle + 3)
        common = stack @ templates[few].T  # (9, sizes)
        union = area + areas[few][None, :] - common
        if (score := float((common / union).max())) > overlap:
            best, overlap = name, score
    return best, overlap


@cache
def _templates(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Outlines of one shape in rising sizes, each centred on its centre of mass.

    ``name`` is a shape, or ``band:circle``, the band of that host.
    Returns: (sizes, 64 * 64) of 0 and 1, and their areas (sizes,).
    """
    kind, _, host = name.partition(":")
    rows = []
    for size in np.arange(7.0, 31.0, 0.5):
        figure = Figure(host, "red", BAND, "blue") if host else Figure(kind, "red")
        whole, part = masks(figure, Placement(size=float(size)))
        solid = (part if host else whole) >= 0.5
        ys, xs = np.nonzero(solid)
        dy, dx = round(SIZE / 2 - 0.5 - ys.mean()), round(SIZE / 2 - 0.5 - xs.mean())
        rows.append(np.roll(solid, (dy, dx), axis=(0, 1)).reshape(-1))
    stack = np.stack(rows).astype(np.float32)
    return stack, stack.sum(axis=1)


@cache
def _frame() -> np.ndarray:
    frame = np.ones((SIZE, SIZE), dtype=bool)
    frame[FRAME:-FRAME, FRAME:-FRAME] = False
    return frame


def _most_common(labels: np.ndarray) -> int:
    return int(np.bincount(labels, minlength=len(_NAMES)).argmax())


def _neighbours(mask: np.ndarray) -> np.ndarray:
    """How many of the 3 x 3 pixels around each are set, itself included; none beyond the edge."""
    wide = np.pad(mask.astype(np.int8), 1)
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """Majority of 3 x 3: drops single pixels, fills single holes."""
    return _neighbours(mask) >= 5


def _eroded(mask: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        mask = _neighbours(mask) == 9
    return mask
