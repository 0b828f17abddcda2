"""The resize command: several sizes and files, queues, what is refused, and what is left behind."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from scripts import resize_lora
from scripts.core.errors import Cancelled, SettingError, SuiteError
from scripts.core.events import Control
from scripts.lora.resize_jobs import resize
from scripts.settings.resize import read_resize_settings

LINEAR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
CONV = "lora_unet_down_blocks_0_resnets_0_conv1"


def lora_state(dim: int = 8, conv: bool = False, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {
        f"{LINEAR}.alpha": torch.tensor(4.0),
        f"{LINEAR}.lora_down.weight": torch.randn(dim, 768, generator=generator),
        f"{LINEAR}.lora_up.weight": torch.randn(16, dim, generator=generator),
    }
    if conv:
        state |= {
            f"{CONV}.alpha": torch.tensor(1.0),
            f"{CONV}.lora_down.weight": torch.randn(4, 8, 3, 3, generator=generator),
            f"{CONV}.lora_up.weight": torch.randn(16, 4, 1, 1, generator=generator),
        }
    return state


@pytest.fixture
def lora(tmp_path):
    path = tmp_path / "Größe & co.safetensors"
    safetensors.torch.save_file(lora_state(), path, {"ss_network_dim": "8"})
    return path


def run(control: Control | None = None, **values) -> list:
    events = []
    settings, _ = read_resize_settings(values)
    resize(settings, events.append, control or Control())
    return events


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dims(path) -> set[int]:
    state = safetensors.torch.load_file(path)
    return {len(tensor) for key, tensor in state.items() if "lora_down" in key}


def test_several_sizes_lie_beside_the_lora(lora):
    events = run(model=[lora], new_rank="2,4")
    assert names(lora.parent) == ["Größe & co-dim2.safetensors", "Größe & co-dim4.safetensors",
                                  "Größe & co.safetensors"]  # fmt: skip
    assert dims(lora.parent / "Größe & co-dim2.safetensors") == {2}
    facts = [event.facts for event in events if event.kind == "facts"]
    values = torch.linalg.svdvals(
        lora_state()[f"{LINEAR}.lora_up.weight"].double()
        @ lora_state()[f"{LINEAR}.lora_down.weight"].double()
    )
    kept = [float((values[:rank].square().sum() / values.square().sum()).sqrt()) for rank in (2, 4)]
    assert [fact["kept"] for fact in facts] == pytest.approx(kept, rel=1e-5)
    assert facts[0]["kept_by_block"] == {"IN01": pytest.approx(kept[0], rel=1e-5)}
    assert (facts[0]["before"]["dim"], facts[0]["after"]["dim"]) == ("8", "2")


def test_a_folder_leaves_out_what_is_no_lora_or_small_enough(tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    safetensors.torch.save_file(lora_state(), folder / "large.safetensors")
    safetensors.torch.save_file(lora_state(2), folder / "small.safetensors")
    safetensors.torch.save_file({"emb_params": torch.ones(1, 8)}, folder / "word.safetensors")
    (folder / "broken.safetensors").write_bytes(b"no")
    torch.save(lora_state(), folder / "old.pt")
    (folder / "notes.txt").write_text("x")
    events = run(model=[folder], new_rank=4, save_to=output)
    assert names(output) == ["large-dim4.safetensors", "old-dim4.safetensors"]
    said = " ".join(event.text for event in events if event.kind == "note")
    assert all(name in said for name in ("small", "word", "broken"))


def test_each_lora_gets_the_sizes_that_it_can_have(tmp_path):
    """And what comes of a folder lies in a folder, also when it is one file."""
    folder = tmp_path / "in"
    folder.mkdir()
    safetensors.torch.save_file(lora_state(), folder / "large.safetensors")
    safetensors.torch.save_file(lora_state(4), folder / "small.safetensors")
    run(model=[folder], new_rank="2,6", save_to=tmp_path / "out")
    assert names(tmp_path / "out") == ["large-dim2.safetensors", "large-dim6.safetensors",
                                       "small-dim2.safetensors"]  # fmt: skip
    given = [folder / "large.safetensors", folder / "small.safetensors"]
    events = run(model=given, new_rank=6, save_to=tmp_path / "given")
    said = " ".join(event.text for event in events if event.kind == "note")
    assert "small.safetensors has the size 4" in said
    assert [event.path for event in events if event.kind == "saved"] == [
        str(tmp_path / "given" / "large-dim6.safetensors")
    ]
    run(model=[folder], new_rank=6, save_to=tmp_path / "one")
    assert names(tmp_path / "one") == ["large-dim6.safetensors"]
    with pytest.raises(SettingError, match="None of the LoRAs there can be brought to the size"):
        run(model=given, new_rank="30,31")


def test_the_sizes_of_every_layer_are_told_when_asked_for(lora, tmp_path):
    events = run(model=[lora], new_rank=2, save_to=tmp_path / "a", verbose=True)
    (told,) = (event.text for event in events if event.kind == "facts")
    assert f"{LINEAR}: dim 2, keeps " in told
    events = run(model=[lora], new_rank=2, save_to=tmp_path / "b")
    assert LINEAR not in next(event.text for event in events if event.kind == "facts")


def test_what_becomes_an_ordinary_lora_and_what_is_no_layer_is_told(tmp_path):
    generator = torch.Generator().manual_seed(0)
    state = {f"{LINEAR}.hada_w{number}_{side}": torch.randn(shape, generator=generator)
             for number in "12" for side, shape in (("a", (16, 4)), ("b", (4, 12)))}  # fmt: skip
    path = tmp_path / "loha.safetensors"
    safetensors.torch.save_file({**state, f"{LINEAR}.alpha": torch.tensor(4.0),
                                 "bundle_emb.x": torch.ones(2)}, path)  # fmt: skip
    events = run(model=[path], new_rank=2, save_to=tmp_path / "out")
    said = " ".join(event.text for event in events if event.kind == "note")
    assert "what is LoHa becomes a plain LoRA" in said and "bundle_emb.x" in said


def test_an_adapter_of_peft_may_have_any_name(tmp_path):
    front = "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    state = lora_state()
    path, output = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    safetensors.torch.save_file({
        f"{front}.lora_A.hero.weight": state[f"{LINEAR}.lora_down.weight"],
        f"{front}.lora_B.hero.weight": state[f"{LINEAR}.lora_up.weight"],
    }, path)  # fmt: skip
    run(model=[path], new_rank=2, save_to=output)
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    assert {key.partition(".")[0] for key in safetensors.torch.load_file(output)} == {layer}


def test_a_lora_that_is_left_out_is_not_replaced(lora, tmp_path):
    small = tmp_path / "small.safetensors"
    safetensors.torch.save_file(lora_state(2), small)
    before = small.read_bytes()
    with pytest.raises(SettingError, match=r"small\.safetensors is one of the files that are read"):
        run(model=[lora, small], new_rank=4, save_to=small, overwrite=True)
    assert small.read_bytes() == before


def test_queue_and_dynamic_values(lora, tmp_path):
    queue = tmp_path / "queue.txt"
    queue.write_text("# sizes\n4\n\n0.5 6\n", encoding="utf-8")
    run(model=[lora], queue=queue, dynamic_method="sv_fro", save_to=tmp_path / "out")
    assert names(tmp_path / "out") == ["Größe & co-dim4.safetensors",
                                       "Größe & co-sv_fro-0.5-6.safetensors"]  # fmt: skip
    queue.write_text("4\nfour\n")
    with pytest.raises(SettingError, match="Line 2"):
        run(model=[lora], queue=queue)


def test_convolutions_have_their_own_size_and_smaller_ones_stay(tmp_path):
    path, output = tmp_path / "locon.safetensors", tmp_path / "out.safetensors"
    safetensors.torch.save_file(lora_state(conv=True), path)
    run(model=[path], new_rank=6, save_to=output)
    before, after = safetensors.torch.load_file(path), safetensors.torch.load_file(output)
    for part in ("alpha", "lora_down.weight", "lora_up.weight"):  # 4 is no more than 6
        assert torch.equal(before[f"{CONV}.{part}"], after[f"{CONV}.{part}"])
    assert dims(output) == {4, 6}
    run(model=[path], new_rank=6, new_conv_rank=2, save_to=output, overwrite=True)
    assert dims(output) == {2, 6}
    with safe_open(output, "pt") as file:
        metadata = file.metadata()
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("6", "3.0")
    assert json.loads(metadata["ss_network_args"]) == {"conv_dim": "2", "conv_alpha": "0.5"}
    assert metadata["ss_base_model_version"] == "sd_v1"


@pytest.mark.parametrize("alpha", [0.3, 3e-9, 1e6])
def test_the_strength_stays_where_fp16_cannot_hold_alpha(alpha, tmp_path):
    path, output = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    state = lora_state() | {f"{LINEAR}.alpha": torch.tensor(alpha)}
    safetensors.torch.save_file(state, path)
    run(model=[path], new_rank=8, save_to=output, save_precision="fp16")
    after = {key: value.double() for key, value in safetensors.torch.load_file(output).items()}
    change = [
        (part[f"{LINEAR}.lora_up.weight"].double() @ part[f"{LINEAR}.lora_down.weight"].double())
        * part[f"{LINEAR}.alpha"].double() / 8
        for part in (state, after)
    ]  # fmt: skip
    assert (change[1] - change[0]).norm() < 3e-3 * change[0].norm()


def test_dora_only_where_nothing_is_lost(tmp_path):
    path, output = tmp_path / "dora.safetensors", tmp_path / "out.safetensors"
    state = lora_state() | {f"{LINEAR}.dora_scale": torch.rand(16, 1)}
    safetensors.torch.save_file(state, path)
    with pytest.raises(SuiteError, match="DoRA"):
        run(model=[path], new_rank=4, save_to=output)
    assert names(tmp_path) == ["dora.safetensors"]
    state[f"{LINEAR}.lora_down.weight"][4:] = 0  # now rank 4 holds all of it
    safetensors.torch.save_file(state, path)
    run(model=[path], new_rank=4, save_to=output)
    after = safetensors.torch.load_file(output)
    assert torch.equal(after[f"{LINEAR}.dora_scale"], state[f"{LINEAR}.dora_scale"])


def test_magnitudes_by_peft_become_those_that_kohyas_readers_know(tmp_path):
    path = "unet.down_blocks.0.resnets.0.conv1"
    magnitude = torch.rand(1, 16, 1, 1)
    safetensors.torch.save_file({
        f"{path}.lora_A.weight": torch.randn(4, 8, 3, 3),
        f"{path}.lora_B.weight": torch.randn(16, 4, 1, 1),
        f"{path}.lora_magnitude_vector": magnitude,
    }, tmp_path / "dora.safetensors")  # fmt: skip
    run(model=[tmp_path / "dora.safetensors"], new_rank=4, save_to=tmp_path / "out")
    after = safetensors.torch.load_file(tmp_path / "out.safetensors")
    assert torch.equal(after[f"{CONV}.dora_scale"], magnitude.reshape(16, 1, 1, 1))


def broken(state: dict, path, kind: str) -> None:
    if kind == "nan":
        state[f"{LINEAR}.lora_up.weight"][3, 1] = float("nan")
    elif kind == "infinity":
        state[f"{LINEAR}.lora_down.weight"][0, 0] = float("-inf")
    elif kind == "alpha":
        state[f"{LINEAR}.alpha"] = torch.tensor(float("inf"))
    elif kind == "parts":
        state[f"{LINEAR}.lora_up.weight"] = torch.zeros(16, 3)
    elif kind == "checkpoint":
        state = {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(4, 4, 3, 3)}
    elif kind == "oft":
        state = {f"{LINEAR}.oft_blocks": torch.zeros(4, 4, 4), f"{LINEAR}.alpha": torch.tensor(1.0)}
    safetensors.torch.save_file(state, path)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "web page":
        path.write_bytes(b"<!DOCTYPE html><html>login</html>")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("nan", "not numbers"), ("infinity", "not numbers"), ("alpha", "not a number"),
        ("parts", "do not fit"), ("checkpoint", "checkpoint"), ("oft", "oft"), ("cut", "cut off"),
        ("web page", "web page"),
    ],
)  # fmt: skip
def test_what_is_broken_is_said_and_nothing_written(kind, sentence, tmp_path):
    path = tmp_path / "in.safetensors"
    broken(lora_state(), path, kind)
    with pytest.raises(SuiteError, match=sentence):
        run(model=[path], new_rank=2, save_to=tmp_path / "out.safetensors")
    assert names(tmp_path) == ["in.safetensors"]


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({"new_rank": 9}, "new_rank"),
        ({"new_rank": 2, "save_to": "in.safetensors", "overwrite": True}, "save_to"),
        ({"new_rank": 2, "save_to": "there.safetensors"}, "save_to"),
        ({"new_rank": "2,4", "save_to": "one.safetensors"}, "save_to"),
        ({"new_rank": 2, "save_to": "x.ckpt"}, "save_to"),
        ({"new_rank": 2, "model": ["missing.safetensors"]}, "model"),
    ],
)
def test_what_cannot_be_done_names_its_setting(values, setting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    safetensors.torch.save_file(lora_state(), "in.safetensors")
    (tmp_path / "there.safetensors").write_bytes(b"precious")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SettingError) as caught:
        run(**{"model": ["in.safetensors"], **values})
    assert caught.value.setting == setting
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "words",
    [
        ["--new_rank", "0"], ["--new_rank", "four"], [], ["--new_rank", "4", "--queue", "x.txt"],
        ["--new_rank", "4", "--dynamic_param", "2"],
        ["--new_rank", "4", "--dynamic_method", "sv_ratio"],
        ["--new_rank", "4", "--dynamic_method", "sv_fro", "--dynamic_param", "1.5"],
        ["--new_rank", "4", "--dynamic_method", "sv_ratio", "--dynamic_param", "0.5"],
    ],
)  # fmt: skip
def test_flags_that_make_no_sense(words, lora, capsys):
    assert resize_lora.main(["--model", str(lora), *words]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert names(lora.parent) == [lora.name]


def test_a_full_disk_leaves_nothing(lora, monkeypatch):
    import errno

    def full(path, *_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("scripts.lora.tensor_files.write_safetensors", full)
    with pytest.raises(SuiteError, match="disk is full"):
        run(model=[lora], new_rank=2)
    assert names(lora.parent) == [lora.name]


def test_numbers_too_large_for_fp16_are_not_saved(tmp_path):
    path = tmp_path / "in.safetensors"
    state = lora_state()
    state[f"{LINEAR}.lora_up.weight"] *= 1e12
    safetensors.torch.save_file(state, path)
    with pytest.raises(SuiteError, match="too large"):
        run(model=[path], new_rank=2, save_precision="fp16")
    assert names(tmp_path) == [path.name]


def test_a_stop_leaves_nothing(lora):
    control = Control()
    control.stop()
    with pytest.raises(Cancelled):
        run(control, model=[lora], new_rank=2)
    assert names(lora.parent) == [lora.name]


def test_a_stop_counts_the_files_that_are_made(lora):
    control, events = Control(), []

    def report(event):
        events.append(event)
        if event.kind == "saved":
            control.stop()

    settings, _ = read_resize_settings({"model": [lora], "new_rank": "2,4,6"})
    with pytest.raises(Cancelled, match="Stopped: 1 of 3 files were made"):
        resize(settings, report, control)
    assert names(lora.parent) == ["Größe & co-dim2.safetensors", lora.name]


def test_torch_is_not_imported(lora):
    import subprocess
    import sys

    program = ("import sys; from scripts.resize_lora import main; code = main(sys.argv[1:]); "
               "sys.exit(code or 'torch' in sys.modules)")  # fmt: skip
    words = [sys.executable, "-c", program, "--model", str(lora), "--new_rank", "2"]
    assert subprocess.run(words, capture_output=True).returncode == 0


def test_fp8_numbers_are_read_as_torch_does(tmp_path):
    from scripts.lora.number_formats import to_precision
    from scripts.lora.tensor_files import open_tensors

    codes = torch.arange(256, dtype=torch.uint8)
    kinds = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
    path = tmp_path / "fp8.safetensors"
    safetensors.torch.save_file(
        {name: codes.clone().view(kind) for name, kind in kinds.items()}, path
    )
    with open_tensors(path) as file:
        for name, kind in kinds.items():
            np.testing.assert_array_equal(file.read(name), codes.view(kind).float().numpy())
    numbers = torch.randint(-(2**31), 2**31 - 1, (100_000,), dtype=torch.int32).view(torch.float32)
    numbers = numbers[numbers.isfinite()]
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        ours = np.frombuffer(to_precision(numbers.numpy(), name).data, np.int16)
        np.testing.assert_array_equal(ours, numbers.to(dtype).view(torch.int16).numpy())


@pytest.mark.parametrize("model", ["", [""]])
def test_an_empty_name_is_not_the_current_folder(model, lora, monkeypatch):
    monkeypatch.chdir(lora.parent)
    with pytest.raises(SuiteError):
        run(model=model, new_rank=2)
    assert names(lora.parent) == [lora.name]


@pytest.mark.parametrize("part", ["rank", "alpha"])
def test_a_layer_without_size_or_of_several_strengths_is_damaged(part, tmp_path):
    path, state = tmp_path / "in.safetensors", lora_state(0 if part == "rank" else 8)
    if part == "alpha":
        state[f"{LINEAR}.alpha"] = torch.ones(3)
    safetensors.torch.save_file(state, path)
    with pytest.raises(SettingError, match="damaged"):
        run(model=[path], new_rank=2)


def test_a_folder_in_place_of_a_file_is_called_one(tmp_path):
    from scripts.lora.modules import open_lora

    with pytest.raises(SuiteError, match="is a folder"):
        open_lora(tmp_path)


def test_a_lora_given_twice_is_resized_once(lora):
    run(model=[lora, lora], new_rank=2)
    assert len(names(lora.parent)) == 2


def test_a_queue_that_is_no_text_is_not_shown(lora, tmp_path):
    queue = tmp_path / "queue"
    queue.write_bytes(b"\x1b[31m\x07 4 5\n")
    with pytest.raises(SettingError, match="no text file"):
        run(model=[lora], queue=queue)


def test_a_folder_without_access_is_one_sentence(lora, monkeypatch):
    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", denied)
    with pytest.raises(SettingError, match="cannot be read: Permission denied"):
        run(model=[lora.parent], new_rank=2)


def test_a_damaged_lora_does_not_keep_the_rest_of_its_folder_from_being_resized(tmp_path):
    broken(lora_state(), tmp_path / "a.safetensors", "nan")
    with pytest.raises(SettingError, match="None of the LoRAs"):
        run(model=[tmp_path], new_rank=2)
    safetensors.torch.save_file(lora_state(), tmp_path / "b.safetensors")
    events = run(model=[tmp_path], new_rank=2)
    assert names(tmp_path) == ["a.safetensors", "b-dim2.safetensors", "b.safetensors"]
    assert any(event.kind == "note" and "Left out: " in event.text for event in events)


@pytest.mark.parametrize("kind", ["nan", "oft"])
def test_one_lora_of_several_that_cannot_be_resized_is_left_out(kind, tmp_path):
    broken(lora_state(), tmp_path / "a.safetensors", kind)
    safetensors.torch.save_file(lora_state(), tmp_path / "b.safetensors")
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    events = run(model=files, new_rank="2,4", save_to=tmp_path / "out")
    assert names(tmp_path / "out") == ["b-dim2.safetensors", "b-dim4.safetensors"]
    assert sum(event.kind == "note" and "Left out: " in event.text for event in events) == 1
    run(model=files, new_rank=2, save_to=tmp_path / "two")
    assert names(tmp_path / "two") == ["b-dim2.safetensors"], "a folder, as two were asked for"
    twice = [files[0], shutil.copy(files[0], tmp_path / "c.safetensors")]
    with pytest.raises(SettingError, match="None of the LoRAs"):
        run(model=twice, new_rank=2, save_to=tmp_path / "none")
    with pytest.raises(SettingError) as caught:
        run(model=files[:1], new_rank="2,4", save_to=tmp_path / "alone")
    assert caught.value.setting == "model" and not (tmp_path / "alone").exists()
