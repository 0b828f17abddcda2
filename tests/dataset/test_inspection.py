"""Looking at a data set without a window: what is found, in which stages, and how it is told."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from picture_folders import draw_pictures
from PIL import Image, ImageFilter

import scripts.command
from scripts.core.declare import build
from scripts.core.errors import Cancelled, SettingError
from scripts.core.events import Control
from scripts.dataset.inspection import inspect_dataset, thumbnail_place
from scripts.dataset.near_duplicates import groups_that_look_alike, look_of
from scripts.dataset.trigger_word import propose_trigger_word
from scripts.inspect_dataset import main
from scripts.settings.train import TrainSettings


def inspect(folder, thumbnails=None, control=None, **values):
    settings, _ = build(TrainSettings, {"train_data_dir": folder, **values})
    events = []
    facts = inspect_dataset(settings, events.append, control or Control(), (512, 512), thumbnails)
    return facts, events


def photo(seed, size=(320, 240)):
    """A picture with structure: noise in few large spots."""
    noise = Image.effect_noise((8, 6), 120)
    noise.putdata([(value * 31 + seed * 57 * (place + 3)) % 256
                   for place, value in enumerate(noise.tobytes())])  # fmt: skip
    return noise.resize(size, Image.Resampling.BICUBIC).convert("RGB")


@pytest.fixture
def folder(tmp_path) -> Path:
    captions = ["zyx cat, sitting, 1girl", "zyx cat, standing, 1girl", "1girl, zyx cat, red", None]
    place = draw_pictures(tmp_path / "ü set" / "10_cat", [(600, 500)] * 4, captions)
    for number in range(4):
        photo(number, (600, 500)).save(place / f"{number:03d}.png")
    return tmp_path / "ü set"


def test_folders_sizes_captions_tags_and_buckets(folder):
    (folder / "10_cat" / "002.txt").write_text("")
    facts, _ = inspect(folder)
    (entry,) = facts["folders"]
    assert (entry["name"], entry["repeats"], entry["pictures"]) == ("10_cat", 10, 4)
    assert facts["captions"] == {"present": 2, "missing": 1, "empty": 1}
    assert facts["tags"][:2] in ([("zyx cat", 2), ("1girl", 2)], [("1girl", 2), ("zyx cat", 2)])
    assert facts["sizes"]["smallest"] == facts["sizes"]["largest"] == [600, 500]
    assert facts["trigger_word"]["word"] == "zyx cat"
    assert sum(bucket["count"] for bucket in facts["buckets"]) == 40
    assert facts["duplicates"] == facts["near_duplicates"] == facts["tiny"] == []


def test_duplicates_near_duplicates_broken_and_tiny_pictures(folder):
    place = folder / "10_cat"
    shutil.copy(place / "000.png", place / "copy.png")
    with Image.open(place / "001.png") as picture:
        picture.resize((480, 400)).save(place / "again.jpg", quality=60)
    photo(9, (100, 80)).save(place / "tiny.png")
    data = bytearray((place / "003.png").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\0" * 40  # damage inside, whole at its end
    (place / "003.png").write_bytes(data)
    facts, _ = inspect(folder)

    def names(paths):
        return sorted(Path(path).name for path in paths)

    assert [names(group) for group in facts["duplicates"]] == [["000.png", "copy.png"]]
    assert [names(group) for group in facts["near_duplicates"]] == [["001.png", "again.jpg"]]
    assert names(facts["broken"]) == ["003.png"]
    assert names(facts["tiny"]) == ["tiny.png"]


def test_the_headers_are_told_first_and_a_stop_is_heard(folder):
    _, events = inspect(folder)
    told = [event.facts["complete"] for event in events if event.kind == "facts"]
    assert told == [False, True]
    settings, _ = build(TrainSettings, {"train_data_dir": folder})
    facts = inspect_dataset(settings, events.append, Control(), headers_only=True)
    assert len(facts["pictures"]) == 4 and "duplicates" not in facts
    control = Control()
    control.stop()
    with pytest.raises(Cancelled):
        inspect(folder, control=control)


def test_thumbnails_are_written_once_and_anew_after_a_change(folder, tmp_path):
    facts, _ = inspect(folder, tmp_path / "thumbs")
    first = Path(facts["pictures"][0]["thumbnail"])
    with Image.open(first) as picture:
        assert picture.format == "PNG" and max(picture.size) == 128
    written = first.stat().st_mtime_ns
    inspect(folder, tmp_path / "thumbs")
    assert first.stat().st_mtime_ns == written
    path = folder / "10_cat" / "000.png"
    photo(5).save(path)
    assert thumbnail_place(path, tmp_path / "thumbs") != first


@pytest.mark.parametrize("damage", [0, 3])
def test_looks_survive_scaling_and_saving_anew(damage, tmp_path):
    picture = photo(damage)
    picture.save(tmp_path / "x.jpg", quality=40)
    with Image.open(tmp_path / "x.jpg") as saved:
        others = [saved.convert("RGB"), picture.resize((150, 120)),
                  picture.filter(ImageFilter.GaussianBlur(2))]  # fmt: skip
    looks = [look_of(image) for image in [picture, *others, photo(damage + 1)]]
    assert groups_that_look_alike(looks) == [[0, 1, 2, 3]]


def test_flat_pictures_of_other_colours_are_no_duplicates():
    looks = [look_of(Image.new("RGB", (50, 50), colour)) for colour in ("red", "blue", "#fe0000")]
    assert groups_that_look_alike(looks) == [[0, 2]]
    assert groups_that_look_alike([]) == []


def test_thousands_of_looks_are_compared_in_seconds():
    looks = [look_of(photo(seed, (32, 24))) for seed in range(300)] * 8
    began = time.monotonic()
    assert sum(len(group) for group in groups_that_look_alike(looks)) == 2400
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("captions", "folders", "word", "source"),
    [
        (["zyx, cat", "zyx, dog", "zyx, red"], [], "zyx", "captions"),
        (["1girl, solo, zyx", "1girl, zyx, solo"], [], "zyx", "captions"),
        (["a photo of zyx in the rain", "a photo of zyx at home"], [], "zyx", "captions"),
        (["1girl, solo", "1girl, smile"], ["zyx cat"], "zyx cat", "folder name"),
        ([], ["woman"], None, None),
    ],
)
def test_trigger_words(captions, folders, word, source):
    found = propose_trigger_word(captions, folders)
    assert (found and found.word, found and found.found_in) == (word, source)


def test_a_folder_one_level_too_high_offers_its_choices(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "two" / "first")
    shutil.copytree(folder, tmp_path / "two" / "second")
    events = []
    settings, _ = build(TrainSettings, {"train_data_dir": tmp_path / "two"})
    with pytest.raises(SettingError, match="one level too high"):
        inspect_dataset(settings, events.append, Control())
    (facts,) = [event.facts for event in events if event.kind == "facts"]
    assert [Path(path).name for path in facts["choices"]] == ["first", "second"]


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(scripts.command, "LOG_FOLDER", tmp_path / "logs")

    def run(*words):
        code = main([str(word) for word in words])
        return code, capfd.readouterr()

    return run


def test_the_command_prints_json_or_words(run, folder):
    code, told = run("--train_data_dir", folder, "--json", "--resolution", 256)
    assert code == 0
    facts = json.loads(told.out)
    assert facts["complete"] and len(facts["pictures"]) == 4
    code, told = run("--train_data_dir", folder)
    assert code == 0 and "10_cat: 4 pictures x 10" in told.out
    code, told = run("--train_data_dir", folder, "--headers_only")
    assert code == 0 and "zyx cat (from the captions)" in told.out
    assert run("--train_data_dir", folder / "none")[0] == 1
    assert run()[0] == 1
