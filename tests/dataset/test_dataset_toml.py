"""The dataset TOML of sd-scripts: levels, several data sets, all mistakes at once."""

import json

import pytest
from picture_files import draw_picture

from scripts.core.errors import SettingErrors, SuiteError
from scripts.dataset.dataset import Dataset

GOOD = """
[general]
shuffle_caption = true
caption_extension = "cap"
keep_tokens = 1

[[datasets]]
resolution = 64
batch_size = 2

  [[datasets.subsets]]
  image_dir = "cat"
  num_repeats = 3
  class_tokens = "zyx cat"
  flip_aug = true

  [[datasets.subsets]]
  image_dir = "reg"
  is_reg = true
  shuffle_caption = false

[[datasets]]
resolution = [128, 64]
batch_size = 4
enable_bucket = false
keep_tokens = 2

  [[datasets.subsets]]
  image_dir = "cat"
  caption_prefix = "x,"
  enable_wildcard = true
  cache_info = true
"""


@pytest.fixture
def write(tmp_path):
    def run(text):
        path = tmp_path / "data.toml"
        path.write_text(text, encoding="utf-8")
        return path

    for number in range(2):
        draw_picture(tmp_path / f"cat/{number}.png")
    draw_picture(tmp_path / "reg/r.png")
    (tmp_path / "cat/0.cap").write_text("a, b, c, d\nsecond", encoding="utf-8")
    return run


def test_levels_and_several_data_sets(write, make_settings):
    settings = make_settings(
        train_data_dir=None, dataset_config=write(GOOD), prior_loss_weight=0.5, resolution=None
    )
    dataset = Dataset.from_settings(settings)
    first, second = dataset.parts
    assert (first.resolution, first.batch_size, first.enable_bucket) == ((64, 64), 2, True)
    assert (second.resolution, second.batch_size, second.enable_bucket) == ((128, 64), 4, False)
    cat, reg, again = (*first.subsets, *second.subsets)
    assert [s.folder.repeats for s in (cat, reg, again)] == [3, 1, 1]
    assert [s.captions.shuffle_caption for s in (cat, reg, again)] == [True, False, True]
    assert [s.captions.keep_tokens for s in (cat, reg, again)] == [1, 1, 2]
    assert [s.flip_aug for s in (cat, reg, again)] == [True, False, False]
    assert (again.captions.caption_prefix, again.captions.enable_wildcard) == ("x,", True)
    # 2 pictures 3 times and as many regularisation pictures in twos; 2 pictures in fours
    assert dataset.num_train_images == 8 and dataset.num_reg_images == 1
    assert dataset.batches_per_epoch == len(dataset.epoch(1, 0, 1, 9)) == 7
    sizes = {b.bucket: len(b.examples) for b in dataset.epoch(1, 0, 1, 9)}
    assert sizes == {(64, 64): 2, (128, 64): 2}
    assert {p.caption for p in dataset.pictures if p.subset is cat} == {"a, b, c, d", "zyx cat"}
    assert {p.caption for p in dataset.pictures if p.subset is again} == {
        "a, b, c, d\nsecond", "cat",
    }  # fmt: skip
    assert {p.loss_weight for p in dataset.pictures if p.subset is reg} == {0.5}
    assert any("cache_info" in note for note in dataset.notes)


def test_metadata_lists_the_data_sets(write, make_settings):
    settings = make_settings(train_data_dir=None, dataset_config=write(GOOD))
    entries = Dataset.from_settings(settings).metadata()
    one, two = json.loads(entries["ss_datasets"])
    assert one["resolution"] == [64, 64] and two["batch_size_per_device"] == 4
    assert one["num_train_images"] == 6 and one["num_reg_images"] == 1
    assert one["subsets"][1]["is_reg"] and one["subsets"][0]["class_tokens"] == "zyx cat"
    assert json.loads(entries["ss_dataset_dirs"]) == {
        "cat": {"n_repeats": 3, "img_count": 2},
        "cat (2)": {"n_repeats": 1, "img_count": 2},
    }


def test_every_mistake_is_named_at_once(write, make_settings):
    path = write("""
[general]
resolution = "big"
colour = 3
[extra]
[[datasets]]
keep_tokens = -1
  [[datasets.subsets]]
  image_dir = "nowhere"
  [[datasets.subsets]]
  num_repeats = 2
  [[datasets.subsets]]
  metadata_file = "x.json"
[[datasets]]
""")
    with pytest.raises(SettingErrors) as caught:
        Dataset.from_settings(make_settings(train_data_dir=None, dataset_config=path))
    text = str(caught.value)
    for word in ("big", "colour", "extra", "keep_tokens", "nowhere", "image_dir is missing",
                 "metadata_file", "no [[datasets.subsets]]"):  # fmt: skip
        assert word in text
    assert len(caught.value.errors) == 8


def test_not_toml(write, make_settings):
    settings = make_settings(train_data_dir=None, dataset_config=write("[general"))
    with pytest.raises(SuiteError, match="not valid TOML"):
        Dataset.from_settings(settings)


def test_masks_of_a_subset(write, make_settings, tmp_path):
    draw_picture(tmp_path / "masks/0.png")
    path = write("""
[[datasets]]
  [[datasets.subsets]]
  image_dir = "cat"
  conditioning_data_dir = "masks"
""")
    dataset = Dataset.from_settings(make_settings(train_data_dir=None, dataset_config=path))
    assert [p.mask for p in dataset.pictures] == [tmp_path / "masks/0.png", None]
