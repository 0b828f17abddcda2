"""What is usual for a setting with numbers. It binds nobody: windows say when a value lies outside.

    Usual(4, 128)                           from 4 to 128
    Usual(0.25, 1, times="network_dim")     from a quarter of that setting to all of it
    Usual(2e-5, 5e-4, by=("optimizer_type", {"Prodigy": (0.5, 1), "SGDNesterov": None}))

`scripts.core.declare` makes the first of a plain (4, 128).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Range = tuple[float, float]


@dataclass(frozen=True)
class Usual:
    """A range that is usual; None stands for "nothing is".

    times: the setting whose number both ends are multiplied by.
    by: another setting, and the ranges for some of its values in place of the general one.
    """

    low: float | None = None
    high: float | None = None
    times: str | None = None
    by: tuple[str, Mapping[str, Range | None]] = field(default=("", {}))

    def ends(self, value_of: Callable[[str], Any]) -> Range | None:
        """The range as the other settings are; `value_of` gives their values by name."""
        ends = None if self.low is None else (self.low, self.high)
        other, ranges = self.by
        if ranges:
            value = str(value_of(other)).lower()
            ends = {name.lower(): own for name, own in ranges.items()}.get(value, ends)
        if ends and self.times:
            factor = value_of(self.times)
            return (ends[0] * factor, ends[1] * factor) if factor else None
        return ends

    def side(self, value: Any, value_of: Callable[[str], Any]) -> str | None:
        """On which side of the range a value, or one of several, lies: "below", "above" or None."""
        ends = self.ends(value_of)
        numbers = [
            one
            for one in (value if isinstance(value, list | tuple) else [value])
            if isinstance(one, int | float) and not isinstance(one, bool)
        ]
        if not ends or not numbers:
            return None
        if min(numbers) < ends[0]:
            return "below"
        return "above" if max(numbers) > ends[1] else None

    def words(self) -> str:
        """The range with all its conditions, in English."""
        parts = [] if self.low is None else [range_words((self.low, self.high))]
        if self.times:
            parts = [f"{parts[0]} times {self.times}"]
        own: dict[str, list[str]] = {}
        for name, ends in self.by[1].items():
            if ends:
                own.setdefault(range_words(ends), []).append(name)
        parts += [f"{text} with {' or '.join(names)}" for text, names in own.items()]
        return "; ".join(parts)


def range_words(ends: Range) -> str:
    """A range in English: "4 to 128", or "0" where both ends are one."""
    low, high = map(short_number, ends)
    return low if low == high else f"{low} to {high}"


def short_number(number: float) -> str:
    """A number as people write it: 0.25, 1000, 5e-4."""
    if 0 < abs(number) < 1e-3:
        digits, _, power = f"{number:e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{number:.10g}"
