"""Draw the small picture files that the tests of the data set use."""

from pathlib import Path

from PIL import Image


def draw_picture(path: Path, size=(64, 64), colour=(200, 30, 60)) -> Path:
    """A picture with a horizontal ramp in it, so that mirrored and cropped ones differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, colour)
    ramp = Image.linear_gradient("L").rotate(90).resize(size)
    Image.merge("RGB", (ramp, *image.split()[1:])).save(path)
    return path
