"""Folders of seeded pictures with captions, for tests."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image, ImageDraw


def draw_pictures(
    folder: Path, sizes: list[tuple[int, int]], captions: list[str | None], seed: int = 0
) -> Path:
    """Fill `folder` with seeded pictures 000.png, ... and their caption files (None: no file)."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    for number, (size, caption) in enumerate(zip(sizes, captions, strict=True)):
        picture = Image.new("RGB", size, tuple(draw.randrange(256) for _ in range(3)))
        box = [size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2]
        ImageDraw.Draw(picture).ellipse(box, fill=tuple(draw.randrange(256) for _ in range(3)))
        picture.save(folder / f"{number:03d}.png")
        if caption is not None:
            (folder / f"{number:03d}.txt").write_text(caption, encoding="utf-8")
    return folder
