"""Errors and advice as they are really raised, told in Japanese, with what they are about."""

from __future__ import annotations

import errno
import json
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from picture_folders import draw_pictures

from easy_scripts.launcher.python_version import refuse_python
from easy_scripts.queue.store import FAILED, Queue, QueueStore, configs_in
from easy_scripts.wizard.catalogue import Catalogue
from easy_scripts.wizard.heard import in_language
from easy_scripts.wizard.sayings import SENTENCE_END
from scripts.core.config import read_structured
from scripts.core.declare import declarations, read_value
from scripts.core.errors import SettingErrors, SuiteError
from scripts.core.events import Facts, Note, Planned, Problem, Stage
from scripts.core.files import check_free_space, check_output_file, check_output_name, write_text
from scripts.core.safetensors_header import read_header
from scripts.dataset.dataset import Dataset
from scripts.lora.blocks import read_weights
from scripts.lora.edit_metadata import read_changes
from scripts.models.recognise import recognise
from scripts.settings.advice import Situation, advise
from scripts.settings.advice_tables import EFFORTS, KINDS, PRESETS
from scripts.settings.extract import read_extract_settings
from scripts.settings.import_config import import_config
from scripts.settings.merge import read_merge_settings
from scripts.settings.resize import read_resize_settings
from scripts.settings.train import TrainSettings, read_train_settings
from scripts.training.optimizer_choice import choose_optimizer
from scripts.training.prompts import read_prompts
from scripts.training.schedules import read_schedule

JAPANESE = Catalogue(language="ja")
LETTERS = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
ENGLISH = re.compile(r"\b(the|is|are|was|not|and|of|with|for|your|it|has|no|there)\b", re.I)


def raised(work: Callable[[], object]) -> str:
    """What `work` raises, as a window gets it."""
    with pytest.raises(SuiteError) as caught:
        work()
    return str(caught.value)


def told(english: str, *kept: str) -> str:
    """The Japanese of it: no word of English is left, and what it is about still stands there."""
    japanese = JAPANESE.said(english)
    for line in re.split(r"\n|(?<=。)", japanese):
        assert not line.strip() or LETTERS.search(line), (english, japanese)
    plain = japanese.replace("bf16 か no", "")
    for part in kept:
        plain = plain.replace(part, "")
    plain = re.sub(r'「[^」]*」|"[^"]*"|\[[^\]]*\]|/\S*|次から選んでください: .*', "", plain)
    assert not ENGLISH.search(plain), (english, japanese)
    for part in kept:
        assert part in japanese, (english, japanese)
    assert JAPANESE.said(japanese) == japanese  # told twice, it stays
    assert Catalogue(language="en").said(english) == english
    return japanese


