"""One LoRA layer: a frozen layer of the base model plus a trained low-rank change.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021),
arXiv:2106.09685, equation 3; for convolutions the LoCon form of it, where the down part is a
convolution like the base layer's and the up part a 1x1 convolution.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class LoRALayer(nn.Module):
    """y = base(x) + up(down(x)) · alpha / dim · multiplier

    The base layer stays frozen. `down` starts Kaiming-uniform with a = √5 and `up` at zero, so
    the first output is the base layer's own. The low-rank part is computed in the number format
    of the base layer's output, so that the layer works with and without autocast while its
    weights keep their own format (float32).

    Args:
        base: a Linear or an ungrouped Conv2d of any kernel.
        dim: the rank of the change.
        alpha: the scale of the change is alpha / dim; 0 stands for alpha = dim.
        network_dropout: while training, the share of the values of down(x) left out; the others
            are divided by 1 - p.
        rank_dropout: while training, the share of the dim channels of down(x) left out, drawn
            for each sample; the change is divided by 1 - p.
        module_dropout: while training, how probable it is that the whole change is left out.

    Raises:
        TypeError: when `base` is another kind of layer.
    """

    def __init__(
        self,
        base: nn.Module,
        dim: int,
        alpha: float,
        network_dropout: float = 0.0,
        rank_dropout: float = 0.0,
        module_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = _low_rank_pair(base, dim)
        self.dim = dim
        self.alpha = float(alpha) or float(dim)
        self.multiplier = 1.0
        self.network_dropout = network_dropout
        self.rank_dropout = rank_dropout
        self.module_dropout = module_dropout

    @property
    def scale(self) -> float:
        """alpha / dim"""
        return self.alpha / self.dim

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., in) for a Linear, (batch, in, height, width) for a convolution."""
        y = self.base(x)
        scale = self.scale * self.multiplier
        if scale == 0 or (self.training and self._skips_module()):
            return y
        x = x.to(y.dtype)
        down, up = self.down.weight.to(y.dtype), self.up.weight.to(y.dtype)
        if isinstance(self.base, nn.Linear):
            h = self._drop(functional.linear(x, down))  # (..., dim)
            # One call multiplies, scales and adds: no second tensor of y's size is made.
            return torch.addmm(
                y.flatten(0, -2), h.flatten(0, -2), up.T, alpha=scale
            ).view_as(y)  # fmt: skip
        h = self._drop(functional.conv2d(x, down, None, self.down.stride, self.down.padding))
        return y + functional.conv2d(h * scale, up)  # h: (batch, dim, height', width')

    def _drop(self, h: Tensor) -> Tensor:
        """Dropout of single values and of rank channels; h: the output of `down`."""
        if not self.training:
            return h
        if self.network_dropout:
            h = self._drop_values(h)
        if self.rank_dropout:
            channels = self._draw(h.shape[0], self.dim, device=h.device) > self.rank_dropout
            if isinstance(self.base, nn.Linear):
                shape = (h.shape[0], *[1] * (h.dim() - 2), self.dim)
            else:
                shape = (h.shape[0], self.dim, 1, 1)
            h = h * channels.view(shape) / (1 - self.rank_dropout)
        return h

    def _skips_module(self) -> bool:
        # Drawn on the CPU: reading a number back from the graphics card would stall it.
        return bool(self.module_dropout) and self._draw(1).item() < self.module_dropout

    def _drop_values(self, h: Tensor) -> Tensor:
        return functional.dropout(h, self.network_dropout)

    def _draw(self, *shape: int, device: torch.device | str = "cpu") -> Tensor:
        """Uniform numbers from 0 to 1; tests put known ones in its place."""
        return torch.rand(shape, device=device)


def _low_rank_pair(base: nn.Module, dim: int) -> tuple[nn.Module, nn.Module]:
    device = base.weight.device
    # Drawn on the CPU, so that a seed gives the same start on every device.
    place = "meta" if device.type == "meta" else "cpu"
    if isinstance(base, nn.Linear):
        down = nn.Linear(base.in_features, dim, bias=False, device="meta")
        up = nn.Linear(dim, base.out_features, bias=False, device="meta")
    elif isinstance(base, nn.Conv2d) and base.groups == 1 and base.dilation == (1, 1):
        down = nn.Conv2d(
            base.in_channels, dim, base.kernel_size, base.stride, base.padding,
            bias=False, device="meta",
        )  # fmt: skip
        up = nn.Conv2d(dim, base.out_channels, 1, bias=False, device="meta")
    else:
        raise TypeError(f"No LoRA for a layer of this kind: {base}")
    down.to_empty(device=place)
    up.to_empty(device=place)
    if place == "cpu":
        draw_weights(down, up)
    return down.to(device), up.to(device)


@torch.no_grad()
def draw_weights(down: nn.Module, up: nn.Module) -> None:
    """The weights that a training begins with: `down` from torch's generator of the CPU, `up` 0."""
    drawn = torch.empty(down.weight.shape)
    nn.init.kaiming_uniform_(drawn, a=math.sqrt(5))
    down.weight.copy_(drawn)
    nn.init.zeros_(up.weight)
