"""Find pictures that look alike: a 64-bit difference hash, and the distance of small copies.

The difference hash (dHash) says for an 8 x 8 grid whether it gets brighter to the right; pictures
that were scaled, saved anew or slightly recoloured differ in few bits. After Neal Krawetz, "Kind of
Like That", The Hacker Factor Blog, 2013. As flat pictures of any colour share a hash, the mean
difference of the small copies must be small too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

GRID = 8
MOST_BITS = 5  # of 64 that may differ
MOST_DIFFERENCE = 12.0  # mean of |difference| of the small copies, on a scale of 255
BITS_OF_BYTE = np.array([bin(value).count("1") for value in range(256)], dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Look:
    """What a picture looks like: `bits` (8,) bytes, `small` (8, 9, 3) bytes."""

    bits: np.ndarray
    small: np.ndarray


def look_of(picture: Image.Image) -> Look:
    """The look of an RGB picture of any size."""
    small = picture.resize((GRID + 1, GRID), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), dtype=np.int16)  # (8, 9)
    return Look(np.packbits(grey[:, 1:] > grey[:, :-1]), np.asarray(small))


def groups_that_look_alike(looks: Sequence[Look]) -> list[list[int]]:
    """The indices of pictures that look alike, in groups of at least two.

    A picture joins the group of the first one that it is like. Memory grows with the number of
    pictures, not with its square: one row of distances is held at a time.
    """
    if not looks:
        return []
    bits = np.stack([look.bits for look in looks])  # (pictures, 8)
    small = np.stack([look.small for look in looks]).astype(np.int16)  # (pictures, 8, 9, 3)
    free = np.ones(len(looks), dtype=bool)
    groups = []
    for index in range(len(looks)):
        if not free[index]:
            continue
        distance = BITS_OF_BYTE[bits[index] ^ bits].sum(axis=1)
        near = np.flatnonzero((distance <= MOST_BITS) & free)
        alike = [other for other in near.tolist() if other >= index
                 and np.abs(small[index] - small[other]).mean() <= MOST_DIFFERENCE]  # fmt: skip
        if len(alike) > 1:
            groups.append(alike)
            free[alike] = False
    return groups
