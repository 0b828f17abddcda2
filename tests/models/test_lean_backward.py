"""Lean layers: the numbers of torch's and diffusers' own, with less kept for the backward pass."""

import pytest
import torch
from diffusers.models.activations import GEGLU
from torch import nn

from scripts.models.lean_backward import FrozenConv2d, LeanGEGLU, keep_less


def kept_bytes(module, x):
    """The output, and how many bytes the forward pass keeps for the backward pass."""
    kept = []

    def note(tensor):
        kept.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = module(x)
    return y, sum(kept)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_output_and_gradient_are_those_of_torch(bias, stride, dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 3, stride, 1, bias=bias)).to(dtype).requires_grad_(False)
    x = torch.randn(2, 4, 9, 8, dtype=dtype, requires_grad=True)
    expected, plain_bytes = kept_bytes(model, x)
    (expected_gradient,) = torch.autograd.grad((expected**2).sum(), x)
    keep_less(model)
    y, frozen_bytes = kept_bytes(model, x)
    (gradient,) = torch.autograd.grad((y**2).sum(), x)
    assert torch.equal(y, expected) and torch.equal(gradient, expected_gradient)
    assert plain_bytes >= x.nbytes and frozen_bytes == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gated_activation_is_that_of_diffusers(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(GEGLU(6, 10)).to(dtype).requires_grad_(False)
    x = torch.randn(2, 5, 6, dtype=dtype, requires_grad=True)
    expected, plain_bytes = kept_bytes(model, x)
    (expected_gradient,) = torch.autograd.grad((expected**2).sum(), x)
    keep_less(model)
    assert type(model[0]) is LeanGEGLU
    y, lean_bytes = kept_bytes(model, x)
    (gradient,) = torch.autograd.grad((y**2).sum(), x)
    assert torch.equal(y, expected) and torch.equal(gradient, expected_gradient)
    assert plain_bytes - lean_bytes >= y.nbytes


def test_under_autocast_a_float32_input_gets_a_float32_gradient():
    model = nn.Sequential(nn.Conv2d(4, 6, 3)).bfloat16().requires_grad_(False)
    keep_less(model)
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    y.float().sum().backward()
    assert y.dtype == torch.bfloat16 and x.grad.dtype == torch.float32
    assert x.grad.norm() > 0


def test_a_layer_that_is_trained_stays_as_it_is():
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Conv2d(6, 6, 3).requires_grad_(False))
    keep_less(model)
    assert type(model[0]) is nn.Conv2d and type(model[1]) is FrozenConv2d


def test_a_frozen_layer_that_is_trained_after_all_gets_its_gradient():
    layer = FrozenConv2d(4, 6, 3)
    x = torch.randn(1, 4, 8, 8)
    layer(x).sum().backward()
    expected = nn.grad.conv2d_weight(x, layer.weight.shape, torch.ones(1, 6, 6, 6))
    torch.testing.assert_close(layer.weight.grad, expected)
