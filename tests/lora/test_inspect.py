"""What a LoRA file is told to be, and what it would keep at smaller sizes."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from random_loras import CONV, WIDE, write_random_lora
from safetensors.torch import load_file, save_file

from scripts.core.errors import SuiteError
from scripts.core.events import Control
from scripts.core.safetensors_header import read_header
from scripts.inspect_lora import main
from scripts.lora import edit_metadata
from scripts.lora.inspect import check_hashes, facts_of
from scripts.lora.modules import open_lora
from scripts.lora.number_formats import to_precision
from scripts.lora.resize_jobs import resize
from scripts.lora.safetensors_writer import packed_header
from scripts.lora.spectrum import knee, spectrum
from scripts.lora.tensor_files import write_tensors
from scripts.lora.training_words import common_tags, training_in_words, trigger_words
from scripts.settings.resize import read_resize_settings

ROOT = Path(__file__).resolve().parents[2]
LOCON = ROOT / "tests" / "data" / "resize" / "input_locon.safetensors"
LINEAR = ROOT / "tests" / "data" / "resize" / "input.safetensors"
TRAINED = ROOT / "tests" / "data" / "metadata" / "trained_lora.safetensors"


def test_the_spectrum_is_that_of_the_dense_matrices():
    with open_lora(LOCON) as lora:
        found = spectrum(lora, lambda _: None, Control())
        squares = []
        for module in lora.modules.values():
            up, down, scale = module.factors()
            dense = scale * up.astype(np.float64) @ down.astype(np.float64)
            squares.append(np.linalg.svd(dense, compute_uv=False) ** 2)
    everything = sum(part.sum() for part in squares)
    assert found["ranks"][-1] == max(m.full_rank for m in lora.modules.values())
    for rank, kept in zip(found["ranks"], found["kept"], strict=True):
        dense = math.sqrt(sum(part[:rank].sum() for part in squares) / everything)
        assert kept == pytest.approx(dense, abs=1e-6), rank
    assert found["kept"][-1] == pytest.approx(1)
    assert found["bytes"][-1] == pytest.approx(LOCON.stat().st_size, rel=0.01)
    assert found["bytes"] == sorted(found["bytes"])
    assert found["knee"] in found["ranks"]


@pytest.mark.parametrize("settings", [
    {}, {"new_conv_rank": 2}, {"save_precision": "fp16"}, {"save_precision": "float"},
    {"dynamic_method": "sv_fro", "dynamic_param": "0.5"},
    {"dynamic_method": "sv_ratio", "dynamic_param": "3", "new_conv_rank": 3},
])  # fmt: skip
@pytest.mark.parametrize("path", [LOCON, LINEAR], ids=lambda path: path.stem)
def test_the_spectrum_tells_what_a_resize_gives(path, settings, tmp_path, capfd):
    """Share and file size at each size, with the other settings of a resize, are those it has."""
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    assert main([str(path), "--spectrum", "--json", *flags]) == 0
    found = json.loads(capfd.readouterr().out)["spectrum"]
    ranks = [rank for rank in found["ranks"] if rank <= 8]
    output = tmp_path / "out"
    config = {"model": [path], "new_rank": ranks, "save_to": output, **settings}
    events = []
    resize(read_resize_settings(config)[0], events.append, Control())
    facts = [event.facts for event in events if event.kind == "facts"]
    assert [one["kept"] for one in facts] == pytest.approx(found["kept"][: len(ranks)], abs=1e-6)
    sizes = [one["after"]["size_bytes"] for one in facts]
    assert sizes == pytest.approx(found["bytes"][: len(ranks)], rel=0.02, abs=300)


def test_the_knee_is_where_doubling_wins_little():
    assert knee([1, 2, 4, 8], [0.5, 0.8, 0.84, 1.0]) == 2
    assert knee([1, 2, 4], [0.2, 0.6, 1.0]) == 4
    assert knee([4], [1.0]) == 4


def test_the_facts_of_a_trained_lora():
    with open_lora(TRAINED) as lora:
        facts = facts_of(lora)
    assert facts["family"] == "sd1" and facts["network_types"] == {"lora": 264}
    assert facts["modules"] == {"text_encoder": 72, "unet_conv": 32, "unet_linear": 160}
    assert facts["dims"]["unet_linear"] == {"2": 160}
    assert facts["alphas"]["text_encoder"] == {"1": 72}
    assert facts["size_bytes"] == TRAINED.stat().st_size and facts["problems"] == []
    assert facts["trigger_words"] == [("style", 2)]  # in 2 captions of 2; sks cat in 2 of 3
    assert dict(facts["tags"])["sks cat"] == 2
    stored = json.loads((TRAINED.parent / "hashes.json").read_text())[0]["stored_sshs_model_hash"]
    assert facts["hashes"]["sshs_model_hash"] == {"stated": stored, "ok": True}
    assert facts["hashes"]["sshs_legacy_hash"]["ok"]
    words = "\n".join(facts["training"])
    for part in ("tiny_sd15.safetensors", "5 pictures (8 with repeats), at 128 x 128",
                 "4 steps of 2", "U-Net 0.002, text encoder 0.0005", "cosine", "gamma 5.0",
                 "2026-11-22", "AdamW (weight_decay=0.1,betas=(0.9, 0.99))"):  # fmt: skip
        assert part in words, part


def test_trigger_words_stand_in_nearly_every_caption_of_a_folder():
    metadata = {
        "ss_tag_frequency": json.dumps(
            {"1_a": {"cat": 2, " dog": 10}, "2_b": {"cat": 9, "bird": 7}}),
        "ss_dataset_dirs": json.dumps({"1_a": {"img_count": 10}, "2_b": {"img_count": 10}}),
    }  # fmt: skip
    assert trigger_words(metadata) == [("dog", 10), ("cat", 9)]
    assert common_tags(metadata) == [("cat", 11), ("dog", 10), ("bird", 7)]
    for odd in ("", "[]", '{"a": 1}', "no json"):
        assert trigger_words({"ss_tag_frequency": odd}) == []
    assert training_in_words({}) == []
    assert training_in_words({"ss_training_finished_at": "x", "ss_dataset_dirs": "[]"}) == []
    for odd in ("nan", "inf", "-inf"):
        times = {"ss_training_started_at": odd, "ss_training_finished_at": "1700000000.0"}
        assert training_in_words(times) == []


@pytest.mark.parametrize("naming", ["kohya", "peft", "diffusers"])
@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_files_of_every_kind(naming, ending, tmp_path):
    for seed in range(3):
        path = tmp_path / f"lora{seed}{ending}"
        truth = write_random_lora(path, np.random.default_rng(seed), naming)
        with open_lora(path) as lora:
            facts = facts_of(lora)
        assert facts["naming"] == naming and facts["path"] == str(path)
        assert sum(facts["modules"].values()) == len(truth) == sum(facts["network_types"].values())
        assert facts["modules"].get("unet_conv_3x3", 0) == len(truth.keys() & set(WIDE))
        assert facts["modules"].get("unet_conv", 0) == len(truth.keys() & set(CONV))
        assert facts["training"] == [] or ending == ".safetensors"
        assert not any("zero" in text or "not numbers" in text for text in facts["problems"])


def test_what_keeps_a_lora_from_being_resized_or_merged(tmp_path):
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    factors = {f"{layer}.lora_up.weight": torch.ones(8, 2), f"{layer}.alpha": torch.tensor(2.0),
               f"{layer}.lora_down.weight": torch.ones(2, 8)}  # fmt: skip
    kinds = {
        "lora": ({}, [], []),
        "oft": ({f"{layer}2.oft_blocks": torch.ones(2, 4, 4)}, ["(oft)"], ["(oft)"]),
        "nan": ({f"{layer}.lora_up.weight": torch.full((8, 2), math.nan)}, ["It is damaged"],
                ["It is damaged"]),
        "strange": ({f"{layer}.lora_strange": torch.ones(2, 2)}, ["unknown effect"],
                    ["unknown effect"]),
        "dora": ({f"{layer}.dora_scale": torch.ones(8, 1)}, ["It is a DoRA"], []),
    }  # fmt: skip
    for kind, (more, *expected) in kinds.items():
        path = tmp_path / f"{kind}.safetensors"
        save_file({**factors, **more}, path)
        with open_lora(path) as lora:
            facts = facts_of(lora)
        for use, words in zip(("resize", "merge"), expected, strict=True):
            sentences = facts["unusable"][use]
            assert len(sentences) == len(words), (kind, sentences)
            assert all(word in text for word, text in zip(words, sentences, strict=True)), kind
            assert set(sentences) <= set(facts["problems"])


def problems_of(path):
    with open_lora(path) as lora:
        return "\n".join(facts_of(lora)["problems"])


def test_what_is_wrong_is_said(tmp_path):
    state, metadata = load_file(TRAINED), read_header(TRAINED).metadata
    names = [key.partition(".")[0] for key in state if key.endswith("lora_up.weight")]

    def saved(**changes):
        path = tmp_path / "odd.safetensors"
        save_file({key: tensor for key, tensor in (state | changes).items() if tensor is not None},
                  path, metadata)  # fmt: skip
        return problems_of(path)

    up, down, alpha = (f"{names[0]}.{part}" for part in
                       ("lora_up.weight", "lora_down.weight", "alpha"))  # fmt: skip
    assert saved() == ""
    zero = saved(**{up: torch.zeros_like(state[up])})
    assert "as they were never trained: 1." in zero and "hash in its metadata is not that" in zero
    everything = {f"{name}.lora_up.weight": torch.zeros_like(state[f"{name}.lora_up.weight"])
                  for name in names}  # fmt: skip
    assert "All layers are zero" in saved(**everything)
    broken = saved(**{down: state[down] * float("nan")})
    assert "holds values that are not numbers (such layers: 1)" in broken
    assert "Layers without an alpha: 1 of 264;" in saved(**{alpha: None})
    strong = saved(**{alpha: torch.tensor(64.0)})
    assert "an alpha is above its dim, such as 64 with dim 2 (layers: 1)." in strong
    assert "belong to no layer, such as stranger (1 in all)." in saved(stranger=torch.zeros(2))
    dora = torch.ones(state[up].shape[0], *[1] * (state[down].ndim - 1))
    assert "It is a DoRA" in saved(**{f"{names[0]}.dora_scale": dora})
    assert "F64" in saved(**{key: tensor.double() for key, tensor in state.items()})


def test_numbers_of_an_unknown_kind_are_told_and_fp8_of_torch_is_read(tmp_path):
    state, path = load_file(TRAINED), tmp_path / "lora.safetensors"
    key = next(key for key in state if key.endswith("lora_up.weight"))
    save_file(state | {key: state[key].to(torch.float8_e4m3fn)}, path)
    path.write_bytes(path.read_bytes().replace(b'"F8_E4M3"', b'"F8_E8M0"'))
    with pytest.raises(SuiteError, match=r"safetensors holds numbers of an unknown kind \(F8"):
        open_lora(path)
    torch.save(state | {key: state[key].to(torch.complex64)}, tmp_path / "lora.pt")
    with pytest.raises(SuiteError, match=r"lora\.pt holds numbers of an unknown kind \(torch\.c"):
        open_lora(tmp_path / "lora.pt")
    for kind in (torch.float8_e4m3fn, torch.float8_e5m2):
        torch.save(state | {key: state[key].to(kind)}, tmp_path / "lora.pt")
        with open_lora(tmp_path / "lora.pt") as lora:
            read = lora.file.read(key)
        np.testing.assert_array_equal(read, state[key].to(kind).float().numpy())


def test_metadata_that_the_tensors_belie_are_told(tmp_path):
    state, path = load_file(TRAINED), tmp_path / "lora.safetensors"
    for metadata, sentence in (
        ({"ss_network_dim": "64"}, "Its metadata say that its dim is 64, and it is 2."),
        ({"ss_network_dim": "2"}, ""),
        ({"ss_network_dim": "Dynamic"}, ""),
    ):
        save_file(state, path, {"ss_base_model_version": "sd_v1", **metadata})
        assert sentence == problems_of(path)
    columns = {"sd1": 768, "sdxl": 2048}
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    for family, width in columns.items():
        factors = {"lora_down.weight": torch.ones(4, width), "lora_up.weight": torch.ones(640, 4),
                   "alpha": torch.tensor(4.0)}  # fmt: skip
        tensors = {f"{name}.{part}": tensor for part, tensor in factors.items()}
        save_file(tensors, path, {"ss_base_model_version": "sdxl_base_v1-0"})
        belied = "say that it is for Stable Diffusion XL, and its layers" in problems_of(path)
        assert belied == (family == "sd1")


def test_bytes_behind_the_tensors_and_a_layer_under_two_names(tmp_path):
    state, path = load_file(TRAINED), tmp_path / "lora.safetensors"
    save_file(state, path, {"ss_base_model_version": "sd_v1"})
    with path.open("ab") as file:
        file.write(b"12345")
    assert problems_of(path).startswith("5 bytes behind its numbers belong to nothing")
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    twin = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"
    down = state[f"{name}.lora_down.weight"]
    save_file({**state, twin: torch.zeros(down.shape)}, path)
    with open_lora(path) as lora:
        assert lora.others == (twin,) and len(lora.modules) == 264
        kept = lora.modules[name].factors()[1]
    np.testing.assert_array_equal(kept, down.float().numpy())  # the first in the file


def test_metadata_are_edited_and_the_tensors_stay(tmp_path, capsys):
    source = tmp_path / "my lora.safetensors"
    source.write_bytes(TRAINED.read_bytes())
    target = tmp_path / "new.safetensors"
    words = [str(source), "--set", "ss_output_name=neu ü=1", "ss_seed=", "--save_to", str(target)]
    assert main(words) == 0
    old, new = read_header(source), read_header(target)
    expected = {**old.metadata, "ss_output_name": "neu ü=1"}
    del expected["ss_seed"]
    assert new.metadata == expected and new.tensors == old.tensors
    assert source.read_bytes() == TRAINED.read_bytes()
    assert target.read_bytes()[new.data_start :] == source.read_bytes()[old.data_start :]
    assert main(words) == 1 and "already" in capsys.readouterr().err
    for number in ("", "2"):
        before = source.read_bytes()
        assert main([str(source), "--set", f"modelspec.author=me{number}"]) == 0
        assert (tmp_path / f"my lora.bak{number}.safetensors").read_bytes() == before
        assert read_header(source).metadata["modelspec.author"] == f"me{number}"
    before = source.read_bytes()
    for wrong in ("no_sign", "=x", "sshs_model_hash=1"):
        assert main([str(source), "--set", wrong]) == 1
    assert source.read_bytes() == before and not list(tmp_path.glob("*.part"))


def test_a_source_that_goes_is_told_of_and_not_the_result(tmp_path, monkeypatch):
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    source.write_bytes(TRAINED.read_bytes())
    monkeypatch.setattr(edit_metadata, "check_free_space", lambda *_: source.unlink())
    with pytest.raises(SuiteError, match=r"The file .*a\.safetensors cannot be read: No such file"):
        edit_metadata.edit_metadata(source, {"a": "b"}, target)
    assert not list(tmp_path.iterdir())


def test_json_is_all_that_is_printed_and_words_tell_the_same(tmp_path, capsys):
    path = tmp_path / "a.safetensors"
    comment = "red\x1b[31m letters\r"
    state = load_file(TRAINED)
    save_file(state, path, {**read_header(TRAINED).metadata, "ss_training_comment": comment})
    assert main([str(path), "--set", "ss_output_name=b", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["network_types"] == {"lora": 264} and facts["path"] == str(path)
    assert main([str(path), "--spectrum"]) == 0
    told = capsys.readouterr().out
    assert "264 lora" in told and "\x1b" not in told and "\r" not in told
    dims = {len(tensor) for key, tensor in state.items() if key.endswith("lora_down.weight")}
    assert f"dim {dims.pop()}, alpha " in told and not dims
    assert f"{path.stat().st_size / 1e6:.1f} MB" in told and "at dim 1: keeps " in told


def test_editing_through_a_link_changes_the_file_itself(tmp_path):
    source, link = tmp_path / "real.safetensors", tmp_path / "link.safetensors"
    source.write_bytes(TRAINED.read_bytes())
    link.symlink_to(source)
    assert main([str(link), "--set", "ss_output_name=new"]) == 0
    assert link.is_symlink() and read_header(source).metadata["ss_output_name"] == "new"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set", "a=\udcff"], "letters that this terminal did not pass on"),
        (["--save_to", "other.safetensors"], "Nothing is to be changed"),
    ],
)
def test_changes_that_cannot_be_are_refused(words, sentence, capsys):
    before = TRAINED.read_bytes()
    assert main([str(TRAINED), *words]) == 1
    assert sentence in capsys.readouterr().err
    assert TRAINED.read_bytes() == before


def test_the_old_short_hash_follows_the_metadata(tmp_path):
    """It covers bytes at a fixed place of the file, which move with the header."""
    path = tmp_path / "large.safetensors"
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    numbers = np.random.default_rng(0).random((512, 900))
    tensors = {f"{name}.lora_down.weight": to_precision(numbers, "float"),
               f"{name}.lora_up.weight": to_precision(numbers.T, "float")}  # fmt: skip
    write_tensors(path, tensors, {"ss_output_name": "a"})
    before = read_header(path).metadata["sshs_legacy_hash"]
    assert main([str(path), "--set", "ss_output_name=a much longer name"]) == 0
    metadata = dict(read_header(path).metadata)
    assert metadata["sshs_legacy_hash"] != before
    del metadata["sshs_legacy_hash"], metadata["sshs_model_hash"]
    write_tensors(tmp_path / "again.safetensors", tensors, metadata)
    assert read_header(tmp_path / "again.safetensors").metadata == read_header(path).metadata


def test_the_hashes_are_of_the_bytes_as_they_lie(tmp_path):
    """Whatever order its writer chose: here narrow formats first, and two kinds of 16 bits."""
    name, path = "lora_unet_mid_block_attentions_0_proj_in", tmp_path / "odd.safetensors"
    parts = {"alpha": ("BF16", []), "lora_up.weight": ("F16", [4, 2]),
             "lora_down.weight": ("F32", [2, 4])}  # fmt: skip
    content, data = {}, b""
    for part, (dtype, shape) in parts.items():
        size = math.prod(shape) * (4 if dtype == "F32" else 2)
        content[f"{name}.{part}"] = {"dtype": dtype, "shape": shape,
                                     "data_offsets": [len(data), len(data) + size]}  # fmt: skip
        data += bytes(range(size))
    true = hashlib.sha256(data).hexdigest()
    content["__metadata__"] = {"sshs_model_hash": true}
    path.write_bytes(packed_header(content) + data)
    with open_lora(path) as lora:
        assert check_hashes(lora) == {"sshs_model_hash": {"stated": true, "ok": True}}
    assert main([str(path), "--set", "ss_output_name=a"]) == 0
    assert read_header(path).metadata == {"ss_output_name": "a", "sshs_model_hash": true}
    assert path.read_bytes().endswith(data)


@pytest.mark.parametrize(("path", "code"), [(LOCON, 0), (ROOT / "README.md", 1)])
def test_the_command_answers_a_window_and_loads_no_torch(path, code):
    program = "import sys; from scripts.inspect_lora import main; code = main(sys.argv[1:]); " \
              "assert 'torch' not in sys.modules; sys.exit(code)"  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", program, str(path), "--spectrum", "--events"],
                               cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    events = [json.loads(line) for line in process.stdout]
    process.stdin.close()
    assert process.wait(timeout=60) == code
    assert events[-1]["event"] == ("problem" if code else "facts")
    if not code:
        assert events[-1]["facts"]["spectrum"]["kept"][-1] == pytest.approx(1)
