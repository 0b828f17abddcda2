"""Keep less of a frozen U-Net's forward pass for its backward pass.

    keep_less(unet)

A convolution of torch keeps its input, which only the gradient of its weight needs, and a frozen
weight has none. A gated activation keeps the activated gate, which is quickly made again. Outputs
and gradients are the same to the last bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def keep_less(model: nn.Module) -> None:
    """Turn every frozen Conv2d and every GEGLU of `model` into the lean kind, in place."""
    for module in model.modules():
        if type(module) is nn.Conv2d and not module.weight.requires_grad:
            module.__class__ = FrozenConv2d
        elif type(module).__name__ == "GEGLU":  # diffusers' own, which is not imported here
            module.__class__ = LeanGEGLU


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


class LeanGEGLU(nn.Module):
    """GEGLU (Shazeer 2020, arXiv 2002.05202): a · gelu(b), with a and b the halves of proj(x)."""

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """x: (..., in)"""
        return _GatedGelu.apply(self.proj(x))


class _GatedGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, halves: Tensor) -> Tensor:
        ctx.save_for_backward(halves)
        values, gate = halves.chunk(2, dim=-1)
        return values * functional.gelu(gate)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        values, gate = ctx.saved_tensors[0].chunk(2, dim=-1)
        of_gate = torch.ops.aten.gelu_backward(gradient * values, gate)
        return torch.cat([gradient * functional.gelu(gate), of_gate], dim=-1)
