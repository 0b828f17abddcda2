"""Which graphics card this PC has, asked in the background, as the set-up asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from easy_scripts.wizard.window import Wizard

POLL = 60  # milliseconds
MIB_PER_GB = 1024


@dataclass(frozen=True)
class Card:
    """The card that trains: its name and memory in GB, both empty when there is none."""

    name: str = ""
    memory_gb: float | None = None
    bf16: bool | None = None

    @property
    def present(self) -> bool:
        """Whether there is one."""
        return bool(self.name)


def find_card(wizard: Wizard, take: Callable[[Card], None]) -> None:
    """Call `take` with the largest card, in the Tk thread; at once when it is known already."""
    known = wizard.facts.card
    if known is not None:
        take(known)
        return
    found: list[Card] = []
    thread = threading.Thread(target=lambda: found.append(_look()), daemon=True)
    thread.start()

    def wait() -> None:
        if thread.is_alive():
            wizard.root.after(POLL, wait)
            return
        wizard.facts.card = found[0] if found else Card()
        take(wizard.facts.card)

    wait()


def _look() -> Card:
    from easy_scripts.install import graphics

    cards = [gpu for gpu in graphics.detect().gpus if gpu.vendor in ("nvidia", "intel")]
    if not cards:
        return Card()
    best = max(cards, key=lambda gpu: gpu.memory_mib or 0)
    memory = round(best.memory_mib / MIB_PER_GB) if best.memory_mib else None
    bf16 = None if best.capability is None else tuple(best.capability) >= (8, 0)
    return Card(best.name, memory, bf16)
