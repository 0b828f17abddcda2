"""What only a graphics card can show. Skipped where there is none, also in .ci/run."""

from __future__ import annotations

import gc
import traceback
from contextlib import contextmanager, nullcontext, suppress

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from PIL import Image
from safetensors.torch import load_file
from torch.nn.attention import SDPBackend
from watched_training import TINY_SD15, settings_for

from scripts.core.errors import Cancelled, SuiteError
from scripts.core.events import Control, Note, Preview
from scripts.drawing.versions import draw_versions
from scripts.practice import bake as practice
from scripts.settings.draw_versions import read_draw_settings
from scripts.settings.train import read_train_settings
from scripts.training import loop, start, trial
from scripts.training.batch_search import FITS
from scripts.training.device import Formats, make_accelerator
from scripts.training.optimizer_choice import ENTRIES, TABLE

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")

EIGHT_BIT = [entry.name for entry in TABLE if entry.stand_in]
STAND_IN = "does not run on this machine"


@contextmanager
def cpu_only():
    """As on a machine without a card."""
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.cuda, "is_available", lambda: False)
            yield
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def every_loss(monkeypatch):
    """The loss of each step, in order."""
    found, take_step = [], loop.take_step

    def spy(*arguments):
        loss = take_step(*arguments)
        found.append(loss.item())
        return loss

    monkeypatch.setattr(loop, "take_step", spy)
    return found


@pytest.mark.parametrize(
    "values",
    [
        {"mixed_precision": "bf16"},
        {"mixed_precision": "fp16"},
        {"mixed_precision": "fp16", "optimizer_type": "AdamW8bit"},
        {"mixed_precision": "no", "fp8_base": True},
        {"mixed_precision": "bf16", "full_bf16": True},
    ],
    ids=str,
)
def test_the_practice_bake_teaches_the_concept(tmp_path, monkeypatch, values):
    monkeypatch.setattr(start, "CACHE_FOLDER", tmp_path / "cache")
    settings = {**practice.SETTINGS, **values}
    monkeypatch.setattr(practice, "SETTINGS", settings)
    events = []
    shares = practice.bake(tmp_path / "practice", events.append, Control())
    told = "\n".join(event.text for event in events if isinstance(event, Note))
    print(shares, events[-1].seconds, told)
    assert shares.good
    assert torch.cuda.get_device_name() in told and STAND_IN not in told


@contextmanager
def noise_of_the_processor():
    """Random numbers drawn on the CPU, so that a seed gives the same ones on every device."""

    def normal_like(tensor, generator=None):
        return torch.randn(tensor.shape).to(tensor)

    def integers(low, high, shape, generator=None, device=None):
        return randint(low, high, shape).to(device)

    randint = torch.randint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn_like", normal_like)
        patch.setattr(torch, "randint", integers)
        yield


