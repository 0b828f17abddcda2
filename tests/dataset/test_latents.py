"""Cached and fresh latents: right numbers, nothing encoded twice, nothing left behind."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from picture_files import draw_picture
from PIL import Image

from scripts.core.errors import Cancelled, SuiteError
from scripts.core.events import Control, Stage
from scripts.dataset import cached_latents, latent_store
from scripts.dataset.buckets import crop_place
from scripts.dataset.cache_folder import GUARD_NAME
from scripts.dataset.dataset import Batch, Dataset, Example
from scripts.dataset.latents import prepare_latents


@pytest.fixture
def prepare(tmp_path, vae):
    """Prepare latents with the mean VAE; the source is closed at the end of the test."""
    sources = []

    def run(settings, dataset=None, report=lambda event: None, control=None, **options):
        dataset = dataset or Dataset.from_settings(settings)
        source = prepare_latents(
            dataset, vae, options.pop("vae_key", "vae"), settings, tmp_path / "cache", report,
            control or Control(), **options,
        )  # fmt: skip
        sources.append(source)
        return source

    yield run
    for source in sources:
        source.close()


def expected_mean(path, flip=False, box=None):
    """The mean VAE's latents of a picture, computed with NumPy alone."""
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 127.5 - 1
    if box:
        pixels = pixels[box[1] : box[1] + 64, box[0] : box[0] + 64]
    if flip:
        pixels = pixels[:, ::-1]
    squares = pixels.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    return np.concatenate([squares, squares.mean(0, keepdims=True)])


def one(dataset, flip=False, crop=0, picture=0):
    item = dataset.pictures[picture]
    return Batch(item.bucket, (Example(item, "", flip, crop, 1.0),), 0)


@pytest.mark.parametrize("cache", [True, False])
def test_mean_std_and_sizes(tmp_path, make_settings, prepare, cache):
    path = draw_picture(tmp_path / "data/1_a/x.png")
    source = prepare(make_settings(cache_latents=cache))
    assert source.needs_vae is not cache
    tensors = source.fetch(one(source.dataset))
    np.testing.assert_allclose(tensors.mean[0], expected_mean(path), atol=1e-5)
    assert torch.equal(tensors.std, torch.full((1, 4, 8, 8), 0.25))
    assert tensors.mask is None
    assert tensors.original_hw.tolist() == tensors.target_hw.tolist() == [[64, 64]]


@pytest.mark.parametrize("cache", [True, False])
def test_flips_and_random_crops_are_variants(tmp_path, make_settings, prepare, cache):
    path = draw_picture(tmp_path / "data/1_a/x.png", size=(96, 64))
    settings = make_settings(
        cache_latents=cache, flip_aug=True, random_crop=True, enable_bucket=False
    )
    source = prepare(settings)
    places = set()
    for crop in range(1, 5):
        for flip in (False, True):
            mean = source.fetch(one(source.dataset, flip, crop)).mean[0]
            box = crop_place((96, 64), (64, 64), crop)
            np.testing.assert_allclose(mean, expected_mean(path, flip, box), atol=1e-5)
            places.add(box)
    assert len(places) > 1


