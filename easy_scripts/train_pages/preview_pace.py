"""How long a preview takes, from the events of a training."""

from __future__ import annotations

from scripts.core.events import Event, Preview, Stage, Step


class PreviewPace:
    """`take(event, now)` with each event; `seconds` for a picture is known after the first round.

    Between two steps nothing is counted as a stage but the previews.
    """

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._training = False
        self._begun: float | None = None
        self._pictures = 0

    def take(self, event: Event, now: float) -> None:
        """An event came at `now`, in seconds on a clock."""
        if isinstance(event, Step):
            self._training, self._begun, self._pictures = True, None, 0
        elif isinstance(event, Stage) and self._training and self._begun is None:
            self._begun = now
        elif isinstance(event, Preview) and self._begun is not None:
            self._pictures += 1
            self.seconds = (now - self._begun) / self._pictures
