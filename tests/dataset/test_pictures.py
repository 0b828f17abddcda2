"""Pictures of every kind end as upright RGB; damage is noticed from the file's ends."""

import struct
import zlib

import numpy as np
import pytest
from picture_files import draw_picture
from PIL import Image, ImageCms, features

from scripts.dataset.pictures import (
    UnreadablePicture,
    crop,
    mask_to_latent_size,
    open_picture,
    read_header,
    readable_endings,
    resize,
    to_array,
    vary_colours,
)

ENDINGS = ["jpg", "png", "webp", "bmp", "tif"] + (["avif"] if features.check("avif") else [])


def quarters(size=(96, 64)):
    """Red left, blue right, with a white top left corner."""
    image = Image.new("RGB", size, (255, 0, 0))
    image.paste((0, 0, 255), (size[0] // 2, 0, *size))
    image.paste((255, 255, 255), (0, 0, 16, 16))
    return image


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending != "bmp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8, 5])
def test_exif_rotation_is_applied_in_header_and_pixels(tmp_path, ending, orientation):
    upright = quarters()
    back = {
        1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270, 5: Image.Transpose.TRANSPOSE,
    }[orientation]  # fmt: skip
    stored = upright.transpose(back) if back is not None else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x.{ending}"
    stored.save(path, exif=exif, **({"quality": 95} if ending in ("jpg", "webp") else {}))
    assert read_header(path).size == (96, 64)
    rgb, alpha = open_picture(path)
    assert alpha is None and rgb.size == (96, 64)
    difference = np.abs(np.asarray(rgb, dtype=int) - np.asarray(upright, dtype=int))
    assert difference.mean() < 6


def saved(tmp_path, image, ending="png", **options):
    path = tmp_path / f"x.{ending}"
    image.save(path, **options)
    return path


def test_all_modes_become_rgb(tmp_path):
    grey = Image.linear_gradient("L").resize((32, 32))
    deep = Image.fromarray(np.asarray(grey, dtype=np.uint16) * 257)
    images = {
        "L": grey, "1": grey.convert("1"), "P": quarters((32, 32)).convert("P"),
        "I;16": deep, "LA": grey.convert("LA"), "RGBA": quarters((32, 32)).convert("RGBA"),
    }  # fmt: skip
    for mode, image in images.items():
        path = saved(tmp_path, image)
        with Image.open(path) as opened:
            assert opened.mode == mode
        rgb, alpha = open_picture(path)
        expected = np.asarray((grey if mode == "I;16" else image).convert("RGB"), dtype=int)
        assert rgb.mode == "RGB" and (alpha is not None) == (mode in ("LA", "RGBA"))
        assert np.abs(np.asarray(rgb, dtype=int) - expected).max() <= 1
    cmyk = saved(tmp_path, quarters((32, 32)).convert("CMYK"), "jpg", quality=100)
    pixels = np.asarray(open_picture(cmyk)[0], dtype=int)
    assert np.abs(pixels - np.asarray(quarters((32, 32)), dtype=int)).mean() < 12
    floats = Image.fromarray(np.asarray(grey, dtype=np.float32) / 255)
    rgb, _ = open_picture(saved(tmp_path, floats, "tif"))
    assert np.abs(np.asarray(rgb.convert("L"), dtype=int) - np.asarray(grey, dtype=int)).max() <= 1


def test_transparency_goes_onto_white(tmp_path):
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    rgb, alpha = open_picture(saved(tmp_path, half))
    assert rgb.getpixel((0, 0)) == (127, 127, 127) and alpha.getpixel((0, 0)) == 128
    assert read_header(tmp_path / "x.png").has_alpha
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    rgb, alpha = open_picture(saved(tmp_path, palette, transparency=1))
    assert rgb.getpixel((0, 0)) == (255, 255, 255) and alpha.getpixel((0, 0)) == 0
    assert read_header(tmp_path / "x.png").has_alpha
    key = Image.new("RGB", (8, 8), (1, 2, 3))
    rgb, _ = open_picture(saved(tmp_path, key, transparency=(1, 2, 3)))
    assert rgb.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.95])
