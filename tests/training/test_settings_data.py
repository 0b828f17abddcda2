"""Settings of the pictures: folders, sizes and buckets, variants, masks, the latent cache."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from watched_training import TINY_SD15, draw_pictures, plan_for, watch_training

from scripts.core.errors import SettingError
from scripts.dataset import cached_latents, encoding, fresh_latents
from scripts.models.load import load_vae
from scripts.models.recognise import recognise

TEXT_ONLY = {"network_train_text_encoder_only": True}  # half the LoRA is enough here
ONE_EPOCH = {"max_train_epochs": 1, **TEXT_ONLY}


@pytest.fixture(scope="module")
def encoded():
    """A function: the mean latent of a picture, encoded here and now."""
    vae = load_vae(recognise(TINY_SD15))

    def mean(image):
        pixels = torch.from_numpy(np.asarray(image.convert("RGB"), dtype=np.float32) / 127.5 - 1)
        with torch.no_grad():
            return vae.encode(pixels.permute(2, 0, 1)[None]).latent_dist.mean[0]

    return mean


def uses(trained):
    """(example, its mean latent, its mask) of everything that was fetched."""
    return [
        (example, tensors.mean[place], None if tensors.mask is None else tensors.mask[place])
        for batch, tensors in trained.batches
        for place, example in enumerate(batch.examples)
    ]


def buckets(folder, **values):
    return {(b["width"], b["height"]) for b in plan_for(folder, **values).as_dict()["buckets"]}


# --- folders ------------------------------------------------------------------------------------


def test_the_repeats_of_a_folder_come_from_its_name_or_from_folder_repeats(tmp_path):
    draw_pictures(tmp_path / "pictures" / "3_cat", count=2)
    draw_pictures(tmp_path / "pictures" / "dogs", count=1)
    made = plan_for(tmp_path, folder_repeats=["dogs=5"])
    counts = {folder["name"]: folder["uses_per_epoch"] for folder in made.as_dict()["folders"]}
    assert counts == {"3_cat": 6, "dogs": 5}
    trained = watch_training(tmp_path, folder_repeats=["dogs=5"], **ONE_EPOCH)
    dirs = json.loads(trained.metadata()["ss_dataset_dirs"])
    assert dirs == {"3_cat": {"n_repeats": 3, "img_count": 2},
                    "dogs": {"n_repeats": 5, "img_count": 1}}  # fmt: skip
    assert len(trained.every_caption) == 11


def test_train_data_dir_is_where_the_pictures_are(tmp_path):
    draw_pictures(tmp_path / "elsewhere" / "1_dog", count=1, captions=["a dog"])
    trained = watch_training(tmp_path, train_data_dir=tmp_path / "elsewhere")
    assert trained.every_caption == ["a dog"]
    with pytest.raises(SettingError) as caught:
        watch_training(tmp_path, train_data_dir=tmp_path / "out")
    assert caught.value.setting == "train_data_dir"


def test_a_dataset_file_rules_batches_sizes_and_repeats(tmp_path):
    draw_pictures(tmp_path / "cats", count=2, size=(128, 128))
    draw_pictures(tmp_path / "dogs", count=1, captions=["a dog"])
    file = tmp_path / "dataset.toml"
    file.write_text(
        """
        [general]
        enable_bucket = false
        [[datasets]]
        resolution = 128
        batch_size = 3
        [[datasets.subsets]]
        image_dir = "cats"
        num_repeats = 3
        caption_prefix = "zyx,"
        [[datasets]]
        [[datasets.subsets]]
        image_dir = "dogs"
        """
    )
    trained = watch_training(tmp_path, dataset_config=file, **ONE_EPOCH)
    shapes = sorted(tuple(step.latents.shape) for step in trained.steps)
    assert shapes == [(1, 4, 8, 8), (3, 4, 16, 16), (3, 4, 16, 16)]
    assert trained.every_caption.count("a dog") == 1
    assert sum(caption.startswith("zyx, a cat") for caption in trained.every_caption) == 6
    parts = json.loads(trained.metadata()["ss_datasets"])
    assert [part["batch_size_per_device"] for part in parts] == [3, 2]
    assert [part["resolution"] for part in parts] == [[128, 128], [64, 64]]


# --- sizes and buckets --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes_folder(tmp_path_factory):
    """A square, a wide and a small picture."""
    root = tmp_path_factory.mktemp("shapes")
    for name, size in (("square", (256, 256)), ("wide", (512, 128)), ("small", (72, 100))):
        draw_pictures(root / "pictures" / f"1_{name}", count=1, size=size)
    return root


def test_resolution_is_the_size_trained_at(watch, plan):
    assert watch(resolution=128).steps[0].latents.shape == (2, 4, 16, 16)
    assert watch(resolution=128).metadata()["ss_resolution"] == "(128, 128)"
    made = plan(resolution="")
    assert made.settings.resolution == (512, 512)
    assert any("resolution is 512" in guess for guess in made.guesses)


def test_buckets_keep_shapes_and_without_them_all_are_cut_to_one(shapes_folder):
    sized = {"resolution": 256, "max_bucket_reso": 512}
    assert buckets(shapes_folder, **sized) == {(256, 256), (512, 128), (192, 320)}
    assert buckets(shapes_folder, **sized, enable_bucket=False) == {(256, 256)}
    assert buckets(shapes_folder, resolution="256,128", enable_bucket=False) == {(256, 128)}


def test_limits_and_step_of_the_buckets(shapes_folder):
    sized = {"resolution": 256, "min_bucket_reso": 64, "max_bucket_reso": 512}
    assert max(max(b) for b in buckets(shapes_folder, **{**sized, "max_bucket_reso": 256})) == 256
    assert min(min(b) for b in buckets(shapes_folder, **{**sized, "min_bucket_reso": 192})) == 192
    # 72 x 100 is 0.72 wide: of the sizes with area 256² by 64, 192 x 320 (0.6) is the nearest, by
    # 32 it is 224 x 288 (0.78), and by 128 the square.
    assert buckets(shapes_folder, **sized) == {(256, 256), (512, 128), (192, 320)}
    by_32 = {(256, 256), (512, 128), (224, 288)}
    assert buckets(shapes_folder, **sized, bucket_reso_steps=32) == by_32
    by_128 = {(256, 256), (512, 128)}
    assert buckets(shapes_folder, **sized, bucket_reso_steps=128) == by_128


def test_small_pictures_keep_their_size_when_asked_to(shapes_folder):
    sized = {"resolution": 256, "max_bucket_reso": 512}
    assert (64, 64) in buckets(shapes_folder, **sized, bucket_no_upscale=True)  # 72 x 100
    assert (64, 64) not in buckets(shapes_folder, **sized)


# --- variants -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, False])
def test_mirrored_pictures_are_encoded_as_such(watch, encoded, cache):
    trained = watch(flip_aug=True, cache_latents=cache, max_train_epochs=3, train_batch_size=4,
                    **TEXT_ONLY)  # fmt: skip
    flips = [example.flip for example, _, _ in uses(trained)]
    assert {True, False} == set(flips) and len(flips) == 12
    for example, mean, _ in uses(trained):
        with Image.open(example.picture.path) as picture:
            expected = encoded(ImageOps.mirror(picture) if example.flip else picture)
        torch.testing.assert_close(mean, expected, rtol=1e-3, atol=1e-4)


def test_random_crops_are_cut_from_different_places(tmp_path, encoded):
    pictures = draw_pictures(tmp_path / "pictures" / "8_wide", count=1, size=(128, 64))
    sized = {"enable_bucket": False, "train_batch_size": 8, **TEXT_ONLY}
    with Image.open(next(pictures.glob("*.png"))) as picture:
        places = [encoded(picture.crop((left, 0, left + 64, 64))) for left in range(65)]

    def place_of(mean):
        errors = [(mean - place).abs().max().item() for place in places]
        assert min(errors) < 1e-3
        return errors.index(min(errors))

    middle = watch_training(tmp_path, **sized)
    assert {place_of(mean) for _, mean, _ in uses(middle)} == {32}
    anywhere = watch_training(tmp_path, random_crop=True, **sized)
    assert len({place_of(mean) for _, mean, _ in uses(anywhere)}) > 2


def test_colours_vary_and_turn_the_cache_off(watch):
    trained = watch(color_aug=True, max_train_epochs=6, train_batch_size=4,
                    **TEXT_ONLY)  # fmt: skip
    assert trained.run.latents.needs_vae
    assert "Varying colours turns the latent cache off" in trained.notes()
    means: dict = {}
    for example, mean, _ in uses(trained):
        means.setdefault(example.picture.path, []).append(mean)
    different = sum(not torch.equal(own[0], other) for own in means.values() for other in own[1:])
    assert 1 <= different <= 19  # one use in three is varied


# --- masks --------------------------------------------------------------------------------------


def masked_error(step):
    return ((step.prediction - step.noise) ** 2 * step.masks).mean((1, 2, 3))


def test_transparency_is_the_mask_of_the_loss(tmp_path):
    pictures = draw_pictures(tmp_path / "pictures" / "1_cat", count=2)
    left = Image.new("L", (64, 64), 0)
    left.paste(255, (0, 0, 24, 64))
    with Image.open(pictures / "000.png") as picture:
        picture.putalpha(left)
        picture.save(pictures / "000.png")
    trained = watch_training(tmp_path, masked_loss=True, **TEXT_ONLY)
    (step,) = trained.steps
    sums = {example.picture.path.name: mask.sum().item() for example, _, mask in uses(trained)}
    assert sums == {"000.png": 3 * 8, "001.png": 64}  # of 8 x 8 latents; no alpha: all of it
    masked = int(sums["000.png"] == step.masks[1].sum().item())
    assert step.masks[masked, 0, :, :3].min() == 1 and step.masks[masked, 0, :, 3:].max() == 0
    torch.testing.assert_close(step.per_sample, masked_error(step))
    assert "Without a mask, and so trained whole: 001.png" in trained.notes()
    whole = watch_training(tmp_path, **TEXT_ONLY)
    assert whole.steps[0].masks is None


def test_masks_may_come_from_a_folder(tmp_path):
    draw_pictures(tmp_path / "pictures" / "1_cat", count=1)
    (tmp_path / "masks").mkdir()
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 64, 16))
    mask.save(tmp_path / "masks" / "000.png")
    (step,) = watch_training(
        tmp_path, masked_loss=True, conditioning_data_dir=tmp_path / "masks"
    ).steps
    assert step.masks[0, 0, :2].min() == 1 and step.masks[0, 0, 2:].max() == 0
    torch.testing.assert_close(step.per_sample, masked_error(step))


# --- the cache ----------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["no", "bf16"])  # bf16: the VAE stays out of autocast
def test_cached_and_fresh_latents_are_the_same(watch, precision):
    every = {"mixed_precision": precision, **ONE_EPOCH}
    cached, fresh = watch(**every), watch(cache_latents=False, **every)
    assert fresh.run.latents.needs_vae and not cached.run.latents.needs_vae
    assert fresh.metadata()["ss_cache_latents"] == "False"
    for one, two in zip(cached.steps, fresh.steps, strict=True):
        torch.testing.assert_close(one.latents, two.latents, rtol=1e-4, atol=1e-5)
        assert torch.equal(one.noise, two.noise)


def test_a_cache_that_is_kept_spares_the_next_training_the_encoding(tmp_path, monkeypatch):
    counts = []

    def counting(vae, pixels):
        counts.append(len(pixels))
        return encoding.encode(vae, pixels)

    monkeypatch.setattr(cached_latents, "encode", counting)
    pictures = draw_pictures(tmp_path / "pictures" / "1_cat")
    sized = {"cache_latents_to_disk": True, **TEXT_ONLY}
    first = watch_training(tmp_path, **sized)
    assert sum(counts) == 4 and any((tmp_path / "cache" / "latents").iterdir())
    second = watch_training(tmp_path, **sized)
    assert sum(counts) == 4
    assert torch.equal(first.steps[0].latents, second.steps[0].latents)
    with Image.open(pictures / "000.png") as picture:
        ImageOps.invert(picture).save(pictures / "000.png")
    watch_training(tmp_path, **sized)
    assert sum(counts) == 5  # the changed picture alone
    watch_training(tmp_path, **TEXT_ONLY)
    assert sum(counts) == 9  # without the setting everything is encoded, and nothing kept
    assert not list((tmp_path / "cache").glob("run_*"))


def test_lowram_reads_one_picture_at_a_time(watch, monkeypatch):
    threads = []
    pool = encoding.ThreadPoolExecutor

    def spy(count, **options):
        threads.append(count)
        return pool(count, **options)

    for module in (encoding, fresh_latents):
        monkeypatch.setattr(module, "ThreadPoolExecutor", spy)
        monkeypatch.setattr(module, "readers", encoding.readers)
    monkeypatch.setattr(encoding, "READERS", 4)
    for cache in (True, False):
        watch(lowram=True, cache_latents=cache, seed=5, **TEXT_ONLY)
        assert set(threads) == {1}
        threads.clear()
        watch(lowram=False, cache_latents=cache, seed=5, **TEXT_ONLY)
        assert 4 in threads
        threads.clear()
