"""What the saves of a training are called, as in sd-scripts: NAME.safetensors at the end,
NAME-000002.safetensors after epoch 2, NAME-step00000500.safetensors after step 500; saved states
the same with -state in place of the ending.
"""

from __future__ import annotations

import re
from pathlib import Path

NUMBERED = r"(-\d{6}|-step\d{8})"  # what a save before the end has behind its name
STATE = "-state"
_NAME_OF_STATE = re.compile(rf"(.+?){NUMBERED}?{STATE}")


def epoch_stem(name: str, epoch: int) -> str:
    """The file name without its ending for a save after an epoch."""
    return f"{name}-{epoch:06d}"


def step_stem(name: str, step: int) -> str:
    """The file name without its ending for a save after a step."""
    return f"{name}-step{step:08d}"


def name_of_state(folder: Path) -> str | None:
    """The name of the LoRA whose training saved a state in this folder; None when it is called
    otherwise than by the training."""
    found = _NAME_OF_STATE.fullmatch(folder.name)
    return found[1] if found else None
