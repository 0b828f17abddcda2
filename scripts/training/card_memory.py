"""The memory of a graphics card, while a trial looks what fits into it and while a LoRA trains."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from scripts.training.alarm import CardUse


class CardMemory:
    """What this process has of a card, as torch's allocator and the driver tell it."""

    def __init__(self, device: torch.device) -> None:
        # The device of a single process has no number, which not every call accepts.
        number = torch.cuda.current_device() if device.index is None else device.index
        self._device = torch.device("cuda", number)

    def free_unused(self) -> None:
        """Give back what no tensor uses, and count the most reserved anew from here."""
        gc.collect()  # what an error held has cycles
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)

    def most_reserved(self) -> int:
        """The most bytes reserved since `free_unused`."""
        return torch.cuda.max_memory_reserved(self._device)

    def use(self) -> CardUse:
        """What is free of it now, whoever has the rest."""
        return CardUse(*torch.cuda.mem_get_info(self._device))

    def available(self) -> int:
        """Bytes that this process has reserved and those that are free: no other program's."""
        return self.use().free + torch.cuda.memory_reserved(self._device)

    def wait(self) -> None:
        """Wait until the card has done all that it was given."""
        torch.cuda.synchronize(self._device)

    @contextmanager
    def confined(self) -> Iterator[None]:
        """Run out of memory where the card's own ends, also on Windows, whose driver would move
        the rest into main memory: an attempt then fails at once in place of taking minutes."""
        share = min(1.0, self.available() / self.use().total)
        torch.cuda.set_per_process_memory_fraction(share, self._device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, self._device)


def card_memory(device: torch.device) -> CardMemory | None:
    """The memory of the card; None for a processor."""
    return CardMemory(device) if device.type == "cuda" else None
