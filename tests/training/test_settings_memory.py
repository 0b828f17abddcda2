"""Settings of speed and memory: number formats, checkpointing, attention, what stays in memory."""

import gc
import weakref
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip.modeling_clip import CLIPMLP
from watched_training import settings_for, watch_training

from scripts.core.errors import SettingError, SettingErrors, SuiteError
from scripts.models.fp8 import FP8, Fp8Linear
from scripts.models.text import CaptionEncoder
from scripts.training import build, captions, device, start
from scripts.training.device import Formats, choose_formats, make_accelerator

UNET_ONLY = {"network_train_unet_only": True}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# --- number formats -----------------------------------------------------------------------------


@pytest.fixture
def formats(tmp_path, monkeypatch):
    """A function: the formats for settings on a machine with or without a graphics card."""

    def choose(card, **values):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: card is not None)
        # "old" is an RTX 20 (compute capability 7.5), which emulates bf16; "new" an RTX 30 (8.6)
        properties = SimpleNamespace(major=8 if card == "new" else 7)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: properties)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.version, "cuda", "12.6")
        return choose_formats(settings_for(tmp_path, **values))

    return choose


@pytest.mark.parametrize(
    ("card", "asked", "autocast", "base"),
    [
        (None, None, "no", torch.float32),
        (None, "no", "no", torch.float32),
        (None, "bf16", "bf16", torch.bfloat16),
        (None, "fp16", "no", torch.float32),
        ("old", None, "fp16", torch.float16),
        ("old", "no", "no", torch.float32),
        ("new", None, "bf16", torch.bfloat16),
        ("new", "fp16", "fp16", torch.float16),
    ],
)
def test_the_precision_suits_the_machine(formats, card, asked, autocast, base):
    chosen = formats(card, **({"mixed_precision": asked} if asked else {}))
    assert (chosen.mixed_precision, chosen.base) == (autocast, base)
    assert chosen.vae == torch.float32  # never fp16: it gives black pictures
    assert ("in place of fp16" in " ".join(chosen.notes)) is (card is None and asked == "fp16")


@pytest.mark.parametrize(
    ("processes", "cards", "cpu", "refused"),
    [(2, 2, "", False), (3, 2, "", True), (2, 1, "true", False), (2, 0, "", False)],
)
def test_more_processes_than_cards_are_refused(monkeypatch, processes, cards, cpu, refused):
    """Not where they train on the processor (accelerate launch --cpu, or no card)."""
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    monkeypatch.setenv("ACCELERATE_USE_CPU", cpu or "false")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(device, "Accelerator", lambda **_: "made")
    if refused:
        with pytest.raises(SuiteError, match=r"\(3\) than there are graphics cards here \(2\)"):
            make_accelerator(Formats("no", torch.float32, False, ()))
    else:
        assert make_accelerator(Formats("no", torch.float32, False, ())) == "made"


def test_bf16_on_a_card_without_it_is_refused(formats):
    for asked in ({"mixed_precision": "bf16"}, {"full_bf16": True}):
        with pytest.raises(SettingError, match="cannot use bf16"):
            formats("old", **asked)


def test_fp8_is_for_graphics_cards(formats):
    for card in ("old", "new"):
        chosen = formats(card, fp8_base=True)
        assert chosen.fp8_base and not chosen.notes
        assert not formats(card).fp8_base
    chosen = formats(None, fp8_base=True)
    assert not chosen.fp8_base and "fp8_base is off" in chosen.notes[0]


def test_bf16_autocast_computes_in_bf16_and_keeps_the_lora_in_float32(folder, monkeypatch):
    kinds = set()
    prepare = start.prepare

    def spy(*arguments):
        run = prepare(*arguments)
        layer = run.unet.mid_block.attentions[0].proj_in.base
        layer.register_forward_hook(lambda module, values, output: kinds.add(output.dtype))
        return run

    monkeypatch.setattr(start, "prepare", spy)
    trained = watch_training(folder, mixed_precision="bf16")
    assert kinds == {torch.bfloat16}
    assert next(trained.run.unet.parameters()).dtype == torch.bfloat16
    assert {p.dtype for p in trained.run.network.parameters()} == {torch.float32}
    assert trained.metadata()["ss_mixed_precision"] == "bf16"
    assert trained.steps[0].per_sample.dtype == torch.float32
    plain = watch_training(folder)
    assert next(plain.run.unet.parameters()).dtype == torch.float32
    torch.testing.assert_close(
        trained.steps[0].per_sample, plain.steps[0].per_sample, rtol=0.03, atol=0
    )


