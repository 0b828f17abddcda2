"""Settings of the LoRA itself: which layers, which sizes, which dropouts, which block weights."""

import math

import pytest
import torch
from watched_training import draw_pictures, watch_training

from scripts.core.errors import SettingErrors
from scripts.lora.layer import LoRALayer
from scripts.settings.train import CURVES

# One layer of a block, and the block's number (see scripts.lora.blocks) as guides count them.
IN01, MIDDLE, OUT03, OUT11 = 1, 12, 16, 24
IN_BLOCK = {
    IN01: "lora_unet_down_blocks_0_attentions_0_",
    MIDDLE: "lora_unet_mid_block_attentions_0_",
    OUT03: "lora_unet_up_blocks_1_attentions_0_",
    OUT11: "lora_unet_up_blocks_3_attentions_2_",
}


def layers_of(modules, block):
    return {name for name in modules if name.startswith(IN_BLOCK[block])}


def change(state, name):
    """ΔW = up · down · alpha / dim of one layer."""
    down, up = state[f"{name}.lora_down.weight"], state[f"{name}.lora_up.weight"]
    return up.flatten(1) @ down.flatten(1) * state[f"{name}.alpha"] / down.shape[0]


def test_dim_and_alpha_are_in_every_layer(watch):
    state = watch(network_dim=3, network_alpha=2).state()
    downs = [tensor for key, tensor in state.items() if key.endswith("lora_down.weight")]
    assert len(downs) == 264 and {tensor.shape[0] for tensor in downs} == {3}
    assert {state[key].item() for key in state if key.endswith("alpha")} == {2.0}
    metadata = watch(network_dim=3, network_alpha=2).metadata()
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("3", "2.0")


def test_alpha_is_half_of_dim_when_not_set(watch):
    trained = watch(network_dim=6, max_train_steps=2)
    assert trained.metadata()["ss_network_alpha"] == "3.0"
    assert {t.item() for key, t in trained.state().items() if key.endswith("alpha")} == {3.0}
    assert "network_alpha is 3" in trained.notes()


def test_conv_dim_adds_the_wide_convolutions_with_sizes_of_their_own(watch):
    trained = watch(conv_dim=3, conv_alpha=1.25)
    state = trained.state()
    # 350 in SD1.5, whose two deepest levels are equally wide; here they meet in one more 1x1.
    assert len(trained.modules()) == 351
    wide = {name for name in trained.modules() if state[f"{name}.lora_down.weight"].dim() == 4
            and state[f"{name}.lora_down.weight"].shape[2:] == (3, 3)}  # fmt: skip
    assert len(wide) == 50 and "lora_unet_down_blocks_0_resnets_0_conv1" in wide
    for name in trained.modules():
        dim, alpha = state[f"{name}.lora_down.weight"].shape[0], state[f"{name}.alpha"].item()
        assert (dim, alpha) == ((3, 1.25) if name in wide else (2, 1.0)), name
    assert any(change(state, name).abs().max() > 0 for name in wide)


def test_conv_alpha_is_half_of_conv_dim_when_not_set(watch):
    state = watch(conv_dim=3, network_train_unet_only=True).state()
    assert state["lora_unet_down_blocks_0_resnets_0_conv1.alpha"].item() == 1.5


def test_network_dropout_leaves_out_its_share_of_the_inner_values(folder, monkeypatch):
    inner = []
    drop = LoRALayer._drop_values

    def spy(layer, values):
        dropped = drop(layer, values)
        inner.append((values.detach(), dropped.detach()))
        return dropped

    monkeypatch.setattr(LoRALayer, "_drop_values", spy)
    watch_training(folder, network_dropout=0.3)
    before = torch.cat([values.flatten() for values, _ in inner])
    after = torch.cat([values.flatten() for _, values in inner])
    assert len(inner) == 264  # every layer, once a step
    kept = after != 0
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.01)
    torch.testing.assert_close(after[kept], before[kept] / 0.7)


def test_rank_dropout_leaves_out_whole_ranks(watch):
    """A rank that is left out for the only sample gets no gradient, and plain SGD moves nothing."""
    trained = watch(rank_dropout=0.4, network_dim=8, train_batch_size=1,
                    optimizer_type="torch.optim.SGD", max_grad_norm=0)  # fmt: skip
    ups = [t for key, t in trained.state().items() if key.endswith("lora_up.weight")]
    moved = torch.cat([up.flatten(1).abs().amax(dim=0) > 0 for up in ups]).float()
    assert moved.mean().item() == pytest.approx(0.6, abs=0.04)  # 2112 ranks


def test_module_dropout_leaves_out_whole_layers(watch):
    trained = watch(module_dropout=0.7, optimizer_type="torch.optim.SGD", max_grad_norm=0)
    state = trained.state()
    moved = [state[f"{name}.lora_up.weight"].abs().max() > 0 for name in trained.modules()]
    assert sum(moved) / len(moved) == pytest.approx(0.3, abs=0.09)  # 264 layers: 3 sigma


def test_u_net_only(watch):
    trained = watch(network_train_unet_only=True)
    assert len(trained.modules()) == 192
    assert all(name.startswith("lora_unet_") for name in trained.modules())
    assert list(trained.rates()[0]) == ["unet"]


