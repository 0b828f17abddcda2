"""The network: what is trained, loaded, scaled and put back."""

from __future__ import annotations

import json

import pytest
import torch
from lora_models import DATA, STABLE_DIFFUSION, STABLE_DIFFUSION_XL, weight_change
from safetensors.torch import load_file, save_file
from torch import nn

from scripts.core.errors import SettingError
from scripts.lora.file import save_lora
from scripts.lora.layer import LoRALayer
from scripts.lora.network import LoRANetwork


def create(models, settings, **values) -> LoRANetwork:
    return LoRANetwork.create(*models, STABLE_DIFFUSION, settings(**values))


def names_of(network: LoRANetwork) -> set[str]:
    return {name for name, _ in network.layers()}


def randomise(network: LoRANetwork, seed: int = 7) -> None:
    torch.manual_seed(seed)
    for _, layer in network.layers():
        nn.init.normal_(layer.up.weight, std=0.3)


def changes(network: LoRANetwork) -> dict[str, torch.Tensor]:
    return {name: weight_change(layer) for name, layer in network.layers()}


def test_parameters_are_the_loras_alone_and_the_models_are_frozen(tiny_sd15, settings):
    network = create(tiny_sd15, settings)
    unet, (text_encoder,) = tiny_sd15
    assert sum(p.numel() for p in network.parameters()) == network.summary().weights
    assert len(network.trainable_parameters()) == 2 * 264
    trained = {id(p) for p in network.parameters()}
    for parameter in (*unet.parameters(), *text_encoder.parameters()):
        assert parameter.requires_grad == (id(parameter) in trained)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_full_bf16_weights_are_bfloat16(tiny_sd15, settings):
    network = create(tiny_sd15, settings, full_bf16=True, mixed_precision="bf16")
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}


def test_the_same_seed_gives_the_same_start(tiny_sd15, settings):
    states = []
    for _ in range(2):
        torch.manual_seed(11)
        network = create(tiny_sd15, settings)
        states.append(network.state_dict_for_file())
        network.remove()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({}, {"lora_te", "lora_unet"}),
        ({"network_train_unet_only": True}, {"lora_unet"}),
        ({"network_train_text_encoder_only": True}, {"lora_te"}),
        ({"text_encoder_lr": 0.0}, {"lora_unet"}),
        ({"unet_lr": 0.0}, {"lora_te"}),
        ({"learning_rate": 0.0, "unet_lr": 1e-4}, {"lora_unet"}),
    ],
)
def test_parts_that_are_trained(values, parts, tiny_sd15, settings):
    network = create(tiny_sd15, settings, **values)
    assert {"_".join(name.split("_")[:2]) for name in names_of(network)} == parts


def test_rates_of_the_groups_fall_back_to_learning_rate(tiny_sd15, settings):
    network = create(tiny_sd15, settings, text_encoder_lr=5e-5)
    groups = network.param_groups(settings(learning_rate=2e-4, text_encoder_lr=5e-5))
    assert [(group["name"], group["lr"]) for group in groups] == [
        ("text_encoder", 5e-5),
        ("unet", 2e-4),
    ]
    assert sum(len(group["params"]) for group in groups) == 2 * 264


def test_a_locon_leaves_nothing_behind_for_the_next_network(tiny_sd15, settings):
    """sd-scripts changes a list of its class there, and later networks grow."""
    with_convolutions = create(tiny_sd15, settings, conv_dim=2)
    assert with_convolutions.summary().unet_layers == 279
    with_convolutions.remove()
    assert create(tiny_sd15, settings).summary().unet_layers == 192


def test_remove_puts_every_layer_back(tiny_model, settings):
    family, unet, text_encoders = tiny_model
    before = [list(model.named_modules()) for model in (unet, *text_encoders)]
    network = LoRANetwork.create(unet, text_encoders, family, settings(conv_dim=2))
    network.remove()
    assert [list(model.named_modules()) for model in (unet, *text_encoders)] == before


def test_state_dict_holds_three_tensors_a_layer_like_the_reference(tiny_sd15, settings):
    network = create(tiny_sd15, settings, network_dim=2, network_alpha=1.0)
    state = network.state_dict_for_file()
    expected = load_file(DATA / "step" / "lora_init_sd15_dim2_alpha1.safetensors")
    assert {key: tensor.shape for key, tensor in state.items()} == {
        key: tensor.shape for key, tensor in expected.items()
    }
    assert {float(v) for k, v in state.items() if k.endswith(".alpha")} == {1.0}


