"""Which optimiser the settings ask for, found and checked without importing any library.

`optimizer_type` is a name of the table below (any case), the name of a class of the
`pytorch_optimizer` library or of `torch.optim`, or one of these with its library in front, as
sd-scripts takes it ("bitsandbytes.optim.AdamW8bit"). Whether a class exists and which arguments
it has is read from the library's source text, so the plan can say it without loading torch.

    choice = choose_optimizer(settings)     # raises SettingError
    choice.notes                            # sentences for the user

`scripts.training.optimizers` makes the real optimiser from the choice.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from scripts.core.errors import SettingError
from scripts.core.machine import why_no_eight_bit
from scripts.training.optimizer_sources import (
    LIBRARY,
    arguments_of,
    exported_class,
    library_classes,
    needs_closure,
)

if TYPE_CHECKING:
    from scripts.settings.train import TrainSettings


@dataclass(frozen=True)
class Entry:
    """One optimiser: its name in the settings, where its class lies, what it is given.

    `arguments` are given unless the user sets them, `group_keys` are put into every parameter
    group; `stand_in` is the entry used when this one cannot run on the machine; `finds_rate`
    marks those that find the learning rate themselves.
    """

    name: str
    module: str
    class_name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    group_keys: Mapping[str, Any] = field(default_factory=dict)
    stand_in: str | None = None
    finds_rate: bool = False


def _eight_bit(name: str, class_name: str, stand_in: str, **arguments: Any) -> Entry:
    return Entry(name, "bitsandbytes.optim", class_name, arguments, stand_in=stand_in)


def _d_adaptation(name: str, class_name: str) -> Entry:
    # Without decoupled weight decay D-Adaptation trains a blank LoRA.
    return Entry(name, LIBRARY, class_name, {"weight_decouple": True}, finds_rate=True)


def _muon(name: str) -> Entry:
    return Entry(name, LIBRARY, name, group_keys={"use_muon": True})


TABLE = (
    Entry("AdamW", "torch.optim", "AdamW"),
    _eight_bit("AdamW8bit", "AdamW8bit", "AdamW"),
    _eight_bit("PagedAdamW8bit", "PagedAdamW8bit", "AdamW"),
    _eight_bit("PagedAdamW", "PagedAdamW", "AdamW"),
    _eight_bit("PagedAdamW32bit", "PagedAdamW32bit", "AdamW"),
    Entry("Lion", LIBRARY, "Lion"),
    _eight_bit("Lion8bit", "Lion8bit", "Lion"),
    _eight_bit("PagedLion8bit", "PagedLion8bit", "Lion"),
    Entry("SGDNesterov", "torch.optim", "SGD", {"momentum": 0.9, "nesterov": True}),
    _eight_bit("SGDNesterov8bit", "SGD8bit", "SGDNesterov", momentum=0.9, nesterov=True),
    Entry("AdEMAMix", LIBRARY, "AdEMAMix"),
    _eight_bit("AdEMAMix8bit", "AdEMAMix8bit", "AdEMAMix"),
    _eight_bit("PagedAdEMAMix8bit", "PagedAdEMAMix8bit", "AdEMAMix"),
    _d_adaptation("DAdaptation", "DAdaptAdam"),
    _d_adaptation("DAdaptAdam", "DAdaptAdam"),
    _d_adaptation("DAdaptAdaGrad", "DAdaptAdaGrad"),
    _d_adaptation("DAdaptAdan", "DAdaptAdan"),
    _d_adaptation("DAdaptLion", "DAdaptLion"),
    _d_adaptation("DAdaptSGD", "DAdaptSGD"),
    Entry("AdaFactor", "transformers.optimization", "Adafactor", {"relative_step": True}),
    Entry("Prodigy", LIBRARY, "Prodigy", finds_rate=True),
    Entry("CAME", LIBRARY, "CAME"),
    _muon("Muon"),
    _muon("AdaMuon"),
    _muon("NorMuon"),
    _muon("AdaGO"),
)
ENTRIES = {entry.name.lower(): entry for entry in TABLE}
# What sd-scripts and the libraries that it uses call the same optimisers and arguments.
OTHER_NAMES = {
    "dadaptadampreprint": "DAdaptation",
    "dadaptadanip": "DAdaptAdan",
    "adamwschedulefree": "ScheduleFreeAdamW",
    "radamschedulefree": "ScheduleFreeRAdam",
    "sgdschedulefree": "ScheduleFreeSGD",
}
OTHER_ARGUMENT_NAMES = {"decouple": "weight_decouple", "use_bias_correction": "bias_correction"}
MODULES = {
    "torch": "torch.optim",
    "bitsandbytes": "bitsandbytes.optim",
    "pytorch_optimizer": LIBRARY,
    "transformers": "transformers.optimization",
}
SAME_CLASSES_ELSEWHERE = ("prodigyopt", "lion_pytorch", "dadaptation", "came_pytorch",
                          "schedulefree")  # fmt: skip
NEEDS_MORE_THAN_WEIGHTS = {"model", "optimizer", "base_optimizer", "defaults", "rho_scheduler"}


@dataclass(frozen=True)
class OptimizerChoice:
    """The entry to use, the arguments for its class (the learning rate aside), and notes."""

    entry: Entry
    arguments: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def makes_own_schedule(self) -> bool:
        """Whether this is the table's AdaFactor with relative steps, which uses no rate."""
        return self.entry.class_name == "Adafactor" and bool(self.arguments["relative_step"])

    def replaced(self, reason: str) -> OptimizerChoice:
        """The choice with the stand-in in place of an entry that cannot run here."""
        stand_in = ENTRIES[self.entry.stand_in.lower()]
        known = arguments_of(stand_in.module, stand_in.class_name)
        arguments = {name: value for name, value in self.arguments.items()
                     if known is None or name in known}  # fmt: skip
        note = (f"{self.entry.name} does not run on this machine ({reason}), so {stand_in.name} "
                "is used: the same result with a little more memory.")  # fmt: skip
        return replace(self, entry=stand_in, arguments=arguments, notes=(*self.notes, note))


