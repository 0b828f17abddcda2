"""Previews, against diffusers' own pipelines with the same weights, texts and seeds."""

import dataclasses
import logging
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image
from transformers import CLIPTokenizer

from scripts.core.events import Control, Note, Preview, Stage
from scripts.lora.network import LoRANetwork
from scripts.models.load import load_text_encoders, load_tokenizers, load_unet, load_vae
from scripts.models.recognise import recognise
from scripts.models.tokenizer import BUNDLED
from scripts.settings.train import TrainSettings
from scripts.training import previews
from scripts.training.preview_files import preview_stem
from scripts.training.previews import (
    Previewer,
    PreviewLook,
    encode_prompts,
    vae_from_file,
    vae_in_memory,
)
from scripts.training.prompts import read_prompts
from scripts.training.sampling import decode, decode_pixels, resting

CPU = torch.device("cpu")
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


class Tiny:
    """All parts of a tiny model, and a previewer and a pipeline of diffusers made of them."""

    def __init__(self, path, folder):
        self.base = recognise(path)
        self.tokenizers = load_tokenizers(self.base)
        self.text_encoders = load_text_encoders(self.base, torch.float32, CPU)
        self.unet = load_unet(self.base, torch.float32, CPU)
        self.vae = load_vae(self.base, torch.float32, CPU)
        self.folder = folder
        self.events = []
        self.control = Control()

    def encode(self, lines, settings=None, resolution=(64, 64)):
        return encode_prompts(
            read_prompts(lines, resolution, seed=7), self.tokenizers, self.text_encoders,
            self.base.family, settings or TrainSettings(),
        )  # fmt: skip

    def previewer(self, **look):
        given = {"folder": self.folder, "sampler": "ddim", "v_prediction": False,
                 "zero_terminal_snr": False, "device": CPU, "model": "tiny", **look}  # fmt: skip
        return Previewer(
            self.unet, self.base.family, self.open_vae, PreviewLook(**given), self.events.append,
            self.control,
        )  # fmt: skip

    def render(self, lines, settings=None, **look):
        paths = self.previewer(**look).render(self.encode(lines, settings), "name_000003", 3)
        return paths, [np.asarray(Image.open(path)) for path in paths]

    @contextmanager
    def open_vae(self):
        yield self.vae

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def pipeline(self, scheduler):
        folder = str(BUNDLED / "tokenizer")
        first = CLIPTokenizer.from_pretrained(folder, model_max_length=77)
        if len(self.text_encoders) == 1:
            pipeline = StableDiffusionPipeline(
                self.vae, self.text_encoders[0], first, self.unet, scheduler, None, None,
                requires_safety_checker=False,
            )  # fmt: skip
        else:
            second = CLIPTokenizer.from_pretrained(folder, model_max_length=77, pad_token="!")
            pipeline = StableDiffusionXLPipeline(
                self.vae, *self.text_encoders, first, second, self.unet, scheduler,
                add_watermarker=False,
            )  # fmt: skip
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


@pytest.fixture
def sd15(tiny_sd15, tmp_path):
    return Tiny(tiny_sd15, tmp_path / "sample")


@pytest.fixture
def sdxl(tiny_sdxl, tmp_path):
    return Tiny(tiny_sdxl, tmp_path / "sample")


SCHEDULERS = {
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False,
                             "timestep_spacing": "leading", "steps_offset": 1}),
    "euler": (EulerDiscreteScheduler, {"timestep_spacing": "linspace", "steps_offset": 1}),
    "dpm++ 2m karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True,
                                                      "steps_offset": 1}),
}  # fmt: skip
MODELS = {
    "noise": {},
    "v": {"prediction_type": "v_prediction"},
    "v, zero terminal SNR": {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
                             "timestep_spacing": "trailing"},
}  # fmt: skip
LINE = "a red cat on a sofa --n blurry, bad --w 64 --h 96 --d 11 --l 5 --s 6"


