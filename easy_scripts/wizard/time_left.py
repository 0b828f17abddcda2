"""How long a counted piece of work still takes, from how it went so far."""

from __future__ import annotations

FIRST_WORD_AFTER = 1.0  # seconds: before that, any figure would be a guess
SHARE_NEEDED = 0.03


class TimeLeft:
    """Told of (done, total, seconds on a clock), gives the seconds left, or None."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._start: tuple[int, float] | None = None

    def seconds(self, name: str, done: int, total: int, now: float) -> float | None:
        """Seconds left of the stage `name`; the unit at which it was first seen does not count."""
        if name != self._name or self._start is None or done < self._start[0]:
            self._name, self._start = name, (done, now)
            return None
        first, begun = self._start
        elapsed, made = now - begun, done - first
        if elapsed < FIRST_WORD_AFTER or made < max(1, total * SHARE_NEEDED):
            return None
        return elapsed / made * (total - done)
