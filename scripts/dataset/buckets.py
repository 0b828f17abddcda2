"""Which shape a picture is trained in: bucket sizes, resizing, cropping. Pure arithmetic.

A bucket is a width and a height in pixels. A picture is resized until it covers its bucket and
what sticks out is cut off. The arithmetic is that of sd-scripts, so that buckets, counts and the
sizes told to SDXL are the same here and there.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

Size = tuple[int, int]  # (width, height) in pixels


@dataclass(frozen=True)
class BucketChoice:
    """The bucket of a picture.

    `resized` is the size that covers the bucket before cropping; `ratio_error` the bucket's
    width/height minus the picture's.
    """

    bucket: Size
    resized: Size
    ratio_error: float

    @property
    def usable(self) -> bool:
        """False when the picture is smaller than one step of the bucket sizes."""
        return min(self.bucket) > 0


def bucket_sizes(resolution: Size, shortest: int, longest: int, step: int) -> list[Size]:
    """All bucket sizes whose area is at most that of `resolution`, sorted.

    Widths go from `shortest` to `longest` by `step`; height = floor(area / width / step) * step,
    at most `longest`, kept when at least `shortest`; each also transposed; plus the square.
    """
    area = resolution[0] * resolution[1]
    square = int(math.sqrt(area) // step) * step
    sizes = {(square, square)}
    for width in range(shortest, longest + 1, step):
        height = min(longest, area // width // step * step)
        if height >= shortest:
            sizes |= {(width, height), (height, width)}
    return sorted(sizes)


def choose_bucket(size: Size, sizes: list[Size]) -> BucketChoice:
    """The bucket for a picture of `size`: its own size when there is one, else the nearest ratio.

    The picture is scaled, up or down, until it covers the bucket; sides round half up.
    """
    ratio = size[0] / size[1]
    bucket = size if size in sizes else min(sizes, key=lambda s: abs(s[0] / s[1] - ratio))
    bucket_ratio = bucket[0] / bucket[1]
    scale = bucket[1] / size[1] if ratio > bucket_ratio else bucket[0] / size[0]
    resized = (int(size[0] * scale + 0.5), int(size[1] * scale + 0.5))
    return BucketChoice(bucket, resized, bucket_ratio - ratio)


def choose_bucket_without_enlarging(size: Size, resolution: Size, step: int) -> BucketChoice:
    """The bucket for a picture that may only shrink: its own size, rounded down to `step`.

    A picture whose area is above that of `resolution` shrinks to that area first, with the
    rounding of one side chosen that changes its ratio least.
    """
    ratio = size[0] / size[1]
    area = resolution[0] * resolution[1]
    resized = _shrink_to_area(ratio, area, step) if size[0] * size[1] > area else size
    bucket = (resized[0] // step * step, resized[1] // step * step)
    bucket_ratio = bucket[0] / bucket[1] if bucket[1] else math.inf
    return BucketChoice(bucket, resized, bucket_ratio - ratio)


def _shrink_to_area(ratio: float, area: int, step: int) -> Size:
    width = math.sqrt(area * ratio)
    height = area / width
    by_width = _round_to_step(width, step)
    by_height = _round_to_step(height, step)
    if by_width == 0 or by_height == 0:  # a strip thinner than one step
        return max(by_width, 1), max(by_height, 1)
    height_of_width = _round_to_step(by_width / ratio, step)
    width_of_height = _round_to_step(by_height * ratio, step)
    ratio_by_width = by_width / height_of_width if height_of_width else math.inf
    if abs(ratio_by_width - ratio) < abs(width_of_height / by_height - ratio):
        return by_width, int(by_width / ratio + 0.5)
    return int(by_height * ratio + 0.5), by_height


def _round_to_step(value: float, step: int) -> int:
    return int(value + 0.5) // step * step


def centre_crop(resized: Size, bucket: Size) -> Size:
    """Left and top, in pixels of the resized picture, of a crop of `bucket` from its middle."""
    return max(0, (resized[0] - bucket[0]) // 2), max(0, (resized[1] - bucket[1]) // 2)


def crop_place(resized: Size, bucket: Size, crop: int) -> Size:
    """Left and top of crop number `crop`: 0 is the middle, every other number a random place.

    The place depends on the sizes and the number alone, so that a cached crop can be found again.
    """
    if crop == 0:
        return centre_crop(resized, bucket)
    draw = random.Random(f"crop {resized} {bucket} {crop}")
    return tuple(draw.randint(0, max(0, r - b)) for r, b in zip(resized, bucket, strict=True))


def sdxl_crop_box(bucket: Size, size: Size) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the crop as SDXL is told it, in pixels of the bucket.

    sd-scripts fits the picture of `size` inside the bucket for this, whatever was really cut
    off; LoRAs are trained and used with these numbers, so they are kept.
    """
    ratio = size[0] / size[1]
    if bucket[0] / bucket[1] > ratio:
        width, height = bucket[1] * ratio, float(bucket[1])
    else:
        width, height = float(bucket[0]), bucket[0] / ratio
    left = (bucket[0] - width) // 2
    top = (bucket[1] - height) // 2
    return left, top, left + width, top + height
