"""The file of a whole training in another program: diffusers loads all of it and draws the same."""

import logging

import diffusers
import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from peft.tuners.lora import LoraLayer

from scripts.models.load import load_text_encoders, load_unet
from scripts.models.recognise import recognise
from scripts.training import start


@pytest.fixture
def trained_network(monkeypatch):
    """Where the network of the next training can be seen when it is finished."""
    seen = {}
    original = start.run_loop

    def keep(run):
        path = original(run)
        seen["run"] = run
        return path

    monkeypatch.setattr(start, "run_loop", keep)
    return seen


def unet_output(unet, pooled_width):
    generator = torch.Generator().manual_seed(5)
    arguments = {
        "sample": torch.randn(2, 4, 8, 8, generator=generator),
        "timestep": torch.tensor([50, 800]),
        "encoder_hidden_states": torch.randn(
            2, 77, unet.config.cross_attention_dim, generator=generator
        ),
    }
    if pooled_width:
        arguments["added_cond_kwargs"] = {
            "text_embeds": torch.randn(2, pooled_width, generator=generator),
            "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2),
        }
    with torch.no_grad():
        return unet(**arguments).sample


def pipeline_with(base, lora):
    """diffusers with the base model and the LoRA file, and what it had to say about the file."""
    unet = load_unet(base, torch.float32)
    encoders = load_text_encoders(base, torch.float32)
    parts = {"vae": None, "unet": unet, "scheduler": DDPMScheduler(), "tokenizer": None,
             "text_encoder": encoders[0]}  # fmt: skip
    if len(encoders) == 2:
        pipeline = StableDiffusionXLPipeline(
            **parts, tokenizer_2=None, text_encoder_2=encoders[1], add_watermarker=False
        )
    else:
        pipeline = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipeline.load_lora_weights(str(lora.parent), weight_name=lora.name)
    return pipeline


@pytest.mark.parametrize(
    ("model", "modules", "settings", "tolerance"),
    [
        ("tiny_sd15", 264, {}, 1e-5),
        ("tiny_sd15", 351, {"conv_dim": 2, "save_precision": "fp16"}, 2e-3),
        ("tiny_sdxl", None, {}, 1e-5),
        pytest.param(
            "tiny_sdxl",
            None,
            {"network_train_unet_only": True, "save_precision": "bf16"},
            2e-2,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_diffusers_draws_what_was_trained(
    run_training, trained_network, request, caplog, model, modules, settings, tolerance
):
    path = request.getfixturevalue(model)
    trained = run_training(
        pretrained_model_name_or_path=path, max_train_steps=6, learning_rate=5e-2, **settings
    )
    run = trained_network["run"]
    layers = dict(run.network.layers())
    assert modules is None or len(layers) == modules
    run.network.eval()
    pooled = run.unet.config.get("projection_class_embeddings_input_dim")
    width = pooled - 6 * run.unet.config.addition_time_embed_dim if pooled else None
    expected = unet_output(run.unet, width)
    run.network.set_multiplier(0)
    base_output = unet_output(run.unet, width)

    caplog.set_level(logging.WARNING)
    diffusers.utils.logging.enable_propagation()
    try:
        pipeline = pipeline_with(recognise(path), trained.path)
    finally:
        diffusers.utils.logging.disable_propagation()
    complaints = [record.message for record in caplog.records if "key" in record.message.lower()]
    untrained = "No LoRA keys associated to CLIPText"  # a part that the file leaves alone
    assert [text for text in complaints if not text.startswith(untrained)] == []
    parts = [pipeline.unet, pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)]
    loaded = sum(
        isinstance(module, LoraLayer) for part in parts if part for module in part.modules()
    )
    assert loaded == len(layers)
    output = unet_output(pipeline.unet, width)
    effect = (expected - base_output).norm()
    assert effect > 0.01 * base_output.norm()
    assert (output - expected).norm() <= tolerance * effect


def test_sdxl_trains_with_the_usual_ways_of_saving_memory(run_training, tiny_sdxl):
    trained = run_training(
        pretrained_model_name_or_path=tiny_sdxl, network_train_unet_only=True,
        gradient_checkpointing=True, max_token_length=225, mixed_precision="bf16",
    )  # fmt: skip
    assert trained.metadata()["ss_base_model_version"] == "sdxl_base_v1-0"
    assert all(key.startswith("lora_unet_") for key in trained.state())
    assert any(key.startswith("lora_unet_middle_block_1_") for key in trained.state())
