"""States of the text encoders: the reference's numbers, and closed forms for weights."""

from dataclasses import dataclass

import pytest
import torch
from model_files import open_clip_shapes
from reference_step import merge_reference_lora, recorded

from scripts.core.errors import SuiteError
from scripts.models.conditioning import size_embeddings, unet_conditioning
from scripts.models.families import SD1, SD2
from scripts.models.load import load_text_encoders, load_tokenizers, load_unet
from scripts.models.original_layout import text_sources
from scripts.models.recognise import recognise
from scripts.models.shapes import TextShape
from scripts.models.text import CaptionEncoder, TextOutput, encode, tokenize, tokenize_weighted


@dataclass
class Loaded:
    family: object
    unet: torch.nn.Module
    text_encoders: list
    tokenizers: list


def load_all(path) -> Loaded:
    base = recognise(path)
    return Loaded(base.family, load_unet(base), load_text_encoders(base), load_tokenizers(base))


@pytest.fixture(scope="module")
def with_lora(tiny_sd15, tiny_sdxl):
    models = {"sd1": load_all(tiny_sd15), "sdxl": load_all(tiny_sdxl)}
    for model in models.values():
        merge_reference_lora(model.unet, model.text_encoders)
    return models


@pytest.fixture(scope="module")
def sd1(tiny_sd15):
    return load_all(tiny_sd15)


@pytest.fixture(scope="module")
def sdxl(tiny_sdxl):
    return load_all(tiny_sdxl)