def file_of(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- the files of others -------------------------------------------------------------------------


def test_a_file_that_is_missing(tmp_path):
    path = tmp_path / "v1.5 of. Mr. X" / "run.json"  # ". " in a path is no end of a sentence
    assert told(raised(lambda: read_structured(path)), str(path)) == (
        f"ファイル {path} がありません。\nもう一度選んでください。"
    )


def test_a_config_with_a_mistake(tmp_path):
    path = file_of(tmp_path / "run. old.json", '{"a": 1,}')
    told(raised(lambda: read_structured(path)), "run. old.json", "1行")
    told(raised(lambda: read_structured(tmp_path)), str(tmp_path))
    path = file_of(tmp_path / "run.toml", 'a = "C:\\models"\n')
    message = JAPANESE.said(raised(lambda: read_structured(path)))
    assert "run.toml" in message and message.count("。") >= 1


def test_a_truncated_file(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode()
    path = file_of(tmp_path / "half.safetensors", struct.pack("<Q", len(header)) + header + b"1234")
    size = path.stat().st_size
    told(
        raised(lambda: read_header(path)), "half.safetensors", f"{size + 32}バイト", f"{size}バイト"
    )


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x89PNG123", b"GGUF1234", b"abc" * 99])
def test_what_is_no_model(tmp_path, content):
    path = file_of(tmp_path / "model v1.5.safetensors", content)
    told(raised(lambda: recognise(path)), path.name)


def test_a_folder_that_is_no_model(tmp_path):
    told(raised(lambda: recognise(tmp_path)), str(tmp_path), "unet/config.json")


# --- places to write to --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b", " x", "CON", "x" * 300, "a:b?"])
def test_names_that_cannot_be(name):
    told(raised(lambda: check_output_name(name)))


def test_places_that_cannot_be(tmp_path, monkeypatch):
    there = file_of(tmp_path / "hero 0.8.safetensors", b"1")
    told(raised(lambda: check_output_file(there, [])), str(there), "overwrite")
    told(raised(lambda: check_output_file(there, [there])), there.name)
    told(raised(lambda: check_output_file(there / "x.safetensors", [])), str(there))
    told(raised(lambda: check_free_space(tmp_path, 10**18)), str(tmp_path), "1000000000.0 GB")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    told(raised(lambda: write_text(there, "x")), there.name, str(tmp_path))


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [
    ("network_dim", "many"), ("network_dim", "-1"), ("learning_rate", "x"), ("v2", "perhaps"),
    ("mixed_precision", "fp64"), ("max_token_length", "x"), ("resolution", "small"),
    ("optimizer_args", "x"), ("train_batch_size", "0"), ("caption_dropout_rate", "1.5"),
    ("output_dir", "C:\new"), ("save_precision", "int4"),
])  # fmt: skip
def test_a_value_beside_its_field(name, value):
    told(raised(lambda: read_value(declarations(TrainSettings)[name], value)))


CONTRADICTIONS = [
    {}, {"max_token_length": 100}, {"bucket_reso_steps": 7}, {"conv_alpha": 1},
    {"min_bucket_reso": 900, "max_bucket_reso": 800}, {"min_timestep": 9, "max_timestep": 5},
    {"network_train_unet_only": True, "network_train_text_encoder_only": True},
    {"learning_rate": 0}, {"dim_from_weights": True}, {"full_bf16": True},
    {"adaptive_noise_scale": 0.1}, {"noise_offset": 0.1, "multires_noise_iterations": 6},
    {"lr_scheduler": "adafactor"}, {"conditioning_data_dir": "x"}, {"lr_warmup": 10},
    {"train_data_dir": "a", "dataset_config": "b"}, {"network_module": "networks.dylora"},
    {"networkdim": 8}, {"network_dim": 8, "net_dim": 9}, {"network_args": ["x"]},
]  # fmt: skip


@pytest.mark.parametrize("values", CONTRADICTIONS, ids=str)
def test_settings_of_a_training_together(values):
    with pytest.raises(SettingErrors) as caught:
        read_train_settings(values)
    for error in caught.value.errors:
        told(str(error))
    told(str(caught.value), caught.value.errors[0].setting)


@pytest.mark.parametrize(("read", "values"), [
    (read_resize_settings, {}), (read_resize_settings, {"model": ["a"], "new_rank": [0]}),
    (read_resize_settings, {"model": ["a"], "new_rank": [8], "dynamic_method": "sv_ratio",
                            "dynamic_param": 0.5}),
    (read_resize_settings, {"model": ["a"], "new_rank": [8], "dynamic_param": 0.5}),
    (read_merge_settings, {}),
    (read_merge_settings, {"models": ["a", "b"], "ratios": [1], "save_to": "x.ckpt"}),
    (read_merge_settings, {"models": ["a", "b"], "ratios": [0, 0], "new_rank": "big"}),
    (read_merge_settings, {"models": ["a"], "sd_model": "b", "new_rank": 8, "save_to": "x"}),
    (read_extract_settings, {}),
    (read_extract_settings, {"dynamic_method": "sv_ratio", "save_to": "x.ckpt"}),
])  # fmt: skip
def test_settings_of_the_tools(read, values):
    with pytest.raises(SettingErrors) as caught:
        read(values)
    for error in caught.value.errors:
        told(str(error))


def test_numbers_of_blocks():
    told(raised(lambda: read_weights("up_lr_weight", "1,x", 12)), "x")
    told(raised(lambda: read_weights("up_lr_weight", "1," * 12 + "1", 12)), "13", "12")


def test_changes_of_metadata():
    told(raised(lambda: read_changes(["nothing"])), "nothing", "KEY=VALUE")


# --- pictures ------------------------------------------------------------------------------------


def dataset(folder: Path, **more: object) -> Dataset:
    settings = TrainSettings(train_data_dir=folder, resolution=(64, 64), **more)
    return Dataset.from_settings(settings)


def test_folders_that_cannot_be_used(tmp_path):
    told(raised(lambda: dataset(tmp_path / "none. here")), "none. here")
    told(raised(lambda: dataset(file_of(tmp_path / "x.png", b"1"))), "x.png")
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    file_of(tmp_path / "empty" / "a. b.txt", "x")
    message = told(raised(lambda: dataset(tmp_path / "empty")), "sub", "a. b.txt")
    assert "フォルダー 1個（sub）とファイル 1個（a. b.txt）" in message
    for name in ("one", "two"):
        draw_pictures(tmp_path / "high" / name / "5_x", [(64, 64)], ["a"])
    told(raised(lambda: dataset(tmp_path / "high")), str(tmp_path / "high"))
    file_of(draw_pictures(tmp_path / "bad", [], []) / "0.png", b"no picture")
    told(raised(lambda: dataset(tmp_path / "bad")), "0.png")


def test_what_is_found_in_folders(tmp_path):
    root = tmp_path / "my pictures. v2"
    draw_pictures(root / "200_hero", [(64, 64)] * 3, ["a", None, ""])
    draw_pictures(root / "0_cat", [(64, 64)], [None])
    draw_pictures(root / "dog", [(48, 80)] * 2, [None, None])
    draw_pictures(root / "3 old", [(64, 64)], ["a"])
    draw_pictures(root, [(64, 64)], ["a"])
    file_of(root / "200_hero" / "broken.png", b"x")
    file_of(root / "200_hero" / "photo.heic", b"x")
    found = dataset(root, folder_repeats={"nobody": 3})
    sentences = [*found.warnings, *found.guesses, *found.notes]
    assert len(sentences) > 6
    for sentence in sentences:
        told(sentence)
    assert "選んだフォルダー: 画像 1枚は使いません" in "\n".join(map(JAPANESE.said, sentences))


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompts", [
    ["a --zz 5"], ["a --w"], ["a --w 64 --w 64"], ["a --w 9"], [{"text": "a"}], [5],
    ["a --l x"], [], ["a --zz 5", "b --w"], Path("none.txt"), Path("none.doc"),
], ids=str)  # fmt: skip
def test_prompts(prompts):
    told(raised(lambda: read_prompts(prompts, (512, 512), 1)))


