"""What a novice does, with the mouse and the keyboard of the screen: from the first page to the
finished LoRA in six clicks besides the paths; Back on every page; Cancel anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_train_wizard import BASE, TINY

from scripts.core.safetensors_header import read_header

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).with_name("seen_from_outside.py")
PATIENCE = 300  # seconds, on a machine that is busy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("xdotool"), reason="xdotool is not installed"),
]


class Novice:
    """Sees the window of the program, clicks and types; counts the clicks."""

    def __init__(self, folder: Path, given: dict) -> None:
        self._places, self.clicks = folder / "places.json", 0
        settings = folder / "given.json"
        settings.write_text(json.dumps(given), encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder / "kept"), str(self._places), str(settings)],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "EASY_LORA_LANGUAGE": "en", "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.on("start")

    def seen(self) -> dict:
        """What is on the screen now."""
        return json.loads(self._places.read_text(encoding="utf-8"))

    def until(self, holds, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not (self._places.exists() and holds(self.seen())):
            assert time.monotonic() < end and self.process.poll() is None, (what, self.seen())
            time.sleep(0.1)

    def on(self, page: str) -> None:
        """Wait until this page is on screen and knows what it asked for."""
        self.until(lambda seen: seen["page"] == page and not seen["busy"], page)
        time.sleep(0.4)
        self.until(lambda seen: seen["page"] == page and not seen["busy"], page)

    def click(self, text: str, kind: str = "Button") -> None:
        """Click on what bears this text, with the screen's mouse."""

        def found(seen):
            return [one for one in seen["widgets"] if (one["kind"], one["text"]) == (kind, text)]

        self.until(found, text)
        place = found(self.seen())[0]
        xdotool("mousemove", str(place["x"]), str(place["y"]), "click", "1")
        self.clicks += 1

    def fill(self, path: Path) -> None:
        """Type a path where the keyboard is."""
        xdotool("type", "--delay", "5", str(path))
        time.sleep(0.3)

    def end(self) -> str:
        """Wait until the program has ended; what it complained of."""
        assert self.process.wait(timeout=60) == 0
        return self.process.stderr.read()


def xdotool(*words: str) -> None:
    subprocess.run(["xdotool", *words], check=True, timeout=60)


@pytest.fixture
def novice(screen, tmp_path):
    """A novice before the first page, with drawn pictures in a folder."""
    from scripts.practice.draw import draw_practice_set

    draw_practice_set(tmp_path / "my pictures")
    one = Novice(tmp_path, {**TINY, "max_train_epochs": "2", "output_dir": str(tmp_path / "out")})
    yield one
    one.process.kill()
    one.process.wait()


def to_page(novice: Novice, tmp_path: Path, last: str) -> None:
    """From the first page to the page `last`."""
    pages = ("start", "base", "pictures", "kind", "summary")
    for page in pages[: pages.index(last)]:
        novice.click("Start here" if page == "start" else "Next")
        novice.on(pages[pages.index(page) + 1])
        if page == "start":
            novice.fill(BASE)
        elif page == "base":
            novice.fill(tmp_path / "my pictures")
            novice.on("pictures")


def test_six_clicks_to_a_finished_lora(novice, tmp_path):
    to_page(novice, tmp_path, "summary")
    novice.click("Start")
    novice.on("finished")
    novice.click("Show in folder")
    assert novice.clicks == 6
    made = tmp_path / "out" / "zyx.safetensors"
    assert read_header(made).metadata["ss_network_dim"] == "4"
    novice.click("Close")
    assert novice.end() == ""


def test_back_on_every_page_and_forward_again(novice, tmp_path):
    to_page(novice, tmp_path, "summary")
    for page in ("kind", "pictures", "base", "start"):
        novice.click("Back")
        novice.on(page)
    novice.click("Start here")
    for page in ("base", "pictures", "kind", "summary"):
        novice.on(page)
        if page != "summary":
            novice.click("Next")
    entered = [one["text"] for one in novice.seen()["widgets"]]
    assert "zyx" in entered, "what was entered is still there"
    novice.click("Cancel")
    assert novice.end() == ""


@pytest.mark.parametrize("page", ["start", "base", "pictures", "kind", "summary"])
def test_cancel_on_any_page_keeps_what_was_entered(novice, tmp_path, page):
    to_page(novice, tmp_path, page)
    novice.click("Cancel")
    assert novice.end() == ""
    kept = tmp_path / "kept" / "train.json"
    if page not in ("start", "base"):
        draft = json.loads(kept.read_text(encoding="utf-8"))["draft"]
        assert draft["pretrained_model_name_or_path"] == str(BASE)
    assert not (tmp_path / "out").exists(), "nothing was started"
