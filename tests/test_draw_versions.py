"""Versions at several strengths, against previews of the base and checkpoints with them merged in.

The reference pictures come from `Previewer`, which is itself held against diffusers' pipelines.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from scripts import draw_versions as command
from scripts import merge_lora
from scripts.core.errors import Cancelled, SettingError, SettingErrors, SuiteError
from scripts.core.events import Control, Facts, Note, Preview, Saved, Stage
from scripts.core.files import PROJECT_FOLDER
from scripts.core.safetensors_header import read_header
from scripts.drawing import versions
from scripts.drawing.versions import draw_versions
from scripts.lora.file import save_lora
from scripts.lora.network import LoRANetwork
from scripts.models.load import load_text_encoders, load_tokenizers, load_unet, load_vae
from scripts.models.recognise import recognise
from scripts.settings.draw_versions import read_draw_settings
from scripts.settings.train import TrainSettings
from scripts.training.previews import Previewer, PreviewLook, encode_prompts, vae_in_memory
from scripts.training.prompts import read_prompts

CPU = torch.device("cpu")
SMALL = {"width": 64, "height": 64, "steps": 2, "guidance": 3, "seed": 11, "mixed_precision": "no"}
PROMPT = "a red cat on a sofa --n blurry"


@pytest.fixture(params=["sd15", "sdxl"])
def base(request, tiny_sd15, tiny_sdxl):
    return tiny_sd15 if request.param == "sd15" else tiny_sdxl


def write_lora(path: Path, base: Path, seed: int = 0, **settings) -> Path:
    """A LoRA with random numbers for all layers that a training would give one."""
    model = recognise(base)
    torch.manual_seed(seed)
    network = LoRANetwork.create(
        load_unet(model), load_text_encoders(model), model.family,
        TrainSettings(**{"network_dim": 2, "network_alpha": 2.0, "conv_dim": 1, **settings}),
    )  # fmt: skip
    for _, layer in network.layers():
        torch.nn.init.normal_(layer.up.weight, std=0.2)
    metadata = {"ss_base_model_version": model.family.base_model_version}
    save_lora(path, network.state_dict_for_file(), metadata, "float", path.suffix[1:])
    return path


def run(folder: Path, control: Control | None = None, report=None, **values) -> list:
    """The events of drawing with these settings."""
    events = []
    settings, _ = read_draw_settings(
        {**SMALL, "prompts": [PROMPT], "save_to": folder / "drawn", **values}
    )
    draw_versions(settings, report(events) if report else events.append, control or Control())
    return events


def of(kind: type, events: list) -> list:
    return [event for event in events if isinstance(event, kind)]


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def pictures(events: list) -> dict[tuple[str | None, float], np.ndarray]:
    """The pictures by LoRA's name and strength."""
    return {
        (event.lora and Path(event.lora).name, event.strength): pixels(event.path)
        for event in of(Preview, events)
    }


def preview_of(base: Path, folder: Path, line: str = PROMPT) -> np.ndarray:
    """The picture of the base model alone, as a training draws its previews."""
    model = recognise(base)
    look = PreviewLook(folder, "ddim", False, False, CPU)
    previewer = Previewer(
        load_unet(model), model.family, partial(vae_in_memory, load_vae(model), CPU), look,
        lambda event: None, Control(),
    )  # fmt: skip
    prompts = read_prompts([line], (64, 64), seed=11, steps=2, guidance=3)
    encoded = encode_prompts(prompts, load_tokenizers(model), load_text_encoders(model),
                             model.family, TrainSettings())  # fmt: skip
    (path,) = previewer.render(encoded, "alone")
    return pixels(path)


# --- the pictures --------------------------------------------------------------------------


