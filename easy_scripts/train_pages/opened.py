"""Settings that come from elsewhere (a config, the last bake, the queue) become the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from easy_scripts.train_pages.bake_findings import OF_LORA
from easy_scripts.wizard.window import Wizard

APPLIED = "applied"  # in the memory: what advice has entered, which it may change again
PROMPTS, PREVIEW_PACE = "sample_prompts", "sample_every_n_epochs"
# What another LoRA has of its own.
OF_ONE_LORA = {"output_name", "caption_prefix", PROMPTS, "folder_repeats", "resume",
               "metadata_title", "metadata_description", "metadata_tags",
               "training_comment"}  # fmt: skip


def open_settings(wizard: Wizard, values: Mapping[str, Any]) -> None:
    """Replace all answers; what comes from elsewhere is not overruled by advice or proposals."""
    wizard.facts.forget(*OF_LORA)
    wizard.answers.replace(as_entered(values))
    wizard.facts.spent = True
    keep_opened(wizard, "own")
    if values == wizard.memory.get("last", {}):
        wizard.facts.trigger = wizard.memory.get("last_trigger", "")
    wizard.draft.begin()


def keep_opened(wizard: Wizard, kind: str) -> None:
    """The kind chosen for settings that were opened, "" for others; kept with their draft."""
    wizard.facts.kind = kind
    wizard.draft.note_kind(kind)


def begin_new(wizard: Wizard) -> None:
    """Settings that belong to another LoRA give the next one their base model and folders, and what
    was set by hand, but nothing that only that LoRA has."""
    answers = wizard.answers
    if wizard.facts.spent:
        its_own = OF_ONE_LORA | ({PREVIEW_PACE} if answers.is_open(PREVIEW_PACE) else set())
        entered = answers.entered().items()
        answers.replace({name: value for name, value in entered if name not in its_own},
                        answers.by_hand - its_own)  # fmt: skip
        wizard.facts.forget(*OF_LORA)
        wizard.draft.begin()
    keep_opened(wizard, wizard.facts.kind)


def as_entered(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings from a config as a person would have entered them: prompts one a line."""
    entered = dict(values)
    prompts = entered.get(PROMPTS)
    if isinstance(prompts, list):
        texts = [prompt if isinstance(prompt, str) else json.dumps(prompt) for prompt in prompts]
        entered[PROMPTS] = "\n".join(texts) if all(
            isinstance(prompt, str) for prompt in prompts) else prompts  # fmt: skip
    return entered
