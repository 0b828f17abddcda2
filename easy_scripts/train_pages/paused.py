"""Paused bakes: settings ("config") and saved state ("state") of each that can go on, the newest
first. Only the memory of the wizard points to their states; a pause is told from the others by its
state, as several bakes may have the same name and folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from easy_scripts.bakes.kept import kept_bakes
from easy_scripts.wizard.remembered import Memory
from easy_scripts.wizard.window import Wizard
from scripts.core.errors import SuiteError
from scripts.core.saved_names import name_of_state

PAUSED = "paused"

Paused = dict[str, Any]


def paused_bakes(memory: Memory) -> list[Paused]:
    """Those that can go on now: not one that does so already, or has ended without a window."""
    found = [bake.about.resume for bake in kept_bakes()]
    return [one for one in _entries(memory.get(PAUSED))
            if os.path.isdir(one["state"]) and one["state"] not in found]  # fmt: skip


def keep_paused(wizard: Wizard, state: str, resumed: str = "") -> str | None:
    """Remember the bake of these answers with its state, in place of the one that it went on from;
    what to tell when that is not possible."""
    paused = {"config": wizard.answers.config(), "state": state}
    try:
        wizard.memory.must_change(
            PAUSED, lambda kept: [paused, *_without(_entries(kept), state, resumed)]
        )
    except SuiteError as error:
        label = wizard.texts.label(wizard.answers.declared["resume"])
        return wizard.texts("bake.pause_not_kept", problem=str(error), state=state, label=label)
    return None


def forget_paused(memory: Memory, state: str) -> None:
    """The bake with this state is done, or not wanted any more; others stay paused."""
    with suppress(SuiteError):  # where nothing can be written, there is nothing to forget
        memory.must_change(PAUSED, lambda kept: _without(_entries(kept), state))


def saved_as(state: str, name: Any) -> str:
    """The name under which the bake with this state saves: NAME-2 when `name` was taken."""
    return name_of_state(Path(state)) or str(name or "")


def _entries(kept: Any) -> list[Paused]:
    """What was kept, as far as it is whole."""
    return [one for one in kept if isinstance(one, dict) and isinstance(one.get("config"), dict)
            and isinstance(one.get("state"), str)] if isinstance(kept, list) else []  # fmt: skip


def _without(bakes: list[Paused], *states: str) -> list[Paused]:
    return [one for one in bakes if one["state"] not in states]
