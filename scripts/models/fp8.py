"""Keep the weights of a frozen model in fp8 between uses: a quarter of float32's memory.

    keep_in_fp8(unet, torch.bfloat16)     # the type to compute in

Every Linear and Conv2d keeps e4m3 numbers and one scale for each output channel, so that the
largest weight of a channel is fp8's largest number; W = fp8 · scale is made anew at each use. The
backward pass makes W again in place of keeping it: a plain cast would hold W in full from the
forward pass to the backward pass, and swapping the weights in place (as diffusers' layerwise
casting does) leaves nothing to go backward with.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scripts.models.lean_backward import FrozenConv2d

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max
LEFT_WHOLE = ("conv_in", "conv_out", "time_embedding", "add_embedding")  # small, and delicate


def keep_in_fp8(model: nn.Module, compute: torch.dtype) -> int:
    """Turn the frozen layers of `model` into fp8 ones, in place; how many bytes that saves.

    Args:
        model: a U-Net without gradients. Its first and last convolution, embeddings and norms
            stay as they are.
        compute: the type that the layers compute in.
    """
    saved = 0
    for name, module in list(model.named_modules()):
        if name.startswith(LEFT_WHOLE):
            continue
        for child_name, child in list(module.named_children()):
            kind = _KINDS.get(type(child))
            if kind is None or f"{name}.{child_name}".lstrip(".").startswith(LEFT_WHOLE):
                continue
            saved += child.weight.nbytes
            replacement = kind.of(child, compute)
            saved -= replacement.weight.nbytes + replacement.weight_scale.nbytes
            setattr(module, child_name, replacement)
    return saved


def to_fp8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """fp8 numbers in the weight's shape, and the scale of each output channel (out, 1, ...)."""
    largest = weight.float().flatten(1).abs().amax(dim=1).clamp(min=1e-12)
    scale = (largest / LARGEST).view(-1, *[1] * (weight.dim() - 1))
    return (weight.float() / scale).to(FP8), scale


class _LinearFunction(torch.autograd.Function):
    """x·Wᵀ + bias whose backward pass makes W anew."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Fp8Linear) -> Tensor:
        ctx.layer = layer
        return functional.linear(x.to(layer.compute), layer.whole_weight(), layer.bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weight = ctx.layer.whole_weight()
        return gradient.to(weight.dtype) @ weight, None


class _InFp8:
    """What both kinds of layer share."""

    compute: torch.dtype

    def _take(self, layer: nn.Module, compute: torch.dtype) -> None:
        self.compute = compute
        numbers, scale = to_fp8(layer.weight.detach())
        self.weight = nn.Parameter(numbers, requires_grad=False)
        self.register_buffer("weight_scale", scale)
        if layer.bias is not None:
            self.bias = nn.Parameter(layer.bias.detach().to(compute), requires_grad=False)
        self.train(layer.training)

    def whole_weight(self) -> Tensor:
        """W in the type to compute in."""
        return self.weight.to(self.compute) * self.weight_scale.to(self.compute)


class Fp8Linear(_InFp8, nn.Linear):
    """A frozen Linear with its weight in fp8."""

    @classmethod
    def of(cls, layer: nn.Linear, compute: torch.dtype) -> Fp8Linear:
        """The fp8 form of a layer."""
        made = cls(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        made._take(layer, compute)
        return made

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in)"""
        return _LinearFunction.apply(x, self)


class Fp8Conv2d(_InFp8, FrozenConv2d):
    """A frozen Conv2d with its weight in fp8."""

    @classmethod
    def of(cls, layer: nn.Conv2d, compute: torch.dtype) -> Fp8Conv2d:
        """The fp8 form of a layer."""
        made = cls(
            layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding,
            layer.dilation, layer.groups, layer.bias is not None, device="meta",
        )  # fmt: skip
        made._take(layer, compute)
        return made


_KINDS: dict[type, Any] = {nn.Linear: Fp8Linear, nn.Conv2d: Fp8Conv2d}
