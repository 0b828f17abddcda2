"""The sign by which a window lets who has started it know that it can be seen: a file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

SIGN = "EASY_LORA_WINDOW_SIGN"  # the variable that names the file


def give_sign() -> None:
    """Tell that the window is there; once, and not for what is started from it."""
    name = os.environ.pop(SIGN, None)
    if name:
        with suppress(OSError):  # nobody waits any more
            Path(name).touch()