@pytest.mark.parametrize(("precision", "most"), [("no", 0.002), ("fp16", 0.01), ("bf16", 0.03)])
def test_the_card_trains_what_a_processor_trains(
    tmp_path, monkeypatch, every_loss, precision, most
):
    monkeypatch.setattr(start, "CACHE_FOLDER", tmp_path / "cache")
    practice.draw_practice_set(tmp_path / "pictures")
    values = {**practice.SETTINGS, "pretrained_model_name_or_path": practice.BASE_MODEL,
              "train_data_dir": tmp_path / "pictures", "max_train_steps": 20, "seed": 1,
              "save_precision": "float"}  # fmt: skip

    def train(name, **more):
        settings, _ = read_train_settings({**values, "output_dir": tmp_path / name, **more})
        every_loss.clear()
        with noise_of_the_processor():
            path = start.train(settings, lambda event: None, Control())
        return np.array(every_loss), load_file(path)

    losses, weights = train("card", mixed_precision=precision)
    assert PartialState().device.type == "cuda"
    with cpu_only():
        wanted, exact = train("cpu", mixed_precision="no")
    print(precision, np.abs(losses / wanted - 1).max(), "of the losses")
    assert losses == pytest.approx(wanted, rel=most)
    ups = [key for key in exact if "lora_up" in key]
    ours, theirs = (torch.cat([state[key].flatten() for key in ups]) for state in (weights, exact))
    alike = torch.cosine_similarity(ours, theirs, dim=0).item()
    print(precision, alike, "is the cosine of the weights")
    assert alike > 0.9


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("queries", "keys", "heads", "width"),
    [(64, 64, 4, 12), (64, 77, 4, 12), (16, 16, 4, 16), (16, 77, 4, 16), (4, 4, 4, 12),
     (1, 77, 4, 8),  # those of the practice model
     (4096, 4096, 2, 40), (4096, 77, 8, 40), (64, 64, 8, 160), (1024, 154, 20, 64)],
)  # fmt: skip
def test_attention_has_the_right_gradients(dtype, queries, keys, heads, width):
    """Laid out as diffusers does. Prints what cuDNN's would be, which is switched off."""
    make_accelerator(Formats("no", torch.float32, False, ()))
    torch.manual_seed(0)
    batch = 1 if queries == 4096 else 2
    shapes = [(batch, length, heads, width) for length in (queries, keys, keys, queries)]
    *given, upstream = (torch.randn(shape, dtype=torch.float64) for shape in shapes)

    def attend(device, dtype, *kinds):
        inputs = [tensor.to(device, dtype, copy=True).requires_grad_() for tensor in given]
        with torch.nn.attention.sdpa_kernel(list(kinds)) if kinds else nullcontext():
            made = torch.nn.functional.scaled_dot_product_attention(
                *(tensor.transpose(1, 2) for tensor in inputs)
            )
        made.backward(upstream.to(device, dtype).transpose(1, 2))
        results = (made, *(tensor.grad for tensor in inputs))
        return [result.detach().double().cpu() for result in results]

    wanted = attend("cpu", torch.float64, SDPBackend.MATH)

    def errors(found):
        pairs = zip(found, wanted, strict=True)
        return [float((mine - true).norm() / true.norm()) for mine, true in pairs]

    with suppress(RuntimeError):  # it refuses some shapes
        print("cuDNN", errors(attend("cuda", dtype, SDPBackend.CUDNN_ATTENTION)))
    ours = errors(attend("cuda", dtype))
    print("ours ", ours)
    assert max(ours) < (0.003 if dtype == torch.float16 else 0.02)  # a CPU: 0.0008, 0.0065


@pytest.mark.parametrize("name", EIGHT_BIT)
def test_8_bit_optimisers_train_as_their_ordinary_ones(run_training, every_loss, name):
    values = {"max_train_steps": 20, "network_dim": 64,
              "learning_rate": 1e-3 if "Lion" in name else 1e-2}  # fmt: skip
    trained = run_training(optimizer_type=name, output_name="eight", **values)
    assert STAND_IN not in trained.notes()
    eight = list(every_loss)
    every_loss.clear()
    stand_in = ENTRIES[name.lower()].stand_in
    run_training(optimizer_type=stand_in, output_name="ordinary", **values)
    print(name, eight[-1], every_loss[-1])
    assert eight == pytest.approx(every_loss, rel=0.05)


@pytest.mark.parametrize("name", [entry.name for entry in TABLE])
def test_every_optimiser_trains_on_the_card(run_training, name):
    trained = run_training(optimizer_type=name, network_dim=16, max_train_steps=5)
    ups = [tensor for key, tensor in trained.state().items() if "lora_up" in key]
    assert all(bool(torch.isfinite(up).all()) for up in ups)
    assert any(up.abs().max() > 0 for up in ups)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"network_train_unet_only": True},
        {"optimizer_type": "AdamW8bit", "network_dim": 64},
        {"gradient_checkpointing": True},
        {"fp8_base": True},
        {"min_snr_gamma": 5, "ip_noise_gamma": 0.1},
        {"noise_offset": 0.1, "adaptive_noise_scale": 0.1},
        {"loss_type": "huber", "scale_weight_norms": 1.0},
        {"multires_noise_iterations": 6, "debiased_estimation_loss": True},
        {
            "zero_terminal_snr": True,
            "v_parameterization": True,
            "loss_type": "smooth_l1",
            "scale_v_pred_loss_like_noise_pred": True,
            "weighted_captions": True,
        },
        {"network_dropout": 0.1, "rank_dropout": 0.1, "module_dropout": 0.1, "conv_dim": 2},
        {"gradient_accumulation_steps": 2, "clip_skip": 2, "max_token_length": 150},
    ],
    ids=str,
)
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_step_never_waits_for_the_card(run_training, monkeypatch, precision, values):
    """Not so: AdaFactor and Prodigy, whose libraries read numbers back, the loss scaler of fp16,
    and pictures that are encoded anew at each use."""
    take_step, taken, waited = loop.take_step, [], []

    def watched(*arguments):
        taken.append(1)
        if len(taken) < 4:  # the first ones choose kernels and make optimiser states
            return take_step(*arguments)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return take_step(*arguments)
        except RuntimeError as error:
            if "synchroniz" not in str(error):
                raise
            waited.append(traceback.format_exc())
            raise
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "take_step", watched)
    with suppress(RuntimeError):
        run_training(max_train_steps=6, mixed_precision=precision, **values)
    assert not waited, waited[0]
    assert len(taken) == 6