def test_fp16_on_a_cpu_is_replaced_and_said(watch):
    trained = watch(mixed_precision="fp16", **UNET_ONLY)
    assert "mixed_precision is no in place of fp16" in trained.notes()
    assert trained.metadata()["ss_mixed_precision"] == "no"
    assert next(trained.run.unet.parameters()).dtype == torch.float32


def test_full_bf16_keeps_the_lora_in_bf16_too(watch):
    trained = watch(full_bf16=True)
    assert {p.dtype for p in trained.run.network.parameters()} == {torch.bfloat16}
    assert trained.metadata()["ss_mixed_precision"] == "bf16"
    ups = [tensor for key, tensor in trained.state().items() if "lora_up" in key]
    assert any(up.abs().max() > 0 for up in ups)
    assert all(torch.equal(up, up.bfloat16().float()) for up in ups)


def test_full_bf16_with_another_precision_is_refused(tmp_path):
    with pytest.raises(SettingErrors, match="full_bf16 needs mixed_precision bf16"):
        settings_for(tmp_path, full_bf16=True, mixed_precision="fp16")


def test_fp8_on_a_cpu_is_off_and_said(watch):
    trained = watch(fp8_base=True, **UNET_ONLY)
    assert "fp8_base is off" in trained.notes()
    assert FP8 not in {p.dtype for p in trained.run.unet.parameters()}


def test_a_base_in_fp8_trains_nearly_the_same_lora(folder, watch, monkeypatch):
    """As on a graphics card: only the choice of formats is put in its place."""
    monkeypatch.setattr(
        start,
        "choose_formats",
        lambda settings: Formats("no", torch.float32, settings.fp8_base, ()),
    )
    trained = watch_training(folder, fp8_base=True, gradient_checkpointing=True, **UNET_ONLY)
    attention = trained.run.unet.mid_block.attentions[0]
    assert attention.proj_in.base.weight.dtype == FP8
    assert isinstance(attention.transformer_blocks[0].attn1.to_q.base, Fp8Linear)
    assert len(trained.modules()) == 192
    plain = watch(**UNET_ONLY)
    assert trained.steps[0].per_sample.tolist() == pytest.approx(
        plain.steps[0].per_sample.tolist(), rel=0.02
    )
    # Adam's first step is rate · sign of the gradient: how many signs agree?
    state = plain.state()
    agree = [(tensor.sign() == state[key].sign()).flatten()
             for key, tensor in trained.state().items() if "lora_up" in key]  # fmt: skip
    assert torch.cat(agree).float().mean().item() > 0.9


# --- memory -------------------------------------------------------------------------------------


@pytest.fixture
def forward_passes(monkeypatch):
    """How often blocks of the U-Net and of the text encoder were gone through."""
    counts: Counter[str] = Counter()
    for kind in (BasicTransformerBlock, ResnetBlock2D, CLIPMLP):

        def spy(self, *arguments, original=kind.forward, name=kind.__name__, **options):
            counts[name] += 1
            return original(self, *arguments, **options)

        monkeypatch.setattr(kind, "forward", spy)
    return counts


def test_gradient_checkpointing_is_on_and_gives_the_same_lora(folder, forward_passes):
    """What is not kept is computed a second time in the backward pass."""
    sgd = {"optimizer_type": "torch.optim.SGD", "max_grad_norm": 0, "max_train_steps": 2}
    plain = watch_training(folder, **sgd)
    once = dict(forward_passes)
    forward_passes.clear()
    saved = watch_training(folder, gradient_checkpointing=True, **sgd)
    assert len(once) == 3
    for name, count in once.items():  # blocks before the first LoRA layer need no backward pass
        assert 1.5 * count < forward_passes[name] <= 2 * count, name
    state = plain.state()
    for key, tensor in saved.state().items():
        torch.testing.assert_close(tensor, state[key], rtol=1e-4, atol=1e-6)
    assert saved.metadata()["ss_gradient_checkpointing"] == "True"


