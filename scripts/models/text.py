"""Captions to what the U-Net reads: token ids in windows, then the states of the text encoders.

CLIP reads windows of 77: a start token, 75 tokens of text, an end token. A longer caption (150 or
225 tokens) is read in two or three windows, whose states are joined as start + 75 + 75 (+ 75) +
end. With weighted captions the states of a token are multiplied by its weight, and then all
states of the caption so that their mean stays what it was.

Which states: SD1 and SD2 take the output of the last layer but (clip_skip - 1), then the final
norm. SD2's encoder is loaded without its last layer, which SD2 never uses, so that clip_skip is
counted from there and "not set" is what SD2 was made with. SDXL takes the layer before the last of
both encoders without the norm, and the projected end token of the second encoder's first window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from scripts.models.prompt_weights import read_weights
from scripts.models.tokenizer import ClipTokenizer
from scripts.models.transfer import to_device

if TYPE_CHECKING:
    from scripts.models.families import Family
    from scripts.settings.train import TrainSettings

WINDOW = 75  # tokens of text in a window, without start and end


@dataclass(frozen=True)
class TextOutput:
    """Encoded captions.

    `hidden`: (batch, tokens, channels), tokens = 77, 152 or 227; `pooled`: (batch, channels) for
    SDXL, else None.
    """

    hidden: Tensor
    pooled: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.hidden.nbytes + (self.pooled.nbytes if self.pooled is not None else 0)

    def to(self, *arguments: object, **named: object) -> TextOutput:
        """The same on another device or in another type, as Tensor.to."""
        pooled = self.pooled.to(*arguments, **named) if self.pooled is not None else None
        return TextOutput(self.hidden.to(*arguments, **named), pooled)

    def rows(self) -> list[TextOutput]:
        """Each caption by itself, as a batch of one with memory of its own."""
        count = self.hidden.shape[0]
        pooled = self.pooled.split(1) if self.pooled is not None else (None,) * count
        return [
            TextOutput(hidden.clone(), row.clone() if row is not None else None)
            for hidden, row in zip(self.hidden.split(1), pooled, strict=True)
        ]

    @classmethod
    def stack(cls, outputs: Sequence[TextOutput]) -> TextOutput:
        """One batch from several."""
        hidden = torch.cat([output.hidden for output in outputs])
        pooled = [output.pooled for output in outputs if output.pooled is not None]
        return cls(hidden, torch.cat(pooled) if pooled else None)


class CaptionEncoder:
    """Encodes captions as the settings say (max_token_length, clip_skip, weighted_captions)."""

    def __init__(
        self,
        tokenizers: Sequence[ClipTokenizer],
        text_encoders: Sequence[nn.Module],
        family: Family,
        settings: TrainSettings,
    ) -> None:
        self.tokenizers = tuple(tokenizers)
        self.text_encoders = tuple(text_encoders)
        self.family = family
        self.max_token_length = settings.max_token_length
        self.clip_skip = settings.clip_skip
        self.weighted = settings.weighted_captions

    def encode(self, captions: Sequence[str]) -> TextOutput:
        """The captions encoded; gradients flow if an encoder's parameters want them."""
        if self.weighted:
            ids, weights = tokenize_weighted(self.tokenizers, captions, self.max_token_length)
        else:
            ids, weights = tokenize(self.tokenizers, captions, self.max_token_length), None
        return encode(self.text_encoders, ids, self.family, self.clip_skip, weights)


def tokenize(
    tokenizers: Sequence[ClipTokenizer], captions: Sequence[str], max_token_length: int = WINDOW
) -> list[Tensor]:
    """The ids of the captions: (batch, windows, 77) for each tokenizer.

    What is longer than `max_token_length` (75, 150 or 225) is cut off.
    """
    batch = []
    for tokenizer in tokenizers:
        rows = [_windows(tokenizer, tokenizer.ids(text), max_token_length) for text in captions]
        batch.append(torch.tensor(rows, dtype=torch.long))
    return batch


