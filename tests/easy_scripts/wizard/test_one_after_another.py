"""Two LoRAs in one window: word, name and repeats of the first do not reach the second."""

from __future__ import annotations

import json
from tkinter import ttk

import pytest
import test_train_wizard as wizard_tests
from made_up_bake import MadeUpBake
from picture_folders import draw_pictures
from test_train_wizard import BASE

from easy_scripts import train
from easy_scripts.train_pages.opened import begin_new, open_settings
from easy_scripts.wizard.asking import show_page
from easy_scripts.wizard.remembered import Memory
from scripts.core.declare import as_config
from scripts.core.events import Done, Saved

this_pc = wizard_tests.this_pc
FOLDER = "train_data_dir"


@pytest.fixture
def folders(tmp_path):
    """Pictures whose captions all say zyxcat, and others that say qwqdog."""
    for word, name in (("zyxcat", "1_cat"), ("qwqdog", "10_dog")):
        captions = [f"{word}, on {place}" for place in ("grass", "a chair", "sand")]
        draw_pictures(tmp_path / word / name, [(64, 64)] * 3, captions)
    return {word: str(tmp_path / word) for word in ("zyxcat", "qwqdog")}


@pytest.fixture
def robot(open_robot, folders):
    """On the page of pictures, with the first folder."""
    robot = open_robot(train.PLAN, {FOLDER: folders["zyxcat"],
                                    "pretrained_model_name_or_path": str(BASE)})  # fmt: skip
    to_pictures(robot)
    return robot


def to_pictures(robot):
    show_page(robot.wizard, "pictures")
    wait(robot)


def wait(robot):
    robot.until(lambda: robot.wizard.facts.dataset.get("complete"), "the pictures are known")


def choose(robot, folder):
    robot.page.rows[FOLDER].variable.set(folder)
    robot.until(lambda: not robot.wizard.facts.dataset)
    wait(robot)


def to_summary(robot):
    for name in ("kind", "summary"):
        show_page(robot.wizard, name)
    robot.until(lambda: not robot.page._asking.busy)


def finish(robot, tmp_path, name):
    """The page after a bake that made this LoRA."""
    file = tmp_path / f"{name}.safetensors"
    file.write_bytes(b"x" * 100)
    robot.wizard.facts.events = [Saved(str(file)), Done(str(file), 9.0)]
    show_page(robot.wizard, "finished")
    robot.pump()


def test_a_name_that_was_proposed_follows_the_pictures(robot, folders):
    to_summary(robot)
    assert robot.wizard.answers["output_name"] == "zyxcat"
    robot.click("Back")
    robot.click("Back")
    choose(robot, folders["qwqdog"])
    to_summary(robot)
    assert robot.wizard.answers["output_name"] == "qwqdog"
    assert robot.wizard.answers["sample_prompts"].startswith("qwqdog, on ")
    robot.page.rows["output_name"].variable.set("rex")
    to_pictures(robot)
    choose(robot, folders["zyxcat"])
    to_summary(robot)
    assert robot.wizard.answers["output_name"] == "rex", "a name that was typed stays"


def test_a_word_typed_for_one_folder_is_not_put_before_the_captions_of_another(robot, folders):
    robot.page.trigger.variable.set("sks")
    assert robot.wizard.answers["caption_prefix"] == "sks, "
    choose(robot, folders["qwqdog"])
    assert robot.page.trigger.word == "qwqdog"
    assert robot.wizard.answers["caption_prefix"] is None


def test_a_new_lora_after_a_bake_begins_with_its_own_word_and_name(robot, folders, tmp_path):
    robot.page.trigger.variable.set("sks")
    to_summary(robot)
    robot.page.rows["output_name"].variable.set("hero")
    robot.wizard.facts.spent = True  # as the page of the bake says
    finish(robot, tmp_path, "hero")
    robot.click("Train another")
    robot.click("Start here")
    answers = robot.wizard.answers
    assert answers["pretrained_model_name_or_path"] == str(BASE)
    to_pictures(robot)
    choose(robot, folders["qwqdog"])
    to_summary(robot)
    assert (answers["output_name"], answers["caption_prefix"]) == ("qwqdog", None)


def test_advised_repeats_go_with_their_folder(open_robot, tmp_path, folders):
    draw_pictures(tmp_path / "mycat", [(64, 64)] * 3, ["a cat"] * 3)
    robot = open_robot(train.PLAN, {FOLDER: str(tmp_path / "mycat"),
                                    "pretrained_model_name_or_path": str(BASE)})  # fmt: skip
    to_pictures(robot)
    show_page(robot.wizard, "kind")
    assert list(robot.wizard.answers["folder_repeats"]) == ["mycat"]
    robot.click("Back")
    choose(robot, folders["qwqdog"])
    robot.click("Next")
    assert robot.page.name == "kind" and not robot.wizard.answers["folder_repeats"]
    looks = robot.wizard.answers["max_train_epochs"] * 10 * 3
    assert 600 <= looks <= 900, "the 10 of 10_dog counts: at most 250 looks at each of 3 pictures"