def reference_picture(tiny, sampler, model, guidance=5.0):
    """The picture of LINE by diffusers alone."""
    scheduler_class, options = SCHEDULERS[sampler]
    pipeline = tiny.pipeline(scheduler_class(**BETAS, **{**options, **MODELS[model]}))
    output = pipeline(
        "a red cat on a sofa", negative_prompt="blurry, bad", width=64, height=96,
        num_inference_steps=6, guidance_scale=guidance,
        generator=torch.Generator("cpu").manual_seed(11), output_type="np",
    )  # fmt: skip
    return output.images[0] * 255


def differs_by(picture, reference):
    """The largest difference of a value; half a step comes from rounding."""
    assert np.ptp(reference) > 10  # a flat picture would agree with anything
    return np.abs(picture.astype(float) - reference).max()


@pytest.mark.parametrize(
    ("sampler", "model"),
    # without "dpm++ 2m karras" and zero terminal SNR: diffusers itself skips steps there and fails
    [(sampler, model) for sampler in ("ddim", "euler") for model in MODELS]
    + [("dpm++ 2m karras", "noise"), ("dpm++ 2m karras", "v")],
)
def test_the_same_picture_as_the_pipeline_of_diffusers(sd15, sampler, model):
    _, (picture,) = sd15.render(
        [LINE], sampler=sampler, v_prediction=model != "noise",
        zero_terminal_snr="zero" in model,
    )  # fmt: skip
    assert differs_by(picture, reference_picture(sd15, sampler, model)) < 0.6


@pytest.mark.parametrize("sampler", ["ddim", "euler"])
def test_the_same_picture_as_the_pipeline_of_diffusers_sdxl(sdxl, sampler):
    _, (picture,) = sdxl.render([LINE], sampler=sampler)
    assert differs_by(picture, reference_picture(sdxl, sampler, "noise")) < 0.6


def test_clip_skip_is_that_of_the_training(sd15):
    """The layer before the last, then the final norm, by transformers alone."""
    (encoded,) = sd15.encode([LINE], dataclasses.replace(TrainSettings(), clip_skip=2))
    tokenizer = CLIPTokenizer.from_pretrained(str(BUNDLED / "tokenizer"), model_max_length=77)
    ids = tokenizer(["a red cat on a sofa", "blurry, bad"], padding="max_length",
                    return_tensors="pt").input_ids  # fmt: skip
    encoder = sd15.text_encoders[0]
    with torch.no_grad():
        states = encoder(ids, output_hidden_states=True).hidden_states[-2]
        expected = encoder.final_layer_norm(states)
    for arguments, row in ((encoded.conditioning, 0), (encoded.unconditioning, 1)):
        torch.testing.assert_close(arguments["encoder_hidden_states"][0], expected[row])


def test_guidance_of_1_needs_no_negative_prompt(sd15):
    calls = []
    sd15.unet.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    _, (picture,) = sd15.render([LINE.replace("--l 5", "--l 1")])
    assert calls == [1] * 6
    assert differs_by(picture, reference_picture(sd15, "ddim", "noise", guidance=1.0)) < 0.6


def test_weights_in_prompts_count(sd15):
    plain, weighted = sd15.encode(["a red cat", "a (red:1.5) cat"])
    text = plain.conditioning["encoder_hidden_states"]
    assert text.shape == weighted.conditioning["encoder_hidden_states"].shape == (1, 77, 16)
    assert (text - weighted.conditioning["encoder_hidden_states"]).abs().max() > 1e-3
    torch.testing.assert_close(plain.unconditioning, weighted.unconditioning)


def test_long_prompts_use_the_windows_of_the_training(sd15):
    settings = dataclasses.replace(TrainSettings(), max_token_length=225)
    (encoded,) = sd15.encode(["a " * 100], settings)
    assert encoded.conditioning["encoder_hidden_states"].shape == (1, 227, 16)
    assert encoded.unconditioning["encoder_hidden_states"].shape == (1, 227, 16)