def test_text_encoder_only(watch):
    trained = watch(network_train_text_encoder_only=True)
    assert len(trained.modules()) == 72
    assert all(name.startswith("lora_te_") for name in trained.modules())
    assert any(change(trained.state(), name).abs().max() > 0 for name in trained.modules())
    assert list(trained.rates()[0]) == ["text_encoder"]


def test_scale_weight_norms_is_a_ceiling_for_every_layer(watch):
    free, held = watch(learning_rate=1.0), watch(learning_rate=1.0, scale_weight_norms=0.5)
    name = "lora_unet_mid_block_attentions_0_proj_in"
    for trained, above in ((free, True), (held, False)):
        state = trained.state()
        norms = [change(state, layer).norm().item() for layer in trained.modules()]
        assert (max(norms) > 0.5001) is above
    was, now = change(free.state(), name), change(held.state(), name)
    torch.testing.assert_close(now, was * 0.5 / was.norm(), rtol=1e-4, atol=1e-6)


def test_block_weights_multiply_the_rates_and_leave_blocks_out(watch):
    weights = {"down_lr_weight": [0, 0.5, *[1] * 10], "mid_lr_weight": 0.25,
               "up_lr_weight": [*[1] * 11, 0.05], "block_lr_zero_threshold": 0.1}  # fmt: skip
    trained = watch(unet_lr=2e-3, text_encoder_lr=1e-3, **weights)
    rates = trained.rates()[0]
    assert rates["text_encoder"] == 1e-3
    assert rates[f"unet_block{IN01}"] == pytest.approx(1e-3)
    assert rates[f"unet_block{MIDDLE}"] == pytest.approx(5e-4)
    assert rates[f"unet_block{OUT03}"] == pytest.approx(2e-3)
    assert f"unet_block{OUT11}" not in rates  # 0.05 is not above the threshold
    assert not layers_of(trained.modules(), OUT11)
    assert len(layers_of(trained.modules(), IN01)) == 12


@pytest.mark.parametrize("curve", CURVES)
def test_block_weights_by_the_name_of_a_curve(plan, curve):
    weight = {
        "sine": lambda i: math.sin(math.pi / 2 * i / 11),
        "cosine": lambda i: math.cos(math.pi / 2 * i / 11),
        "linear": lambda i: i / 11,
        "reverse_linear": lambda i: (11 - i) / 11,
        "zeros": lambda i: 0.0,
    }[curve]
    content = plan(unet_lr=1.0, down_lr_weight=curve, up_lr_weight=curve).as_dict()
    rates = content["learning_rates"]
    for block, i in ((1, 1), (2, 2), (8, 8), (16, 3), (24, 11)):  # i counts within the side
        if weight(i) < 1e-12:
            assert f"unet_block{block}" not in rates
        else:
            assert rates[f"unet_block{block}"][0] == pytest.approx(weight(i))


def test_blocks_have_dims_and_alphas_of_their_own(watch):
    dims, alphas = [2] * 25, [1] * 25
    dims[IN01], alphas[IN01], dims[OUT11], dims[MIDDLE] = 4, 3, 0, 5
    conv_dims, conv_alphas = [1] * 25, [0.5] * 25
    conv_dims[IN01], conv_alphas[IN01] = 3, 2
    trained = watch(block_dims=dims, block_alphas=alphas, conv_block_dims=conv_dims,
                    conv_block_alphas=conv_alphas, network_train_unet_only=True)  # fmt: skip
    state = trained.state()

    def size(name):
        return state[f"{name}.lora_down.weight"].shape[0], state[f"{name}.alpha"].item()

    assert {size(name) for name in layers_of(trained.modules(), IN01)} == {(4, 3.0)}
    assert {size(name) for name in layers_of(trained.modules(), MIDDLE)} == {(5, 1.0)}
    assert {size(name) for name in layers_of(trained.modules(), OUT03)} == {(2, 1.0)}
    assert not layers_of(trained.modules(), OUT11)
    assert size("lora_unet_down_blocks_0_resnets_0_conv1") == (3, 2.0)
    assert size("lora_unet_mid_block_resnets_0_conv1") == (1, 0.5)


def test_block_lists_of_the_wrong_length_are_refused(plan):
    with pytest.raises(SettingErrors) as caught:
        plan(block_dims=[4, 4], conv_block_dims=[1], down_lr_weight=[1] * 13, mid_lr_weight="no")
    assert {error.setting for error in caught.value.errors} == {
        "block_dims", "conv_block_dims", "down_lr_weight", "mid_lr_weight"
    }  # fmt: skip


def test_sdxl_blocks_are_counted_as_sdxl_has_them(tmp_path):
    from watched_training import TINY_SDXL, plan_for

    draw_pictures(tmp_path / "pictures" / "1_cat")
    made = plan_for(tmp_path, pretrained_model_name_or_path=TINY_SDXL, unet_lr=1.0,
                    mid_lr_weight=[1, 0.5, 1], up_lr_weight="zeros")  # fmt: skip
    rates = {name: steps[0] for name, steps in made.as_dict()["learning_rates"].items()}
    assert rates["unet_block11"] == 0.5
    assert not any(f"unet_block{block}" in rates for block in range(13, 22))
