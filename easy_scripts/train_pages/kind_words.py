"""What the choices of kind, care and card come to, in a plain sentence: steps, time, memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from easy_scripts.wizard.answers import Answers
from easy_scripts.wizard.window import Wizard
from scripts.core.declare import read_value
from scripts.core.errors import SettingError
from scripts.settings.advice import Advice, Situation
from scripts.settings.cost import OF_COST, Cost, cost_of_step


def in_words(
    wizard: Wizard, advice: Advice, situation: Situation, place: Path,
    measured: tuple[float, int | None] | None = None,
) -> str:  # fmt: skip
    """The sentence for the answers as they are now, which may differ from the advice.

    `place` is the file of the paces that are known; `measured` are seconds and bytes of a step
    that a trial of these answers took.
    """
    texts, answers = wizard.texts, wizard.answers
    values = {**advice.values, **read_answers(answers, OF_COST)}
    cost = cost_of_step(situation, values, place)
    if measured is not None:
        cost = Cost(measured[1] or cost.memory_bytes, measured[1] is not None, measured[0], True)
    epochs = read_answers(answers, ("max_train_epochs",)).get("max_train_epochs") or 1
    batch = values["train_batch_size"] * (values.get("gradient_accumulation_steps") or 1)
    steps = epochs * math.ceil(_uses(wizard, advice, situation) / batch)
    parts = [texts("kind.steps", steps=steps, epochs=epochs)]
    if cost.seconds_per_step is not None:
        seconds = cost.seconds_per_step * steps
        parts.append(time_in_words(wizard, situation.no_card, seconds, cost.seconds_are_exact))
    if situation.no_card:
        parts.append(texts("kind.slow"))
    else:
        needed = f"{cost.memory_bytes / 1e9:.1f}"
        if situation.memory_gb:
            parts.append(texts("kind.needs", gb=needed, of=f"{situation.memory_gb:g}"))
        else:
            parts.append(texts("kind.needs_alone", gb=needed))
    if advice.shrink_to:
        parts.append(texts("kind.shrink", dim=advice.shrink_to))
    return " ".join(parts)


def time_in_words(wizard: Wizard, no_card: bool, seconds: float, exact: bool = True) -> str:
    """How long it takes, on the card or on this computer."""
    key = "kind.time" + ("_here" if no_card else "") + ("" if exact else "_roughly")
    return wizard.texts(key, time=wizard.texts.duration(seconds))


def read_answers(
    answers: Answers, names: tuple[str, ...], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The settings of these names that can be read, by name; their rows tell of the others.

    `given` are values that go before the answers."""
    values = {}
    for name in names:
        raw = (given or {}).get(name, answers[name])
        try:
            values[name] = read_value(answers.declared[name], raw)
        except SettingError:
            continue
    return values


def _uses(wizard: Wizard, advice: Advice, situation: Situation) -> int:
    """How often pictures are looked at in a round: with regularisation pictures twice as often, as
    these are repeated until they are as many."""
    facts, advised = wizard.facts, wizard.facts.advised_repeats
    if not facts.folders or (advised and wizard.answers["folder_repeats"] == advised):
        uses = advice.repeats * situation.pictures
    else:
        uses = sum(one["repeats"] * one["pictures"] for one in facts.folders)
    return uses * (2 if any(one["is_reg"] and one["pictures"] for one in facts.all_folders) else 1)