@pytest.mark.parametrize("more", [
    {"optimizer_type": "Nobody"}, {"optimizer_args": {"lr": 1}}, {"optimizer_args": {"bettas": 1}},
    {"optimizer_args": {"betas": "x"}}, {"optimizer_args": {"eps": "word"}},
    {"optimizer_type": "torch.optim.LBFGS"},
], ids=str)  # fmt: skip
def test_optimisers(more):
    told(raised(lambda: choose_optimizer(TrainSettings(**more))))


def test_schedules():
    told(raised(lambda: read_schedule(TrainSettings(lr_scheduler="nobody"), 100)))
    told(raised(lambda: read_schedule(TrainSettings(lr_scheduler="piecewise_constant"), 100)))
    schedule = TrainSettings(lr_scheduler="constant", lr_warmup_steps=10)
    for note in read_schedule(schedule, 100)[1]:
        told(note, "constant_with_warmup", "10ステップ")


# --- advice, imports, the queue ------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("memory", [None, 4, 12, 24])
def test_advice(family, memory):
    for kind in KINDS:
        for effort in EFFORTS:
            for preset in PRESETS:
                advice = advise(
                    Situation(kind=kind, effort=effort, family=family, pictures=20, preset=preset,
                              memory_gb=memory, has_tags=True, bf16=True, no_card=not memory)
                )  # fmt: skip
                for sentence in (*advice.reasons.values(), *advice.warnings):
                    told(sentence)


def test_the_report_of_an_import(tmp_path):
    gui = {"LoRA_type": "Standard", "conv_dim": 1, "epoch": 3, "max_train_epochs": 5,
           "lr_warmup": 10, "xformers": "xformers", "wandb_api_key": "x", "nobody": 5,
           "noise_offset_type": "Original", "multires_noise_iterations": 6, "v2": False,
           "additional_parameters": "--flip_aug", "pretrained_model_name_or_path": "x.ckpt",
           "use_8bit_adam": True, "optimizer": "AdamW", "sample_prompts": "a cat",
           "learning_rate": "much", "huggingface_token": "x"}  # fmt: skip
    popup = {"net_dim": 8, "num_epochs": 5, "max_steps": 100, "warmup_lr_ratio": 0.05, "unit": 4,
             "train_resolution": 512, "lyco": False, "locon_dim": 4, "locon": True,
             "save_json_folder": "x", "use_lion": True}  # fmt: skip
    for name, content in {"gui": gui, "popup": popup}.items():
        imported = import_config(file_of(tmp_path / f"{name}.json", json.dumps(content)))
        told(imported.summary())
        notes = [entry.note for entry in imported.entries if entry.note]
        assert len(notes) > 5
        for note in notes:
            told(note)