def test_sdxl_gets_the_size_of_the_picture(sdxl):
    (encoded,) = sdxl.encode(["a --w 128 --h 192"])
    for arguments in (encoded.conditioning, encoded.unconditioning):
        assert arguments["added_cond_kwargs"]["time_ids"].tolist() == [[192, 128, 0, 0, 192, 128]]


def test_events_names_and_the_text_in_the_picture(sd15):
    prompts = ["a cat --n ugly dog --s 3 --d 5 --l 6.5 --ss euler_a", "süßer Hund, 犬 --s 2 --h 96"]
    paths, pictures = sd15.render(prompts, sampler="heun", clip_skip=2)

    stages = [(event.name, event.done, event.total) for event in sd15.of(Stage)]
    assert stages == [
        ("Preview 1 of 2", 1, 3), ("Preview 1 of 2", 2, 3), ("Preview 1 of 2", 3, 3),
        ("Preview 2 of 2", 1, 3), ("Preview 2 of 2", 2, 3), ("Preview 2 of 2", 3, 3),
    ]  # fmt: skip
    assert sd15.of(Preview) == [
        Preview(str(paths[0]), "a cat", 3), Preview(str(paths[1]), "süßer Hund, 犬", 3),
    ]  # fmt: skip
    assert sd15.of(Note) == []
    assert [picture.shape for picture in pictures] == [(64, 64, 3), (96, 64, 3)]

    assert re.fullmatch(r"name_000003_00_\d{14}_5\.png", paths[0].name)
    assert re.fullmatch(r"name_000003_01_\d{14}_8\.png", paths[1].name)  # the seed of the file
    assert sorted(sd15.folder.iterdir()) == sorted(paths)
    assert Image.open(paths[0]).text == {
        "parameters": "a cat\nNegative prompt: ugly dog\nSteps: 3, Sampler: Euler a, "
        "CFG scale: 6.5, Seed: 5, Size: 64x64, Model: tiny, Clip skip: 2, RNG: CPU"
    }
    assert Image.open(paths[1]).text["parameters"].startswith("süßer Hund, 犬\nSteps: 2, ")


def test_names_of_sd_scripts():
    assert preview_stem("name", epoch=12, step=340) == "name_e000012"
    assert preview_stem("name", step=340) == "name_000340"


def test_the_training_is_left_as_it_was(sd15, tmp_path):
    settings = dataclasses.replace(TrainSettings(), network_dim=2, network_dropout=0.5)
    network = LoRANetwork.create(sd15.unet, sd15.text_encoders, sd15.base.family, settings)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    network.train()
    sd15.unet.down_blocks[0].train()
    modes = [module.training for module in sd15.unet.modules()]
    assert True in modes
    assert False in modes
    torch.manual_seed(1)
    state = torch.get_rng_state()

    _, first = sd15.render([LINE, LINE.replace("cat", "dog") + " --ss euler_a"])
    _, again = sd15.render([LINE, LINE.replace("cat", "dog") + " --ss euler_a"])

    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in sd15.unet.modules()] == modes
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())
    np.testing.assert_array_equal(first, again)  # no dropout while drawing
    network.set_multiplier(0)
    _, without = sd15.render([LINE])
    assert np.abs(without[0].astype(int) - first[0]).max() > 3  # the LoRA is in the pictures


def test_a_stop_ends_it_at_the_next_step_and_keeps_what_there_is(sd15):
    def report(event):
        sd15.events.append(event)
        if event == Stage("Preview 2 of 3", 2, 4):
            sd15.control.stop()

    previewer = sd15.previewer()
    previewer._report = report
    paths = previewer.render(sd15.encode(["a --s 4", "b --s 4", "c --s 4"]), "name", 1)
    assert paths == []
    assert sd15.events[-1] == Stage("Preview 2 of 3", 2, 4)
    assert not sd15.folder.exists()


