"""What a novice does, with the mouse and the keyboard of the screen: from the double-click to the
finished LoRA in six clicks besides the paths; Back on every page."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import pytest
from seen_from_outside import Window
from test_train_wizard import BASE, TINY

from scripts.core.safetensors_header import read_header

pytestmark = pytest.mark.slow
TRIGGER = "sks"
# Dropped onto the .bat: no paths, no trigger word.
SMALL = {**TINY, "network_alpha": 2, "sample_prompts": "a figure", "sample_every_n_epochs": 1}


@pytest.fixture
def small_config(tmp_path) -> Path:
    """A config that makes the bake short."""
    (tmp_path / "small.json").write_text(json.dumps(SMALL), encoding="utf-8")
    return tmp_path / "small.json"


@pytest.fixture
def base_model(tmp_path) -> Path:
    """The practice model at a path that every keyboard can type."""
    return Path(shutil.copy(BASE, tmp_path / "base.safetensors"))


def to_summary(window: Window, base_model: Path, pictures: Path) -> None:
    """From the first page to the summary, the paths and the trigger word typed."""
    for page, after in itertools.pairwise(("start", "base", "pictures", "kind", "summary")):
        window.click("Choose what is missing" if page == "start" else "Next")
        window.on(after)
        if after == "base":
            window.type(base_model)
            window.sees("Stable Diffusion 1.x")
        elif after == "pictures":
            window.type(pictures)
            window.sees("18 pictures in 1 folder")
            window.tab_to("a figure")  # proposed, as every caption says it; Tab selects it
            window.type(TRIGGER)
    window.sees("2 rounds")


def test_six_clicks_from_the_double_click_to_a_finished_lora(
    own_copy, open_window, base_model, drawn_pictures, small_config, tmp_path
):  # fmt: skip
    window = open_window(small_config)
    to_summary(window, base_model, drawn_pictures)
    window.click("Start")
    window.on("bake")
    events = own_copy.keep_events(tmp_path / "events.jsonl")
    window.on("finished")
    window.click("Show in folder")
    assert window.clicks <= 6
    header = read_header(own_copy.output / f"{TRIGGER}.safetensors")
    assert header.tensors and header.metadata["ss_network_dim"] == "4"
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    assert lines[-1] == {"ended": 0} and lines[-2]["event"] == "done"
    assert {"start", "stage", "preview", "saved"} <= {line.get("event") for line in lines}
    steps = [line["done"] for line in lines if line.get("event") == "step"]
    assert steps == sorted(steps) and str(steps[-1]) == header.metadata["ss_steps"]
    window.click("Close")
    assert window.gone() == 0
    own_copy.until_quiet()
    assert own_copy.complaints() == ""


def test_back_on_every_page_and_forward_again(
    own_copy, open_window, base_model, drawn_pictures, small_config
):  # fmt: skip
    window = open_window(small_config)
    window.sees("Choose what is missing")
    window.click("Look at it")
    window.on("queue")
    window.click("Back")
    window.on("start")
    to_summary(window, base_model, drawn_pictures)
    window.click("Change any setting…")
    window.on("all_settings")
    for page in ("kind", "pictures", "base", "start"):
        window.click("Back")
        window.on(page)
    window.click("Choose what is missing")
    for page in ("base", "pictures", "kind", "summary"):
        window.on(page)
        if page != "summary":
            window.click("Next")
    assert TRIGGER in window.texts(), "what was entered is still there"
    window.sees("2 rounds")
    window.click("Start")
    window.on("bake")
    assert not window.can_click("Back"), "first it has to be stopped"
    window.on("finished")
    window.click("Back")
    window.on("summary")
    window.click("Cancel")
    assert window.gone() == 0
    own_copy.until_quiet()
    assert own_copy.remembered("draft")["pretrained_model_name_or_path"] == str(base_model)
    assert own_copy.complaints() == ""
