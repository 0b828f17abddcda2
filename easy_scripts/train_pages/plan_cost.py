"""How long a planned training takes and how much memory: measured, estimated, or not known yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from easy_scripts.train_pages.kind_words import read_answers
from easy_scripts.wizard.window import Wizard
from scripts.settings.advice import Situation
from scripts.settings.cost import OF_COST, cost_of_step


def cost_lines(wizard: Wizard, plan: dict[str, Any], place: Path) -> list[tuple[str, str]]:
    """Names and texts for the card of the summary, from the plan of `scripts.train --plan`.

    `place` is the file of the paces that are known. Nothing as long as the card is not.
    """
    texts, card = wizard.texts, wizard.facts.card
    if card is None:
        return []
    base, no_card = plan["base_model"], not card.present
    situation = Situation(
        kind="own", effort="balanced", family=base["family"], pictures=1,
        v_prediction=base["v_prediction"], bf16=card.bf16, no_card=no_card,
        device="CPU" if no_card else card.name,
    )  # fmt: skip
    cost = cost_of_step(situation, read_answers(wizard.answers, OF_COST, plan["settings"]), place)
    if cost.seconds_per_step is None:
        time = texts("summary.time_unknown")
    else:
        key = "summary.time_text" if cost.seconds_are_exact else "summary.time_roughly"
        time = texts(key, time=texts.duration(cost.seconds_per_step * plan["steps"]))
    lines = [(texts("summary.time"), time)]
    if card.present:
        needed = f"{cost.memory_bytes / 1e9:.1f}"
        text = texts("summary.memory_alone", gb=needed)
        if card.memory_gb:
            text = texts("summary.memory_text", gb=needed, of=f"{card.memory_gb:g}")
        lines.append((texts("summary.memory"), text))
    return lines
