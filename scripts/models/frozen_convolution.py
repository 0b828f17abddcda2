"""Convolutions that keep nothing of their input, for models whose weights are frozen.

    forget_inputs(unet)

For the backward pass torch's convolution keeps its input, which only the gradient of the weight
needs; a frozen weight has none. Outputs and gradients are the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def forget_inputs(model: nn.Module) -> None:
    """Turn every frozen Conv2d of `model` into a FrozenConv2d, in place; its weight stays."""
    for module in model.modules():
        if type(module) is nn.Conv2d and not module.weight.requires_grad:
            module.__class__ = FrozenConv2d


class FrozenConv2d(nn.Conv2d):
    """A Conv2d that keeps no input while its weight is frozen."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, in, height, width)"""
        if self.weight.requires_grad:  # peft makes layers of the type that it finds, to train them
            return super().forward(x)
        return _Convolution.apply(x, self)

    def whole_weight(self) -> Tensor:
        """W in the type to compute in; a layer that keeps it smaller makes it anew here."""
        return self.weight


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FrozenConv2d) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape
        weight = layer.whole_weight()
        return functional.conv2d(
            x.to(weight.dtype), weight, layer.bias, layer.stride, layer.padding, layer.dilation,
            layer.groups,
        )  # fmt: skip

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None
        layer, weight = ctx.layer, ctx.layer.whole_weight()
        return torch.nn.grad.conv2d_input(
            ctx.shape, weight, gradient.to(weight.dtype), layer.stride, layer.padding,
            layer.dilation, layer.groups,
        ), None  # fmt: skip