@pytest.mark.parametrize("cache", [True, False])
def test_every_example_of_an_epoch_can_be_fetched(tmp_path, make_settings, prepare, cache):
    for number, size in enumerate([(64, 64), (200, 64), (64, 150), (90, 64)]):
        draw_picture(tmp_path / f"data/2_a/{number}.png", size=size)
    settings = make_settings(
        resolution=(96, 96), cache_latents=cache, flip_aug=True, random_crop=True,
        train_batch_size=3, color_aug=not cache,
    )  # fmt: skip
    source = prepare(settings)
    batches = source.dataset.epoch(1, 0, 1, 10)
    for batch, upcoming in zip(batches, [*batches[1:], None], strict=True):
        tensors = source.fetch(batch, upcoming)
        width, height = batch.bucket
        assert tensors.mean.shape == (len(batch.examples), 4, height // 8, width // 8)


def test_kept_cache_encodes_only_what_changed(tmp_path, make_settings, prepare, vae):
    paths = [draw_picture(tmp_path / f"data/1_a/{n}.png", colour=(0, n, 0)) for n in range(5)]
    settings = make_settings(cache_latents_to_disk=True)
    prepare(settings).close()
    assert vae.encoded == 5
    prepare(settings).close()
    assert vae.encoded == 5  # unchanged: nothing

    draw_picture(paths[0], colour=(0, 99, 0))
    source = prepare(settings)
    assert vae.encoded == 6  # one changed
    np.testing.assert_allclose(
        source.fetch(one(source.dataset)).mean[0], expected_mean(paths[0]), atol=1e-5
    )
    source.close()

    (tmp_path / "data/1_a").rename(tmp_path / "data/3_b")
    paths[1].parent.with_name("3_b").joinpath("1.png").rename(tmp_path / "data/3_b/moved.png")
    prepare(settings).close()
    assert vae.encoded == 6  # moved and renamed: nothing
    prepare(settings, vae_key="another").close()
    assert vae.encoded == 11  # another VAE: everything
    prepare(make_settings(cache_latents_to_disk=True, flip_aug=True)).close()
    assert vae.encoded == 16  # only the mirrored ones are new
    assert sorted(p.name for p in (tmp_path / "data").rglob("*.*")) == [
        "0.png", "2.png", "3.png", "4.png", "moved.png",
    ]  # nothing lands in the picture folder  # fmt: skip


def test_same_size_and_time_but_other_bytes_is_noticed(tmp_path, make_settings, prepare, vae):
    path = tmp_path / "data/1_a/x.bmp"
    draw_picture(path, colour=(0, 1, 0))
    stamp = path.stat()
    settings = make_settings(cache_latents_to_disk=True)
    prepare(settings).close()
    draw_picture(path, colour=(0, 200, 0))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert path.stat().st_size == stamp.st_size
    prepare(settings).close()
    assert vae.encoded == 2


def test_a_crash_keeps_what_was_encoded(tmp_path, make_settings, prepare, vae, monkeypatch):
    for number in range(40):
        draw_picture(tmp_path / f"data/1_a/{number:02}.png", colour=(0, number, 0))
    settings = make_settings(cache_latents_to_disk=True)
    monkeypatch.setattr(cached_latents, "ENCODED_PIXELS", 4 * 64 * 64)
    control = Control()

    def stop_after_20(event):
        if isinstance(event, Stage) and event.name == "Encoding the pictures" and event.done >= 20:
            control.stop()

    with pytest.raises(Cancelled):
        prepare(settings, report=stop_after_20, control=control)
    done = vae.encoded
    assert 20 <= done < 40
    # a killed process would also leave rows that the index does not know
    store = next((tmp_path / "cache/latents").glob("*.latents"))
    with store.open("ab") as file:
        file.write(b"half a row")
    source = prepare(settings)
    assert vae.encoded == 40
    for number in (0, done - 1, done, 39):
        path = source.dataset.pictures[number].path
        mean = source.fetch(one(source.dataset, picture=number)).mean[0]
        np.testing.assert_allclose(mean, expected_mean(path), atol=1e-5)


@pytest.mark.parametrize("damage", ["truncate rows", "index is not JSON", "rows are gone"])
def test_a_damaged_cache_is_made_anew(tmp_path, make_settings, prepare, vae, damage):
    for number in range(3):
        draw_picture(tmp_path / f"data/1_a/{number}.png", colour=(0, number, 0))
    settings = make_settings(cache_latents_to_disk=True)
    prepare(settings).close()
    rows = next((tmp_path / "cache/latents").glob("*.latents"))
    if damage == "truncate rows":
        os.truncate(rows, rows.stat().st_size - 100)
    elif damage == "rows are gone":
        rows.unlink()
    else:
        (tmp_path / "cache/latents/index.json").write_text("{", encoding="utf-8")
    source = prepare(settings)
    assert vae.encoded == (4 if damage == "truncate rows" else 6)
    for number, picture in enumerate(source.dataset.pictures):
        mean = source.fetch(one(source.dataset, picture=number)).mean[0]
        np.testing.assert_allclose(mean, expected_mean(picture.path), atol=1e-5)


def test_rows_of_deleted_pictures_are_dropped(tmp_path, make_settings, prepare, vae):
    paths = [draw_picture(tmp_path / f"data/1_a/{n}.png", colour=(0, n, 0)) for n in range(8)]
    settings = make_settings(cache_latents_to_disk=True)
    prepare(settings).close()
    row = latent_store.row_bytes((8, 8, 8))
    folder = tmp_path / "cache/latents"
    assert sum(p.stat().st_size for p in folder.glob("*.latents")) == 8 * row
    for path in paths[2:6]:
        path.unlink()
    source = prepare(settings)
    assert sum(p.stat().st_size for p in folder.glob("*.latents")) == 4 * row
    assert vae.encoded == 8
    for number, path in enumerate([*paths[:2], *paths[6:]]):
        mean = source.fetch(one(source.dataset, picture=number)).mean[0]
        np.testing.assert_allclose(mean, expected_mean(path), atol=1e-5)


def test_a_cache_for_one_run_is_removed(tmp_path, make_settings, prepare):
    draw_picture(tmp_path / "data/1_a/x.png")
    left_by_a_crash = tmp_path / "cache/run_dead"
    left_by_a_crash.mkdir(parents=True)
    (left_by_a_crash / "alive.lock").touch()
    living = prepare(make_settings())
    other = prepare(make_settings())
    assert not left_by_a_crash.exists()
    living.fetch(one(living.dataset))
    assert len(list((tmp_path / "cache").glob("run_*/*.latents"))) == 2
    living.close()
    other.close()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [GUARD_NAME]


def test_other_processes_wait_and_read(tmp_path, make_settings, prepare, vae):
    path = draw_picture(tmp_path / "data/1_a/x.png")
    (tmp_path / "data/1_a/bad.png").write_bytes(_corrupt(path.read_bytes()))
    settings = make_settings()
    dataset = Dataset.from_settings(settings)
    barrier = threading.Barrier(2, timeout=20)
    results = {}

    def process(is_main):
        results[is_main] = prepare_latents(
            dataset, vae if is_main else None, "vae", settings, tmp_path / "cache",
            lambda event: None, Control(), is_main=is_main, wait=barrier.wait, run_id="7",
        )  # fmt: skip

    threads = [threading.Thread(target=process, args=(is_main,)) for is_main in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vae.encoded == 1
    first, second = (results[key].fetch(one(results[key].dataset)) for key in (True, False))
    assert torch.equal(first.mean, second.mean)
    assert [len(results[key].dataset.pictures) for key in (True, False)] == [1, 1]
    for key in (False, True):
        results[key].close()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [GUARD_NAME]


def _corrupt(png: bytes) -> bytes:
    """A PNG whose end is whole but whose middle is not."""
    middle = png.index(b"IDAT") + 12
    return png[:middle] + bytes(8) + png[middle + 8 :]


@pytest.mark.parametrize("cache", [True, False])
def test_a_picture_damaged_inside_is_named_and_left_out(tmp_path, make_settings, prepare, cache):
    path = draw_picture(tmp_path / "data/2_a/good.png")
    (tmp_path / "data/2_a/bad.png").write_bytes(_corrupt(path.read_bytes()))
    settings = make_settings(cache_latents=cache)
    dataset = Dataset.from_settings(settings)
    assert dataset.num_train_images == 4
    source = prepare(settings, dataset)
    assert source.dataset.num_train_images == source.dataset.batches_per_epoch == 2
    assert any("bad.png" in text for text in source.dataset.warnings)
    for batch in source.dataset.epoch(1, 0, 1, 1):
        source.fetch(batch)


def test_nothing_but_damaged_pictures_is_an_error(tmp_path, make_settings, prepare):
    path = draw_picture(tmp_path / "data/2_a/good.png")
    path.write_bytes(_corrupt(path.read_bytes()))
    with pytest.raises(SuiteError, match="None of the training pictures"):
        prepare(make_settings())


def test_nan_latents_name_the_picture(tmp_path, make_settings, prepare, vae):
    draw_picture(tmp_path / "data/1_a/x.png")
    encode = vae.encode

    def broken(images):
        result = encode(images)
        result.latent_dist.mean[:] = float("nan")
        return result

    vae.encode = broken
    with pytest.raises(SuiteError, match=r"x\.png.*Use another VAE"):
        prepare(make_settings())


def test_a_full_disk_is_said_before_encoding(tmp_path, make_settings, prepare, vae, monkeypatch):
    draw_picture(tmp_path / "data/1_a/x.png")
    monkeypatch.setattr(
        cached_latents.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1 << 20)
    )
    with pytest.raises(SuiteError, match="Make room"):
        prepare(make_settings())
    assert vae.encoded == 0


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("source_of_mask", ["alpha", "folder"])
def test_masks(tmp_path, make_settings, prepare, cache, source_of_mask):
    plain = draw_picture(tmp_path / "data/1_a/plain.png")
    left = Image.new("L", (64, 64), 0)
    left.paste(255, (0, 0, 36, 64))  # 4 latents and a half are opaque
    options = {"masked_loss": True, "flip_aug": True, "cache_latents": cache}
    if source_of_mask == "alpha":
        image = Image.open(plain).convert("RGBA")
        image.putalpha(left)
        image.save(tmp_path / "data/1_a/a_cut.png")
    else:
        draw_picture(tmp_path / "data/1_a/a_cut.png", colour=(1, 2, 3))
        (tmp_path / "masks").mkdir()
        left.save(tmp_path / "masks/a_cut.jpg", quality=100)
        options["conditioning_data_dir"] = tmp_path / "masks"
    source = prepare(make_settings(**options))
    cut, whole = source.dataset.pictures
    assert cut.has_mask and not whole.has_mask
    assert any("plain.png" in text for text in source.dataset.warnings)
    row = np.array([1, 1, 1, 1, 0.5, 0, 0, 0])
    for flip in (False, True):
        examples = (Example(cut, "", flip, 0, 1.0), Example(whole, "", flip, 0, 1.0))
        mask = source.fetch(Batch(cut.bucket, examples, 0)).mask
        assert mask.shape == (2, 1, 8, 8)
        expected = np.broadcast_to(row[::-1] if flip else row, (8, 8))
        np.testing.assert_allclose(mask[0, 0], expected, atol=0.04)
        assert torch.equal(mask[1], torch.ones(1, 8, 8))


def test_transparency_goes_onto_white(tmp_path, make_settings, prepare):
    (tmp_path / "data/1_a").mkdir(parents=True)
    Image.new("RGBA", (64, 64), (10, 20, 30, 0)).save(tmp_path / "data/1_a/clear.png")
    source = prepare(make_settings())
    tensors = source.fetch(one(source.dataset))
    assert torch.equal(tensors.mean, torch.ones(1, 4, 8, 8)) and tensors.mask is None


def test_twins_and_pictures_that_go_away(tmp_path, make_settings, prepare, vae):
    path = draw_picture(tmp_path / "data/1_a/a.png")
    for name in ("bad1.png", "bad2.png"):
        (tmp_path / "data/1_a" / name).write_bytes(_corrupt(path.read_bytes()))
    for name in ("twin.png", "gone.png"):
        (tmp_path / "data/1_a" / name).write_bytes(path.read_bytes())
    settings = make_settings(cache_latents_to_disk=True)
    dataset = Dataset.from_settings(settings)
    (tmp_path / "data/1_a/gone.png").unlink()
    source = prepare(settings, dataset)
    assert vae.encoded == 1
    assert [p.path.name for p in source.dataset.pictures] == ["a.png", "twin.png"]
    told = source.dataset.warnings[-1]
    assert all(name in told for name in ("bad1.png", "bad2.png", "gone.png: it cannot be read"))
    source.close()
    (tmp_path / "data/1_a/bad1.png").write_bytes(path.read_bytes())
    source = prepare(settings)
    assert vae.encoded == 1 and len(source.dataset.pictures) == 3  # mended with a known picture


@pytest.mark.parametrize("cache", [True, False])
def test_masks_lie_as_the_pictures_do_and_bad_ones_are_named(
    tmp_path, make_settings, prepare, cache
):
    for name in ("1_a/x.png", "1_b/x.png", "1_b/y.png"):
        draw_picture(tmp_path / "data" / name)
    for name, level in (("1_a", 255), ("1_b", 0)):
        draw_picture(tmp_path / "masks" / name / "x.png", size=(128, 64))
        Image.new("L", (128, 64), level).save(tmp_path / "masks" / name / "x.png")
    (tmp_path / "masks/y.png").write_bytes(b"")
    settings = make_settings(
        masked_loss=True, conditioning_data_dir=tmp_path / "masks", cache_latents=cache
    )
    source = prepare(settings)
    assert any("another shape" in text for text in source.dataset.warnings)
    assert "its mask y.png cannot be used: it is damaged" in source.dataset.warnings[-1]
    values = [source.fetch(one(source.dataset, picture=n)).mask.unique().item() for n in (0, 1)]
    assert values == [1.0, 0.0]


def test_the_posterior_of_a_real_vae_is_stored(tmp_path, make_settings, prepare):
    from diffusers import AutoencoderKL

    config = Path(__file__).parents[1] / "data/models/tiny_sd15_config/vae"
    torch.manual_seed(0)
    vae = AutoencoderKL.from_config(AutoencoderKL.load_config(config)).eval()
    path = draw_picture(tmp_path / "data/1_a/x.png")
    settings = make_settings()
    source = prepare_latents(
        Dataset.from_settings(settings), vae, "vae", settings, tmp_path / "cache",
        lambda event: None, Control(),
    )  # fmt: skip
    pixels = torch.from_numpy(np.asarray(Image.open(path), dtype=np.float32) / 127.5 - 1)
    with torch.no_grad():
        posterior = vae.encode(pixels.permute(2, 0, 1)[None]).latent_dist
    tensors = source.fetch(one(source.dataset))
    source.close()
    torch.testing.assert_close(tensors.mean, posterior.mean)
    torch.testing.assert_close(tensors.std, posterior.std)