def choose_optimizer(settings: TrainSettings) -> OptimizerChoice:
    """The optimiser that the settings ask for, or its stand-in where set-up saw it fail.

    Raises SettingError for an unknown optimiser or argument, and for one that needs more than
    the weights and their gradients.
    """
    entry = find_entry(settings.optimizer_type)
    given = {name: read_argument(value) for name, value in settings.optimizer_args.items()}
    arguments = _check_arguments(entry, {**entry.arguments, **_rename(entry, given)})
    choice = OptimizerChoice(entry, arguments)
    choice = replace(choice, notes=tuple(_notes(choice, settings)))
    reason = why_no_eight_bit()
    return choice.replaced(reason) if reason and entry.stand_in else choice


def validate_optimizer(settings: TrainSettings) -> list[str]:
    """Notes on the optimiser for the plan, without torch. Raises SettingError as above."""
    return list(choose_optimizer(settings).notes)


def find_entry(name: str) -> Entry:
    """The entry of an optimiser by name, any case. Raises SettingError with close matches."""
    library, _, short = name.strip().rpartition(".")
    short = OTHER_NAMES.get(short.lower(), short)
    top = library.split(".")[0]
    if top in ("", *SAME_CLASSES_ELSEWHERE):
        entry = ENTRIES.get(short.lower()) or _entry_of_libraries(short)
    else:
        entry = _entry_of_one_library(top, short)
    if entry is not None:
        return entry
    known = [entry.name for entry in TABLE] + list(library_classes().values())
    close = difflib.get_close_matches(short.lower(), [each.lower() for each in known], n=3)
    spelled = {each.lower(): each for each in reversed(known)}
    names = [spelled[each] for each in dict.fromkeys(close)] or ["AdamW", "AdamW8bit", "Prodigy"]
    raise SettingError("optimizer_type", f'There is no optimiser called "{name}". Choose one, such '
                       f"as {', '.join(names)}.")  # fmt: skip


def _entry_of_libraries(name: str) -> Entry | None:
    found = library_classes().get(name.lower())
    if found:
        return Entry(found, LIBRARY, found)
    return _entry_of_one_library("torch", name)


def _entry_of_one_library(top: str, name: str) -> Entry | None:
    """The class `name` of one library; with the table's arguments where the table has it."""
    for entry in TABLE:
        if entry.module.split(".")[0] == top and entry.class_name.lower() == name.lower():
            # torch.optim.SGD means plain SGD, not the table's SGDNesterov
            return entry if entry.name.lower() == name.lower() else Entry(
                entry.class_name, entry.module, entry.class_name)  # fmt: skip
    module = MODULES.get(top)
    if module is None:
        return None
    found = (
        library_classes().get(name.lower()) if module == LIBRARY else exported_class(module, name)
    )
    return Entry(found, module, found) if found else None