@pytest.mark.slow
def test_strength_0_is_the_base_alone_and_1_the_merged_checkpoint(base, tmp_path):
    whole = tmp_path / "whole.safetensors"  # in float32, as fp16 would round what is merged
    state = {key: tensor.float() for key, tensor in load_file(base).items()}
    save_file(state, whole, read_header(base).metadata)
    lora = write_lora(tmp_path / "one.safetensors", base)
    drawn = pictures(run(tmp_path, model=whole, loras=[lora], strengths=[0, 0.5, 1]))
    assert set(drawn) == {(None, 0.0), ("one.safetensors", 0.5), ("one.safetensors", 1.0)}
    assert np.array_equal(drawn[None, 0.0], preview_of(whole, tmp_path / "previews"))

    merged = tmp_path / "merged.safetensors"
    words = ["--models", str(lora), "--sd_model", str(whole), "--save_to", str(merged)]
    assert merge_lora.main(words) == 0
    expected = preview_of(merged, tmp_path / "previews")
    assert np.abs(drawn["one.safetensors", 1.0] - expected).max() <= 1
    assert np.abs(drawn["one.safetensors", 1.0] - drawn[None, 0.0]).max() > 20
    assert np.abs(drawn["one.safetensors", 0.5] - drawn[None, 0.0]).max() > 10


@pytest.mark.slow
def test_versions_do_not_mix_and_one_without_text_layers_reads_prompts_as_the_base(
    tiny_sd15, tmp_path
):
    first = write_lora(tmp_path / "first.safetensors", tiny_sd15)
    second = write_lora(tmp_path / "second.safetensors", tiny_sd15, 1,
                        network_train_unet_only=True)  # fmt: skip
    both = pictures(run(tmp_path, model=tiny_sd15, loras=[first, second], strengths=[1]))
    alone = pictures(run(tmp_path, model=tiny_sd15, loras=[second], strengths=[1, 0]))
    assert np.array_equal(both["second.safetensors", 1], alone["second.safetensors", 1])
    assert np.array_equal(alone[None, 0], preview_of(tiny_sd15, tmp_path / "previews"))


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["ckpt", "pt"])
def test_every_kind_of_file_that_training_writes_is_read(tiny_sd15, tmp_path, ending):
    files = [write_lora(tmp_path / f"a.{kind}", tiny_sd15) for kind in ("safetensors", ending)]
    drawn = pictures(run(tmp_path, model=tiny_sd15, loras=files, strengths=[1]))
    assert np.array_equal(drawn["a.safetensors", 1], drawn[f"a.{ending}", 1])


def test_in_bf16_the_pictures_are_nearly_those_of_float32(tiny_sd15, tmp_path):
    lora = write_lora(tmp_path / "one.safetensors", tiny_sd15)
    values = {"model": tiny_sd15, "loras": [lora], "strengths": [1]}
    exact, rough = (pictures(run(tmp_path, **values, mixed_precision=precision))
                    for precision in ("no", "bf16"))  # fmt: skip
    difference = np.abs(exact["one.safetensors", 1] - rough["one.safetensors", 1])
    assert 0 < difference.mean() < 4


# --- order, files, events ------------------------------------------------------------------