def test_half_pictures_are_noticed_at_the_header(tmp_path, ending, keep):
    noise = Image.effect_noise((200, 200), 80).convert("RGB")
    path = saved(tmp_path, noise, ending)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(UnreadablePicture) as caught:
        read_header(path)
    assert ("0 bytes" in str(caught.value)) == (keep == 0.0)


def test_a_cut_jpeg_with_a_thumbnail_inside_is_noticed(tmp_path):
    thumbnail = saved(tmp_path, quarters((16, 16)), "jpg").read_bytes()
    exif = Image.Exif()
    exif[0x010E] = "x"
    path = saved(tmp_path, quarters(), "jpg", exif=exif.tobytes() + thumbnail)
    data = path.read_bytes()
    assert data.count(b"\xff\xd9") == 2
    path.write_bytes(data[:-40])
    with pytest.raises(UnreadablePicture, match="half"):
        read_header(path)


def test_bytes_after_the_end_do_no_harm(tmp_path):
    for ending in ("jpg", "png"):
        path = saved(tmp_path, quarters(), ending)
        path.write_bytes(path.read_bytes() + b"camera data" * 20)
        assert read_header(path).size == (96, 64)


@pytest.mark.parametrize("data", [b"hello, I am text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_said(tmp_path, data):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(UnreadablePicture, match=r"damaged|half"):
        read_header(path)
    with pytest.raises(UnreadablePicture):
        open_picture(path)


def test_absurd_sizes_are_refused_before_decoding(tmp_path):
    path = saved(tmp_path, Image.new("L", (8, 8)))
    data = bytearray(path.read_bytes())
    header = b"IHDR" + struct.pack(">II", 30000, 30000) + data[24:29]
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    with pytest.raises(UnreadablePicture, match="more pixels"):
        read_header(path)


def test_a_file_may_bear_the_wrong_ending(tmp_path):
    draw_picture(tmp_path / "x.png").rename(tmp_path / "x.jpg")
    assert read_header(tmp_path / "x.jpg").size == (64, 64)


def test_endings():
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp"} <= readable_endings()
    assert (".avif" in readable_endings()) == features.check("avif")


def test_shrinking_averages_areas_and_enlarging_does_not(tmp_path):
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    small = np.asarray(resize(Image.fromarray(pixels), (24, 16)), dtype=float)
    expected = pixels.reshape(16, 4, 24, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - expected).max() <= 1
    step = Image.new("L", (8, 8), 100)
    step.paste(200, (4, 0, 8, 8))
    large = np.asarray(resize(step, (32, 32)), dtype=int)
    assert large.max() > 200 and large.min() < 100  # Lanczos overshoots at an edge


def test_array_and_mask_values():
    image = Image.new("RGB", (16, 8), (0, 255, 51))
    array = to_array(image)
    assert array.shape == (3, 8, 16) and array.dtype == np.uint8
    assert array[:, 0, 0].tolist() == [0, 255, 51]
    mask = Image.new("L", (16, 8), 0)
    mask.paste(255, (0, 0, 8, 4))
    np.testing.assert_allclose(mask_to_latent_size(mask), [[[0.5, 0.0]]])
    assert crop(image, (3, 1), (8, 4)).size == (8, 4)


def test_colour_variation_is_small_repeatable_and_happens_a_third_of_the_time():
    image = Image.merge("RGB", [Image.new("L", (8, 8), level) for level in (200, 90, 60)])
    results = [vary_colours(image, str(number)) for number in range(300)]
    changed = [result for result in results if result.tobytes() != image.tobytes()]
    assert 60 < len(changed) <= 140
    assert vary_colours(image, "7").tobytes() == results[7].tobytes()
    for result in changed:
        difference = np.asarray(result, dtype=int) - np.asarray(image, dtype=int)
        assert np.abs(difference).max() <= 70  # 16 degrees of hue are 68 of 255


def test_icc_profiles_do_no_harm(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = saved(tmp_path, quarters(), icc_profile=profile)
    assert open_picture(path)[0].tobytes() == quarters().tobytes()