def test_repeats_by_hand_win_over_the_advice_and_go_with_their_folder_too(robot, folders):
    robot.page._table._numbers[0].set("7")
    robot.until(lambda: "21 looks" in robot.seen())
    show_page(robot.wizard, "kind")
    assert robot.wizard.answers["folder_repeats"] == {"1_cat": 7}
    robot.click("Back")
    choose(robot, folders["qwqdog"])
    assert not robot.wizard.answers["folder_repeats"]


@pytest.mark.parametrize("seen_before", [True, False])
def test_the_finished_page_names_the_word_of_the_bake_that_was_used_again(
    open_robot, folders, memory_folder, tmp_path, seen_before
):
    dog = {FOLDER: folders["qwqdog"], "pretrained_model_name_or_path": str(BASE),
           "output_name": "dog", "caption_prefix": "sks, "}  # fmt: skip
    Memory("train", memory_folder).keep("last", dog)
    robot = open_robot(train.PLAN, {FOLDER: folders["zyxcat"]} if seen_before else {})
    if seen_before:
        to_pictures(robot)
        robot.page.trigger.variable.set("qwq")
    show_page(robot.wizard, "start")
    robot.pump()
    robot.click("Use again")
    finish(robot, tmp_path, "dog")
    assert "<lora:dog:0.8>, sks" in robot.seen()


def test_a_word_in_the_captions_is_remembered_with_the_last_bake(
    open_robot, folders, memory_folder, tmp_path
):
    cat = {FOLDER: folders["zyxcat"], "output_name": "cat"}
    memory = Memory("train", memory_folder)
    memory.keep("last", cat)
    memory.keep("last_trigger", "zyxcat")
    robot = open_robot(train.PLAN)
    robot.click("Use again")
    finish(robot, tmp_path, "cat")
    assert "<lora:cat:0.8>, zyxcat" in robot.seen()
    open_settings(robot.wizard, {**cat, FOLDER: folders["qwqdog"]})
    assert robot.wizard.facts.trigger == ""


def test_who_comes_back_from_the_summary_of_a_bake_used_again_gets_advice_for_its_pictures(
    open_robot, folders, memory_folder
):
    last = {FOLDER: folders["qwqdog"], "pretrained_model_name_or_path": str(BASE),
            "output_name": "dog"}  # fmt: skip
    Memory("train", memory_folder).keep("last", last)
    robot = open_robot(train.PLAN)
    robot.click("Use again")
    robot.until(lambda: robot.wizard.facts.planned, "the plan is made")
    robot.click("Back")
    assert robot.page.name == "kind"
    robot.page._kind.set("character")
    situation = robot.page._situation()
    assert (situation.pictures, situation.family) == (3, "sd1")
    assert situation.model_name == str(BASE)
    looks = robot.wizard.answers["max_train_epochs"] * 10 * 3
    assert 600 <= looks <= 900, "at most 250 looks at each of 3 pictures, 10 a round"


# --- what was opened, queued and written by hand ----------------------------------------------


LAST = {"pretrained_model_name_or_path": str(BASE), "output_name": "dog", "network_dim": 7,
        "caption_prefix": "sks, "}  # fmt: skip


def test_as_opened_holds_for_what_was_opened_and_for_nothing_else(
    open_robot, folders, memory_folder
):
    Memory("train", memory_folder).keep("last", {**LAST, FOLDER: folders["qwqdog"]})
    robot = open_robot(train.PLAN)
    robot.click("Use again")
    show_page(robot.wizard, "kind")
    assert robot.page._kind.get() == "own" and robot.wizard.answers["network_dim"] == 7
    show_page(robot.wizard, "start")
    robot.pump()
    robot.click("Start here")
    answers = robot.wizard.answers
    assert [answers[name] for name in ("output_name", "caption_prefix")] == ["last", None]
    assert answers[FOLDER] == folders["qwqdog"]
    to_pictures(robot)
    show_page(robot.wizard, "kind")
    assert robot.page._kind.get() == "character" and "In the settings I opened" not in robot.seen()
    assert answers["min_snr_gamma"] == 5.0, "it is advised again"
    assert robot.wizard.memory.get("choices")["kind"] == "character"


def test_the_next_session_does_not_begin_as_opened(open_robot, folders, memory_folder):
    memory = Memory("train", memory_folder)
    memory.keep("choices", {"kind": "own", "effort": "quick"})
    robot = open_robot(train.PLAN, {FOLDER: folders["zyxcat"]})
    show_page(robot.wizard, "kind")
    assert (robot.page._kind.get(), robot.page._effort.get()) == ("character", "quick")
    assert not robot.page._own_button.winfo_ismapped()


