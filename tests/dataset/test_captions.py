"""Captions against what sd-scripts made of them (tests/data/dataset/captions.json)."""

import json
import random
from pathlib import Path

import pytest

from scripts.dataset.captions import (
    EMPTY,
    MISSING,
    PRESENT,
    CaptionOptions,
    find_caption_file,
    process_caption,
    read_caption,
)

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "data" / "dataset" / "captions.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("case", REFERENCE["process"])
def test_processed_captions_are_those_of_sd_scripts(case):
    result = process_caption(
        case["caption"],
        CaptionOptions(**case["options"]),
        random.Random(case["python_random_seed"]),
        case["epoch"],
        case["step"],
        case["max_train_steps"],
    )
    assert result == case["output"]


@pytest.mark.parametrize("case", REFERENCE["caption_files"], ids=lambda case: case["image"])
def test_caption_files_are_read_as_by_sd_scripts_or_better(case, tmp_path):
    for name, text in case["caption_files"].items():
        (tmp_path / name).write_bytes(text.encode("utf-8"))
    names = {path.name.lower(): path for path in tmp_path.iterdir()}
    caption = read_caption(
        find_caption_file(tmp_path / case["image"], ".txt", names), case["class_tokens"]
    )
    expected = case.get("caption", "")  # the empty file is an error there, an empty caption here
    assert caption.text == expected.removeprefix("\ufeff")  # and the byte-order mark is no letter
    assert caption.state == (MISSING if not names else PRESENT if caption.text else EMPTY)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("café, grün".encode("utf-16"), "utf-16"),
        ("café, grün".encode("utf-16-le"), "utf-16-le"),
        ("\ufeffcafé, grün\r\nsecond".encode(), "utf-8"),
        ("café, grün\rsecond".encode(), "utf-8"),
    ],
)
def test_encodings(tmp_path, data, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    caption = read_caption(path, "x")
    assert (caption.text, caption.encoding, caption.state) == ("café, grün", encoding, PRESENT)


def test_cp1252_captions_are_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("café".encode("cp1252"))
    caption = read_caption(path, "x")
    assert caption.text == "café" and caption.encoding not in ("utf-8", "")


def test_every_line_is_kept_for_wildcards(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n\n two \n", encoding="utf-8")
    assert read_caption(path, "x", every_line=True).text == "one\ntwo"
