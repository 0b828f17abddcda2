"""The data set: counts of sd-scripts (tests/data/dataset/steps.json), pure epochs, metadata."""

import json
import random
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from picture_files import draw_picture
from PIL import Image

from scripts.core.errors import SettingError
from scripts.dataset.dataset import Dataset, regularisation_repeats

DATA = Path(__file__).parents[1] / "data"
STEPS = json.loads((DATA / "dataset" / "steps.json").read_text(encoding="utf-8"))
METADATA = json.loads((DATA / "metadata" / "metadata.json").read_text(encoding="utf-8"))
TRAJECTORY = json.loads((DATA / "step" / "trajectory.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", STEPS, ids=[str(number) for number in range(len(STEPS))])
def test_counts_are_those_of_sd_scripts(tmp_path, make_settings, case):
    for kind in ("train", "reg"):
        for folder in case[kind]:
            for number, size in enumerate(folder["images"]):
                path = tmp_path / kind / folder["folder"] / f"{number}.bmp"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", tuple(size)).save(path)
    settings = make_settings(
        train_data_dir=tmp_path / "train",
        reg_data_dir=tmp_path / "reg" if case["reg"] else None,
        resolution=tuple(case["resolution"]),
        enable_bucket=case["enable_bucket"],
        min_bucket_reso=case["min_bucket_reso"],
        max_bucket_reso=case["max_bucket_reso"],
        bucket_reso_steps=case["bucket_reso_steps"],
        bucket_no_upscale=case["bucket_no_upscale"],
        train_batch_size=case["batch_size"],
    )
    dataset = Dataset.from_settings(settings)
    assert dataset.num_train_images == case["num_train_images_with_repeats"]
    assert dataset.num_reg_images == case["num_reg_images_with_repeats"]
    assert dataset.batches_per_epoch == case["batches_per_epoch"]
    assert {f"{w}x{h}": count for w, h, count in dataset.buckets()} == case["buckets"]
    uses = Counter()
    for batch in dataset.epoch(1, 0, 1, 1):
        uses.update(example.picture.path.parent.name for example in batch.examples)
    if sum(len(folder["images"]) > 0 for folder in case["reg"]) < 2:
        assert dict(uses) == case["repeats_used"]


def test_regularisation_pictures_go_round_as_in_sd_scripts():
    case = next(case for case in STEPS if len(case["reg"]) == 2)
    images = {folder["folder"]: len(folder["images"]) for folder in case["reg"]}
    # sd-scripts takes the folders in the order of the file system: here that of repeats_used
    names = [name for name in case["repeats_used"] if name in images for _ in range(images[name])]
    repeats = regularisation_repeats(
        [int(name.split("_")[0]) for name in names], case["num_train_images_with_repeats"]
    )
    used = Counter()
    for name, count in zip(names, repeats, strict=True):
        used[name] += count
    assert dict(used) == {name: case["repeats_used"][name] for name in images}
    assert regularisation_repeats([], 5) == [] and regularisation_repeats([1, 1], 0) == [0, 0]


@pytest.fixture
def mixed(tmp_path):
    """7 pictures in three shapes, with captions."""
    for number, size in enumerate([(64, 64)] * 3 + [(128, 64)] * 3 + [(64, 128)]):
        path = draw_picture(tmp_path / f"data/3_a/{number}.png", size=size)
        path.with_suffix(".txt").write_text(f"p{number}, b, c, d, e, f, g", encoding="utf-8")
    return {
        "resolution": (96, 96), "train_batch_size": 4, "shuffle_caption": True, "flip_aug": True,
        "keep_tokens": 1, "random_crop": True, "caption_tag_dropout_rate": 0.2,
    }  # fmt: skip


def test_epochs_are_pure_and_differ(make_settings, mixed):
    dataset = Dataset.from_settings(make_settings(**mixed))
    again = Dataset.from_settings(make_settings(**mixed))
    other_seed = Dataset.from_settings(make_settings(**mixed, seed=2))

    def shape(dataset, epoch):
        return [
            [(e.picture.path.name, e.caption, e.flip, e.crop) for e in batch.examples]
            for batch in dataset.epoch(epoch, 0, 1, 100)
        ]

    random.seed(5)
    first = shape(dataset, 3)
    random.seed(6)
    shape(dataset, 1)
    assert shape(dataset, 3) == first == shape(again, 3)
    assert shape(dataset, 4) != first and shape(other_seed, 3) != first


def test_an_epoch_holds_every_picture_as_often_as_its_repeats(make_settings, mixed):
    dataset = Dataset.from_settings(make_settings(**mixed))
    batches = dataset.epoch(2, 0, 1, 100)
    uses = Counter(e.picture.path.name for batch in batches for e in batch.examples)
    assert uses == {f"{number}.png": 3 for number in range(7)}
    assert len(batches) == dataset.batches_per_epoch == 7
    assert [batch.number for batch in batches] == list(range(7))
    assert all(e.picture.bucket == batch.bucket for batch in batches for e in batch.examples)
    flips = [e.flip for n in range(1, 30) for b in dataset.epoch(n, 0, 1, 1) for e in b.examples]
    assert 0.4 < sum(flips) / len(flips) < 0.6
    orders = {tuple(b.bucket for b in dataset.epoch(n, 0, 1, 1)) for n in range(1, 10)}
    assert len(orders) > 3  # the buckets mix


def test_whole_caption_dropout_every_second_epoch_is_exact(make_settings, mixed):
    settings = make_settings(**mixed | {"caption_dropout_every_n_epochs": 2})
    dataset = Dataset.from_settings(settings)
    for epoch in range(1, 7):
        captions = [e.caption for batch in dataset.epoch(epoch, 0, 1, 9) for e in batch.examples]
        assert all((caption == "") == (epoch % 2 == 0) for caption in captions)


def test_token_warmup_follows_the_optimiser_step(make_settings, mixed):
    settings = make_settings(
        **mixed | {"token_warmup_step": 10, "caption_tag_dropout_rate": 0.0, "keep_tokens": 0}
    )
    dataset = Dataset.from_settings(settings)
    # 7 batches, two for each step, from step 4: steps 4 4 5 5 6 6 7; 7 tags: 1 + floor(0.6 * step)
    counts = [
        {len(example.caption.split(", ")) for example in batch.examples}
        for batch in dataset.epoch(2, 4, Fraction(1, 2), 100)
    ]
    assert counts == [{3}, {3}, {4}, {4}, {4}, {4}, {5}]


def test_metadata_is_that_of_sd_scripts(tmp_path, make_settings):
    """The data set of the reference run: its captions and counts; two shapes of pictures."""
    wide = [(64, 192), (128, 128)]
    for folder in TRAJECTORY["dataset"]:
        words = folder["folder"].split("_")[1]
        for number in range(folder["images"]):
            wide_here = folder["folder"] == "2_sks cat" and number == 0
            path = draw_picture(
                tmp_path / "data" / folder["folder"] / f"{number}.png",
                size=wide[0] if wide_here else wide[1],
            )
            if folder["captions"][number] != words:
                path.with_suffix(".caption").write_text(folder["captions"][number])
    settings = make_settings(resolution=(128, 128), train_batch_size=2)
    dataset = Dataset.from_settings(settings)
    entries = dataset.metadata()
    assert any(".caption" in text for text in dataset.guesses)
    for key in ("ss_tag_frequency", "ss_dataset_dirs", "ss_reg_dataset_dirs"):
        assert json.loads(entries[key]) == json.loads(METADATA[key])
    ours, theirs = (json.loads(d["ss_bucket_info"]) for d in (entries, METADATA))
    assert ours["buckets"] == theirs["buckets"]
    assert ours["mean_img_ar_error"] == 0.0 and ours.keys() == theirs.keys()
    for key in set(entries) - {"ss_bucket_info", "ss_tag_frequency"}:
        assert entries[key] == METADATA[key], key


def test_the_mean_ratio_error_counts_each_picture_once(tmp_path, make_settings):
    draw_picture(tmp_path / "data/5_a/a.png", size=(100, 64))
    draw_picture(tmp_path / "data/1_b/b.png", size=(64, 64))
    info = json.loads(Dataset.from_settings(make_settings()).metadata()["ss_bucket_info"])
    assert info["mean_img_ar_error"] == pytest.approx(abs(1 - 100 / 64) / 2)


def test_plan_tells_captions_buckets_and_guesses(tmp_path, make_settings):
    for number in range(3):
        draw_picture(tmp_path / f"data/cat/{number}.png")
    (tmp_path / "data/cat/0.txt").write_text("a cat", encoding="utf-8")
    (tmp_path / "data/cat/1.TXT").write_text("", encoding="utf-8")
    (tmp_path / "data/cat/half.jpg").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    (tmp_path / "data/cat/zero.png").write_bytes(b"")
    plan = Dataset.from_settings(make_settings()).plan()
    json.dumps(plan)
    (folder,) = plan["folders"]
    assert folder["captions"] == {"present": 1, "missing": 1, "empty": 1}
    assert (folder["pictures"], folder["repeats"], folder["class_tokens"]) == (3, 1, "cat")
    assert plan["buckets"] == [{"width": 64, "height": 64, "count": 3}]
    assert plan["batches_per_epoch"] == 3
    assert any("number of repeats" in text for text in plan["guesses"])
    told = " ".join(plan["warnings"])
    assert "zero.png: the file is empty" in told and "half.jpg" in told
    assert '"cat", is their caption' in told and "Empty caption files in cat: 1." in told


def test_no_captions_at_all_is_said_and_goes_on(tmp_path, make_settings):
    draw_picture(tmp_path / "data/2_red fox/a.png")
    dataset = Dataset.from_settings(make_settings())
    assert dataset.pictures[0].caption == "red fox"
    assert any('name of the folder, "red fox", as caption' in text for text in dataset.warnings)


def test_nothing_but_unreadable_pictures_is_an_error(tmp_path, make_settings):
    (tmp_path / "data/1_a").mkdir(parents=True)
    (tmp_path / "data/1_a/zero.png").write_bytes(b"")
    with pytest.raises(SettingError, match=r"No picture can be used.*zero\.png"):
        Dataset.from_settings(make_settings())


def test_regularisation_folder_is_not_the_training_folder(tmp_path, make_settings):
    draw_picture(tmp_path / "data/1_a/a.png")
    with pytest.raises(SettingError, match="also the folder with the training pictures"):
        Dataset.from_settings(make_settings(reg_data_dir=tmp_path / "data"))


def test_possible_captions(tmp_path, make_settings):
    draw_picture(tmp_path / "data/2_a/a.png")
    draw_picture(tmp_path / "data/2_b/b.png")

    def captions(**changes):
        return Dataset.from_settings(make_settings(**changes)).possible_captions()

    assert captions() == ("a", "b")
    assert captions(caption_dropout_rate=0.1, caption_prefix="x,") == ("x, a", "", "x, b")
    assert captions(shuffle_caption=True) is None


def test_tag_occurrence(tmp_path, make_settings):
    for number, text in enumerate(["dog, Blue", "dog, red", "dog, red, art"]):
        path = draw_picture(tmp_path / f"data/4_a/{number}.png")
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    by_count = Dataset.from_settings(make_settings()).tag_occurrence()
    assert by_count.splitlines() == ["[4_a]", "dog: 3", "red: 2", "blue: 1", "art: 1"]
    by_name = Dataset.from_settings(make_settings(sort_tag_occurrence_alphabetically=True))
    assert by_name.tag_occurrence().splitlines() == [
        "[4_a]", "art: 1", "blue: 1", "dog: 3", "red: 2",
    ]  # fmt: skip


def test_impossible_bucket_limits_are_bent_and_told(tmp_path, make_settings):
    draw_picture(tmp_path / "data/1_a/a.png", size=(512, 512))
    settings = make_settings(resolution=(256, 256), min_bucket_reso=300, max_bucket_reso=200)
    dataset = Dataset.from_settings(settings)
    part = dataset.parts[0]
    assert (part.min_bucket_reso, part.max_bucket_reso) == (256, 256)
    assert sum("bucket_reso" in text for text in dataset.guesses) == 2
    settings = make_settings(resolution=(250, 250), enable_bucket=False)
    assert Dataset.from_settings(settings).buckets() == [(248, 248, 1)]


def test_a_thousand_pictures_are_scanned_from_their_headers(tmp_path, make_settings):
    path = draw_picture(tmp_path / "data/1_a/0000.png", size=(1024, 1024))
    data = path.read_bytes()
    for number in range(1, 1000):
        path.with_name(f"{number:04}.png").write_bytes(data)
    start = time.perf_counter()
    dataset = Dataset.from_settings(make_settings())
    assert time.perf_counter() - start < 3  # decoding them would take some twenty seconds
    assert dataset.num_train_images == 1000


@pytest.mark.parametrize("output", [".", "10_x", "out"])
def test_the_output_may_lie_with_the_pictures(tmp_path, make_settings, output):
    draw_picture(tmp_path / "data/10_x/a.png").with_suffix(".txt").write_text("a fox")
    draw_picture(tmp_path / "data" / output / "sample/my_lora_e000001.png")
    dataset = Dataset.from_settings(make_settings(output_dir=tmp_path / "data" / output))
    assert [picture.path.name for picture in dataset.pictures] == ["a.png"]
    assert dataset.plan()["mends"] == []
    assert all("previews of earlier trainings" in warning for warning in dataset.warnings)