@pytest.mark.parametrize(
    ("case", "clip_skip"),
    [
        ("plain", None),
        ("plain", 1),
        ("clip_skip2", 2),
        ("tokens225", None),
        ("tokens225_clip_skip2", 2),
    ],
)
def test_sd1_states_and_prediction_of_the_reference(with_lora, case, clip_skip):
    model, step = with_lora["sd1"], recorded(case)
    text = encode(model.text_encoders, [step["in.input_ids"]], model.family, clip_skip)
    torch.testing.assert_close(text.hidden, step["out.te_hidden"], rtol=1e-5, atol=1e-5)
    assert text.pooled is None
    conditioning = unet_conditioning(text)
    with torch.no_grad():
        found = model.unet(step["out.noisy_latents"], step["in.timesteps"], **conditioning).sample
    torch.testing.assert_close(found, step["out.model_pred"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", ["sdxl_plain", "sdxl_tokens225_min_snr"])
def test_sdxl_states_and_prediction_of_the_reference(with_lora, case):
    model, step = with_lora["sdxl"], recorded(case)
    ids = [step["in.input_ids1"], step["in.input_ids2"]]
    text = encode(model.text_encoders, ids, model.family)
    hidden = torch.cat([step["out.te1_hidden"], step["out.te2_hidden"]], dim=2)
    torch.testing.assert_close(text.hidden, hidden, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(text.pooled, step["out.te2_pooled"], rtol=1e-5, atol=1e-5)
    sizes = tuple(
        step[f"in.{name}"] for name in ("original_sizes_hw", "crop_top_lefts", "target_sizes_hw")
    )
    time_ids = size_embeddings(*sizes)
    assert time_ids.shape == (2, 6)
    embedded = model.unet.add_time_proj(time_ids.flatten().float()).view(2, -1)
    assert torch.equal(embedded, step["out.size_embeddings"])
    conditioning = unet_conditioning(text, sizes)
    with torch.no_grad():
        found = model.unet(step["out.noisy_latents"], step["in.timesteps"], **conditioning).sample
    torch.testing.assert_close(found, step["out.model_pred"], rtol=1e-5, atol=1e-5)


def test_sizes_stay_exact_beside_text_in_half_precision():
    text = TextOutput(torch.zeros(1, 77, 4).bfloat16(), torch.zeros(1, 4).bfloat16())
    sizes = (torch.tensor([[1365, 2047]]), torch.tensor([[0, 3]]), torch.tensor([[1024, 1024]]))
    time_ids = unet_conditioning(text, sizes)["added_cond_kwargs"]["time_ids"]
    assert time_ids.tolist() == [[1365, 2047, 0, 3, 1024, 1024]]


def test_ids_of_the_reference_steps(sd1, sdxl):
    """The recorded captions give the recorded ids."""
    import json

    from reference_step import STEPS

    cases = {case["name"]: case for case in json.loads((STEPS / "cases.json").read_text())["cases"]}
    for name in ("plain", "tokens225", "sdxl_plain", "sdxl_tokens225_min_snr"):
        case, step = cases[name], recorded(name)
        length = case["settings"]["max_token_length"] or 75
        if name.startswith("sdxl"):
            first, second = tokenize(sdxl.tokenizers, case["captions"], length)
            assert torch.equal(second, step["in.input_ids2"])
            assert torch.equal(first, step["in.input_ids1"])
        else:
            ids = tokenize(sd1.tokenizers, case["captions"], length)
            assert torch.equal(ids[0], step["in.input_ids"])


def test_sdxl_needs_sizes(sdxl):
    text = encode(sdxl.text_encoders, tokenize(sdxl.tokenizers, ["a"]), sdxl.family)
    with pytest.raises(ValueError, match="sizes"):
        unet_conditioning(text)


def reference_open_clip(tensors, width, layers, heads):
    """diffusers' conversion of an open_clip encoder with all its layers, run by transformers."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    model = CLIPTextModelWithProjection(
        CLIPTextConfig(hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
                       num_attention_heads=heads, hidden_act="gelu", projection_dim=width,
                       eos_token_id=49407)
    ).eval()  # fmt: skip
    prefix = "conditioner.embedders.1.model."  # under SD2's own it leaves out the last layer
    named = {prefix + name.partition(".model.")[2]: tensor for name, tensor in tensors.items()}
    state = convert_open_clip_checkpoint(model, named, prefix=prefix)
    model.load_state_dict(state)
    return model


def test_sd2_uses_the_layer_before_the_last(tiny_sd15, tmp_path):
    """SD2's own code runs all layers but the last and then the final norm."""
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    names = open_clip_shapes("cond_stage_model.model.", 16, 4, 32)
    text = {name: torch.randn(shape) * 0.3 for name, shape in names.items()}
    state = {n: t for n, t in load_file(tiny_sd15).items() if not n.startswith("cond_stage_model")}
    for name, tensor in list(state.items()):
        if "proj_in.weight" in name or "proj_out.weight" in name:
            state[name] = tensor.flatten(1) if "diffusion_model" in name else tensor
    notes = '{"unet_heads": 2, "unet_groups": 4, "vae_groups": 4, "text_heads": 2}'
    save_file({**state, **text}, tmp_path / "sd2.safetensors", {"easy_lora_shape": notes})
    model = load_all(tmp_path / "sd2.safetensors")
    assert model.family is SD2
    assert len(model.text_encoders[0].encoder.layers) == 3
    ids = tokenize(model.tokenizers, ["a photo of a cat", ""])
    assert ids[0][0, 0, -1] == 0  # padded with "!"
    reference = reference_open_clip(text, 16, 4, 2).text_model
    with torch.no_grad():
        states = reference(ids[0][:, 0], output_hidden_states=True).hidden_states
        for clip_skip, layer in ((None, -2), (1, -2), (2, -3)):
            found = encode(model.text_encoders, ids, SD2, clip_skip).hidden
            expected = reference.final_layer_norm(states[layer])
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_projection_that_is_not_symmetric(tmp_path):
    """Pooled = end token's state @ P, as diffusers, ComfyUI and the sgm code have it."""
    torch.manual_seed(0)
    names = open_clip_shapes("cond_stage_model.model.", 16, 3, 32)
    tensors = {name: torch.randn(shape) * 0.3 for name, shape in names.items()}
    reference = reference_open_clip(tensors, 16, 3, 2)
    shape = TextShape(16, 3, 32, 2, "cond_stage_model.model.", True, projection=16)
    source = text_sources(reference.state_dict(), shape)["text_projection.weight"]
    assert source.transposed
    assert torch.equal(reference.text_projection.weight, tensors[source.name].T)


def test_gradients_flow_through_all_windows(sd1):
    encoder = sd1.text_encoders[0]
    layer = encoder.encoder.layers[0].mlp.fc1
    layer.weight.requires_grad_(True)
    ids = tokenize(sd1.tokenizers, ["word " * 200], 225)
    encode([encoder], ids, SD1).hidden[:, -10:].square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0
    layer.weight.requires_grad_(False)
    layer.weight.grad = None


def test_weights_multiply_the_states_and_keep_the_mean(sd1):
    captions = ["a (cat:1.5) on [red] chair", "a cat"]
    ids, weights = tokenize_weighted(sd1.tokenizers, captions, 75)
    plain = tokenize(sd1.tokenizers, ["a cat on red chair", "a cat"], 75)
    assert torch.equal(ids[0], plain[0])
    expected = [1, 1, 1.5, 1, 1 / 1.1, 1]  # start, a, cat, on, red, chair
    assert weights[0, 0, :6].tolist() == pytest.approx(expected)
    assert (weights[0, 0, 6:] == 1).all()
    assert (weights[1] == 1).all()
    base = encode(sd1.text_encoders, ids, SD1).hidden
    found = encode(sd1.text_encoders, ids, SD1, weights=weights).hidden
    multiplied = base[0] * weights[0, 0][:, None]
    expected = multiplied * (base[0].mean() / multiplied.mean())
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0].mean(), base[0].mean())
    torch.testing.assert_close(found[1], base[1])


def test_weights_in_long_captions(sd1):
    """The second window's weights land on the second window's states."""
    caption = "word " * 80 + "(cat:2) word"
    ids, weights = tokenize_weighted(sd1.tokenizers, [caption], 150)
    assert ids[0].shape == weights.shape == (1, 2, 77)
    assert (weights[0, 1] == 2).nonzero().flatten().tolist() == [6]
    base = encode(sd1.text_encoders, ids, SD1).hidden
    found = encode(sd1.text_encoders, ids, SD1, weights=weights).hidden
    assert found.shape == (1, 152, 16)
    ratio = (found / base).mean(dim=2)[0]
    heavier = (ratio / ratio.median() > 1.5).nonzero().flatten().tolist()
    assert heavier == [81]  # start, 80 words, then the cat


def test_caption_encoder_follows_the_settings(sd1, tmp_path):
    from types import SimpleNamespace

    settings = SimpleNamespace(max_token_length=150, clip_skip=2, weighted_captions=False)
    encoder = CaptionEncoder(sd1.tokenizers, sd1.text_encoders, SD1, settings)
    caption = "a (cat:1.3)"
    found = encoder.encode([caption]).hidden
    ids = tokenize(sd1.tokenizers, [caption], 150)
    assert torch.equal(found, encode(sd1.text_encoders, ids, SD1, 2).hidden)
    settings.weighted_captions = True
    weighted = CaptionEncoder(sd1.tokenizers, sd1.text_encoders, SD1, settings).encode([caption])
    ids, weights = tokenize_weighted(sd1.tokenizers, [caption], 150)
    assert torch.equal(weighted.hidden, encode(sd1.text_encoders, ids, SD1, 2, weights).hidden)


def test_rows_and_stack_are_inverse(sdxl):
    text = encode(sdxl.text_encoders, tokenize(sdxl.tokenizers, ["a", "b c", ""]), sdxl.family)
    assert text.hidden.shape == (3, 77, 16)
    assert text.pooled.shape == (3, 8)
    assert text.nbytes == 3 * (77 * 16 + 8) * 4
    rows = text.rows()
    assert [row.nbytes for row in rows] == [text.nbytes // 3] * 3
    assert rows[0].hidden.untyped_storage().nbytes() == 77 * 16 * 4  # memory of its own
    again = TextOutput.stack(rows)
    assert torch.equal(again.hidden, text.hidden)
    assert torch.equal(again.pooled, text.pooled)
    assert text.to(dtype=torch.bfloat16).pooled.dtype == torch.bfloat16


def test_a_word_table_of_another_size_is_refused(tiny_sd15, tmp_path):
    from safetensors.torch import load_file, save_file

    state = load_file(tiny_sd15)
    name = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    state[name] = torch.zeros(49410, 16)
    notes = '{"unet_heads": 2, "unet_groups": 4, "vae_groups": 4, "text_heads": 2}'
    save_file(state, tmp_path / "added.safetensors", {"easy_lora_shape": notes})
    with pytest.raises(SuiteError, match="49410 words"):
        recognise(tmp_path / "added.safetensors")
