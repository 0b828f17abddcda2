"""Loaded parts hold the file's tensors in the right places, checked against diffusers."""

import json

import pytest
import torch
from model_files import full_size_unet, full_size_vae, text_shapes_of, write_header_only
from safetensors.torch import load_file, save_file

from scripts.core.errors import SuiteError
from scripts.models.families import FAMILIES, SD1, SD2, SDXL
from scripts.models.load import load_text_encoders, load_unet, load_vae, vae_key
from scripts.models.original_layout import text_sources, unet_sources, vae_sources
from scripts.models.recognise import recognise
from scripts.models.shapes import UNET_PREFIX, VAE_PREFIX, text_shapes

NOTES = {
    "easy_lora_shape": json.dumps(
        {"unet_heads": 2, "unet_groups": 4, "vae_groups": 4, "text_heads": 2}
    )
}


def up_attention(config) -> frozenset[int]:
    kinds = enumerate(config.up_block_types)
    return frozenset(number for number, kind in kinds if "CrossAttn" in kind)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_unet_names_are_those_of_diffusers_conversion(family):
    """Full architecture on the meta device; diffusers converts a dictionary of names."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    unet = full_size_unet(family)
    sources = unet_sources(unet.state_dict(), 2, up_attention(unet.config), UNET_PREFIX)
    names = {source.name: torch.empty(0, device="meta") for source in sources.values()}
    assert len(names) == len(sources) == {"sd1": 686, "sd2": 686, "sdxl": 1680}[family.name]
    converted = convert_ldm_unet_checkpoint(dict(names), unet.config)
    by_identity = {id(tensor): name for name, tensor in names.items()}
    found = {new: by_identity[id(tensor)] for new, tensor in converted.items()}
    assert found == {parameter: source.name for parameter, source in sources.items()}


def test_vae_names_are_those_of_diffusers_conversion():
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    vae = full_size_vae(SD1)
    sources = vae_sources(vae.state_dict(), 4, VAE_PREFIX)
    names = {source.name: torch.empty(0, device="meta") for source in sources.values()}
    assert len(names) == 248
    converted = convert_ldm_vae_checkpoint(dict(names), vae.config)
    by_identity = {id(tensor): name for name, tensor in names.items()}
    found = {new: by_identity[id(tensor)] for new, tensor in converted.items()}
    assert found == {parameter: source.name for parameter, source in sources.items()}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_text_encoder_names_are_complete(family):
    """Full architecture: every parameter has a source in the file of the published sizes."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from scripts.models.configs import text_config

    there = text_shapes_of(family)
    used = set()
    for index, shape in enumerate(text_shapes(there, family, {})):
        kind = CLIPTextModelWithProjection if shape.projection else CLIPTextModel
        with torch.device("meta"):
            model = kind(CLIPTextConfig(**text_config(family, shape, index)))
        for parameter, source in text_sources(model.state_dict(), shape).items():
            expected = list(model.state_dict()[parameter].shape)
            if source.third is not None:
                expected[0] *= 3
            assert there[source.name] == tuple(expected), parameter
            used.add(source.name)
    left = {name.rpartition("model.")[2] for name in there.keys() - used}
    left = {name for name in left if not name.startswith("transformer.resblocks.23.")}
    projection = {"text_projection"} if family is SD2 else set()
    assert left == {
        "sd1": {"embeddings.position_ids"},
        "sd2": {"logit_scale"} | projection,
        "sdxl": {"embeddings.position_ids", "logit_scale"},
    }[family.name]  # fmt: skip