def test_a_saved_state_comes_back_bit_for_bit(tiny_sd15, settings):
    network = create(tiny_sd15, settings, network_alpha=1.3)
    randomise(network)
    saved = {key: tensor.clone() for key, tensor in network.state_dict_for_file().items()}
    randomise(network, seed=8)
    network.load_file_state(saved)
    assert all(torch.equal(saved[key], t) for key, t in network.state_dict_for_file().items())
    del saved["lora_te_text_model_encoder_layers_0_mlp_fc1.alpha"]
    del saved["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"]
    del saved["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"]
    with pytest.raises(SettingError) as caught:
        network.load_file_state(saved)
    assert caught.value.setting == "resume"


def test_gradients_flow_with_checkpointing_in_both_models(tiny_sd15, settings):
    unet, (text_encoder,) = tiny_sd15
    network = create(tiny_sd15, settings)
    randomise(network)
    tokens = torch.randint(0, 97, (1, 9), generator=torch.Generator().manual_seed(1))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(2))

    def gradients() -> list[torch.Tensor]:
        network.zero_grad()
        hidden = text_encoder(tokens).last_hidden_state
        unet(latents, torch.tensor([400]), hidden).sample.square().mean().backward()
        return [parameter.grad.clone() for parameter in network.trainable_parameters()]

    plain = gradients()
    unet.enable_gradient_checkpointing()
    text_encoder.gradient_checkpointing_enable({"use_reentrant": False})
    unet.train()
    text_encoder.train()
    for one, other in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
        assert one.abs().sum() > 0


def test_training_mode_is_the_networks_own(tiny_sd15, settings):
    unet, _ = tiny_sd15
    network = create(tiny_sd15, settings, network_dropout=0.5).train()
    assert all(layer.training for _, layer in network.layers())
    assert not unet.down_blocks[0].resnets[0].training
    network.eval()
    assert not any(layer.training for _, layer in network.layers())


def test_multiplier_of_zero_gives_the_base_model(tiny_sd15, settings):
    unet, _ = tiny_sd15
    inputs = (torch.randn(1, 4, 8, 8), torch.tensor([400]), torch.randn(1, 5, 16))
    with torch.no_grad():
        base = unet(*inputs).sample
        network = create(tiny_sd15, settings)
        randomise(network)
        assert (unet(*inputs).sample - base).abs().max() > 1e-3
        network.set_multiplier(0.0)
        torch.testing.assert_close(unet(*inputs).sample, base)


# --- going on from a LoRA file ------------------------------------------------------------------


@pytest.fixture
def lora_file(tiny_sd15, settings, tmp_path):
    """A LoCon of dim 4, alpha 2, conv dim 3, and its ΔW by layer."""
    network = create(tiny_sd15, settings, conv_dim=3, conv_alpha=1.0)
    randomise(network)
    path = tmp_path / "first.safetensors"
    save_lora(path, network.state_dict_for_file(), {}, "float")
    known = changes(network)
    network.remove()
    return path, known


def test_network_weights_go_on_from_the_file(tiny_sd15, settings, lora_file):
    path, known = lora_file
    network = create(tiny_sd15, settings, conv_dim=3, conv_alpha=1.0, network_weights=path)
    assert network.notes == ()
    for name, change in changes(network).items():
        assert torch.equal(change, known[name])


def test_another_alpha_keeps_the_change(tiny_sd15, settings, lora_file):
    path, known = lora_file
    network = create(
        tiny_sd15, settings, network_alpha=4.0, conv_dim=3, conv_alpha=3.0, network_weights=path
    )
    for name, change in changes(network).items():
        torch.testing.assert_close(change, known[name])
        assert dict(network.layers())[name].alpha in (4.0, 3.0)


def test_dim_from_weights(tiny_sd15, settings, lora_file):
    path, known = lora_file
    network = create(tiny_sd15, settings, network_dim=64, network_weights=path,
                     dim_from_weights=True)  # fmt: skip
    assert names_of(network) == set(known)
    sizes = {(layer.dim, layer.alpha) for _, layer in network.layers()}
    assert sizes == {(4, 2.0), (3, 1.0)}
    assert all(torch.equal(change, known[name]) for name, change in changes(network).items())
    assert (network.summary().dim, network.summary().alpha) == (4, 2.0)


def test_parts_that_are_not_trained_are_noted(tiny_sd15, settings, lora_file):
    path, known = lora_file
    network = create(tiny_sd15, settings, network_weights=path, dim_from_weights=True,
                     network_train_unet_only=True)  # fmt: skip
    assert names_of(network) == {name for name in known if name.startswith("lora_unet")}
    assert "72 layers" in network.notes[0]