def test_order_events_names_and_the_text_in_the_pictures(tiny_sd15, tmp_path):
    (tmp_path / "other").mkdir()
    loras = [write_lora(tmp_path / name, tiny_sd15) for name in
             ("zyx-000001.safetensors", "other/zyx-000001.safetensors")]  # fmt: skip
    folder = tmp_path / "drawn"
    events = run(tmp_path, model=tiny_sd15, loras=loras, strengths=[0.5, 0, 1, 0.5],
                 prompts=["a cat --s 3", "a dog --d 5 --h 96"], clip_skip=2)  # fmt: skip
    drawn = of(Preview, events)
    assert [(event.lora, event.strength, event.prompt) for event in drawn] == [
        (None, 0.0, "a cat"), (None, 0.0, "a dog"),
        *((str(lora), strength, prompt) for lora in loras for strength in (0.5, 1.0)
          for prompt in ("a cat", "a dog")),
    ]  # fmt: skip
    stages = [stage for stage in of(Stage, events) if stage.total]
    assert {stage.total for stage in stages} == {5 * 3 + 5 * 2}
    assert [stage.done for stage in stages] == list(range(1, 26))
    labels = [f"{tmp_path.name} zyx-000001", "other zyx-000001"]
    names = [Path(event.path).name for event in drawn]
    moment = names[0].split("_")[2]
    assert names == [
        f"without_00_{moment}_11.png", f"without_01_{moment}_5.png",
        *(f"{label}_{strength}_{end}.png" for label in labels for strength in ("0.5", "1")
          for end in (f"00_{moment}_11", f"01_{moment}_5")),
    ]  # fmt: skip
    sheets = [event.path for event in of(Saved, events) if event.what == "sheet"]
    assert sheets == [str(folder / f"versions_0{number}_{moment}.png") for number in (0, 1)]
    assert {str(path) for path in folder.iterdir()} == {*sheets, *(event.path for event in drawn)}
    text = Image.open(drawn[2].path).text["parameters"]
    assert text == ("a cat <lora:zyx-000001:0.5>\nSteps: 3, Sampler: DDIM, CFG scale: 3, Seed: 11, "
                    "Size: 64x64, Model: tiny_sd15, Clip skip: 2, RNG: CPU")  # fmt: skip
    assert Image.open(drawn[0].path).text["parameters"].startswith("a cat\nSteps")
    (facts,) = of(Facts, events)
    assert facts.facts["labels"] == labels and facts.facts["sheets"] == sheets
    assert facts.facts["strengths"] == [0.5, 0.0, 1.0]
    assert facts.facts["pictures"][3] == {
        "lora": str(loras[0]), "strength": 0.5, "prompt": "a dog", "seed": 5, "path": drawn[3].path,
    }  # fmt: skip


def test_only_the_first_prompts_and_sizes_of_the_base_model(tiny_sd15, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("# no prompt\na cat --w 64 --h 128 --s 1\na dog --s 1\n", encoding="utf-8")
    events = run(tmp_path, model=tiny_sd15, strengths=[0], prompts=prompts, most_prompts=1,
                 width=None)  # fmt: skip
    (one,) = of(Preview, events)
    assert pixels(one.path).shape == (128, 64, 3)
    assert "The resolution is 512" in of(Note, events)[0].text


@pytest.mark.slow
def test_config_in_and_events_out(tiny_sd15, tmp_path):
    lora = write_lora(tmp_path / "ä b.safetensors", tiny_sd15)
    config = tmp_path / "run.json"
    config.write_text(json.dumps({**SMALL, "pretrained_model_name_or_path": str(tiny_sd15),
                                  "loras": [str(lora)], "strengths": [1], "prompts": ["a, b"],
                                  "save_to": str(tmp_path / "drawn")}))  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.draw_versions", "--config", str(config), "--events",
         "--steps", "1"],
        cwd=PROJECT_FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    out = process.stdout.read()  # stdin stays open, as that of a window does
    process.stdin.close()
    process.stdout.close()
    events = [json.loads(line) for line in out.decode("utf-8").splitlines()]
    kinds = [event["event"] for event in events]
    assert process.wait() == 0 and kinds[0] == "start" and kinds[-1] == "done"
    (preview,) = (event for event in events if event["event"] == "preview")
    assert (preview["lora"], preview["strength"], preview["prompt"]) == (str(lora), 1.0, "a, b")


# --- stops and errors ----------------------------------------------------------------------


def test_a_stop_keeps_what_is_drawn_with_a_sheet(tiny_sd15, tmp_path):
    lora = write_lora(tmp_path / "one.safetensors", tiny_sd15)
    control, seen = Control(), []

    def stopping(events):
        def report(event):
            seen.append(event)
            if isinstance(event, Preview) and event.strength == 0.5:
                control.stop()

        return report

    with pytest.raises(Cancelled, match=r"2 of 3 pictures were drawn, and are in .*drawn"):
        run(tmp_path, control, stopping, model=tiny_sd15, loras=[lora], strengths=[0, 0.5, 1])
    assert len(of(Preview, seen)) == 2
    (sheet,) = of(Saved, seen)
    made = {str(path) for path in (tmp_path / "drawn").iterdir()}
    assert made == {sheet.path, *(event.path for event in of(Preview, seen))}
    with pytest.raises(Cancelled, match="before anything"):
        run(tmp_path / "no", control, model=tiny_sd15, loras=[lora], strengths=[1])
    assert not (tmp_path / "no").exists()


