"""Settings that come from elsewhere (a config, the last bake, the queue) become the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from easy_scripts.train_pages.bake_findings import OF_LORA
from easy_scripts.wizard.window import Wizard


def open_settings(wizard: Wizard, values: Mapping[str, Any]) -> None:
    """Replace all answers; what comes from elsewhere is not overruled by advice or proposals."""
    wizard.facts.forget(*OF_LORA)
    wizard.answers.replace(as_entered(values))
    wizard.facts.kind = "own"
    if values == wizard.memory.get("last", {}):
        wizard.facts.trigger = wizard.memory.get("last_trigger", "")
    wizard.draft.begin()


def as_entered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from a config as a person would have entered them: prompts one a line."""
    entered = dict(values)
    prompts = entered.get("sample_prompts")
    if isinstance(prompts, list):
        texts = [prompt if isinstance(prompt, str) else json.dumps(prompt) for prompt in prompts]
        entered["sample_prompts"] = "\n".join(texts) if all(
            isinstance(prompt, str) for prompt in prompts) else prompts  # fmt: skip
    return entered
