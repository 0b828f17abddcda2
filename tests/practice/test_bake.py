"""The practice bake as a user starts it: the end-to-end test of the whole suite."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

from scripts.core.files import PROJECT_FOLDER
from scripts.core.safetensors_header import read_header
from scripts.practice.bake import LEAST_AFTER, LEAST_KEPT, MOST_BEFORE, PICTURES, Shares


def test_the_limits_are_those_that_were_promised():
    assert (MOST_BEFORE, LEAST_AFTER, LEAST_KEPT) == (0.10, 0.75, 0.85) and PICTURES >= 60
    assert Shares(0.10, 0.75, 0.85, 60).good
    assert not Shares(0.11, 1, 1, 60).good
    assert not Shares(0, 0.74, 1, 60).good
    assert not Shares(0, 1, 0.84, 60).good


@pytest.mark.slow
def test_the_practice_bake_teaches_the_concept(tmp_path):
    stdin, open_end = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.practice", str(tmp_path / "bäked here"), "--events"],
            capture_output=True, text=True, encoding="utf-8", cwd=PROJECT_FOLDER, stdin=stdin,
        )  # fmt: skip
    finally:
        os.close(stdin)
        os.close(open_end)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "done"
    told = next(
        e["text"] for e in events if e["event"] == "note" and "what was taught" in e["text"]
    )
    print(told, f"{events[-1]['seconds']:.0f} s")
    folder = tmp_path / "bäked here"
    metadata = read_header(folder / "zyx.safetensors").metadata
    assert metadata["ss_steps"] == metadata["ss_max_train_steps"]
    with Image.open(folder / "contact_sheet.png") as sheet:
        assert sheet.width > 600 and sheet.height > 600
    pictures = list((folder / "pictures" / "10_zyx").glob("*.png"))
    assert 16 <= len(pictures) <= 20