def test_a_draft_of_what_was_opened_stays_as_it_was(open_robot, folders, memory_folder):
    Memory("train", memory_folder).keep("last", {**LAST, FOLDER: folders["qwqdog"]})
    robot = open_robot(train.PLAN)
    robot.click("Use again")
    robot.page.rows["output_name"].variable.set("rex")
    robot.wizard.draft.keep()
    robot.end()
    robot = open_robot(train.PLAN)
    robot.click("Use them again")
    show_page(robot.wizard, "kind")
    assert robot.page._kind.get() == "own" and robot.wizard.answers["min_snr_gamma"] is None


def test_what_is_queued_leaves_name_and_prompt_behind(robot, folders):
    robot.page.trigger.variable.set("sks")
    to_summary(robot)
    robot.page.rows["output_name"].variable.set("hero")
    robot.page.rows["sample_prompts"].variable.set("hero in the snow")
    robot.until(lambda: not robot.page._asking.busy)
    robot.click("Add to queue")
    robot.click("Make the next LoRA")
    assert robot.page.name == "base"
    answers = robot.wizard.answers
    assert answers[FOLDER] == folders["zyxcat"] and answers["network_dim"] == 32
    own = ("output_name", "caption_prefix", "sample_prompts", "folder_repeats")
    assert [answers[name] or None for name in own] == ["last", None, None, None]
    to_summary(robot)
    assert "Make the next LoRA" not in robot.seen()


@pytest.mark.parametrize(("by_hand", "pace"), [(None, 3), (2, 2)])
def test_previews_keep_the_pace_of_the_lora_before_only_where_it_was_chosen(robot, by_hand, pace):
    answers = robot.wizard.answers
    answers["save_every_n_epochs"] = 1
    to_summary(robot)
    assert answers["sample_every_n_epochs"] == 1
    if by_hand:
        answers["sample_every_n_epochs"] = by_hand
    robot.wizard.facts.spent = True  # as the page of the bake says
    begin_new(robot.wizard)
    to_pictures(robot)
    show_page(robot.wizard, "kind")
    answers["save_every_n_epochs"] = 3
    show_page(robot.wizard, "summary")
    assert answers["sample_every_n_epochs"] == pace


def test_a_new_lora_goes_on_from_no_other_s_state_and_has_not_its_title(
    open_robot, folders, memory_folder
):
    its_own = {"resume": "/out/dog-state", "metadata_title": "Rex", "metadata_tags": "dog",
               "metadata_description": "My dog.", "training_comment": "a try"}  # fmt: skip
    last = {**LAST, FOLDER: folders["qwqdog"], "metadata_author": "me", **its_own}
    Memory("train", memory_folder).keep("last", last)
    robot = open_robot(train.PLAN)
    robot.click("Use again")
    show_page(robot.wizard, "start")
    robot.pump()
    robot.click("Start here")
    answers = robot.wizard.answers
    assert not any(answers[name] for name in its_own)
    assert answers["metadata_author"] == "me" and answers["network_dim"] == 7


def test_a_default_and_nothing_by_hand_win_over_advice(robot, open_robot):
    tagged = {"complete": True, "tags": ["cat"], "pictures": [{"caption": "a, b, c"}]}
    robot.wizard.facts.dataset |= tagged
    show_page(robot.wizard, "kind")
    answers = robot.wizard.answers
    assert (answers["min_snr_gamma"], answers["shuffle_caption"]) == (5.0, True)
    show_page(robot.wizard, "all_settings")
    for name in ("min_snr_gamma", "shuffle_caption", "keep_tokens"):
        robot.page.show_error(name, "")
    robot.page.rows["min_snr_gamma"].variable.set("")
    robot.page.rows["shuffle_caption"].variable.set(False)
    robot.page._reset("keep_tokens")
    default = answers.declared["keep_tokens"].default
    wanted = {"min_snr_gamma": None, "shuffle_caption": False, "keep_tokens": default}
    for widget in ("kind", "pictures", "kind"):
        show_page(robot.wizard, widget)
        robot.press("<Alt-y>") if widget == "kind" else None
        assert {name: answers[name] for name in wanted} == wanted
    assert answers["network_dim"] == 64, "the rest follows"
    robot.wizard.draft.keep()
    robot.end()
    robot = open_robot(train.PLAN)
    robot.click("Use them again")
    show_page(robot.wizard, "kind")
    assert {name: robot.wizard.answers[name] for name in wanted} == wanted