def pipeline_parts(path, config, name):
    """The parts as diffusers itself loads them from the same file."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    unet = UNet2DConditionModel.from_single_file(
        str(path), config=str(config), subfolder="unet", local_files_only=True
    )
    vae = AutoencoderKL.from_single_file(
        str(path), config=str(config), subfolder="vae", local_files_only=True
    )
    return {"unet": unet, "vae": vae}[name]


@pytest.mark.parametrize("part", ["unet", "vae"])
@pytest.mark.parametrize("model", ["tiny_sd15", "tiny_sdxl"])
def test_parts_equal_those_of_diffusers(model, part, tiny_models):
    from pathlib import Path

    path = tiny_models[model]
    config = Path(__file__).parents[1] / "data" / "models" / f"{model}_config"
    theirs = pipeline_parts(path, config, part)
    ours = {"unet": load_unet, "vae": load_vae}[part](recognise(path))
    assert_same(ours, theirs.float())
    keys = ("attention_head_dim", "norm_num_groups", "block_out_channels", "layers_per_block")
    for key in keys:
        mine, other = ours.config.get(key), theirs.config.get(key)
        if isinstance(mine, (tuple, list)) and isinstance(other, int):
            other = [other] * len(mine)
        assert mine == other or list(mine) == list(other)


def assert_same(model, other):
    state, theirs = model.state_dict(), other.state_dict()
    assert state.keys() == theirs.keys()
    assert all(torch.equal(state[name], theirs[name]) for name in state)


def test_the_vae_decodes_and_encodes_like_that_of_diffusers(tiny_sd15):
    from pathlib import Path

    config = Path(__file__).parents[1] / "data" / "models" / "tiny_sd15_config"
    theirs = pipeline_parts(tiny_sd15, config, "vae").float()
    ours = load_vae(recognise(tiny_sd15))
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        mean = ours.encode(pixels).latent_dist.mean
        assert torch.equal(mean, theirs.encode(pixels).latent_dist.mean)
        assert torch.equal(ours.decode(mean).sample, theirs.decode(mean).sample)


def check_state(model):
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    tensors = [*model.parameters(), *model.buffers()]
    assert not any(tensor.is_meta for tensor in tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("model", ["tiny_sd15", "tiny_sdxl"])
def test_types_and_modes(model, dtype, tiny_models):
    base = recognise(tiny_models[model])
    parts = [load_unet(base, dtype), load_vae(base, dtype), *load_text_encoders(base, dtype)]
    for part in parts:
        check_state(part)
        assert {parameter.dtype for parameter in part.parameters()} == {dtype}
    source = load_file(tiny_models[model])
    name = "model.diffusion_model.time_embed.0.weight"
    assert torch.equal(parts[0].time_embedding.linear_1.weight, source[name].to(dtype))


def rewrite(source, target, change):
    """A copy of a model file with its tensors changed."""
    state = change(load_file(source))
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, target, NOTES)
    return target


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn])
def test_files_of_other_precisions(dtype, tiny_sd15, tmp_path):
    path = rewrite(
        tiny_sd15,
        tmp_path / "model.safetensors",
        lambda state: {name: tensor.to(dtype) for name, tensor in state.items()},
    )
    base = recognise(path)
    name = "model.diffusion_model.middle_block.0.in_layers.2.weight"
    expected = load_file(tiny_sd15)[name].to(dtype).float()
    found = load_unet(base).mid_block.resnets[0].conv1.weight
    assert torch.equal(found, expected)


def test_each_part_has_memory_of_its_own(tiny_sd15, tmp_path):
    """An fp32 file loaded as fp32 must not stay open or be changed by training."""
    path = rewrite(
        tiny_sd15,
        tmp_path / "model.safetensors",
        lambda state: {name: tensor.float() for name, tensor in state.items()},
    )
    before = path.read_bytes()
    base = recognise(path)
    unet, text_encoder = load_unet(base), load_text_encoders(base)[0]
    with torch.no_grad():
        for parameter in [*unet.parameters(), *text_encoder.parameters()]:
            parameter.zero_()
    assert path.read_bytes() == before
    path.unlink()  # Windows refuses this for a file that is still mapped


def test_known_junk_is_left_out(tiny_sd15, tmp_path):
    def add(state):
        text = "cond_stage_model.transformer.text_model."
        return state | {
            "alphas_cumprod": torch.zeros(1000),
            "model_ema.decay": torch.zeros(()),
            "model_ema.diffusion_modelout2weight": torch.zeros(2),
            text + "embeddings.position_ids": torch.arange(77)[None],
            "cond_stage_model.logit_scale": torch.zeros(()),
            "first_stage_model.loss.perceptual_loss.lin0.weight": torch.zeros(2),
            "lora_te_rest": torch.zeros(2),
        }

    base = recognise(rewrite(tiny_sd15, tmp_path / "junk.safetensors", add))
    for part in (load_unet(base), load_vae(base), *load_text_encoders(base)):
        check_state(part)


@pytest.mark.parametrize(
    ("name", "load", "title"),
    [
        ("model.diffusion_model.out.2.bias", load_unet, "U-Net"),
        ("first_stage_model.decoder.mid.attn_1.q.bias", load_vae, "VAE"),
        (
            "cond_stage_model.transformer.text_model.final_layer_norm.bias",
            load_text_encoders,
            "text encoder",
        ),
    ],
)
def test_missing_odd_and_left_over_tensors_are_told(name, load, title, tiny_sd15, tmp_path):
    path = tmp_path / "model.safetensors"
    without = rewrite(
        tiny_sd15, path, lambda state: {key: state[key] for key in state if key != name}
    )
    with pytest.raises(SuiteError, match=rf"The {title} in .* is not whole: 1 .* {name}"):
        load(recognise(without))
    odd = rewrite(tiny_sd15, path, lambda state: state | {name: torch.zeros(5)})
    with pytest.raises(SuiteError, match=rf"{name} has the shape \(5,\)"):
        load(recognise(odd))
    more = name.rpartition(".")[0] + ".scale_weight"
    extra = rewrite(tiny_sd15, path, lambda state: state | {more: torch.zeros(5)})
    with pytest.raises(SuiteError, match=f"1 tensors that are not known here, such as {more}"):
        load(recognise(extra))


def test_vae_of_its_own(tiny_sd15, tiny_sdxl, tmp_path):
    """A VAE file, with and without prefix, in torch's format, and a whole model as VAE."""
    expected = load_vae(recognise(tiny_sd15))
    whole = load_file(tiny_sd15)
    state = {n.removeprefix(VAE_PREFIX): t for n, t in whole.items() if n.startswith(VAE_PREFIX)}
    save_file(state, tmp_path / "vae.safetensors", NOTES)
    assert_same(load_vae(tmp_path / "vae.safetensors"), expected)
    assert_same(load_vae(tiny_sd15), expected)
    with pytest.raises(SuiteError, match="norms of 32 groups"):
        save_file(state, tmp_path / "plain.safetensors")
        load_vae(tmp_path / "plain.safetensors")
    with pytest.raises(SuiteError, match="holds no VAE"):
        save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
        load_vae(tmp_path / "other.safetensors")


