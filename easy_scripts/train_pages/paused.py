"""Paused bakes: settings ("config") and saved state ("state") of each that can go on, the newest
first. Only the memory of the wizard points to their states; name and folder of its LoRA tell a bake
from the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from easy_scripts.bakes.kept import kept_bakes
from easy_scripts.wizard.remembered import Memory
from easy_scripts.wizard.window import Wizard
from scripts.core.errors import SuiteError

PAUSED = "paused"

Paused = dict[str, Any]


def paused_bakes(memory: Memory) -> list[Paused]:
    """Those that can go on now: not one that does so already, or has ended without a window."""
    found = [_whose(bake.about.config) for bake in kept_bakes()]
    return [one for one in _entries(memory.get(PAUSED))
            if os.path.isdir(one["state"]) and _whose(one["config"]) not in found]  # fmt: skip


def keep_paused(wizard: Wizard, state: str) -> str | None:
    """Remember the bake of these answers with its state; what to tell when that is not possible."""
    paused = {"config": wizard.answers.config(), "state": state}
    try:
        wizard.memory.must_change(
            PAUSED, lambda kept: [paused, *_without(_entries(kept), paused["config"])]
        )
    except SuiteError as error:
        label = wizard.texts.label(wizard.answers.declared["resume"])
        return wizard.texts("bake.pause_not_kept", problem=str(error), state=state, label=label)
    return None


def forget_paused(memory: Memory, config: Mapping[str, Any]) -> None:
    """The bake with these settings is done, or not wanted any more; others stay paused."""
    with suppress(SuiteError):  # where nothing can be written, there is nothing to forget
        memory.must_change(PAUSED, lambda kept: _without(_entries(kept), config))


def _entries(kept: Any) -> list[Paused]:
    """What was kept, as far as it is whole."""
    return [one for one in kept if isinstance(one, dict) and isinstance(one.get("config"), dict)
            and isinstance(one.get("state"), str)] if isinstance(kept, list) else []  # fmt: skip


def _without(bakes: list[Paused], config: Mapping[str, Any]) -> list[Paused]:
    return [one for one in bakes if _whose(one["config"]) != _whose(config)]


def _whose(config: Mapping[str, Any]) -> tuple[Any, Any]:
    return config.get("output_dir"), config.get("output_name")
