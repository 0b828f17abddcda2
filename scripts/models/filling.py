"""Put the tensors of files into a model that was built without memory (on the meta device).

Every parameter must be found, and nothing of the part may be left over: a model that is loaded in
part would train, and give a LoRA that is worth nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from scripts.core.errors import SuiteError
from scripts.models.original_layout import Source
from scripts.models.weights import Weights

Device = torch.device | str
Model = TypeVar("Model", bound=nn.Module)

# Left in files by training programs; nothing of a part is lost without them.
NOT_NEEDED = re.compile(
    r"position_ids$|logit_scale$|text_projection(\.weight)?$|^loss\.|^model_ema\."
)


@dataclass(frozen=True)
class Part:
    """A part of a model (`title`: "U-Net", ...) in the files `weights`.

    `sources` tells for each parameter where it comes from; all names of the part begin with
    `prefix`, and those that begin with `not_used` have no place in the model.
    """

    title: str
    path: Path
    weights: Sequence[Weights]
    sources: Mapping[str, Source]
    prefix: str
    not_used: str | None = None


def fill(model: Model, part: Part, dtype: torch.dtype, device: Device) -> Model:
    """The model with all its parameters, in evaluation mode and without gradients.

    Raises SuiteError when a tensor is missing, left over or of the wrong shape.
    """
    wanted: dict[str, list[str]] = {}
    for parameter, source in part.sources.items():
        wanted.setdefault(source.name, []).append(parameter)
    _check_names(part, wanted)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    state: dict[str, Tensor] = {}
    for weights in part.weights:
        for name, tensor in weights.read(weights.shapes.keys() & wanted.keys(), dtype):
            for parameter in wanted[name]:
                value = _take(tensor, part.sources[parameter], shapes[parameter])
                if value.shape != shapes[parameter]:
                    raise SuiteError(
                        f"The {part.title} in {part.path.name} is odd: {name} has the shape "
                        f"{tuple(tensor.shape)}. Choose another file."
                    )
                state[parameter] = value.to(device=device, dtype=dtype)
    model.load_state_dict(state, strict=True, assign=True)
    _fill_buffers(model, device)
    return model.requires_grad_(False).eval()


def _check_names(part: Part, wanted: Mapping[str, list[str]]) -> None:
    there = {name for weights in part.weights for name in weights.shapes}
    missing = sorted(wanted.keys() - there)
    if missing:
        raise SuiteError(
            f"The {part.title} in {part.path.name} is not whole: {len(missing)} of its tensors are "
            f"missing, such as {missing[0]}. Download it again or choose another file."
        )
    unknown = sorted(
        name
        for name in there - wanted.keys()
        if name.startswith(part.prefix)
        and not NOT_NEEDED.search(name.removeprefix(part.prefix))
        and not (part.not_used and name.startswith(part.not_used))
    )
    if unknown:
        raise SuiteError(
            f"The {part.title} in {part.path.name} has {len(unknown)} tensors that are not known "
            f"here, such as {unknown[0]}. It is a variant that cannot be trained: choose the "
            "standard model."
        )


def _take(tensor: Tensor, source: Source, shape: torch.Size) -> Tensor:
    """The part of a file's tensor that the source means."""
    if source.third is not None:
        return tensor.chunk(3)[source.third].clone()
    if source.transposed:
        return tensor.T.contiguous()
    if len(shape) == 2 and tensor.dim() > 2 and tensor.shape[2:].numel() == 1:
        return tensor.flatten(1)  # a 1x1 convolution
    return tensor


def _fill_buffers(model: nn.Module, device: Device) -> None:
    """Make what is in no file (the numbers 0 to 76 of the places in a text encoder)."""
    for module in model.modules():
        buffer = getattr(module, "position_ids", None)
        if isinstance(buffer, Tensor) and buffer.is_meta:
            module.position_ids = torch.arange(buffer.shape[-1], device=device).expand(1, -1)
    left = [n for n, t in (*model.named_parameters(), *model.named_buffers()) if t.is_meta]
    if left:
        raise RuntimeError(f"Not filled: {left}")
