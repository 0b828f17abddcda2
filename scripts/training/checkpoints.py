"""Save and load the state of a training, so that it goes on exactly where it stopped.

A state is a folder with `state.pt` (weights, optimiser, schedule) and `progress.json` (how far it
got, and what the training was, for people and for the check when resuming). Randomness needs no
saving: every batch seeds its own (see `scripts.training.loop`).
"""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from scripts.core.declare import as_config, declarations
from scripts.core.errors import SettingError, SuiteError
from scripts.core.files import explain_os_error
from scripts.lora.file import write_torch
from scripts.settings.train import TrainSettings

if TYPE_CHECKING:
    from scripts.training.plan import Plan

STATE_FILE, PROGRESS_FILE = "state.pt", "progress.json"
# Settings that say where things are and what is said, not what is trained.
OF_EACH_START = frozenset(
    declaration.name
    for declaration in declarations(TrainSettings).values()
    if declaration.path or declaration.page in ("Result", "Previews", "Texts")
)


@dataclass(frozen=True)
class Position:
    """How far a training has got: `step` steps in all, `step_in_epoch` of them in `epoch`.

    `epoch` counts from 1. `epoch_done` tells that what is due after the epoch (saving, previews)
    has been done too.
    """

    epoch: int = 1
    step: int = 0
    step_in_epoch: int = 0
    epoch_done: bool = False


@dataclass(frozen=True)
class Identity:
    """What must be the same for a state to be continued exactly."""

    seed: int
    batches_per_epoch: int
    steps_per_epoch: int
    train_batch_size: int
    gradient_accumulation_steps: int
    base_model: str
    optimizer_type: str

    @classmethod
    def of(cls, plan: Plan) -> Identity:
        """The identity of a planned training."""
        settings = plan.settings
        return cls(
            seed=settings.seed,
            batches_per_epoch=plan.amount.batches_per_epoch,
            steps_per_epoch=plan.amount.steps_per_epoch,
            train_batch_size=settings.train_batch_size,
            gradient_accumulation_steps=settings.gradient_accumulation_steps,
            base_model=plan.base.path.name,
            optimizer_type=settings.optimizer_type,
        )


def save_state(folder: Path, state: dict[str, Any], position: Position, plan: Plan) -> None:
    """Write the state folder as a whole: beside its place first, then renamed.

    An older folder of that name is a state of the same training and is replaced.
    Raises SuiteError when the disk is full or the place cannot be written to.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.old")
    progress = {
        "position": asdict(position),
        "training": asdict(Identity.of(plan)),
        "settings": as_config(plan.settings),
    }
    try:
        temporary.mkdir(parents=True)
        write_torch(temporary / STATE_FILE, state)
        (temporary / PROGRESS_FILE).write_text(json.dumps(progress, indent=2), encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
    except OSError as error:
        raise SuiteError(explain_os_error(error, folder)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def read_progress(folder: Path, plan: Plan) -> tuple[Position, list[str]]:
    """How far the state in `folder` got, and which settings were changed since, as sentences.

    Raises SettingError ("resume") when it is no state, or of another training: every difference
    is named.
    """
    try:
        content = json.loads((folder / PROGRESS_FILE).read_text(encoding="utf-8"))
        position = Position(**content["position"])
        saved = Identity(**content["training"])
        settings = dict(content["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError("resume", f"{folder} holds no training state that can be read. Choose "
                           "a folder whose name ends in -state.") from error  # fmt: skip
    now = Identity.of(plan)
    different = [
        f"{field.name} was {getattr(saved, field.name)} and is {getattr(now, field.name)}"
        for field in fields(Identity)
        if getattr(saved, field.name) != getattr(now, field.name)
    ]
    if different:
        raise SettingError("resume", "The state belongs to another training: "
                           f"{'; '.join(different)}. Set these back, or start without "
                           "resume.")  # fmt: skip
    if position.step >= plan.amount.steps:
        raise SettingError("resume", f"The state is at step {position.step} and the training has "
                           f"{plan.amount.steps} steps: it is finished. Raise the number of "
                           "epochs or steps to go on.")  # fmt: skip
    notes = [f"Going on from step {position.step} of {plan.amount.steps}."]
    now_set = as_config(plan.settings)
    changed = [
        f"{name} from {settings.get(name, 'not set')} to {now_set.get(name, 'not set')}"
        for name in sorted({*settings, *now_set} - OF_EACH_START)
        if settings.get(name) != now_set.get(name)
    ]
    if changed:
        notes.append(f"Changed since the state was saved: {'; '.join(changed)}. The result is not "
                     "what an unbroken training gives.")  # fmt: skip
    return position, notes


def load_state(folder: Path) -> dict[str, Any]:
    """What `save_state` was given. Raises SettingError when the file is broken."""
    try:
        return torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file makes torch raise almost anything
        raise SettingError("resume", f"The training state in {folder} is broken or incomplete. "
                           "Choose an earlier one.") from error  # fmt: skip
