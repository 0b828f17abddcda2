"""The paused bake: its settings and its state, which only the memory of the wizard points to."""

from __future__ import annotations

from typing import Any

from easy_scripts.wizard.window import Wizard
from scripts.core.errors import SuiteError

PAUSED = "paused"
ITS_NAME = ("output_name", "output_dir")


def keep_paused(wizard: Wizard, state: str) -> str | None:
    """Remember the bake of these answers with its state; what to tell when that is not possible."""
    try:
        wizard.memory.must_keep(PAUSED, {"config": wizard.answers.config(), "state": state})
    except SuiteError as error:
        label = wizard.texts.label(wizard.answers.declared["resume"])
        return wizard.texts("bake.pause_not_kept", problem=str(error), state=state, label=label)
    return None


def forget_paused(wizard: Wizard) -> None:
    """The bake of these answers is done. A pause of another one stays, whichever window made it."""
    paused: dict[str, Any] = wizard.memory.get(PAUSED, {}).get("config", {})
    config = wizard.answers.config()
    if all(paused.get(name) == config.get(name) for name in ITS_NAME):
        wizard.memory.keep(PAUSED, {})