def test_too_little_memory_is_one_sentence_and_keeps_what_is_drawn(
    tiny_sd15, tmp_path, monkeypatch
):
    lora = write_lora(tmp_path / "one.safetensors", tiny_sd15)
    sample = versions.sample_prompt
    calls = []

    def second_fails(*arguments):
        calls.append(1)
        if len(calls) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sample(*arguments)

    monkeypatch.setattr(versions, "sample_prompt", second_fails)
    with pytest.raises(SuiteError, match="ran out of memory"):
        run(tmp_path, model=tiny_sd15, loras=[lora], strengths=[0.5, 1])
    assert len(list((tmp_path / "drawn").iterdir())) == 2, "one picture and the sheet"


def refused(tmp_path, **values) -> tuple[str, str]:
    with pytest.raises((SettingError, SettingErrors)) as caught:
        run(tmp_path, **values)
    error = caught.value.errors[0] if isinstance(caught.value, SettingErrors) else caught.value
    assert not (tmp_path / "drawn").exists()
    return error.setting, str(error)


def test_what_cannot_be_drawn_is_told_in_a_sentence(tiny_sd15, tiny_sdxl, tmp_path):
    fits = write_lora(tmp_path / "one.safetensors", tiny_sd15)
    wide = write_lora(tmp_path / "wide.safetensors", tiny_sdxl)
    values = {"model": tiny_sd15, "loras": [fits], "strengths": [1]}
    for change, setting, message in [
        ({"loras": [fits, wide]}, "loras", "they do not fit"),
        ({"loras": [tmp_path / "gone.safetensors"]}, "loras", "There is no file"),
        ({"loras": [tiny_sd15]}, "loras", "is not a LoRA"),
        ({"loras": []}, "loras", "No LoRA is given"),
        ({"model": tmp_path / "gone.safetensors"}, "model", "There is no file"),
        ({"model": fits}, "model", "it seems to be a LoRA"),
        ({"vae": tmp_path / "gone.safetensors"}, "vae", "gone.safetensors"),
        ({"prompts": ["a --x 5"]}, "prompts", "--x is not known"),
        ({"prompts": None}, "prompts", "No prompt"),
        ({"strengths": [80]}, "strengths", "from -10 to 10"),
        ({"sampler": "nonsense"}, "sampler", 'no sampler "nonsense"'),
        ({"v_parameterization": True, "max_token_length": 80}, "max_token_length", "75, 150"),
        ({"save_to": None}, "save_to", "not said"),
    ]:  # fmt: skip
        found = refused(tmp_path, **{**values, **change})
        assert found[0] == setting and message in found[1], (change, found)


def test_files_of_another_size_or_kind_are_refused(tiny_sd15, tmp_path):
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    shape = load_file(write_lora(tmp_path / "one.safetensors", tiny_sd15))[
        f"{name}.lora_down.weight"
    ].shape
    parts = {f"{name}.lora_up.weight": torch.ones(shape[1], 2),
             f"{name}.lora_down.weight": torch.ones(2, shape[1])}  # fmt: skip
    cases = {
        "large": ({**parts, f"{name}.lora_up.weight": torch.ones(99, 2)}, "of another size"),
        "dora": ({**parts, f"{name}.dora_scale": torch.ones(1, shape[1])}, "is a DoRA"),
        "elsewhere": ({key.replace("mid", "down"): part for key, part in parts.items()},
                      "has none of the layers"),
        "damaged": ({key: part * torch.nan for key, part in parts.items()}, "not numbers"),
    }  # fmt: skip
    for kind, (state, message) in cases.items():
        file = tmp_path / f"{kind}.safetensors"
        save_file(state, file)
        setting, text = refused(tmp_path, model=tiny_sd15, loras=[file], strengths=[1])
        assert setting == "loras" and message in text and file.name in text, (kind, text)


def test_the_command_refuses_flags_that_it_does_not_know(capfd):
    assert command.main(["--strenghts", "1"]) == 1
    assert "strengths" in capfd.readouterr().err