def test_the_queue(tmp_path):
    store = QueueStore(tmp_path / "queue")
    told(raised(lambda: Queue().find("x")))
    told(raised(lambda: configs_in(tmp_path)), str(tmp_path))
    bake = store.add({"output_name": "hero"})
    store.update(bake.id, state="running")
    told(raised(lambda: store.remove(bake.id)), "hero")
    file_of(store.path, "{")
    told(raised(store.read), str(store.path))
    told("train_batch_size: 0 is out of range: it must be 1 or more.", "train_batch_size", "1 以上")
    assert FAILED and told("hero: There is no file /x. y. Choose it again.", "hero", "/x. y")


@pytest.mark.parametrize(("version", "bits"), [((3, 8), 64), ((3, 99), 64), ((3, 12), 32)])
def test_another_python(version, bits):
    told(refuse_python(version, bits), "Python 3.10")


# --- what comes from a child ---------------------------------------------------------------------


def test_events_are_heard_in_japanese():
    text = "The previews could not be drawn; the training goes on. The file a.pt is not a LoRA."
    note = in_language(JAPANESE, Note(text, warning=True))
    assert note.warning and note.text == (
        "プレビューを描けませんでした。学習は続きます。\nファイル a.pt は LoRA ではありません。"
    )
    problem = in_language(JAPANESE, Problem("There is no file a. Choose it again.", "vae"))
    assert problem.setting == "vae" and problem.message.startswith("ファイル a が")
    stage = Stage("Trying ten steps")
    assert in_language(JAPANESE, stage) is stage  # windows look its name up


def facts(warning: str, mend: str, damage: str, note: str) -> dict:
    """Facts with sentences and with names that look like some."""
    return {
        "warnings": [warning],
        "tags": [["a picture", 2]],
        "mends": [{"text": mend, "folder_repeats": {"a picture": 1}}],
        "broken": {"/a picture": damage},
        "captions": {"missing": 1},
        "report": [{"key": "v2", "fate": "not set", "note": note}],
    }


def test_only_the_sentences_of_facts_are_translated():
    given = facts("There are no pictures in a. b.", "2 pictures in x left out: it lies inside y.",
                  "it is damaged", "It was left out.")  # fmt: skip
    wanted = facts("a. b に画像がありません。", "x: 画像 2枚は使いません（y の中にあります）。",
                   "壊れています", "これは使いません。")  # fmt: skip
    assert in_language(JAPANESE, Facts(given)).facts == wanted
    assert in_language(JAPANESE, Planned(given)).plan == wanted
    assert in_language(Catalogue(language="en"), Facts(given)).facts is given


def test_a_part_of_a_sentence_with_parts_of_its_own():
    text = ("Preview 1 of 2 (128 x 64) could not be drawn, because memory ran out; the training "
            "goes on.")  # fmt: skip
    assert told(text).startswith("メモリが足りず、プレビュー 1 / 2（128 x 64）を描けませんでした。")
    text = "x.ckpt is Stable Diffusion XL, but it lacks one of its two text encoders and its VAE."
    assert told(text) == (
        "x.ckpt は Stable Diffusion XL ですが、2つのテキストエンコーダーの一方と VAE がありません。"
    )


@pytest.mark.parametrize("count", [1, 3, 20, 3000])
def test_a_long_list_takes_no_long_time(count):
    names = [f"my picture no. {number}: a, b and c.png" for number in range(count)]
    damages = "; ".join(f"{name}: it is damaged or not a picture" for name in names)
    begin = time.perf_counter()
    japanese = JAPANESE.said(f"Left out because they cannot be opened: {damages}.")
    assert time.perf_counter() - begin < 10
    assert japanese.startswith(f"開けないため使いません: {names[0]}")
    assert japanese.count("壊れているか、画像ではありません") == (count if count < 100 else 0)


def test_what_nobody_knows_stays_as_it_is():
    for text in ("", "An odd thing.", "1.5", "C:/a. b/c: d", "日本語の文です。次の文です。",
                 "my pictures", "Mr. X and Mrs. Y"):  # fmt: skip
        assert JAPANESE.said(text) == text
    assert len(SENTENCE_END.split("C:/a.b 0.5 x.y")) == 1


def test_an_english_window_reads_no_translations(monkeypatch):
    monkeypatch.setattr("easy_scripts.wizard.sayings.read_sayings", lambda _: 1 / 0)
    assert Catalogue(language="en").said("There is no file x.") == "There is no file x."
    Catalogue(language="ja")  # reads them when something is first said