@pytest.mark.parametrize("precision", ["no", "fp16", "bf16"])
def test_a_training_that_goes_on_ends_as_the_unbroken_one(run_training, tmp_path, precision):
    values = {"max_train_steps": 9, "mixed_precision": precision, "train_batch_size": 1}
    whole = run_training(output_name="whole", **values)
    control, take_step, taken = Control(), loop.take_step, []

    def stopping(*arguments):
        taken.append(1)
        if len(taken) == 5:
            control.stop()
        return take_step(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "take_step", stopping)
        with pytest.raises(Cancelled):
            run_training(control, output_name="part", **values)
    (state,) = (path for path in (tmp_path / "out").iterdir() if path.is_dir())
    resumed = run_training(output_name="part", resume=state, **values)
    ours, theirs = load_file(resumed.path), load_file(whole.path)
    assert ours.keys() == theirs.keys()
    apart = max((ours[key].float() - theirs[key].float()).abs().max().item() for key in ours)
    print("largest difference", apart)
    assert apart < 1e-3  # fp32 adds up in any order: 3e-5 on an H100; fp16 and bf16 were the same


def test_too_little_memory_is_a_sentence_that_says_what_to_change(run_training):
    gc.collect()  # else what cycles of earlier tests hold could go meanwhile and make room
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 20e6) / total)
    try:
        with pytest.raises(SuiteError, match=r"graphics card ran out of memory.*checkpointing"):
            run_training(resolution=512, max_bucket_reso=512, train_batch_size=4)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    run_training()  # nothing is left over


def test_a_trial_measures_memory_and_looks_for_the_largest_batch(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "CACHE_FOLDER", tmp_path / "cache")
    facts = trial.run_trial(settings_for(tmp_path), lambda event: None, Control())
    print(facts)
    assert facts["device"].startswith(torch.cuda.get_device_name())
    assert 0 < facts["memory_bytes"] < 2e9
    assert facts["largest_batch"] == 4 and all(one["verdict"] == FITS for one in facts["tried"])


def test_a_step_tells_the_memory_of_the_card(run_training):
    last = run_training().of("step")[-1]
    print(last)
    assert 0 < last.memory_bytes < last.card_used <= last.card_bytes
    assert last.card_bytes == torch.cuda.get_device_properties(0).total_memory
    assert last.alarm is None


@pytest.mark.parametrize("sampler", ["ddim", "euler_a", "k_dpm_2", "dpmsolver++"])
def test_a_preview_is_the_picture_that_a_processor_draws(run_training, tmp_path, sampler):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat --w 64 --h 64 --s 8 --d 3\n")
    values = {"sample_prompts": prompts, "sample_at_first": True, "mixed_precision": "no",
              "sample_sampler": sampler}  # fmt: skip
    drawn = []
    run_training(output_name="card", **values)
    with cpu_only():
        run_training(output_name="cpu", **values)
    for name in ("card", "cpu"):
        first = sorted((tmp_path / "out" / "sample").glob(f"{name}*.png"))[0]
        drawn.append(np.asarray(Image.open(first).convert("RGB"), dtype=float))
    apart = np.abs(drawn[0] - drawn[1]).mean()
    print("mean difference of 255:", apart)
    assert apart < 2


def test_a_drawn_version_is_the_picture_that_a_processor_draws(run_training, tmp_path):
    lora = run_training(max_train_steps=5, network_dim=16, conv_dim=4).path
    values = {"model": TINY_SD15, "loras": [lora], "strengths": [0, 1], "prompts": ["a cat"],
              "width": 64, "height": 64, "steps": 8, "guidance": 3, "seed": 1,
              "mixed_precision": "no"}  # fmt: skip

    def draw(folder):
        events = []
        settings, _ = read_draw_settings({**values, "save_to": folder})
        draw_versions(settings, events.append, Control())
        paths = [event.path for event in events if isinstance(event, Preview)]
        return [np.asarray(Image.open(path).convert("RGB"), dtype=float) for path in paths]

    ours = draw(tmp_path / "card")
    with cpu_only():
        theirs = draw(tmp_path / "cpu")
    assert len(ours) == len(theirs) == 2 and np.abs(theirs[0] - theirs[1]).mean() > 2
    for mine, true in zip(ours, theirs, strict=True):
        print("mean difference of 255:", np.abs(mine - true).mean())
        assert np.abs(mine - true).mean() < 1
