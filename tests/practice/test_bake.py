"""The practice bake as a user starts it: the end-to-end test of the whole suite."""

import numpy as np
import pytest
from PIL import Image

from scripts.core.errors import SuiteError
from scripts.core.events import Control
from scripts.core.safetensors_header import read_header
from scripts.practice import bake
from scripts.practice.bake import LEAST_AFTER, LEAST_KEPT, MOST_BEFORE, PICTURES, Shares


def test_the_limits_are_those_that_were_promised():
    assert (MOST_BEFORE, LEAST_AFTER, LEAST_KEPT) == (0.10, 0.75, 0.85) and PICTURES >= 60
    assert Shares(0.10, 0.75, 0.85, 60).good
    assert not Shares(0.11, 1, 1, 60).good
    assert not Shares(0, 0.74, 1, 60).good
    assert not Shares(0, 1, 0.84, 60).good


def test_a_bake_that_did_not_teach_says_what_was_measured(tmp_path, monkeypatch):
    pictures = [np.zeros((64, 64, 3), np.uint8)] * bake.PICTURES

    def drawn(share):
        right = round(share * bake.PICTURES)
        return bake.Drawn(pictures, [True] * right + [False] * (bake.PICTURES - right))

    monkeypatch.setattr(bake, "_train", lambda *_: tmp_path / "zyx.safetensors")
    monkeypatch.setattr(bake, "_draw", lambda *_: (drawn(0), drawn(0.6), drawn(0.95)))
    with pytest.raises(SuiteError, match=r"in 0% of .* in 60% with it .*; 95% of the other"):
        bake.bake(tmp_path, lambda event: None, Control())


@pytest.mark.slow
def test_the_practice_bake_teaches_the_concept(baked):
    assert baked.events[-1]["event"] == "done"
    told = next(
        e["text"] for e in baked.events if e["event"] == "note" and "what was taught" in e["text"]
    )
    print(told, f"{baked.events[-1]['seconds']:.0f} s")
    metadata = read_header(baked.lora).metadata
    assert metadata["ss_steps"] == metadata["ss_max_train_steps"]
    with Image.open(baked.folder / "contact_sheet.png") as sheet:
        assert sheet.width > 600 and sheet.height > 600
    pictures = list((baked.folder / "pictures" / "10_zyx").glob("*.png"))
    assert 16 <= len(pictures) <= 20