def test_too_little_memory_is_told_and_the_others_are_drawn(sd15, caplog):
    def fail(module, inputs):
        if inputs[0].shape[-1] == 16:
            raise torch.OutOfMemoryError("CUDA out of memory")

    sd15.unet.register_forward_pre_hook(fail)
    paths, _ = sd15.render(["big --w 128 --s 2", "small --s 2"])
    assert [path.name.split("_")[2] for path in paths] == ["01"]
    (note,) = sd15.of(Note)
    assert note.text.startswith("Preview 1 of 2 (128 x 64) could not be drawn, because memory")
    assert "--w 512 --h 512" in note.text


def test_a_bug_goes_to_the_log_with_its_traceback(sd15, caplog):
    def fail(module, inputs):
        raise KeyError("a bug")

    sd15.unet.register_forward_pre_hook(fail)
    with caplog.at_level(logging.ERROR):
        paths, _ = sd15.render(["a --s 2"])
    assert paths == []
    (note,) = sd15.of(Note)
    assert "error in the program; the training goes on" in note.text
    (record,) = caplog.records
    assert record.exc_info[0] is KeyError


def test_prompts_may_be_encoded_on_the_spot_and_may_fail(sd15):
    paths = sd15.previewer().render(lambda: sd15.encode(["a --s 2"]), "name")
    assert len(paths) == 1

    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert sd15.previewer().render(fail, "name") == []
    (note,) = sd15.of(Note)
    assert note.text.startswith("The previews could not be drawn, because memory ran out")


def test_a_vae_that_is_gone_is_told(sd15, tmp_path):
    sd15.open_vae = lambda: vae_from_file(lambda: load_vae(tmp_path / "gone.safetensors"), CPU)
    paths, _ = sd15.render(["a --s 2"])
    assert paths == []
    (note,) = sd15.of(Note)
    assert note.text.startswith("The previews could not be drawn; the training goes on.")
    assert "gone.safetensors" in note.text


