"""Folder names by sd-scripts' rule (tests/data/dataset/folders.json), and mistakes forgiven."""

import json
from pathlib import Path

import pytest

from scripts.core.errors import SettingError
from scripts.dataset.folder_search import find_folders
from scripts.dataset.folders import read_folder_name

CASES = json.loads(
    (Path(__file__).parents[1] / "data" / "dataset" / "folders.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["folder"])
def test_folder_names_are_read_as_by_sd_scripts(case):
    expected = (case["num_repeats"], case["class_tokens"]) if case["used"] else None
    assert read_folder_name(case["folder"]) == expected


def tree(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def found(scan):
    return {(f.path.name, f.repeats, f.class_tokens, len(f.pictures)) for f in scan.folders}


def test_the_right_layout_needs_no_word(tmp_path):
    scan = find_folders(tree(tmp_path, "10_red fox/a.PNG", "10_red fox/b.Jpg", "2_x/c.webp"))
    assert found(scan) == {("10_red fox", 10, "red fox", 2), ("2_x", 2, "x", 1)}
    assert not scan.guesses and not scan.warnings and not scan.mends


def test_pictures_in_order_and_hidden_files_left_out(tmp_path):
    root = tree(tmp_path, "1_x/b.png", "1_x/a.png", "1_x/._a.png", "1_x/.hidden/c.png", "1_x/n.txt")
    (folder,) = find_folders(root).folders
    assert [p.name for p in folder.pictures] == ["a.png", "b.png"]
    assert set(folder.files[root / "1_x"]) == {"a.png", "b.png", "n.txt"}


@pytest.mark.parametrize(
    ("files", "chosen", "expected", "word"),
    [
        (["10_cat/a.png", "5_dog/b.png"], "10_cat", {("10_cat", 10, "cat", 1)}, "too deep"),
        (["img/10_cat/a.png"], "", {("10_cat", 10, "cat", 1)}, "too high"),
        (["p/img/10_cat/a.png"], "", {("10_cat", 10, "cat", 1)}, "too high"),
        (
            ["img/10_cat/a.png", "reg/1_pet/b.png", "log/x.txt"],
            "", {("10_cat", 10, "cat", 1)}, "too high",
        ),
        (["img/10_cat/a.png", "sample/b.png"], "", {("10_cat", 10, "cat", 1)}, "too high"),
        (["cat/a.png", "cat/b.png"], "cat", {("cat", 1, "cat", 2)}, "directly in cat"),
        (["cat/a.png"], "", {("cat", 1, "cat", 1)}, "number of repeats is missing"),
        (["cat/x/a.png", "cat/y/b.png"], "", {("cat", 1, "cat", 2)}, "lie deeper"),
        (["10_cat/x/a.png"], "", {("10_cat", 10, "cat", 1)}, "lie deeper"),
        (["0_cat/a.png"], "", {("0_cat", 1, "cat", 1)}, "below 1"),
        (["10 cat/a.png"], "", {("10 cat", 10, "cat", 1)}, "underscore"),
        (["10-cat/a.png", "3_x/b.png"], "", {("10-cat", 10, "cat", 1), ("3_x", 3, "x", 1)}, "und"),
        (["1.5_cat/a.png"], "", {("1.5_cat", 1, "1.5_cat", 1)}, "missing"),
    ],
)  # fmt: skip
def test_mistakes_are_guessed_and_told(tmp_path, files, chosen, expected, word):
    scan = find_folders(tree(tmp_path, *files) / chosen)
    assert found(scan) == expected
    assert any(word in text for text in scan.guesses)


@pytest.mark.parametrize(
    ("files", "left_out", "mend"),
    [
        (["10_x/a.png", "extra/b.png"], '"extra"', {"extra": 1}),
        (["10_x/a.png", "0_y/b.png"], '"0_y"', {"0_y": 1}),
        (["10_x/a.png", "loose.png"], "the chosen folder itself", {".": 1}),
        (["10_x/a.png", "10_x/deep/b.png"], '"deep"', {"10_x/deep": 1}),
    ],
)
def test_what_is_left_out_is_told_and_the_mend_takes_it_in(tmp_path, files, left_out, mend):
    root = tree(tmp_path, *files)
    scan = find_folders(root)
    assert {f.path.name for f in scan.folders} == {"10_x"}
    assert any(f"1 picture in {left_out} left out" in text for text in scan.warnings)
    assert [item["folder_repeats"] for item in scan.mends] == [mend]
    mended = find_folders(root, mend)
    assert sorted(f.repeats for f in mended.folders) == [1, 10]
    assert sum(len(f.pictures) for f in mended.folders) == 2
    assert not mended.warnings


@pytest.mark.parametrize(
    ("files", "used"),
    [
        (["10_x/a.png", "sample/1.png", "sample/2.png"], {("10_x", 10, "x", 1)}),
        (["10_x/a.png", "10_x/Sample/1.png", "10_x/Sample/2.png"], {("10_x", 10, "x", 1)}),
        (["x/a.png", "samples/1.png", "samples/2.png"], {("x", 1, "x", 1)}),
        (["10_x/a.png", "sample/old/1.png", "sample/old/2.png"], {("10_x", 10, "x", 1)}),
    ],
)
def test_earlier_previews_are_no_pictures_and_no_mend_takes_them_in(tmp_path, files, used):
    scan = find_folders(tree(tmp_path, *files))
    assert found(scan) == used and not scan.mends
    (told,) = [text for text in scan.warnings if "left out" in text]
    assert told.startswith("2 pictures in") and "previews of earlier trainings" in told


def test_previews_beside_nested_pictures_are_not_trained_on(tmp_path):
    (folder,) = find_folders(tree(tmp_path, "10_x/deep/a.png", "10_x/sample/1.png")).folders
    assert [path.name for path in folder.pictures] == ["a.png"]


def test_folder_repeats_takes_a_folder_called_sample(tmp_path):
    scan = find_folders(tree(tmp_path, "10_x/a.png", "sample/b.png"), {"sample": 4})
    assert found(scan) == {("10_x", 10, "x", 1), ("sample", 4, "sample", 1)}
    assert not scan.warnings


def test_masks_and_the_like_get_no_mend(tmp_path):
    scan = find_folders(tree(tmp_path, "10_x/a.png", "masks/a.png"))
    assert not scan.mends and "not trained on" in scan.warnings[0]


def test_folder_repeats_wins_over_names_and_leaves_the_rest(tmp_path):
    root = tree(tmp_path, "10_x/a.png", "cats/b.png", "dogs/c.png", "img/deep/d.png")
    scan = find_folders(root, {"10_x": 3, "cats": "7", str(root / "dogs"): 0, "img/deep": 2})
    assert found(scan) == {("10_x", 3, "x", 1), ("cats", 7, "cats", 1), ("deep", 2, "deep", 1)}
    scan = find_folders(tree(tmp_path / "other", "a/1.png", "b/1.png"), {"a": 9})
    assert found(scan) == {("a", 9, "a", 1), ("b", 1, "b", 1)}
    scan = find_folders(tree(tmp_path / "third", "1_a/1.png"), {"nowhere": 9})
    assert scan.unmatched == {"nowhere"}
    with pytest.raises(SettingError, match="whole number"):
        find_folders(root, {"cats": "many"})


def test_strange_formats_and_many_repeats_are_told(tmp_path):
    scan = find_folders(tree(tmp_path, "2023_x/a.png", "2023_x/b.heic", "2023_x/c.gif"))
    assert any("2023 times" in text for text in scan.warnings)
    assert any("2 pictures left out" in text and "b.heic" in text for text in scan.warnings)


def test_folders_of_other_settings_are_left_out(tmp_path):
    root = tree(tmp_path, "cat/a.png", "faces/b.png")
    assert found(find_folders(root, leave_out=[root / "faces"])) == {("cat", 1, "cat", 1)}


@pytest.mark.parametrize(
    ("files", "chosen", "message"),
    [
        ([], "", "There are no pictures.*nothing at all.*Choose the folder"),
        (["a/b.txt"], "", "There are no pictures.*1 folder"),
        (["10_x/b.psd"], "", "There are no pictures"),
        ([], "nowhere", "There is no folder.*Choose it again"),
        (["a.png"], "a.png", "is a file. Choose the folder"),
        (["a/10_x/1.png", "b/10_x/1.png"], "", "one level too high.*a, b.*Choose one"),
    ],
)
def test_nothing_usable_is_one_sentence_with_a_remedy(tmp_path, files, chosen, message):
    with pytest.raises(SettingError, match=message) as caught:
        find_folders(tree(tmp_path, *files) / chosen)
    assert caught.value.setting == "train_data_dir"