def test_dropouts_are_the_same_with_gradient_checkpointing(watch):
    """What is computed anew in the backward pass must drop the same values."""
    settings = {"network_dropout": 0.3, "rank_dropout": 0.3, "module_dropout": 0.3,
                "optimizer_type": "torch.optim.SGD", "max_grad_norm": 0}  # fmt: skip
    plain, saved = watch(**settings).state(), watch(gradient_checkpointing=True, **settings).state()
    for key, tensor in saved.items():
        torch.testing.assert_close(tensor, plain[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["sdpa", "xformers", "mem_eff_attn"])
def test_attention_is_always_sdpa(watch, name):
    trained = watch(**{name: True}, **UNET_ONLY)
    processors = {type(each) for each in trained.run.unet.attn_processors.values()}
    assert processors == {AttnProcessor2_0}


def test_attention_is_never_left_to_cudnn(run_training):
    torch.backends.cuda.enable_cudnn_sdp(True)  # as torch has it
    run_training(max_train_steps=1)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.fixture
def encoders_seen(monkeypatch):
    """Weak references to every text encoder of trainings in this test."""
    seen = []
    create = CaptionEncoder.__init__

    def spy(self, tokenizers, text_encoders, *more):
        seen.extend(weakref.ref(encoder) for encoder in text_encoders)
        create(self, tokenizers, text_encoders, *more)

    monkeypatch.setattr(CaptionEncoder, "__init__", spy)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_captions_encoded_ahead_give_the_same_lora_without_the_encoder(
    folder, encoders_seen, monkeypatch, precision
):
    gone = []
    load_unet = build.load_unet

    def spy(*arguments):
        gc.collect()
        gone.append(all(reference() is None for reference in encoders_seen))
        return load_unet(*arguments)

    monkeypatch.setattr(build, "load_unet", spy)
    settings = {"shuffle_caption": True, "caption_dropout_rate": 0.2, "max_train_epochs": 2,
                "mixed_precision": precision, "train_batch_size": 3, **UNET_ONLY}  # fmt: skip
    ahead = watch_training(folder, **settings)
    assert gone == [True] and ahead.run.captions.encoder is None
    monkeypatch.setattr(captions, "LARGEST_TABLE", 0)
    monkeypatch.setattr(build, "LARGEST_TABLE", 0)
    each_time = watch_training(folder, **settings)
    assert gone == [True, False] and each_time.run.captions.encoder is not None
    assert same(ahead.state(), each_time.state())


def test_a_text_encoder_that_is_trained_stays(watch):
    assert watch().run.captions.encoder is not None


def test_a_text_encoder_that_stays_untrained_costs_no_gradients(folder, monkeypatch):
    monkeypatch.setattr(build, "LARGEST_TABLE", 0)
    trained = watch_training(folder, gradient_checkpointing=True, **UNET_ONLY)
    assert not trained.run.captions.text(["a cat"]).hidden.requires_grad


def test_lowram_keeps_fewer_encoded_captions(folder, monkeypatch):
    monkeypatch.setattr(build, "LITTLE_TABLE", 10_000)  # bytes: not enough for one caption
    little = watch_training(folder, lowram=True, **UNET_ONLY)
    assert little.run.captions.encoder is not None
    plenty = watch_training(folder, **UNET_ONLY)
    assert plenty.run.captions.encoder is None
    assert same(little.state(), plenty.state())
    assert little.metadata()["ss_lowram"] == "True"


def test_models_are_loaded_straight_onto_their_device(folder, monkeypatch):
    """No part is built in main memory first: it is made on the meta device."""
    made = []
    build = UNet2DConditionModel.__init__

    def spy(self, *arguments, **options):
        build(self, *arguments, **options)
        made.append(next(self.parameters()).device.type)

    monkeypatch.setattr(UNet2DConditionModel, "__init__", spy)
    watch_training(folder, **UNET_ONLY)
    assert made == ["meta"]


def test_the_device_is_told(watch):
    name = device.describe_device(torch.device("cpu"))
    assert f"on {name}" in watch().notes()