def read_argument(value: Any) -> Any:
    """The value of an argument written as text: "0.1", "0.9,0.99", "True", "None", "cosine"."""
    if not isinstance(value, str):
        return tuple(value) if isinstance(value, list) else value
    text = value.strip()
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _rename(entry: Entry, given: Mapping[str, Any]) -> dict[str, Any]:
    known = arguments_of(entry.module, entry.class_name) or {}
    renamed = {}
    for name, value in given.items():
        other = OTHER_ARGUMENT_NAMES.get(name)
        renamed[other if name not in known and other in known else name] = value
    return renamed


def _check_arguments(entry: Entry, arguments: dict[str, Any]) -> dict[str, Any]:
    known = arguments_of(entry.module, entry.class_name)
    if "lr" in arguments:
        raise SettingError("optimizer_args", "lr cannot be given here. Use learning_rate.")
    if known is None:
        return arguments
    for name in arguments:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f" Did you mean {close[0]}?" if close else ""
            raise SettingError(
                "optimizer_args",
                f"The optimiser {entry.name} has no argument called {name}.{meant} "
                f"It has: {', '.join(known) or 'none'}.",
            )
        _check_type(name, arguments[name], known[name].default)
    missing = [name for name, each in known.items() if each.needed and name not in arguments]
    if NEEDS_MORE_THAN_WEIGHTS.intersection(missing):
        raise SettingError("optimizer_type", f"{entry.name} works only around a model or another "
                           "optimiser, so it cannot be used here. Choose another one, such as "
                           "AdamW.")  # fmt: skip
    if needs_closure(entry.module, entry.class_name):
        raise SettingError("optimizer_type", f"{entry.name} works the loss out several times a "
                           "step, so it cannot be used here. Choose another one, such as "
                           "AdamW.")  # fmt: skip
    if missing:
        raise SettingError("optimizer_args", f"The optimiser {entry.name} needs "
                           f"{' and '.join(missing)}. Add {missing[0]}=VALUE.")  # fmt: skip
    return arguments


def _check_type(name: str, value: Any, default: Any) -> None:
    """Raise SettingError when `value` cannot be right, as the default shows what is meant."""
    if value is None or not isinstance(default, tuple | str | int | float):
        return
    if isinstance(default, tuple):
        right = isinstance(value, tuple) and len(value) >= len(default)
        right = right and all(each is None or _is_number(each) for each in value)
        words = {1: "one number with a comma behind it", 2: "two numbers", 3: "three numbers"}
        needed = words.get(len(default), f"{len(default)} numbers")
    elif isinstance(default, str):
        right, needed = isinstance(value, str), "a word"
    else:  # a number does for true or false too
        right = _is_number(value)
        needed = "true or false" if isinstance(default, bool) else "a number"
    if not right:
        raise SettingError("optimizer_args", f"{name} is {_as_written(value)}, but needs {needed}, "
                           f"such as {name}={_as_written(default)}.")  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _as_written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) + ("," if len(value) == 1 else "")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _notes(choice: OptimizerChoice, settings: TrainSettings) -> list[str]:
    name = choice.entry.name
    rates = {rate for rate in (settings.unet_rate, settings.text_encoder_rate) if rate}
    notes = []
    if choice.entry.finds_rate and rates:
        if max(rates) < 0.1:
            notes.append(f"{name} finds the learning rate itself, and learning_rate is only a "
                         f"factor on it: {max(rates):g} is very low, 1 is usual.")  # fmt: skip
        if len(rates) > 1:
            notes.append(f"{name} uses one learning rate for all parts: the different rates of "
                         "text encoder and U-Net are not kept apart.")  # fmt: skip
    if choice.makes_own_schedule:
        notes.append("AdaFactor chooses its own learning rates, so learning_rate and lr_scheduler "
                     "are not used. To use them, give optimizer_args relative_step=False "
                     "scale_parameter=False warmup_init=False.")  # fmt: skip
    elif settings.lr_scheduler == "adafactor":
        notes.append("The adafactor schedule belongs to AdaFactor with relative_step=True; here "
                     "the learning rate stays constant.")  # fmt: skip
    if name.startswith("ScheduleFree") and not settings.lr_scheduler.startswith("constant"):
        notes.append(f"{name} is made to be used without a schedule: lr_scheduler constant suits "
                     f"it better than {settings.lr_scheduler}.")  # fmt: skip
    return notes
