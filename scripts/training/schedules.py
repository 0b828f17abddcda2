"""How the learning rate changes over the training: one formula for each `lr_scheduler`.

Every schedule is a pure function of the step that gives the factor by which the base learning
rates are multiplied. Standard library only: the plan (`scripts.train --plan`) and the training
use the same numbers.

    schedule, notes = read_schedule(settings, total_steps=1000)
    schedule.multiplier(0)            # the factor for the first optimiser step
    learning_rates(settings, 1000, {"unet": 1e-4})

The formulas are those of `diffusers.optimization` and `transformers.optimization`, which
sd-scripts uses; steps count from 0.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scripts.core.errors import SettingError

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings

LOWEST_RATE_OF_POLYNOMIAL = 1e-7  # diffusers' default end of the polynomial schedule


@dataclass(frozen=True)
class Schedule:
    """A learning rate schedule whose numbers are all known.

    `warmup_steps` and `decay_steps` are whole steps; `end_ratio` is the share of the base rate
    that polynomial, cosine_with_min_lr and warmup_stable_decay end with; `num_cycles` counts
    restarts, or half waves; `rules` holds (first step that it no longer counts for, factor)
    of piecewise_constant, and `last_factor` the factor after the last of them.
    """

    name: str
    total_steps: int
    warmup_steps: int = 0
    decay_steps: int = 0
    num_cycles: float = 1
    power: float = 1.0
    timescale: int | None = None
    end_ratio: float = 0.0
    rules: tuple[tuple[int, float], ...] = ()
    last_factor: float = 1.0

    def multiplier(self, step: int) -> float:
        """The factor on the base learning rate for optimiser step `step`, counted from 0."""
        return FORMULAS[self.name](step, self)


def _warm_up(step: int, schedule: Schedule) -> float | None:
    """step / warm-up steps while warming up, None afterwards."""
    if step < schedule.warmup_steps:
        return step / max(1, schedule.warmup_steps)
    return None


def _progress(step: int, schedule: Schedule) -> float:
    """The share of the steps after the warm-up that lies behind `step`."""
    return (step - schedule.warmup_steps) / max(1, schedule.total_steps - schedule.warmup_steps)


def constant(step: int, schedule: Schedule) -> float:
    """1, after a linear warm-up (diffusers: get_constant_schedule_with_warmup)."""
    return 1.0 if step >= schedule.warmup_steps else step / max(1.0, schedule.warmup_steps)


def linear(step: int, schedule: Schedule) -> float:
    """After the warm-up: (total − step) / (total − warm-up), at least 0."""
    warming = _warm_up(step, schedule)
    if warming is not None:
        return warming
    left = schedule.total_steps - step
    return max(0.0, left / max(1, schedule.total_steps - schedule.warmup_steps))


def cosine(step: int, schedule: Schedule) -> float:
    """After the warm-up: (1 + cos(π·cycles·progress)) / 2, from 1 to 0 for one cycle.

    With `end_ratio` e it is e + (1 − e) times that (transformers: cosine_with_min_lr).
    """
    warming = _warm_up(step, schedule)
    if warming is not None:
        return warming
    half_waves = schedule.num_cycles
    factor = 0.5 * (1.0 + math.cos(math.pi * half_waves * _progress(step, schedule)))
    return max(0.0, factor * (1 - schedule.end_ratio) + schedule.end_ratio)


def cosine_with_restarts(step: int, schedule: Schedule) -> float:
    """After the warm-up: (1 + cos(π·(cycles·progress mod 1))) / 2, back to 1 at each restart."""
    warming = _warm_up(step, schedule)
    if warming is not None:
        return warming
    progress = _progress(step, schedule)
    if progress >= 1.0:
        return 0.0
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * ((schedule.num_cycles * progress) % 1.0))))


def polynomial(step: int, schedule: Schedule) -> float:
    """After the warm-up: e + (1 − e)·(1 − progress)^power, with e = `end_ratio`."""
    warming = _warm_up(step, schedule)
    if warming is not None:
        return warming
    if step > schedule.total_steps:
        return schedule.end_ratio
    left = 1 - _progress(step, schedule)
    return (1 - schedule.end_ratio) * left**schedule.power + schedule.end_ratio


def inverse_sqrt(step: int, schedule: Schedule) -> float:
    """After the warm-up: 1 / √((step + timescale − warm-up) / timescale).

    The time scale is the warm-up's length when not set, 10,000 steps without a warm-up
    (transformers: get_inverse_sqrt_schedule, after big_vision).
    """
    warming = _warm_up(step, schedule)
    if warming is not None:
        return warming
    timescale = schedule.timescale or schedule.warmup_steps or 10_000
    return 1.0 / math.sqrt((step + timescale - schedule.warmup_steps) / timescale)


def warmup_stable_decay(step: int, schedule: Schedule) -> float:
    """Up in a line from `end_ratio` e, at 1 until the decay, then a cosine down to e.

    In the last `decay_steps` steps: e + (1 − e)·(1 + cos(π·cycles·progress)) / 2
    (transformers: get_wsd_schedule).
    """
    end = schedule.end_ratio
    warming = _warm_up(step, schedule)
    if warming is not None:
        return max(0.0, warming * (1.0 - end) + end)
    decay_begins = schedule.total_steps - schedule.decay_steps
    decay_begins = max(decay_begins, schedule.warmup_steps)
    if step < decay_begins:
        return 1.0
    if step < decay_begins + schedule.decay_steps:
        progress = (step - decay_begins) / max(1, schedule.decay_steps)
        factor = 0.5 * (1.0 + math.cos(math.pi * schedule.num_cycles * progress))
        return max(0.0, factor * (1.0 - end) + end)
    return end


def piecewise_constant(step: int, schedule: Schedule) -> float:
    """The factor of the first rule whose step lies above `step`, else the last factor.

    "1:100,0.1:200,0.01" is 1 before step 100, 0.1 before step 200, then 0.01
    (diffusers: get_piecewise_constant_schedule). There is no warm-up.
    """
    for boundary, factor in schedule.rules:
        if step < boundary:
            return factor
    return schedule.last_factor


def adafactor(step: int, schedule: Schedule) -> float:
    """1: the AdaFactor optimiser makes its own schedule."""
    return 1.0


FORMULAS: dict[str, Callable[[int, Schedule], float]] = {
    "linear": linear,
    "cosine": cosine,
    "cosine_with_restarts": cosine_with_restarts,
    "polynomial": polynomial,
    "constant": constant,
    "constant_with_warmup": constant,
    "piecewise_constant": piecewise_constant,
    "inverse_sqrt": inverse_sqrt,
    "warmup_stable_decay": warmup_stable_decay,
    "cosine_with_min_lr": cosine,
    "adafactor": adafactor,
}
# What lr_scheduler_args may hold for each schedule.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("power", "lr_end"),
    "piecewise_constant": ("step_rules",),
    "inverse_sqrt": ("timescale",),
    "warmup_stable_decay": ("min_lr_ratio",),
    "cosine_with_min_lr": ("min_lr", "min_lr_rate", "min_lr_ratio"),
}
NO_WARM_UP = ("piecewise_constant", "adafactor")


def read_schedule(settings: TrainSettings, total_steps: int) -> tuple[Schedule, list[str]]:
    """The schedule that the settings ask for over `total_steps`, and notes in plain sentences.

    A warm-up or decay below 1 is that fraction of all steps, rounded down.

    Raises SettingError when an argument of the schedule is missing, unknown or unreadable.
    """
    name = settings.lr_scheduler
    if name not in FORMULAS:
        raise SettingError("lr_scheduler", f'There is no schedule called "{name}". Choose one of: '
                           f"{', '.join(FORMULAS)}.")  # fmt: skip
    arguments = _read_arguments(name, settings.lr_scheduler_args)
    warmup_steps = _whole_steps(settings.lr_warmup_steps, total_steps)
    decay_steps = _whole_steps(settings.lr_decay_steps, total_steps)
    notes = _notes(name, warmup_steps, decay_steps, total_steps)
    rules, last_factor = (), 1.0
    if name == "piecewise_constant":
        rules, last_factor = _read_step_rules(arguments.get("step_rules"))
    return Schedule(
        name=name,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        decay_steps=decay_steps,
        num_cycles=_cycles(name, settings, arguments),
        power=arguments.get("power", settings.lr_scheduler_power),
        timescale=arguments.get("timescale", settings.lr_scheduler_timescale),
        end_ratio=_end_ratio(name, settings, arguments),
        rules=rules,
        last_factor=last_factor,
    ), notes


def learning_rates(
    settings: TrainSettings, total_steps: int, groups: Mapping[str, float], every: int = 1
) -> dict[str, list[float]]:
    """The learning rate of each group at each step, for the plan.

    Args:
        settings: the settings of the run.
        total_steps: the number of optimiser steps.
        groups: the base learning rate of each group, by the group's name.
        every: give the rates of every so many steps alone, beginning with the first.
    """
    schedule, _ = read_schedule(settings, total_steps)
    factors = [schedule.multiplier(step) for step in range(0, total_steps, every)]
    return {name: [rate * factor for factor in factors] for name, rate in groups.items()}


def _whole_steps(value: float | None, total_steps: int) -> int:
    """A number of steps, or below 1 a fraction of all steps, rounded down; None is 0."""
    value = value or 0
    return int(value * total_steps) if value < 1 else int(value)


def _notes(name: str, warmup_steps: int, decay_steps: int, total_steps: int) -> list[str]:
    notes = []
    if warmup_steps and name == "constant":
        notes.append(f"The schedule constant has no warm-up; because {warmup_steps} warm-up steps "
                     "are set, constant_with_warmup is used.")  # fmt: skip
    if warmup_steps and name in NO_WARM_UP:
        notes.append(f"The schedule {name} has no warm-up; lr_warmup_steps is not used.")
    elif warmup_steps >= total_steps > 0:
        notes.append(f"The warm-up of {warmup_steps} steps is as long as the whole training "
                     f"({total_steps} steps): the full learning rate is never "
                     "reached.")  # fmt: skip
    if name == "warmup_stable_decay" and not decay_steps:
        notes.append("The schedule warmup_stable_decay has no decay, because lr_decay_steps is 0; "
                     "0.2 would let the rate fall in the last fifth.")  # fmt: skip
    return notes


def _read_arguments(name: str, raw: Mapping[str, Any] | None) -> dict[str, Any]:
    allowed = ARGUMENTS.get(name, ())
    arguments: dict[str, Any] = {}
    for key, value in (raw or {}).items():
        if key not in allowed:
            known = f"It knows {', '.join(allowed)}." if allowed else "It has none."
            raise SettingError("lr_scheduler_args", f"The schedule {name} has no argument called "
                               f"{key}. {known}")  # fmt: skip
        arguments[key] = str(value) if key == "step_rules" else _number(key, value)
    return arguments


def _number(key: str, value: Any) -> float:
    try:
        number = ast.literal_eval(value) if isinstance(value, str) else value
        if isinstance(number, int | float) and number >= 0 and math.isfinite(number):
            return number
    except (ValueError, SyntaxError):
        pass
    raise SettingError("lr_scheduler_args", f'{key} is "{value}". Write a number of 0 or more.')


def _cycles(name: str, settings: TrainSettings, arguments: Mapping[str, Any]) -> float:
    if name == "cosine":
        return 1  # the restarts belong to cosine_with_restarts
    return arguments.get("num_cycles", settings.lr_scheduler_num_cycles)


def _end_ratio(name: str, settings: TrainSettings, arguments: Mapping[str, Any]) -> float:
    base_rate = settings.learning_rate or max(settings.unet_rate, settings.text_encoder_rate)
    if name == "polynomial":
        lowest = arguments.get("lr_end", LOWEST_RATE_OF_POLYNOMIAL)
        if base_rate <= lowest:
            raise SettingError("learning_rate", f"{base_rate:g} is not above {lowest:g}, where the "
                               "polynomial schedule ends. Take a higher rate.")  # fmt: skip
        return lowest / base_rate
    if "min_lr" in arguments and base_rate:
        return min(1.0, arguments["min_lr"] / base_rate)
    if name not in ("cosine_with_min_lr", "warmup_stable_decay"):
        return 0.0
    ratio = arguments.get("min_lr_rate", arguments.get("min_lr_ratio"))
    return ratio if ratio is not None else settings.lr_scheduler_min_lr_ratio or 0.0


def _read_step_rules(text: str | None) -> tuple[tuple[tuple[int, float], ...], float]:
    example = 'Write for example lr_scheduler_args "step_rules=1:100,0.1:200,0.01": the full rate '\
        "before step 100, a tenth before step 200, then a hundredth."  # fmt: skip
    if not text:
        raise SettingError("lr_scheduler", "The schedule piecewise_constant needs the steps at "
                           f"which the rate changes. {example}")  # fmt: skip
    try:
        *pairs, last = text.strip("\"'").split(",")
        rules = []
        for pair in pairs:
            factor, boundary = pair.split(":")
            rules.append((int(boundary), float(factor)))
        return tuple(sorted(rules)), float(last)
    except ValueError as error:
        raise SettingError("lr_scheduler_args", f'The step rules "{text}" cannot be read. '
                           f"{example}") from error  # fmt: skip