def test_advice_for_another_base_model_goes_with_it(robot):
    robot.wizard.facts.base = {"family": "sdxl", "resolution": 1024}
    show_page(robot.wizard, "kind")
    answers = robot.wizard.answers
    assert (answers["network_train_unet_only"], answers["clip_skip"]) == (True, None)
    robot.wizard.facts.base = {"family": "sd1", "resolution": 512, "path": "anime"}
    show_page(robot.wizard, "pictures")
    show_page(robot.wizard, "kind")
    assert (answers["network_train_unet_only"], answers["clip_skip"]) == (False, 2)


def test_a_preview_prompt_that_was_emptied_stays_empty(robot):
    to_summary(robot)
    answers = robot.wizard.answers
    assert answers["sample_prompts"] and answers["sample_every_n_epochs"]
    robot.page.rows["sample_prompts"].variable.set("")
    for page in ("all_settings", "summary"):
        show_page(robot.wizard, page)
    assert (answers["sample_prompts"], answers["sample_every_n_epochs"]) == (None, None)


def test_an_opened_config_without_previews_gets_none(open_robot, folders, memory_folder):
    Memory("train", memory_folder).keep("last", {**LAST, FOLDER: folders["qwqdog"]})
    robot = open_robot(train.PLAN)
    robot.click("Use again")
    robot.until(lambda: not robot.page._asking.busy)
    for page in ("pictures", "summary"):
        show_page(robot.wizard, page)
        robot.until(lambda: not robot.page._asking.busy)
    answers = robot.wizard.answers
    assert (answers["sample_prompts"], answers["sample_every_n_epochs"]) == (None, None)
    robot.page.rows["sample_prompts"].variable.set("a dog")
    assert answers["sample_every_n_epochs"] == 1, "who types a prompt wants to see it drawn"
    robot.page.rows["sample_prompts"].variable.set("")
    assert answers["sample_every_n_epochs"] is None


@pytest.mark.parametrize("more", [{"sample_every_n_epochs": 0}, {}])
def test_a_config_with_a_prompt_and_no_times_gets_no_previews(open_robot, folders, tmp_path, more):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**LAST, FOLDER: folders["qwqdog"], "sample_prompts": "a dog",
                                  **more}))  # fmt: skip
    robot = open_robot(train.PLAN, {FOLDER: str(config)})
    answers = robot.wizard.answers
    robot.until(lambda: answers["output_name"] == "dog", "the config is open")
    to_summary(robot)
    assert answers["sample_prompts"] == "a dog" and not answers["sample_every_n_epochs"]
    robot.page.rows["sample_prompts"].variable.set("a dog in the snow")
    assert answers["sample_every_n_epochs"] == 1, "who types a prompt wants to see it drawn"


def test_every_session_bakes_with_what_was_advised_for_its_pictures(
    open_robot, folders, tmp_path, monkeypatch
):
    """From "A new LoRA" to what the training is given, twice: the choices stay, nothing else."""
    bake = MadeUpBake(monkeypatch)
    wanted = {"network_dim": 64, "network_alpha": 32, "train_batch_size": 2, "clip_skip": 1,
              "optimizer_type": "AdamW8bit", "unet_lr": 1e-4, "text_encoder_lr": 5e-5,
              "min_snr_gamma": 5.0, "resolution": [512, 512], "mixed_precision": "bf16",
              "optimizer_args": {"weight_decay": "0.1", "betas": "0.9,0.99"}}  # fmt: skip
    own = {
        "zyxcat": {"folder_repeats": {"1_cat": 25}, "max_train_epochs": 10,
                   "save_every_n_epochs": 1, "sample_every_n_epochs": 1,
                   "sample_prompts": "zyxcat, on grass", "output_name": "zyxcat"},
        "qwqdog": {"folder_repeats": None, "max_train_epochs": 25, "save_every_n_epochs": 3,
                   "sample_every_n_epochs": 3, "sample_prompts": "qwqdog, on grass",
                   "output_name": "qwqdog"},
    }  # fmt: skip
    for word, of_its_own in own.items():
        robot = open_robot(train.PLAN, {FOLDER: folders[word], "output_dir": str(tmp_path),
                                        "pretrained_model_name_or_path": str(BASE)})  # fmt: skip
        robot.click("Start here")
        robot.click("Next")
        robot.until(lambda robot=robot: robot.page.name == "pictures")
        wait(robot)
        robot.click("Next")
        if word == "zyxcat":
            robot.click("A style", ttk.Radiobutton)
        robot.click("Next")
        robot.click("Start")
        robot.until(lambda robot=robot: robot.page.name == "bake", "the bake begins")
        settings = as_config(train.read(json.loads(json.dumps(bake.config))))
        assert {name: bake.config.get(name) for name in of_its_own} == of_its_own
        assert {name: settings[name] for name in wanted} == wanted
        robot.end()