def test_a_vae_of_another_kind_is_refused(tmp_path):
    """That of Flux and SD3 has 16 latent channels under the same names."""
    vae = full_size_vae(SD1)
    sources = vae_sources(vae.state_dict(), 4, "")
    shapes = {sources[name].name: tuple(t.shape) for name, t in vae.state_dict().items()}
    shapes["decoder.conv_in.weight"] = (512, 16, 3, 3)
    path = write_header_only(tmp_path / "ae.safetensors", shapes)
    with pytest.raises(SuiteError, match="16 latent channels"):
        load_vae(path)


def small_standard_vae():
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(32,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
    ).eval()


def test_vae_files_of_torch_and_of_diffusers(tmp_path):
    """Standard norms (32 groups) need no note; kl-f8 files of torch hold their loss too."""
    vae = small_standard_vae()
    sources = vae_sources(vae.state_dict(), 4, "")
    original = {sources[name].name: tensor for name, tensor in vae.state_dict().items()}
    junk = {"loss.logvar": torch.zeros(()), "model_ema.decay": torch.zeros(())}
    torch.save({"state_dict": original | junk}, tmp_path / "vae.pt")
    assert_same(load_vae(tmp_path / "vae.pt"), vae)
    save_file(vae.state_dict(), tmp_path / "diffusers.safetensors")
    assert_same(load_vae(tmp_path / "diffusers.safetensors"), vae)
    vae.save_pretrained(tmp_path / "folder")
    assert_same(load_vae(tmp_path / "folder"), vae)
    vae.save_pretrained(tmp_path / "model" / "vae", safe_serialization=False)
    assert_same(load_vae(tmp_path / "model"), vae)


def test_the_key_of_a_vae_follows_what_makes_latents(tiny_sd15, tiny_sdxl):
    base = recognise(tiny_sd15)
    vae = load_vae(base)
    key = vae_key(vae)
    assert key == vae_key(load_vae(base))
    assert len({key, vae_key(load_vae(recognise(tiny_sdxl))),
                vae_key(load_vae(base, torch.bfloat16))}) == 3  # fmt: skip
    with torch.no_grad():
        vae.decoder.conv_in.weight[0, 0, 0, 0] += 1
        assert vae_key(vae) == key
        vae.encoder.conv_in.weight[0, 0, 0, 0] += 1
    assert vae_key(vae) != key


def test_nothing_is_looked_for_in_the_network(tiny_sdxl, monkeypatch):
    import socket

    def refuse(*arguments):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    base = recognise(tiny_sdxl)
    assert base.family is SDXL
    for part in (load_unet(base), load_vae(base), *load_text_encoders(base)):
        check_state(part)
