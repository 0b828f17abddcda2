"""Make the optimiser and the learning rate scheduler of a training run.

    made = create_optimizer(settings, network.param_groups(settings), device)
    scheduler = create_scheduler(made.optimizer, settings, total_steps)
    made.title            # for the file's ss_optimizer
    made.notes            # sentences for the user

Which optimiser it is, is decided in `scripts.training.optimizer_choice`. Before it is used it
takes one step on two tiny weights, so that an 8-bit optimiser without its library gives way to
an ordinary one, and one that needs more than gradients is refused, before hours are spent.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from scripts.core.errors import SettingError
from scripts.training.optimizer_choice import OptimizerChoice, choose_optimizer
from scripts.training.schedules import read_schedule

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings


@dataclass(frozen=True)
class CreatedOptimizer:
    """The optimiser, what ss_optimizer says of it, and notes in plain sentences."""

    optimizer: Optimizer
    title: str
    notes: tuple[str, ...]


def create_optimizer(
    settings: TrainSettings,
    param_groups: Sequence[Mapping[str, Any]],
    device: torch.device | str,
) -> CreatedOptimizer:
    """The optimiser that the settings ask for, over the given parameter groups.

    An optimiser of bitsandbytes that cannot take a step on this device is replaced by its
    ordinary counterpart, and a note says so.

    Args:
        settings: optimizer_type, optimizer_args and learning_rate are used.
        param_groups: dicts with "params" and their "lr"; other keys are kept.
        device: where the parameters are.

    Raises SettingError when the optimiser or an argument is unknown or cannot be used.
    """
    convolutions = any(weight.dim() == 4 for group in param_groups for weight in group["params"])
    choice = try_out(settings, device, convolutions)
    optimizer = _make(choice, settings, param_groups)
    if hasattr(optimizer, "train"):
        optimizer.train()
    return CreatedOptimizer(optimizer, _title(optimizer, choice), choice.notes)


def try_out(
    settings: TrainSettings, device: torch.device | str, convolutions: bool
) -> OptimizerChoice:
    """The optimiser that the settings ask for, or its stand-in, tried out on tiny weights.

    `convolutions` tells whether there are weights of convolutions among those to be trained.
    Raises SettingError as `create_optimizer`; called before pictures are encoded, it saves the
    user from waiting for that.
    """
    choice = choose_optimizer(settings)
    device = torch.device(device)
    try:
        _take_trial_steps(choice, settings, convolutions, device)
    except SettingError as error:
        if choice.entry.stand_in is None or error.setting != "optimizer_type":
            raise
        choice = choice.replaced(_reason(error.__cause__))
        _take_trial_steps(choice, settings, convolutions, device)
    return choice


def _make(
    choice: OptimizerChoice, settings: TrainSettings, groups: Sequence[Mapping[str, Any]]
) -> Optimizer:
    made_by = getattr(importlib.import_module(choice.entry.module), choice.entry.class_name)
    # AdaFactor insists on no rate of its own; the rates in the groups are then not looked at.
    rate = None if choice.makes_own_schedule else _base_rate(settings)
    groups = [{**group, **choice.entry.group_keys} for group in groups]
    return made_by(groups, lr=rate, **choice.arguments)


def _base_rate(settings: TrainSettings) -> float:
    return settings.learning_rate or max(settings.unet_rate, settings.text_encoder_rate)


def _take_trial_steps(
    choice: OptimizerChoice, settings: TrainSettings, convolutions: bool, device: torch.device
) -> None:
    """Take a step or two on tiny weights. Leaves the random state as it was.

    Raises SettingError about optimizer_args when the optimiser refuses its arguments, about
    optimizer_type when it cannot be loaded or cannot step, and about lr_warmup_steps when it
    cannot start with the rate of 0 that the warm-up starts with.
    """
    name = choice.entry.name
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # 64 x 64, as bitsandbytes keeps smaller weights in 32 bits
        shapes = [(64, 64), (2, 4, 3, 3)] if convolutions else [(64, 64)]
        weights = [torch.linspace(-0.5, 0.5, math.prod(shape), device=device).view(shape)
                   .requires_grad_() for shape in shapes]  # fmt: skip
        groups = [{"params": weights, "lr": _base_rate(settings)}]
        try:
            optimizer = _make(choice, settings, groups)
        except (TypeError, ValueError) as error:
            if not settings.optimizer_args:
                raise _unusable(name, error) from error
            raise SettingError("optimizer_args", f"The optimiser {name} refuses its arguments "
                               f"({_reason(error)}). Correct them.") from error  # fmt: skip
        except Exception as error:
            raise _unusable(name, error) from error
        try:
            _take_trial_step(optimizer, weights)
        except Exception as error:
            raise _unusable(name, error) from error
        if read_schedule(settings, total_steps=1000)[0].multiplier(0) == 0:
            optimizer = _make(choice, settings, [{"params": weights, "lr": 0.0}])
            try:
                _take_trial_step(optimizer, weights)
            except Exception as error:
                raise SettingError("lr_warmup_steps", f"The optimiser {name} cannot begin with a "
                                   "learning rate of 0, as a warm-up does. Set the warm-up to 0, "
                                   "or choose another optimiser.") from error  # fmt: skip


def _take_trial_step(optimizer: Optimizer, weights: Sequence[torch.Tensor]) -> None:
    if hasattr(optimizer, "train"):
        optimizer.train()
    optimizer.zero_grad()
    sum((weight**2).sum() for weight in weights).backward()
    optimizer.step()
    if not all(bool(torch.isfinite(weight).all()) for weight in weights):
        raise ArithmeticError("a first trial step gave no finite numbers")


def _unusable(name: str, error: Exception) -> SettingError:
    return SettingError("optimizer_type", f"The optimiser {name} cannot be used here "
                        f"({_reason(error)}). Choose another one, such as AdamW.")  # fmt: skip


def _reason(error: BaseException | None) -> str:
    """The first line of what went wrong, short enough for a sentence."""
    lines = str(error).strip().splitlines() if error else []
    first = lines[0].strip().rstrip(".") if lines else type(error).__name__
    return first if len(first) <= 120 else first[:117] + "..."


def _title(optimizer: Optimizer, choice: OptimizerChoice) -> str:
    """Class and arguments as sd-scripts writes them into ss_optimizer."""
    kind = type(optimizer)
    arguments = ",".join(f"{name}={value}" for name, value in choice.arguments.items())
    return f"{kind.__module__}.{kind.__qualname__}" + (f"({arguments})" if arguments else "")


def create_scheduler(optimizer: Optimizer, settings: TrainSettings, total_steps: int) -> LambdaLR:
    """The scheduler that sets every group's rate; call its step() after each optimiser step.

    Its state_dict holds the step alone, which is all that resuming needs. AdaFactor with
    relative steps keeps its own schedule, and this one then leaves the rates alone.

    Raises SettingError when an argument of the schedule is wrong.
    """
    if choose_optimizer(settings).makes_own_schedule:
        return LambdaLR(optimizer, lambda step: 1.0)
    schedule, _ = read_schedule(settings, total_steps)
    return LambdaLR(optimizer, schedule.multiplier)


def current_learning_rates(
    optimizer: Optimizer, scheduler: LambdaLR | None = None, steps_ago: int = 0
) -> dict[str, float]:
    """The learning rate of each group, by the group's name: the one in force for the next step.

    With `scheduler`, which has already gone on, it is the one that the last step was taken with,
    or the step `steps_ago` before it. For optimisers that find the rate themselves it is the rate
    found, for AdaFactor with relative steps that of the group's first weight. Waits for the device
    with those two.
    """
    optimizer = _unwrapped(optimizer)
    groups = list(optimizer.param_groups)
    if scheduler is not None:
        step = max(0, scheduler.last_epoch - 1 - steps_ago)
        rates = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        groups = [{**group, "lr": base * factor(step)}
                  for group, (base, factor) in zip(groups, rates, strict=True)]  # fmt: skip
    return {
        str(group.get("name", number)): _rate(optimizer, group)
        for number, group in enumerate(groups)
    }


def _rate(optimizer: Optimizer, group: dict[str, Any]) -> float:
    if "d" in group:  # D-Adaptation and Prodigy: the estimated distance to the solution
        return float(group["d"]) * float(group["lr"])
    if group.get("relative_step") and hasattr(optimizer, "_get_lr"):
        state = optimizer.state.get(group["params"][0])
        return float(optimizer._get_lr(group, state)) if state else 0.0
    return float(group["lr"])


@contextmanager
def evaluation_weights(optimizer: Optimizer) -> Iterator[None]:
    """For saving and previews: the weights that the optimiser means to be used.

    Schedule-free optimisers train on other weights than those that are the result; inside this
    block the result is in place. Does nothing for all others.
    """
    optimizer = _unwrapped(optimizer)
    switches = hasattr(optimizer, "eval") and hasattr(optimizer, "train")
    if switches:
        optimizer.eval()
    try:
        yield
    finally:
        if switches:
            optimizer.train()


def _unwrapped(optimizer: Any) -> Any:
    """The optimiser itself when accelerate has wrapped it."""
    return getattr(optimizer, "optimizer", optimizer)
