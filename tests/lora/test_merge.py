"""The merge of LoRAs is the true weighted sum: against the reference's exact sums, and against
float64 sums of random files of every kind."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch
from lora_models import DATA
from random_loras import (
    PATHS,
    best_error,
    delta,
    flat,
    kernel_of,
    random_sides,
    read_deltas,
    write_random_lora,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from scripts.core.errors import Cancelled, SettingError, SettingErrors, SuiteError
from scripts.core.events import Control
from scripts.lora.merge import merge_loras
from scripts.lora.merge_metadata import agreed
from scripts.lora.module_sums import auto_rank
from scripts.lora.modules import open_lora
from scripts.lora.training_words import training_in_words, trigger_words
from scripts.settings.merge import read_merge_settings

MERGE = DATA / "merge"
REFERENCE = json.loads((MERGE / "merge.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in REFERENCE["cases"]}
ROUNDING = {"float": 1e-6, "fp16": 2e-3, "bf16": 1.5e-2}  # of ‖ΔW‖
LINEAR = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


def merge(control=None, **values):
    """(path of the result, events) of a merge with these settings."""
    settings, _ = read_merge_settings(values)
    events = []
    return merge_loras(settings, events.append, control or Control()), events


def facts_of(events) -> dict:
    return next(event.facts for event in events if event.kind == "facts")


def metadata_of(path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def write_plain(path, name=LINEAR, out=16, rest=12, rank=4, metadata=None, seed=0, fill=None):
    generator = torch.Generator().manual_seed(seed)
    up = torch.randn(out, rank, generator=generator)
    save_file({
        f"{name}.lora_up.weight": up if fill is None else torch.full_like(up, fill),
        f"{name}.lora_down.weight": torch.randn(rank, rest, generator=generator),
        f"{name}.alpha": torch.tensor(float(rank)),
    }, path, metadata)  # fmt: skip
    return path


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("new_rank", ["exact", "12"])
def test_the_exact_sums_of_the_reference(name, new_rank, tmp_path):
    case = CASES[name]
    conv = {"new_conv_rank": 5} if name == "svd_ab_conv" and new_rank == "12" else {}
    models = [MERGE / model for model in case["models"]]
    path, events = merge(models=models, ratios=case["ratios"], new_rank=new_rank,
                         save_to=tmp_path / "sum", **conv)  # fmt: skip
    found = read_deltas(path)
    assert set(found) == set(case["exact_sum"])
    for module, expected in case["exact_sum"].items():
        change, rank, _ = found[module]
        values = np.linalg.svd(flat(change), compute_uv=False)
        truth = np.array(expected["singular_values"])
        kept = min(rank, len(truth), len(values))
        np.testing.assert_allclose(values[:kept], truth[:kept], rtol=2e-6, atol=1e-6)
        if new_rank == "exact":
            assert np.linalg.norm(change) == pytest.approx(expected["fro"], rel=1e-6)
        elif "best" in case and rank in (5, 12):
            share = np.linalg.norm(change) / expected["fro"]
            assert share == pytest.approx(np.sqrt(1 - case["best"][module] ** 2), rel=1e-5)
    assert facts_of(events)["kept"] == 1.0 or new_rank == "12"


@pytest.mark.parametrize("seed", range(20))
def test_random_files_of_every_kind(seed, tmp_path):
    generator = np.random.default_rng(1000 + seed)
    namings = [("kohya", ".safetensors"), ("kohya", ".pt"), ("peft", ".safetensors"),
               ("diffusers", ".safetensors")]  # fmt: skip
    sides = {name: random_sides(generator) for name in PATHS}
    paths, truths = [], []
    for number in range(2 + seed % 2):
        naming, ending = namings[generator.integers(len(namings))]
        paths.append(tmp_path / f"in{number}{ending}")
        truths.append(write_random_lora(paths[-1], generator, naming, sides=sides))
    ratios = [float(ratio) for ratio in generator.choice([0.7, -0.4, 1.0, 0.25], len(paths))]
    precision = str(generator.choice(list(ROUNDING)))
    rule = str(generator.choice(["exact", "3", "6", "auto"]))
    path, events = merge(models=paths, ratios=ratios, save_to=tmp_path / "sum.safetensors",
                         new_rank=rule, save_precision=precision)  # fmt: skip
    sums, sizes = {}, {}
    for truth, ratio in zip(truths, ratios, strict=True):
        for name, change in truth.items():
            sums[name] = sums.get(name, 0) + ratio * flat(change)
            sizes[name] = sizes.get(name, 0) + np.linalg.norm(ratio * change)
    found = read_deltas(path)
    assert set(found) == set(sums)
    for name, (change, rank, _) in found.items():
        error = np.linalg.norm(flat(change) - sums[name])
        best = best_error(sums[name], rank)
        assert change.shape[2:] == kernel_of(name)
        assert error <= best + (1e-6 + ROUNDING[precision]) * sizes[name], (name, rule)
        if rule == "exact":
            assert best <= 1e-6 * sizes[name]
        elif rule != "auto":
            assert rank <= int(rule)
    if rule == "auto":
        assert facts_of(events)["kept"] >= 0.99 - 1e-6


@pytest.mark.parametrize("new_rank", ["auto", "exact"])
def test_ratio_one_and_zero_give_the_file_back(new_rank, tmp_path):
    path, _ = merge(models=[MERGE / "a.safetensors", MERGE / "b.safetensors"], ratios=[1, 0],
                    save_to=tmp_path / "same", new_rank=new_rank)  # fmt: skip
    before, after = load_file(MERGE / "a.safetensors"), load_file(path)
    assert set(before) == set(after)
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("new_rank", ["auto", "exact"])
@pytest.mark.parametrize("naming", ["kohya", "peft", "diffusers"])
def test_ratio_one_and_zero_keep_what_any_file_does(naming, new_rank, tmp_path):
    generator = np.random.default_rng(11)
    other = write_plain(tmp_path / "other.safetensors")
    for number in range(6):
        source = tmp_path / f"in.{'pt' if number % 3 == 2 else 'safetensors'}"
        truth = write_random_lora(source, generator, naming)
        path, _ = merge(models=[source, other], ratios=[1, 0], save_to=tmp_path / "same",
                        new_rank=new_rank, overwrite=True)  # fmt: skip
        with open_lora(path) as lora:
            assert set(lora.modules) == set(truth)
            for name, module in lora.modules.items():
                up, down, scale = module.factors()
                near = {"rtol": 1e-5, "atol": 1e-5 * np.abs(truth[name]).max()}
                np.testing.assert_allclose(scale * up @ down, flat(truth[name]), **near)


@pytest.mark.parametrize("size", [1e-3, 5e-5])
def test_one_alpha_for_layers_of_other_dims_costs_fp16_little(size, tmp_path):
    """A layer of dim 4 beside layers of dim 132 gets the alpha 132."""
    to_q, to_k, to_v = (LINEAR.replace("to_q", end) for end in ("to_q", "to_k", "to_v"))
    paths = [tmp_path / "large.safetensors", tmp_path / "small.safetensors"]
    for path, rank, names in zip(paths, (128, 4), ((to_q, to_v), (to_q, to_v, to_k)), strict=True):
        state = {}
        for name in names:
            state |= load_file(write_plain(path, name, out=320, rest=320, rank=rank))
        if to_k in names:
            state[f"{to_k}.lora_up.weight"] *= size
        save_file({key: tensor.half() for key, tensor in state.items()}, path)
    path, _ = merge(models=paths, ratios=[1, 1], save_to=tmp_path / "sum", new_rank="exact")
    before, (after, rank, alpha) = read_deltas(paths[1])[to_k][0], read_deltas(path)[to_k]
    assert (rank, alpha) == (4, 132)
    assert np.linalg.norm(after - before) < 5e-3 * np.linalg.norm(before)


def test_auto_is_the_smallest_rank_that_keeps_99_percent():
    generator = np.random.default_rng(0)
    values = [np.sort(generator.exponential(size=size))[::-1] for size in (5, 9, 12)]
    rank = auto_rank(values)

    def kept(count):
        squares = [(one[:count] ** 2).sum() for one in values]
        return np.sqrt(sum(squares) / sum((one**2).sum() for one in values))

    assert kept(rank) >= 0.99 > kept(rank - 1)


def block_of(name: str) -> int | None:
    """The block of a layer of SD1.x, counted as sd-scripts does: 12 down, the middle, 12 up."""
    found = re.match(r"lora_unet_(down|up)_blocks_(\d)_(\w+?)_(\d)", name)
    if found is None:
        return 12 if "mid_block" in name else None
    side, level, what, place = found.groups()
    inside = 3 * int(level) + (2 if what in ("downsamplers", "upsamplers") else int(place))
    return inside + (1 if side == "down" else 13)


def test_strengths_by_block_for_each_lora(tmp_path):
    generator, loras = np.random.default_rng(6), [tmp_path / "a.safetensors", tmp_path / "b.pt"]
    sides = {name: random_sides(generator) for name in PATHS}
    parts = [write_random_lora(lora, generator, "kohya", kinds=("lora",), sides=sides)
             for lora in loras]  # fmt: skip
    first = [round(0.2 + 0.05 * block, 2) for block in range(25)]
    second = [-0.1 * (block % 4) for block in range(25)]
    path, _ = merge(models=loras, ratios=[0.5, -2], save_to=tmp_path / "both", new_rank="exact",
                    block_ratios=[",".join(map(str, first)), ",".join(map(str, second))],
                    save_precision="float")  # fmt: skip
    after = read_deltas(path)
    blocks = {block_of(name) for name in after}
    assert {None, 12} < blocks and min(blocks - {None}) < 9 and max(blocks - {None}) > 15
    assert set(after) == set(parts[0]) | set(parts[1])
    for name, (change, _, _) in after.items():
        block = block_of(name)
        factors = (0.5, -2) if block is None else (0.5 * first[block], -2 * second[block])
        both = [factor * flat(part[name])
                for factor, part in zip(factors, parts, strict=True) if name in part]  # fmt: skip
        truth = sum(both)
        near = 1e-6 * max(np.abs(one).max() for one in both) + 1e-9
        np.testing.assert_allclose(flat(change), truth, rtol=1e-5, atol=near)


def test_a_wrong_list_of_strengths_names_its_lora(tmp_path):
    with pytest.raises(SettingError, match=r"For b\.safetensors: There are 2 numbers") as caught:
        merge(models=[MERGE / "a.safetensors", MERGE / "b.safetensors"], save_to=tmp_path / "x",
              block_ratios=["", "1,2"])  # fmt: skip
    assert caught.value.setting == "block_ratios"


def test_what_the_metadata_tell(tmp_path):
    tags = {"10_cat": {"cat": 10, "red": 2}}, {"10_cat": {"cat": 5}, "5_dog": {"dog": 5}}
    for name, folder_tags, rate in zip("xy", tags, ("1e-4", "2e-4"), strict=True):
        write_plain(tmp_path / f"{name}.safetensors", seed=ord(name), metadata={
            "ss_tag_frequency": json.dumps(folder_tags), "ss_learning_rate": rate,
            "ss_sd_model_name": "base", "ss_base_model_version": "sd_v1",
            "modelspec.title": name, "modelspec.hash_sha256": "0x1", "sshs_model_hash": name,
        })  # fmt: skip
    models = [tmp_path / f"{name}.safetensors" for name in "xy"]
    path, _ = merge(models=models, ratios=[0.7, -0.5], save_to=tmp_path / "sum", new_rank=6)
    metadata = metadata_of(path)
    assert json.loads(metadata["ss_tag_frequency"]) == {"10_cat": {"cat": 15, "red": 2},
                                                       "5_dog": {"dog": 5}}  # fmt: skip
    assert metadata["ss_sd_model_name"] == "base" and "ss_learning_rate" not in metadata
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("6", "6.0")
    assert "merged 0.7 x x - 0.5 x y, size 6" in metadata["ss_training_comment"]
    merged = json.loads(metadata["easy_lora_merged"])
    assert [(one["file"], one["ratio"]) for one in merged] == [("x.safetensors", 0.7),
                                                              ("y.safetensors", -0.5)]  # fmt: skip
    assert metadata["modelspec.title"] == "sum" and "modelspec.hash_sha256" not in metadata
    assert len(metadata["sshs_model_hash"]) == 64


def test_agreed_metadata_survive_a_file_without_any():
    assert agreed([{"ss_clip_skip": "2"}, {}]) == {"ss_clip_skip": "2"}
    assert agreed([{"ss_clip_skip": "2"}, {"ss_clip_skip": "1"}]) == {}


def test_what_one_training_was_is_not_told_of_the_sum_of_two(tmp_path):
    tags = {"10_sofa": {"cat": 10, "sofa": 5}}
    metadata = {
        "ss_tag_frequency": json.dumps(tags), "ss_dataset_dirs": '{"10_sofa": {"img_count": 10}}',
        "ss_num_train_images": "100", "ss_steps": "1000", "ss_epoch": "10", "ss_seed": "1",
        "ss_optimizer": "AdamW", "ss_learning_rate": "1e-4", "ss_training_comment": "mine",
        "ss_sd_model_name": "base", "ss_resolution": "(512, 512)", "ss_clip_skip": "2",
        "modelspec.author": "me",
    }  # fmt: skip
    full = write_plain(tmp_path / "full.safetensors", metadata=metadata)
    bare = write_plain(tmp_path / "bare.safetensors", seed=1)
    for models, author in (([full, bare], None), ([full, full], "me")):
        path, _ = merge(models=models, save_to=tmp_path / "sum", overwrite=True)
        found = metadata_of(path)
        assert (found["ss_sd_model_name"], found["ss_clip_skip"]) == ("base", "2")
        assert found["ss_resolution"] == "(512, 512)" and found.get("modelspec.author") == author
        comment = found["ss_training_comment"]
        assert comment.startswith("merged 0.5 x full") and "mine" not in comment
        assert training_in_words(found) == ["Made with the base model base.", f"Comment: {comment}",
                                            "With clip skip 2."]  # fmt: skip
        assert trigger_words(found) == [("cat", 10 * models.count(full))]
    path, _ = merge(models=[full], ratios=[0.5], save_to=tmp_path / "half")
    assert "1000 steps, epochs: 10." in training_in_words(metadata_of(path))


def test_bad_inputs_are_one_sentence_and_leave_nothing(tmp_path):
    good = write_plain(tmp_path / "good.safetensors")
    sdxl = write_plain(tmp_path / "xl.safetensors", "lora_unet_input_blocks_4_1_proj_in")
    nan = write_plain(tmp_path / "nan.safetensors", fill=float("nan"))
    wide = write_plain(tmp_path / "wide.safetensors", rest=16)
    half = tmp_path / "half.safetensors"
    save_file({key: part for key, part in load_file(good).items() if "lora_up" not in key}, half)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:-40])
    dora = tmp_path / "dora.safetensors"
    save_file({**load_file(good), f"{LINEAR}.dora_scale": torch.ones(16, 1)}, dora)
    known = write_plain(tmp_path / "sd1.safetensors", metadata={"ss_base_model_version": "sd_v1"})
    before = sorted(tmp_path.iterdir())
    model = DATA / "models" / "tiny_sd15.safetensors"
    for models, message in (
        ([known, sdxl], "sd1.safetensors is for Stable Diffusion 1.x and xl.safetensors"),
        ([good, nan], "damaged: .* not numbers"),
        ([nan], "damaged: .* not numbers"),
        ([half, good], "half.safetensors (holds|is damaged)"),
        ([good, half], "half.safetensors (holds|is damaged)"),
        ([good, wide], "different sizes"),
        ([good, cut], "cut.safetensors is cut off"),
        ([good, model], "it seems to be a whole Stable Diffusion model"),
        ([good, dora], "dora.safetensors is a DoRA"),
        ([good, tmp_path / "none.safetensors"], "There is no file"),
    ):
        with pytest.raises(SuiteError, match=message):
            merge(models=models, save_to=tmp_path / "sum")
    with pytest.raises(SettingError, match="one of the files that are read"):
        merge(models=[good, good], save_to=good, overwrite=True)
    with pytest.raises(SettingError, match="every layer counts 0"):
        merge(models=[good], block_ratios=["0"], save_to=tmp_path / "sum")
    for values, message in (({"ratios": [0, 0]}, "All strengths are 0"),
                            ({"new_rank": 0}, "0 is out of range"),
                            ({"ratios": [1]}, "LoRAs: 2, strengths: 1.")):  # fmt: skip
        with pytest.raises(SettingErrors, match=message):
            merge(models=[good, good], save_to=tmp_path / "sum", **values)
    stopped = Control()
    stopped.stop()
    with pytest.raises(Cancelled):
        merge(stopped, models=[good, known], save_to=tmp_path / "sum")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("new_rank", ["auto", "exact", 4])
def test_a_sum_of_nothing_is_refused(new_rank, tmp_path):
    one = write_plain(tmp_path / "one.safetensors")
    for ratios, precision in (([1, -1], "float"), ([0.3, -0.3], "bf16"), ([1e-30, 1e-30], "fp16")):
        with pytest.raises(SettingError, match="nothing would be left: the LoRAs cancel"):
            merge(models=[one, one], ratios=ratios, save_precision=precision, new_rank=new_rank,
                  save_to=tmp_path / "sum")  # fmt: skip
    path, _ = merge(models=[one, one], ratios=[1, -0.999], new_rank=new_rank,
                    save_to=tmp_path / "little")  # fmt: skip
    before, after = read_deltas(one)[LINEAR][0], read_deltas(path)[LINEAR][0]
    np.testing.assert_allclose(after, 0.001 * before, atol=1e-5)
    negative = tmp_path / "negative.safetensors"
    save_file({**load_file(one), f"{LINEAR}.alpha": torch.tensor(-4.0)}, negative)
    with pytest.raises(SettingError, match="nothing would be left"):
        merge(models=[one, negative], ratios=[1, 1], save_to=tmp_path / "sum")
    merge(models=[negative], ratios=[2], new_rank=new_rank, save_to=tmp_path / "twice")
    after = read_deltas(tmp_path / "twice.safetensors")[LINEAR][0]
    np.testing.assert_allclose(after, -2 * before, rtol=1e-5, atol=1e-5)


def test_a_lora_of_another_kind_of_model_is_not_mixed_in(tmp_path):
    plain = write_plain(tmp_path / "plain.safetensors")
    middle = write_plain(tmp_path / "xl.safetensors", "lora_unet_middle_block_1_proj_in")
    known = write_plain(tmp_path / "sd1.safetensors", metadata={"ss_base_model_version": "sd_v1"})
    flux = write_plain(tmp_path / "flux.safetensors", "lora_unet_double_blocks_0_img_attn_proj")
    text = write_plain(
        tmp_path / "text.safetensors", "lora_te1_text_model_encoder_layers_0_mlp_fc1"
    )
    save_file({**load_file(flux), **load_file(text)}, tmp_path / "both.safetensors")
    with pytest.raises(SettingError, match=r"Diffusion 1\.x and xl\.safetensors for"):
        merge(models=[known, middle], save_to=tmp_path / "sum")
    for other in (plain, known, middle):
        for name in ("flux", "both"):
            with pytest.raises(SettingError, match=f"{name}.safetensors is not for Stable Diff"):
                merge(models=[other, tmp_path / f"{name}.safetensors"], save_to=tmp_path / "sum")
    path, _ = merge(models=[flux, tmp_path / "both.safetensors"], save_to=tmp_path / "sum")
    assert "ss_base_model_version" not in metadata_of(path)
    with pytest.raises(SettingError, match="has other blocks than Stable Diffusion") as caught:
        merge(models=[flux], save_to=tmp_path / "x", block_ratios=[",".join(["0.5"] * 25)])
    assert caught.value.setting == "block_ratios"
    wan = write_plain(tmp_path / "wan.safetensors", "lora_unet_blocks_0_self_attn_q")
    with pytest.raises(SettingError, match=r"flux\.safetensors and wan\.safetensors have no layer"):
        merge(models=[flux, wan], save_to=tmp_path / "x")


def test_a_family_that_the_keys_belie_is_put_right(tmp_path):
    stated = {"ss_base_model_version": "sdxl_base_v1-0", "ss_v2": "True",
              "modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}  # fmt: skip
    name = LINEAR.replace("attn1_to_q", "attn2_to_k")  # 768 columns, as sd1's captions have
    false = write_plain(tmp_path / "false.safetensors", name, rest=768, metadata=stated)
    metadata = metadata_of(merge(models=[false], ratios=[2], save_to=tmp_path / "right")[0])
    assert (metadata["ss_base_model_version"], metadata["ss_v2"]) == ("sd_v1", "False")
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    special = {"ss_base_model_version": "sd_v1_special", "ss_v2": "odd"}
    true = write_plain(tmp_path / "true.safetensors", name, rest=768, metadata=special)
    metadata = metadata_of(merge(models=[true], ratios=[2], save_to=tmp_path / "same")[0])
    assert {key: metadata[key] for key in special} == special


@pytest.mark.parametrize(("name", "raw", "expected"), [
    ("ratios", ["0.5,0.25"], (0.5, 0.25)),
    ("ratios", "0.5 0.25", (0.5, 0.25)),
    ("ratios", [1, "0.25"], (1.0, 0.25)),
    ("block_ratios", 0.5, ("0.5",)),
    ("block_ratios", [1, 0.5], ("1,0.5",)),
])  # fmt: skip
def test_how_numbers_may_be_written(name, raw, expected):
    settings, _ = read_merge_settings({"models": ["a", "b"], "save_to": "sum", name: raw})
    assert getattr(settings, name) == expected


@pytest.mark.parametrize(("values", "message"), [
    ({"ratios": True}, '"true" is not a number'),
    ({"ratios": {"b": 2}}, '"b=2" is not a number'),
    ({"new_rank": True}, '"true" is no size'),
    ({"models": ["a", "C:\new.safetensors"]}, "A backslash and the letter behind it"),
    ({"sd_model": "base.safetensors", "new_rank": 4}, "new_rank is for a LoRA as the result"),
])  # fmt: skip
def test_settings_that_mean_nothing_are_refused(values, message):
    with pytest.raises(SettingErrors, match=message):
        read_merge_settings({"models": ["a", "b"], "save_to": "sum", **values})


def test_an_older_file_is_kept_unless_told(tmp_path):
    good = write_plain(tmp_path / "good.safetensors")
    old = shutil.copy(good, tmp_path / "old.safetensors")
    with pytest.raises(SettingError, match="already"):
        merge(models=[good], ratios=[2], save_to=old)
    merge(models=[good], ratios=[2], save_to=old, overwrite=True)
    before, after = read_deltas(good)[LINEAR][0], read_deltas(old)[LINEAR][0]
    np.testing.assert_allclose(after, 2 * before, rtol=1e-6)


def test_the_sizes_in_the_metadata_are_those_of_the_file(tmp_path):
    """Linear layers and 3x3 convolutions have sizes and alphas of their own."""
    generator = np.random.default_rng(4)
    sources = [tmp_path / f"{name}.safetensors" for name in "ab"]
    sides = {name: random_sides(generator) for name in PATHS}
    for source in sources:
        write_random_lora(source, generator, "kohya", kinds=("lora",), sides=sides)
    path, _ = merge(models=sources, ratios=[0.5, 0.25], save_to=tmp_path / "both", new_rank=3,
                    new_conv_rank=2)  # fmt: skip
    metadata, found = metadata_of(path), read_deltas(path)
    wide = {(rank, alpha) for change, rank, alpha in found.values() if change.shape[2:] == (3, 3)}
    plain = {(rank, alpha) for change, rank, alpha in found.values() if change.ndim == 2}
    arguments = json.loads(metadata["ss_network_args"])
    for pairs, stated in (
        (plain, (metadata["ss_network_dim"], metadata["ss_network_alpha"])),
        (wide, (arguments["conv_dim"], arguments["conv_alpha"])),
    ):
        assert pairs
        for values, said in zip(zip(*pairs, strict=True), stated, strict=True):
            assert said == (str(values[0]) if len(set(values)) == 1 else "Dynamic")
    assert [one["ratio"] for one in json.loads(metadata["easy_lora_merged"])] == [0.5, 0.25]


@pytest.mark.parametrize("kind", ["loha", "lokr"])
def test_what_becomes_an_ordinary_lora_is_told(kind, tmp_path):
    source = tmp_path / "a.safetensors"
    write_random_lora(source, np.random.default_rng(0), "kohya", kinds=(kind,))
    _, events = merge(models=[source], save_to=tmp_path / "b", ratios=[0.5])
    title = {"loha": "LoHa", "lokr": "LoKr"}[kind]
    assert f"a.safetensors is a {title}" in " ".join(e.text for e in events if e.kind == "note")


def test_a_loha_alone_is_cut_to_what_auto_keeps(tmp_path):
    """Its full rank is that of its own times itself, and most of it is next to nothing."""
    source, name = tmp_path / "a.safetensors", LINEAR
    generator = torch.Generator().manual_seed(0)
    sizes = {"w1_a": (64, 6), "w1_b": (6, 64), "w2_a": (64, 6), "w2_b": (6, 64)}
    parts = {f"hada_{part}": torch.randn(size, generator=generator)
             for part, size in sizes.items()}  # fmt: skip
    parts["hada_w1_a"][:, 1:] *= 0.01
    save_file({f"{name}.{part}": tensor for part, tensor in parts.items()}, source)
    truth = {part: tensor.double().numpy() for part, tensor in parts.items()}
    change = 0.5 * flat(delta("loha", truth, None))
    path, _ = merge(models=[source], save_to=tmp_path / "b", ratios=[0.5])
    found, rank, _ = read_deltas(path)[name]
    assert rank < 36
    assert np.linalg.norm(found - change) <= 0.142 * np.linalg.norm(change), "√(1 - 0.99²)"


def test_what_belongs_to_no_layer_is_told_and_left_out(tmp_path):
    source = write_plain(tmp_path / "a.safetensors")
    save_file({**load_file(source), "bundle_emb.x.string_to_param.*": torch.ones(2)}, source)
    path, events = merge(models=[source], save_to=tmp_path / "b", ratios=[0.5])
    assert "bundle_emb" in " ".join(event.text for event in events if event.kind == "note")
    assert len(load_file(path)) == 3


def test_a_part_of_unknown_effect_is_refused(tmp_path):
    source = write_plain(tmp_path / "a.safetensors")
    save_file({**load_file(source), f"{LINEAR}.scalar": torch.tensor(0.5)}, source)
    with pytest.raises(SuiteError, match="scalar"):
        merge(models=[source], save_to=tmp_path / "b", ratios=[0.5])
    assert not (tmp_path / "b.safetensors").exists()


def test_loras_without_any_effect_are_called_so(tmp_path):
    source = write_plain(tmp_path / "a.safetensors", fill=0.0)
    with pytest.raises(SettingError, match="all their values are 0"):
        merge(models=[source], save_to=tmp_path / "b", ratios=[0.5])


def test_a_folder_is_no_name_for_a_result(tmp_path):
    source, folder = write_plain(tmp_path / "a.safetensors"), tmp_path / "results"
    folder.mkdir()
    with pytest.raises(SettingError, match="is a folder") as caught:
        merge(models=[source], save_to=folder, ratios=[0.5])
    assert caught.value.setting == "save_to" and not list(tmp_path.glob("results.*"))
    with pytest.raises(SettingError, match=r"unsafe kind of file"):
        merge(models=[source], save_to=tmp_path / "b.pt", ratios=[0.5])
