"""Which graphics card this PC trains on, asked in the background, as the set-up asks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from easy_scripts.wizard.window import Wizard

if TYPE_CHECKING:
    from easy_scripts.install.kinds import Graphics

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
    """Call `take` with the card that trains, in the Tk thread; at once when it is known already."""
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
    from easy_scripts.launcher.judge import read_json
    from easy_scripts.launcher.project import Project

    return card_of(graphics.detect(), read_json(Project().stamp).get("kind"))


def card_of(found: Graphics, kind: str | None = None) -> Card:
    """The card that is used of those found, with what was set up: `kind`, a name of `kinds.KINDS`;
    None: what set-up would choose."""
    from easy_scripts.install.kinds import INTEL_WITH_XPU, KINDS, choose_kind

    if kind not in KINDS:
        python = sys.version_info[:2]
        kind = choose_kind(sys.platform, found.gpus, found.driver_cuda, python).kind or "cpu"
    cards = []
    if KINDS[kind].cuda:
        cards = [gpu for gpu in found.gpus if gpu.vendor == "nvidia"]
    elif KINDS[kind].xpu:
        cards = [gpu for gpu in found.gpus if INTEL_WITH_XPU.search(gpu.name)]
    if not cards:
        return Card()
    # CUDA counts the fastest card as the first: the newest is the best guess for that.
    best = max(cards, key=lambda gpu: (gpu.capability or (0, 0), gpu.memory_mib or 0))
    memory = round(best.memory_mib / MIB_PER_GB) if best.memory_mib else None
    bf16 = None if best.capability is None else tuple(best.capability) >= (8, 0)
    return Card(best.name, memory, bf16)
