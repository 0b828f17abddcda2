"""Count steps, average the loss and estimate the time left, without a host sync at every step.

The losses stay on the device until someone looks: reading one waits for the device, so it is
done about once a second.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass

import torch

from scripts.core.events import Report, Step
from scripts.training.alarm import alarm
from scripts.training.card_memory import card_memory
from scripts.training.rescue import LossWatch

SECONDS_BETWEEN_REPORTS = 1.0
LEAST_TIMED = 5  # steps, before their time counts as a pace
LATELY = 5  # reports, of whose paces the middle one is that of now: previews take long now and then
SMOOTHING = 0.98  # of the loss that is reported: its weight on the past at each step


@dataclass(frozen=True)
class Loss:
    """The loss of one step, and the moving average there."""

    value: float
    smooth: float


class Progress:
    """Collects the loss of every step and reports about once a second.

    The first step's time (which holds warming up) does not count for the estimate. `seen_step` is
    the last step whose loss was looked at.
    """

    def __init__(self, total: int, done: int, report: Report, device: torch.device) -> None:
        self._total = total
        self._report = report
        self._card = card_memory(device)
        self._waiting: list[torch.Tensor] = []
        self._smooth: float | None
        self._last_report = -math.inf
        self._paces: list[float] = []
        self._best_pace: float | None = None
        self.go_back(done)

    def go_back(self, done: int) -> None:
        """Count anew from `done` steps; what was still waiting is forgotten."""
        self._waiting.clear()
        self._smooth = None
        self._watch = LossWatch()
        self._first = done + 1
        self.reported_step = self.seen_step = done
        self._timed_from: float | None = None

    @property
    def pace(self) -> float | None:
        """Seconds a step, without the first and without what previews and saves took; None when
        too few steps were timed."""
        timed = self.reported_step - self._first
        return statistics.median(self._paces) if timed >= LEAST_TIMED else None

    def add(self, loss: torch.Tensor) -> None:
        """Remember the loss of one step (0-d, on the device, without its graph)."""
        self._waiting.append(loss)

    def due(self, step: int) -> bool:
        """Whether it is time to look at the losses and report."""
        if step <= self._first or step == self._total:
            return True
        return time.monotonic() - self._last_report >= SECONDS_BETWEEN_REPORTS

    def flush(self, step: int, epoch: int, rates: dict[str, float]) -> list[Loss]:
        """Report step `step` and give the losses since the last time, oldest first.

        Raises Broken when the losses show that nothing after this would be worth keeping.
        """
        values = torch.stack(self._waiting).tolist() if self._waiting else []
        self._waiting.clear()
        losses = []
        for place, loss in enumerate(values, step - len(values) + 1):
            self.seen_step = place
            self._watch.see(loss)
            before = loss if self._smooth is None else self._smooth
            self._smooth = SMOOTHING * before + (1 - SMOOTHING) * loss
            losses.append(Loss(loss, self._smooth))
        now = time.monotonic()
        if self._timed_from is not None and step > self.reported_step:
            self._paces.append((now - self._last_report) / (step - self.reported_step))
        self._last_report = now
        self.reported_step = step
        seconds = None
        if self._timed_from is None:
            self._timed_from = now
        elif step > self._first:
            seconds = (now - self._timed_from) / (step - self._first)
        use, lately = self._card.use() if self._card else None, self._pace_lately()
        self._report(
            Step(
                done=step,
                total=self._total,
                epoch=epoch,
                loss=self._smooth if self._smooth is not None else math.nan,
                learning_rates=rates,
                seconds_per_step=seconds,
                seconds_left=None if seconds is None else seconds * (self._total - step),
                memory_bytes=self._card.most_reserved() if self._card else None,
                card_used=use.total - use.free if use else None,
                card_bytes=use.total if use else None,
                alarm=alarm(use, lately, self._best_pace),
            )
        )
        return losses

    def _pace_lately(self) -> float | None:
        """Seconds a step over the latest reports; None at first."""
        if len(self._paces) < LATELY:
            return None
        lately = statistics.median(self._paces[-LATELY:])
        self._best_pace = min(lately, self._best_pace or lately)
        return lately
