"""Errors, findings and advice on the pages of a window in Japanese; nothing is cut off.

With EASY_LORA_PICTURES=FOLDER each state is saved as a picture, to be looked at.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from picture_folders import draw_pictures
from test_every_page import LORA, Tour
from test_train_wizard import BASE, TINY
from virtual_screen import virtual_screen

from easy_scripts import resize, train
from easy_scripts.queue import store as queue_store
from easy_scripts.train_pages import base_page, kind_page, pictures_page
from easy_scripts.train_pages.graphics_card import Card
from easy_scripts.wizard.asking import show_page

ENGLISH = re.compile(r"\b(the|is|are|was|not|it|has|there|which|choose|cannot)\b", re.I)


@pytest.fixture(autouse=True, params=[100, pytest.param(200, marks=pytest.mark.slow)])
def japanese(request, memory_folder, monkeypatch, tmp_path):
    """Windows in Japanese, on a PC with a small card and nothing in its folders."""
    scale = request.param
    for name, value in (("LANGUAGE", "ja"), ("THEME", "light"), ("SCALE", str(scale))):
        monkeypatch.setenv(f"EASY_LORA_{name}", value)
    monkeypatch.setattr(queue_store, "QUEUE_FOLDER", tmp_path / "queue")
    monkeypatch.setattr(base_page, "find_base_models", list)

    def find(wizard, take):
        wizard.facts.card = Card("NVIDIA GeForce GTX 1050", 2, True)
        take(wizard.facts.card)

    monkeypatch.setattr(kind_page, "find_card", find)
    with virtual_screen(1366 * scale // 100, 768 * scale // 100):
        yield


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder with everything that is told of one."""
    root = tmp_path / "絵"
    draw_pictures(root / "201_hero", [(64, 64)] * 6, ["hero, red", None, "", "hero", "hero", "a"])
    draw_pictures(root / "old version 1.5", [(80, 48)] * 3, [None, None, None])
    draw_pictures(root, [(64, 64)], ["a"])
    (root / "201_hero" / "broken.png").write_bytes(b"x")
    (root / "201_hero" / "photo.heic").write_bytes(b"x")
    return root


def settled(tour: Tour) -> None:
    robot = tour.robot
    robot.until(lambda: not getattr(getattr(robot.page, "_asking", None), "busy", False))
    robot.pump(0.1)


def look(tour: Tour, what: str) -> str:
    """What stands on the page: nothing cut off, and no English sentence."""
    tour.look(what)
    seen = tour.robot.seen()
    assert not ENGLISH.search(re.sub(r"/\S*", "", seen)), seen
    return seen


@pytest.mark.slow
def test_a_training(pictures, tmp_path):
    given = {**TINY, "output_dir": str(tmp_path / "out"), "network_alpha": "64",
             "sample_prompts": "hero"}  # fmt: skip
    tour = Tour("said", train.PLAN, given)
    robot = tour.robot
    try:
        config = tmp_path / "run.json"
        config.write_text(json.dumps({
            "pretrained_model_name_or_path": "x.ckpt", "LoRA_type": "Standard", "epoch": 3,
            "max_train_epochs": 5, "lr_warmup": 10, "wandb_api_key": "x", "nobody": 5,
            "learning_rate": "much", "additional_parameters": "--flip_aug",
        }))  # fmt: skip
        robot.page.open_config(str(config))
        robot.until(lambda: not robot.page._importing.busy)
        assert "kohya_ss GUI の設定ファイルです" in look(tour, "import")
        tour.robot.wizard.answers.update(given)
        robot.wizard.go_on()

        def choose(path: Path) -> None:
            robot.page.rows[base_page.SETTING].variable.set(str(path))
            settled(tour)

        choose(LORA)
        assert "input.safetensors はベースモデルではなく、LoRA のようです。" in look(
            tour, "base-lora"
        )
        choose(BASE)
        robot.wizard.next()
        row = robot.page.rows[pictures_page.SETTING]
        row.variable.set(str(tmp_path))
        (tmp_path / "empty" / "sub").mkdir(parents=True)
        row.variable.set(str(tmp_path / "empty"))
        settled(tour)
        assert "フォルダー 1個（sub）" in look(tour, "pictures-none")
        row.variable.set(str(pictures))
        settled(tour)
        seen = look(tour, "pictures")
        assert "1エポックに各画像を 201回繰り返します" in seen
        assert "broken.png: 壊れているか、画像ではありません" in seen
        robot.page.frame.show(robot.page.trigger)
        look(tour, "pictures-below")
        robot.wizard.next()
        settled(tour)
        robot.page._kind.set("character")  # in place of what was opened
        robot.pump()
        assert "2 GB は少なめです" in look(tour, "kind")
        tour.unfold()
        assert "fp8 のベースモデルでメモリを節約します。" in look(tour, "kind-reasons")
        robot.page._to_all()
        robot.page.show_error("network_dim", '"x" is not a whole number. Write one, such as 8.')
        assert "「x」は整数ではありません。" in look(tour, "settings-error")
        robot.page.rows["network_dim"].show_error(None)
        show_page(robot.wizard, "summary")
        settled(tour)
        look(tour, "summary")
        robot.page.rows["sample_prompts"].variable.set("hero --zz 5")
        settled(tour)
        assert "1番目のプロンプト: --zz は知らない指定です。" in look(tour, "summary-error")
    finally:
        robot.end()


def test_a_file_that_breaks_before_it_is_resized(tmp_path):
    path = tmp_path / "hero v1.5. new.safetensors"
    shutil.copy(LORA, path)
    size = path.stat().st_size
    tour = Tour("said", resize.PLAN, {"model": [str(path)], "new_rank": [4]})
    robot = tour.robot
    try:
        tour.forward()
        tour.forward()
        with path.open("rb+") as file:
            file.truncate(size // 2)
        robot.wizard.next()
        robot.until(lambda: robot.page.name == "work" and not robot.page.busy)
        seen = look(tour, "broken")
        assert f"ファイル {path.name} は途中で切れています。{size:,}バイトのはずが" in seen
        robot.page._offer_setting()
        robot.wizard.go_to(0)
        robot.wizard.page.reader.close()
    finally:
        robot.end()