def test_a_full_disk_is_told_and_leaves_nothing_behind(sd15, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scripts.core.files.os.replace", full)
    paths, _ = sd15.render(["a --s 2"])
    assert paths == []
    (note,) = sd15.of(Note)
    assert note.text.startswith("Preview 1 could not be drawn; the training goes on. The disk is")
    assert not sd15.folder.exists()


def nothing_valid(sd15, monkeypatch):
    sd15.unet.conv_out.bias.data[:] = float("nan")


def all_black(sd15, monkeypatch):
    """Numbers that are valid, and far below what a picture has."""
    monkeypatch.setattr(previews, "decode_pixels", lambda *_: torch.full((1, 3, 64, 64), -9.0))


@pytest.mark.parametrize("spoil", [nothing_valid, all_black])
def test_a_black_picture_is_warned_of_once_with_the_remedy(sd15, monkeypatch, spoil):
    spoil(sd15, monkeypatch)
    previewer, encoded = sd15.previewer(), sd15.encode(["a --s 2", "b --s 2"])
    paths = [path for step in (3, 6) for path in previewer.render(encoded, f"name_{step}", step)]
    assert len(paths) == 4 and not any(np.asarray(Image.open(path)).any() for path in paths)
    (note,) = sd15.of(Note)
    assert note.warning and note.text.startswith("Preview 1 is black")
    assert "lower learning rate" in note.text


def test_a_dark_picture_is_no_black_one(sd15, monkeypatch):
    dark = torch.full((1, 3, 64, 64), -9.0)
    dark[..., 30, 30] = 0.05
    monkeypatch.setattr(previews, "decode_pixels", lambda *_: dark)
    sd15.render(["a --s 2"])
    assert not sd15.of(Note)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_vae_that_overflows_is_run_in_float32(sd15, dtype):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    expected = decode_pixels(sd15.vae, latents, 0.18215)
    torch.nn.Module.to(sd15.vae, dtype)

    def overflow(module, inputs, output):
        return output if output.dtype == torch.float32 else output * float("inf")

    sd15.vae.decoder.conv_out.register_forward_hook(overflow)
    torch.testing.assert_close(decode_pixels(sd15.vae, latents, 0.18215), expected,
                               rtol=0, atol=0.02)  # fmt: skip
    assert sd15.vae.dtype == dtype


def test_too_little_memory_for_the_vae_decodes_in_tiles(sd15):
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    sd15.vae.tile_latent_min_size, sd15.vae.tile_sample_min_size = 8, 64
    sizes = []

    def limited(module, inputs):
        if inputs[0].shape[-1] > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(inputs[0].shape[-1])

    sd15.vae.decoder.register_forward_pre_hook(limited)
    pixels = decode_pixels(sd15.vae, latents, 0.18215)
    assert pixels.shape == (1, 3, 128, 128)
    assert len(sizes) > 1
    assert not sd15.vae.use_tiling


def test_decode_gives_bytes_and_works_in_parts(sd15, monkeypatch):
    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        plain = sd15.vae.decode(latents / 0.18215).sample / 2 + 0.5
    whole = decode(sd15.vae, latents, 0.18215)
    assert whole.shape == (5, 64, 64, 3)
    assert whole.dtype == np.uint8
    expected = plain.clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(whole - expected).max() <= 0.501
    monkeypatch.setattr("scripts.training.sampling.PIXELS_AT_ONCE", 2 * 64 * 64)
    np.testing.assert_allclose(decode(sd15.vae, latents, 0.18215), whole, atol=1)


def test_a_vae_that_is_kept_comes_back_and_a_loaded_one_goes(sd15):
    with vae_in_memory(sd15.vae, CPU) as vae:
        assert vae is sd15.vae
    assert next(sd15.vae.parameters()).device == CPU
    with vae_from_file(lambda: sd15.vae, CPU) as vae:
        assert vae is sd15.vae
    assert next(sd15.vae.parameters()).device.type == "meta"


def test_previews_in_bf16_look_like_those_in_float32(sd15):
    _, (expected,) = sd15.render([LINE])
    _, (picture,) = sd15.render([LINE], precision=torch.bfloat16)
    assert 0 < np.abs(picture.astype(int) - expected).mean() < 4


def test_resting_restores_each_module_even_after_an_error():
    model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Sequential(torch.nn.Dropout()))
    model[1].eval()
    with pytest.raises(ValueError, match="x"), resting(model):
        assert not any(module.training for module in model.modules())
        raise ValueError("x")
    assert [module.training for module in model.modules()] == [True, True, False, False]


@pytest.mark.parametrize("part", ["network_train_unet_only", "network_train_text_encoder_only"])
def test_previews_of_a_training(run_training, part):
    """Through the real training: names, folder, and the same LoRA with and without previews.

    The pictures change as the LoRA learns: with the text encoder trained, prompts are encoded anew.
    """
    values = {part: True, "network_dropout": 0.2, "learning_rate": 0.1}
    plain = run_training(output_name="plain", **values)
    shown = run_training(
        output_name="shown", sample_prompts=["a cat --s 2", "a dog --s 2 --d 1"],
        sample_every_n_steps=2, sample_at_first=True, sample_every_n_epochs=1, **values,
    )  # fmt: skip
    previews = [Path(event.path) for event in shown.of("preview")]
    assert {path.parent for path in previews} == {shown.path.parent / "sample"}
    pictures = {re.sub(r"_\d{14}", "", path.name): Image.open(path) for path in previews}
    assert {
        "shown_000000_00_42.png", "shown_000000_01_1.png", "shown_000002_00_42.png",
        "shown_000002_01_1.png", "shown_e000001_00_42.png", "shown_e000001_01_1.png",
    } <= set(pictures)  # fmt: skip
    for name in ("00_42", "01_1"):
        before = np.asarray(pictures[f"shown_000000_{name}.png"]).astype(int)
        assert np.abs(before - np.asarray(pictures[f"shown_000002_{name}.png"])).max() > 1
    expected, found = plain.state(), shown.state()
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
