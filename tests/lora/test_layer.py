"""The LoRA layer against its formula, written out with dense matrices."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from scripts.lora.layer import LoRALayer

BASES = {
    "linear": (lambda: nn.Linear(10, 7), (2, 5, 10)),
    "linear of vectors": (lambda: nn.Linear(10, 7, bias=False), (3, 10)),
    "conv 1x1": (lambda: nn.Conv2d(6, 9, 1), (2, 6, 4, 5)),
    "conv 3x3": (lambda: nn.Conv2d(6, 9, 3, padding=1), (2, 6, 8, 5)),
    "conv 3x3, stride 2": (lambda: nn.Conv2d(6, 6, 3, stride=2, padding=1), (2, 6, 8, 8)),
}


def make(kind: str, seed: int = 0, dim: int = 4, alpha: float = 3.0, **dropouts) -> LoRALayer:
    torch.manual_seed(seed)
    base = BASES[kind][0]().requires_grad_(False)
    layer = LoRALayer(base, dim, alpha, **dropouts)
    nn.init.normal_(layer.up.weight)
    return layer.eval()


def sample(kind: str) -> torch.Tensor:
    return torch.randn(BASES[kind][1], generator=torch.Generator().manual_seed(5))


def with_weight(layer: LoRALayer, x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """The base layer's output with `change` added to its weight."""
    base, weight = layer.base, layer.base.weight + change
    if isinstance(base, nn.Linear):
        return functional.linear(x, weight, base.bias)
    return functional.conv2d(x, weight, base.bias, base.stride, base.padding)


@pytest.mark.parametrize("kind", BASES)
def test_output_is_that_of_the_changed_weight(kind):
    layer, x = make(kind), sample(kind)
    up, down = layer.up.weight.flatten(1), layer.down.weight.flatten(1)
    change = (up @ down).view(layer.base.weight.shape) * 3.0 / 4
    torch.testing.assert_close(layer(x), with_weight(layer, x, change))


@pytest.mark.parametrize("kind", BASES)
def test_gradients_are_those_of_the_changed_weight(kind):
    layer, x = make(kind), sample(kind).requires_grad_()
    weights = [layer.down.weight, layer.up.weight, x]
    found = torch.autograd.grad(layer(x).square().sum(), weights)
    up, down = layer.up.weight.flatten(1), layer.down.weight.flatten(1)
    change = (up @ down).view(layer.base.weight.shape) * 3.0 / 4
    expected = torch.autograd.grad(with_weight(layer, x, change).square().sum(), weights)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", BASES)
def test_starts_as_the_base_layer_with_kaiming_down(kind):
    torch.manual_seed(3)
    base = BASES[kind][0]()
    layer = LoRALayer(base, dim=512, alpha=1)
    x = sample(kind)
    assert torch.equal(layer(x), base(x))
    inputs = layer.down.weight[0].numel()
    bound = math.sqrt(2 / (1 + 5)) * math.sqrt(3 / inputs)  # Kaiming-uniform with a = √5
    assert layer.down.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert layer.down.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_alpha_of_zero_stands_for_dim():
    assert make("linear", alpha=0).scale == 1.0
    assert make("linear", dim=8, alpha=2).scale == 0.25


def test_multiplier():
    layer, x = make("conv 3x3"), sample("conv 3x3")
    base, whole = layer.base(x), layer(x)
    layer.multiplier = 0.5
    torch.testing.assert_close(layer(x), base + (whole - base) / 2)
    layer.multiplier = 0.0
    assert torch.equal(layer(x), base)


