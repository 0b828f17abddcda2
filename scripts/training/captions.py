"""The U-Net's conditioning from captions: encoded at each use, or once for the whole training.

When the text encoders are not trained, every caption that the training will use is encoded before
it begins, and the encoders leave the memory. Which captions those are is known in advance, shuffled
ones too, because an epoch is a pure function of its number; only when they would fill too much
memory do the encoders stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from scripts.core.events import Control, Report, Stage
from scripts.models.conditioning import unet_conditioning
from scripts.models.text import CaptionEncoder, TextOutput
from scripts.models.transfer import to_device

if TYPE_CHECKING:
    from scripts.dataset.latents import BatchTensors

LARGEST_TABLE = 2 << 30  # bytes of main memory for encoded captions
LITTLE_TABLE = 64 << 20  # with lowram
CAPTIONS_AT_ONCE = 16


class Captions:
    """Gives the conditioning of a batch. `encoder` is None once all captions are in the table.

    The table takes no more than `largest_table` bytes.
    """

    def __init__(
        self, encoder: CaptionEncoder, device: torch.device, largest_table: int = LARGEST_TABLE
    ) -> None:
        self.encoder: CaptionEncoder | None = encoder
        self._device = device
        self._largest_table = largest_table
        self._table: dict[str, TextOutput] = {}

    @property
    def modules(self) -> list[nn.Module]:
        """The text encoders that are still in memory."""
        return list(self.encoder.text_encoders) if self.encoder else []

    def encode_ahead(
        self, captions: Iterable[str], report: Report, control: Control,
        used: Iterable[str] | None = None,
    ) -> bool:  # fmt: skip
        """Encode all `captions` and let the encoders go; False if the table would be too large.

        `used`: encode these alone, for a trial, which needs few but whose encoders shall stay or
        go as those of the training.
        """
        waiting = sorted(set(captions))
        if not waiting:
            return False
        with torch.no_grad():
            first = self.encoder.encode(waiting[:1])
            if first.nbytes * len(waiting) > self._largest_table:
                return False
            waiting = waiting if used is None else sorted(set(used))
            for begin in range(0, len(waiting), CAPTIONS_AT_ONCE):
                control.check()
                some = waiting[begin : begin + CAPTIONS_AT_ONCE]
                for caption, row in zip(some, self.encoder.encode(some).rows(), strict=True):
                    self._table[caption] = row.to("cpu")
                report(Stage("Encoding captions", begin + len(some), len(waiting)))
        self.encoder = None
        return True

    def text(self, captions: list[str]) -> TextOutput:
        """The encoded captions, on the device."""
        if self.encoder is not None:
            return self.encoder.encode(captions)
        output = TextOutput.stack([self._table[caption] for caption in captions])
        pooled = None if output.pooled is None else to_device(output.pooled, self._device)
        return TextOutput(to_device(output.hidden, self._device), pooled)

    def conditioning(self, captions: list[str], batch: BatchTensors) -> dict[str, Any]:
        """Keyword arguments for the U-Net for a batch with these captions."""
        sizes = tuple(to_device(size, self._device) for size in
                      (batch.original_hw, batch.crop_top_left, batch.target_hw))  # fmt: skip
        return unet_conditioning(self.text(captions), sizes)
