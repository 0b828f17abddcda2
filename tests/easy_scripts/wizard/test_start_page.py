"""The first page: a config that is still being read when someone has gone on; paused bakes."""

from __future__ import annotations

import json

import pytest
import test_train_wizard as wizard_tests
from made_up_kept_bake import MadeUpBake

from easy_scripts import train
from easy_scripts.train_pages.paused import forget_paused
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.remembered import Memory

this_pc = wizard_tests.this_pc
SETTING = "pretrained_model_name_or_path"


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({SETTING: "/models/of_the_config.safetensors", "network_dim": 7}))
    return str(file)


def test_a_config_replaces_nothing_that_was_entered_after_the_page_was_left(
    open_robot, config, monkeypatch
):
    robot = open_robot(train.PLAN)
    start = robot.page
    monkeypatch.setattr(start, "choose_file", lambda: config)
    robot.press("<Alt-o>")
    robot.press("<Alt-a>")
    assert robot.page.name == "base"
    robot.page.rows[SETTING].variable.set("/models/typed.safetensors")
    robot.pump(3)
    assert robot.wizard.answers[SETTING] == "/models/typed.safetensors"
    assert robot.wizard.answers["network_dim"] != 7 and not start._importing.busy
    robot.click("Back")
    assert "Reading the config" not in robot.seen(), "nothing is being read any more"
    robot.press("<Alt-o>")
    robot.until(lambda: robot.wizard.answers["network_dim"] == 7, "it can be opened again")


def test_every_key_of_a_config_is_named_in_its_report(open_robot, tmp_path):
    keys = {"net_dim": 7, "base_model": "/models/none.safetensors", "learning_rate": "1e-4",
            "num_epochs": 2, "vae": None, "seed": 3, "lyco": False, "nobody": 5}  # fmt: skip
    file = tmp_path / "config.json"
    file.write_text(json.dumps(keys))
    robot = open_robot(train.PLAN, {"train_data_dir": str(file)})
    robot.until(lambda: "This is a config of the older popup scripts" in robot.seen())
    before = robot.seen()
    assert "nobody: " in before and "net_dim" not in before
    robot.click("▸  The other keys of the file")
    seen = robot.seen()
    assert "net_dim → network_dim" in seen and "Used: learning_rate, seed" in seen
    assert "Not set: vae" in seen and all(key in seen for key in keys)


def test_advice_leaves_alone_what_a_config_says_even_where_it_was_advised_before(
    open_robot, tmp_path, memory_folder
):
    Memory("train", memory_folder).keep("applied", {"network_dim": 32, "clip_skip": 2})
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"network_dim": 32, "clip_skip": 2, "max_train_epochs": 4}))
    robot = open_robot(train.PLAN, {"train_data_dir": str(file)})
    answers = robot.wizard.answers
    robot.until(lambda: answers["max_train_epochs"] == 4)
    show_page(robot.wizard, "kind")
    robot.page._kind.set("style")
    assert (answers["network_dim"], answers["clip_skip"], answers["max_train_epochs"]) == (32, 2, 4)
    assert answers["min_snr_gamma"] == 5.0


@pytest.fixture
def paused(tmp_path, memory_folder):
    """Two bakes that were paused, the newest first."""
    bakes = []
    for name in ("hero", "cat"):
        state = tmp_path / f"{name}-state"
        state.mkdir()
        bakes.append({"config": {"output_name": name, "output_dir": str(tmp_path)},
                      "state": str(state)})  # fmt: skip
    Memory("train").keep("paused", bakes)
    return bakes


def test_a_paused_bake_that_runs_again_is_not_offered_twice(open_robot, paused):
    bake = MadeUpBake(name="hero", config=paused[0]["config"], resume=paused[0]["state"])
    robot = open_robot(train.PLAN)
    assert "A bake is running" in robot.seen()
    assert robot.seen().splitlines().count("Go on where you paused") == 1
    assert "cat" in robot.seen().splitlines() and "hero" not in robot.seen().splitlines()
    bake.end(0)


def test_a_namesake_that_runs_hides_no_pause(open_robot, paused):
    bake = MadeUpBake(name="hero", config=paused[0]["config"])
    assert open_robot(train.PLAN).seen().splitlines().count("Go on where you paused") == 2
    bake.end(0)


def test_a_pause_can_be_forgotten_and_its_state_stays(open_robot, paused):
    robot = open_robot(train.PLAN)
    assert robot.root.focus_get() is robot.page._cards["resume0"].button
    asked = robot.answer(1)
    robot.click("✕")
    assert paused[0]["state"] in asked()[0]
    assert robot.seen().splitlines().count("Go on where you paused") == 1
    assert [one["state"] for one in Memory("train").get("paused")] == [paused[1]["state"]]
    asked = robot.answer(0)
    robot.click("✕")
    assert asked() and "Go on where you paused" in robot.seen()


def test_a_pause_that_another_window_has_ended_is_seen_when_it_is_pressed(open_robot, paused):
    robot = open_robot(train.PLAN)
    forget_paused(Memory("train"), paused[0]["state"])
    robot.press("<Alt-t>")
    assert robot.page.name == "start" and "hero" not in robot.seen().splitlines()
    assert robot.root.focus_get() is robot.page._cards["resume0"].button
