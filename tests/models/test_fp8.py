"""Weights in fp8: the layers compute with fp8 · scale, forward and backward."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from scripts.models.fp8 import FP8, Fp8Conv2d, Fp8Linear, keep_in_fp8, to_fp8


def test_a_weight_is_off_by_no_more_than_half_a_step_of_its_channel():
    """e4m3 has 3 bits of mantissa: half a step is 2^-4 of a number, and 2^-10 · scale of a small
    one; a channel's largest weight becomes 448."""
    weight = torch.randn(6, 50) * torch.logspace(-4, 2, 6).unsqueeze(1)
    numbers, scale = to_fp8(weight)
    assert numbers.dtype == FP8 and scale.shape == (6, 1)
    assert numbers.float().abs().amax(dim=1).tolist() == [448.0] * 6
    error = (numbers.float() * scale - weight).abs()
    assert (error <= torch.maximum(weight.abs() / 16, scale / 1024) * 1.0001).all()


def test_a_channel_of_zeros_stays_zero():
    numbers, scale = to_fp8(torch.zeros(2, 3, 3, 3))
    assert (numbers.float() * scale == 0).all()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["linear", "convolution", "strided"])
def test_output_and_gradient_are_those_of_the_rounded_weight(kind, bias):
    torch.manual_seed(0)
    if kind == "linear":
        plain, x = nn.Linear(7, 5, bias), torch.randn(2, 3, 7, requires_grad=True)
    else:
        stride = 2 if kind == "strided" else 1
        plain = nn.Conv2d(4, 6, 3, stride, 1, bias=bias)
        x = torch.randn(2, 4, 8, 8, requires_grad=True)
    numbers, scale = to_fp8(plain.weight.detach())
    rounded = nn.Parameter(numbers.float() * scale)
    kept = {"linear": Fp8Linear}.get(kind, Fp8Conv2d).of(plain, torch.float32)
    assert kept.weight.dtype == FP8 and not any(p.requires_grad for p in kept.parameters())
    y = kept(x)
    (gradient,) = torch.autograd.grad((y**2).sum(), x)
    if kind == "linear":
        expected = functional.linear(x, rounded, plain.bias)
    else:
        expected = functional.conv2d(x, rounded, plain.bias, stride, 1)
    (expected_gradient,) = torch.autograd.grad((expected**2).sum(), x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(gradient, expected_gradient)


def test_a_u_net_in_fp8_predicts_nearly_the_same_and_goes_backward(tiny_sd15):
    from scripts.models.load import load_unet
    from scripts.models.recognise import recognise

    unet = load_unet(recognise(tiny_sd15))
    torch.manual_seed(0)
    noisy = torch.randn(2, 4, 8, 8, requires_grad=True)
    text = torch.randn(2, 77, unet.config.cross_attention_dim)
    times = torch.tensor([20, 800])
    before = unet(noisy, times, text).sample
    bytes_before = sum(tensor.nbytes for tensor in unet.state_dict().values())
    saved = keep_in_fp8(unet, torch.float32)
    after = unet(noisy, times, text).sample
    after.sum().backward()
    assert noisy.grad.isfinite().all() and noisy.grad.norm() > 0
    assert saved == bytes_before - sum(tensor.nbytes for tensor in unet.state_dict().values())
    assert saved > 0.6 * bytes_before
    assert ((after - before).norm() / before.norm()).item() < 0.1
    kinds = {type(module) for module in unet.modules()}
    assert Fp8Linear in kinds and Fp8Conv2d in kinds
    assert type(unet.conv_in) is nn.Conv2d and unet.dtype == torch.float32
