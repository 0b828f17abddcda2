"""What the parts of a window ask of its look: the wizards' `Theme`, or set-up's plain one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from easy_scripts.wizard.colours import Colours


class Look(Protocol):
    """Colours and sizes. Both looks have the styles Title, Strong, Muted, Error and Accent for
    labels, and Accent, Wide and Toolbutton for buttons.

    changed: called after light and dark were swapped.
    """

    changed: list[Callable[[], None]]

    @property
    def colours(self) -> Colours:
        """The colours in force."""

    def px(self, logical: float) -> int:
        """Screen pixels for a length at 100 %."""