def low_rank_part(layer: LoRALayer, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """up(mask · down(x)), the mask in the shape of down(x)."""
    if isinstance(layer.base, nn.Linear):
        return functional.linear(functional.linear(x, layer.down.weight) * mask, layer.up.weight)
    down = functional.conv2d(x, layer.down.weight, None, layer.base.stride, layer.base.padding)
    return functional.conv2d(down * mask, layer.up.weight)


@pytest.mark.parametrize("kind", BASES)
def test_network_dropout_acts_on_the_down_output(kind):
    layer, x = make(kind, network_dropout=0.3).train(), sample(kind)
    drawn = []

    def known_mask(h):
        drawn.append((torch.rand(h.shape) > 0.3).float())
        return h * drawn[-1] / (1 - 0.3)

    layer._drop_values = known_mask
    y = layer(x)
    expected = layer.base(x) + low_rank_part(layer, x, drawn[0] / 0.7) * 3.0 / 4
    torch.testing.assert_close(y, expected)


def test_network_dropout_draws_zeros_and_keeps_the_mean():
    layer = LoRALayer(nn.Linear(4, 4), 4, 4, network_dropout=0.25).train()
    dropped = layer._drop_values(torch.ones(200, 400))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("kind", BASES)
def test_rank_dropout_drops_channels_of_each_sample(kind):
    layer, x = make(kind, rank_dropout=0.4).train(), sample(kind)
    numbers = torch.rand(len(x), 4)
    numbers[0] = torch.tensor([0.1, 0.5, 0.39, 0.41])
    layer._draw = lambda *shape, device="cpu": numbers
    channels = (numbers > 0.4).float()
    if isinstance(layer.base, nn.Linear):
        mask = channels.view(len(x), *[1] * (x.dim() - 2), 4)
    else:
        mask = channels.view(len(x), 4, 1, 1)
    expected = layer.base(x) + low_rank_part(layer, x, mask) * 3.0 / 4 / (1 - 0.4)
    torch.testing.assert_close(layer(x), expected)


def test_module_dropout_skips_the_whole_change_at_its_rate():
    layer, x = make("linear", module_dropout=0.3).train(), sample("linear")
    base = layer.base(x)
    torch.manual_seed(0)
    skipped = sum(torch.equal(layer(x), base) for _ in range(1000))
    assert 250 < skipped < 350
    for number, is_skipped in ((0.29, True), (0.31, False)):
        layer._draw = lambda *shape, n=number, device="cpu": torch.full(shape, n)
        assert torch.equal(layer(x), base) == is_skipped


@pytest.mark.parametrize("name", ["network_dropout", "rank_dropout", "module_dropout"])
def test_no_dropout_outside_training(name):
    layer, x = make("conv 3x3", **{name: 0.9}), sample("conv 3x3")
    torch.testing.assert_close(layer(x), make("conv 3x3")(x), rtol=0, atol=0)


@pytest.mark.parametrize("kind", BASES)
def test_float32_weights_beside_a_bfloat16_base(kind):
    """With and without autocast; the output has the base layer's format, gradients are float32."""
    layer, x = make(kind), sample(kind)
    exact = layer(x)
    layer.base.to(torch.bfloat16)
    for autocast in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y = layer(x.to(torch.bfloat16))
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), exact, rtol=0.05, atol=0.1)
        layer.zero_grad()
        y.float().sum().backward()
        assert layer.up.weight.grad.dtype == layer.down.weight.grad.dtype == torch.float32
        assert layer.up.weight.grad.abs().sum() > 0


def test_gradient_checkpointing_repeats_the_dropouts():
    dropouts = {"network_dropout": 0.3, "rank_dropout": 0.3, "module_dropout": 0.3}
    layer, x = make("linear", **dropouts).train(), sample("linear").requires_grad_()
    gradients = []
    for checkpointed in (False, True):
        torch.manual_seed(1)
        layer.zero_grad()
        run = layer
        if checkpointed:
            run = lambda x: torch.utils.checkpoint.checkpoint(layer, x, use_reentrant=False)  # noqa: E731
        run(x).square().sum().backward()
        gradients.append(layer.down.weight.grad.clone())
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


def test_other_kinds_of_layers_are_refused():
    for base in (nn.Conv2d(4, 4, 3, groups=2), nn.Embedding(3, 4)):
        with pytest.raises(TypeError):
            LoRALayer(base, 4, 4)
