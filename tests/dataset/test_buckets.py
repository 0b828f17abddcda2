"""Buckets against the numbers that sd-scripts gave (tests/data/dataset/buckets.json)."""

import json
from pathlib import Path

import pytest

from scripts.dataset.buckets import (
    bucket_sizes,
    centre_crop,
    choose_bucket,
    choose_bucket_without_enlarging,
    crop_place,
    sdxl_crop_box,
)

CASES = json.loads(
    (Path(__file__).parents[1] / "data" / "dataset" / "buckets.json").read_text(encoding="utf-8")
)


def case_id(case):
    return f"{case['resolution']}-{case['bucket_reso_steps']}-{case['bucket_no_upscale']}"


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_buckets_resizing_and_crops_are_those_of_sd_scripts(case):
    resolution, step = tuple(case["resolution"]), case["bucket_reso_steps"]
    sizes = bucket_sizes(resolution, case["min_bucket_reso"], case["max_bucket_reso"], step)
    if not case["bucket_no_upscale"]:
        assert [list(size) for size in sizes] == case["bucket_list"]
    for image in case["images"]:
        size = tuple(image["size"])
        if case["bucket_no_upscale"]:
            choice = choose_bucket_without_enlarging(size, resolution, step)
        else:
            choice = choose_bucket(size, sizes)
        if "error" in image:  # a division by zero there; here the picture is named and left out
            assert not choice.usable
            continue
        assert list(choice.bucket) == image["bucket"]
        assert list(choice.resized) == image["resized"]
        assert choice.ratio_error == image["ar_error"]
        crop = centre_crop(choice.resized, choice.bucket)
        assert list(crop) == image["pixel_crop_left_top"]
        assert choice.usable == image["fits"]
        if "sdxl_crop_ltrb" in image:
            assert list(sdxl_crop_box(choice.bucket, size)) == image["sdxl_crop_ltrb"]


def test_random_crops_stay_inside_and_differ():
    places = {crop_place((700, 512), (512, 512), crop) for crop in range(1, 40)}
    assert len(places) > 20
    assert all(0 <= left <= 188 and top == 0 for left, top in places)
    assert crop_place((700, 512), (512, 512), 0) == (94, 0)
    assert crop_place((700, 512), (512, 512), 3) == crop_place((700, 512), (512, 512), 3)