def test_new_layers_are_noted(tiny_sd15, settings, lora_file):
    path, _ = lora_file
    state = {key: value for key, value in load_file(path).items() if "lora_te_" not in key}
    save_file(state, path)
    network = create(tiny_sd15, settings, conv_dim=3, conv_alpha=1.0, network_weights=path)
    assert network.notes == ("72 layers are not in the LoRA and start new.",)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "dim_from_weights"),  # the file has convolutions, these settings none
        ({"network_dim": 8, "conv_dim": 3}, "network_dim to 4"),
    ],
)
def test_weights_that_do_not_fit_are_refused(values, said, tiny_sd15, settings, lora_file):
    with pytest.raises(SettingError, match=said) as caught:
        create(tiny_sd15, settings, network_weights=lora_file[0], **values)
    assert caught.value.setting == "network_weights"


def test_weights_of_another_family_are_refused(tiny_sdxl, settings, lora_file):
    chosen = settings(network_weights=lora_file[0], dim_from_weights=True)
    with pytest.raises(SettingError, match="LoRA for this kind of model"):
        LoRANetwork.create(*tiny_sdxl, STABLE_DIFFUSION_XL, chosen)


def test_sdxl_files_with_diffusers_paths_load(tiny_sdxl, settings, tmp_path):
    unet, _ = tiny_sdxl
    network = LoRANetwork.create(*tiny_sdxl, STABLE_DIFFUSION_XL, settings())
    randomise(network)
    known = changes(network)
    paths = {
        id(layer): path for path, layer in unet.named_modules() if isinstance(layer, LoRALayer)
    }
    renamed = {
        name: f"lora_unet_{paths[id(layer)].replace('.', '_')}" if id(layer) in paths else name
        for name, layer in network.layers()
    }
    state = {
        key.replace(key.split(".")[0], renamed[key.split(".")[0]]): tensor
        for key, tensor in network.state_dict_for_file().items()
    }
    network.remove()
    save_file(state, tmp_path / "other.safetensors")
    chosen = settings(network_weights=tmp_path / "other.safetensors", dim_from_weights=True)
    again = LoRANetwork.create(*tiny_sdxl, STABLE_DIFFUSION_XL, chosen)
    assert {name: c.sum() for name, c in changes(again).items()} == {
        name: c.sum() for name, c in known.items()
    }


# --- scale_weight_norms -------------------------------------------------------------------------


class Reference:
    """The reference's layers before scaling, in a network made by hand."""

    def __init__(self) -> None:
        tensors = load_file(DATA / "step" / "scale_weight_norms.safetensors")
        self.numbers = json.loads((DATA / "step" / "scale_weight_norms.json").read_text())
        self.after = {
            key.removeprefix("after."): tensor
            for key, tensor in tensors.items()
            if key.startswith("after.")
        }
        layers = {}
        for key in tensors:
            if key.startswith("before.") and key.endswith(".alpha"):
                name = key.removeprefix("before.").removesuffix(".alpha")
                layers[name] = self.layer(
                    tensors[f"before.{name}.lora_down.weight"],
                    tensors[f"before.{name}.lora_up.weight"],
                    tensors[key].item(),
                )
        self.network = LoRANetwork(layers, {}, "sd1")

    @staticmethod
    def layer(down: torch.Tensor, up: torch.Tensor, alpha: float) -> LoRALayer:
        if down.dim() == 2:
            base = nn.Linear(down.shape[1], up.shape[0])
        else:
            base = nn.Conv2d(down.shape[1], up.shape[0], down.shape[2])
        layer = LoRALayer(base, down.shape[0], alpha)
        layer.down.weight.data, layer.up.weight.data = down.clone(), up.clone()
        return layer


def test_scale_weight_norms_matches_the_reference():
    reference = Reference()
    norms = reference.network.scale_weight_norms(reference.numbers["max_norm"])
    state = reference.network.state_dict_for_file()
    assert len(reference.after) == 2 * reference.numbers["modules"]
    for key, expected in reference.after.items():
        torch.testing.assert_close(state[key], expected, rtol=1e-6, atol=1e-8)
    assert norms.keys_scaled.item() == reference.numbers["keys_scaled"]
    assert norms.mean_norm.item() == pytest.approx(reference.numbers["mean_norm"], rel=1e-6)
    assert norms.maximum_norm.item() == pytest.approx(reference.numbers["maximum_norm"], rel=1e-6)


def test_scaled_changes_have_the_norm_asked_for(tiny_sd15, settings):
    network = create(tiny_sd15, settings, conv_dim=2)
    randomise(network)
    before = changes(network)
    network.scale_weight_norms(0.5)
    for name, change in changes(network).items():
        norm = before[name].norm()
        expected = before[name] * min(1.0, 0.5 / norm.item())
        torch.testing.assert_close(change, expected, rtol=1e-4, atol=1e-6)