def tokenize_weighted(
    tokenizers: Sequence[ClipTokenizer], captions: Sequence[str], max_token_length: int = WINDOW
) -> tuple[list[Tensor], Tensor]:
    """The ids as from `tokenize`, and the weight of each: (batch, windows, 77)."""
    pieces = [read_weights(caption) for caption in captions]
    batch = []
    weights: list[list[list[float]]] = []
    for tokenizer in tokenizers:
        rows, weights = [], []
        for caption in pieces:
            ids: list[int] = []
            of_ids: list[float] = []
            for text, weight in caption:
                some = tokenizer.ids(text)
                ids += some
                of_ids += [weight] * len(some)
            rows.append(_windows(tokenizer, ids, max_token_length))
            weights.append(_weight_windows(of_ids, max_token_length))
        batch.append(torch.tensor(rows, dtype=torch.long))
    return batch, torch.tensor(weights)  # the tokenizers differ only in padding, whose weight is 1


def _windows(tokenizer: ClipTokenizer, ids: list[int], length: int) -> list[list[int]]:
    ids = ids[:length]
    windows = []
    for begin in range(0, length, WINDOW):
        window = [tokenizer.start_id, *ids[begin : begin + WINDOW], tokenizer.end_id]
        windows.append(window + [tokenizer.pad_id] * (WINDOW + 2 - len(window)))
    return windows


def _weight_windows(weights: list[float], length: int) -> list[list[float]]:
    weights = weights[:length] + [1.0] * (length - len(weights))
    return [[1.0, *weights[begin : begin + WINDOW], 1.0] for begin in range(0, length, WINDOW)]


def encode(
    text_encoders: Sequence[nn.Module],
    ids: Sequence[Tensor],
    family: Family,
    clip_skip: int | None = None,
    weights: Tensor | None = None,
) -> TextOutput:
    """The states of the captions.

    Args:
        text_encoders: one or two, as from `load_text_encoders`.
        ids: for each encoder (batch, windows, 77), as from `tokenize`.
        clip_skip: 1 (or None) for the last layer, 2 for the one before it, ...; SDXL ignores it.
        weights: (batch, windows, 77), as from `tokenize_weighted`.
    """
    if family.name != "sdxl":
        states = _run(text_encoders[0], ids[0], -(clip_skip or 1))
        text_model = getattr(text_encoders[0], "text_model", text_encoders[0])
        states = text_model.final_layer_norm(states)
        return TextOutput(_weighted(_join(states, ids[0]), weights))
    hidden = []
    pooled = None
    for encoder, own_ids in zip(text_encoders, ids, strict=True):
        if hasattr(encoder, "text_projection"):
            states, pooled = _run_pooled(encoder, own_ids)
        else:
            states = _run(encoder, own_ids, -2)
        hidden.append(_weighted(_join(states, own_ids), weights))
    return TextOutput(torch.cat(hidden, dim=2), pooled)


def _run(encoder: nn.Module, ids: Tensor, layer: int) -> Tensor:
    """The output of a layer without the final norm: (batch x windows, 77, channels)."""
    flat = to_device(ids.flatten(0, 1), next(encoder.parameters()).device)
    output = encoder(flat, output_hidden_states=True)
    return output.hidden_states[layer]


def _run_pooled(encoder: nn.Module, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The output of the layer before the last, and the projected end token of each caption."""
    flat = to_device(ids.flatten(0, 1), next(encoder.parameters()).device)
    output = encoder(flat, output_hidden_states=True)
    pooled = output.text_embeds.unflatten(0, ids.shape[:2])[:, 0]  # that of the first window
    return output.hidden_states[-2], pooled


def _join(states: Tensor, ids: Tensor) -> Tensor:
    """Windows one after the other: (batch, 1 + 75 x windows + 1, channels)."""
    batch, windows = ids.shape[:2]
    if windows == 1:
        return states
    states = states.unflatten(0, (batch, windows))
    inner = states[:, :, 1:-1].flatten(1, 2)
    return torch.cat([states[:, 0, :1], inner, states[:, -1, -1:]], dim=1)


def _weighted(states: Tensor, weights: Tensor | None) -> Tensor:
    """The states times the weights, brought back to the mean that each caption's states had."""
    if weights is None or bool((weights == 1).all()):
        return states
    weights = to_device(weights, states.device).to(states.dtype)
    inner = weights[:, :, 1:-1].flatten(1)
    edge = weights[:, 0, :1]  # 1: start and end are not weighted
    multiplied = states * torch.cat([edge, inner, edge], dim=1).unsqueeze(-1)
    before = states.mean(dim=(1, 2), keepdim=True)
    after = multiplied.mean(dim=(1, 2), keepdim=True)
    return multiplied * torch.where(after == 0, 1.0, before / after)
