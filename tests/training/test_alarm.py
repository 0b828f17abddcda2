"""The alarm of a training that outgrows its card, and the pace and time left that it reports."""

from __future__ import annotations

import pytest
import torch

from scripts.training import progress
from scripts.training.alarm import FULL, SLOWER, CardUse, alarm

GB = 10**9


@pytest.mark.parametrize(
    ("free", "total", "pace", "best", "moves", "expected"),
    [
        (4.0, 12, 1.0, 1.0, True, None),
        (0.5, 12, 1.0, 1.0, True, None),  # 11.2 of ours and 0.3 of the desktop: it just fits
        (0.0, 12, 1.0, 1.0, True, FULL),  # 11.2 of ours and 1 of the desktop
        (0.2, 12, 9.0, 9.0, True, FULL),  # from the first step on: no pace tells it
        (0.1, 8, None, None, True, FULL),  # before any pace is known
        (0.0, 12, 1.0, 1.0, False, None),  # Linux refuses what does not fit
        (0.0, 12, 4.1, 1.0, False, SLOWER),
        (4.0, 12, 4.1, 1.0, True, SLOWER),  # another program uses the card
        (4.0, 12, 3.9, 1.0, True, None),
        (4.0, 12, None, None, True, None),
        (None, 0, 4.1, 1.0, True, SLOWER),  # a processor
        (None, 0, 1.0, 1.0, True, None),
    ],
)
def test_when_it_sounds(free, total, pace, best, moves, expected):
    use = None if free is None else CardUse(int(free * GB), int(total * GB))
    assert alarm(use, pace, best, moves) == expected


class Clock:
    """Stands in for the module `time`."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


class Card:
    """A card of 12 GB of which a test says what is free."""

    free = 5 * GB

    def use(self):
        return CardUse(self.free, 12 * GB)

    def most_reserved(self):
        return 6 * GB


class Counted:
    """A `Progress` whose steps take as long as a test says; `steps` are what it reported."""

    def __init__(self, monkeypatch, total=100, done=0):
        self.clock, self.steps = Clock(), []
        monkeypatch.setattr(progress, "time", self.clock)
        self.progress = progress.Progress(total, done, self.steps.append, torch.device("cpu"))
        self.number = done

    def take(self, *seconds):
        """One step for each; reports those that are due, and gives the last report."""
        for one in seconds:
            self.number += 1
            self.clock.now += one
            self.progress.add(torch.tensor(0.1))
            if self.progress.due(self.number):
                self.progress.flush(self.number, 1, {})
        return self.steps[-1]


@pytest.fixture
def counted(monkeypatch):
    return Counted(monkeypatch)


def test_the_time_left_is_steady_and_the_first_step_does_not_count(counted):
    assert counted.take(60.0).seconds_left is None, "it holds the warming up"
    for _ in range(30):
        step = counted.take(2.0)
        assert step.seconds_left == pytest.approx(2.0 * (100 - step.done))
        assert step.seconds_per_step == pytest.approx(2.0)
    counted.take(2.5, 1.5, 2.5, 1.5)
    assert counted.steps[-1].seconds_left == pytest.approx(2.0 * 65)


def test_the_time_left_after_ten_steps_does_not_jump(counted):
    """Steps that differ by a quarter move it by little."""
    counted.take(20.0)
    left = [counted.take(seconds) for seconds in (2.0, 2.5) * 40]
    steady = [step.seconds_left / (100 - step.done) for step in left if step.done > 10]
    assert max(steady) - min(steady) < 0.06 * 2.25


def test_what_was_done_before_a_pause_does_not_count(monkeypatch):
    counted = Counted(monkeypatch, done=50)
    assert counted.take(9.0).seconds_left is None
    assert counted.take(3.0).seconds_left == pytest.approx(3.0 * 48)


def test_what_all_programs_have_of_the_card_is_reported_and_the_alarm_comes_and_goes(
    counted, monkeypatch
):
    monkeypatch.setattr(progress, "alarm", lambda *told: alarm(*told, moves_memory=True))
    card = counted.progress._card = Card()
    step = counted.take(2.0)
    assert (step.card_used, step.card_bytes, step.memory_bytes) == (7 * GB, 12 * GB, 6 * GB)
    assert step.alarm is None
    card.free = 0
    assert counted.take(2.0).alarm == FULL
    card.free = 2 * GB
    assert counted.take(2.0).alarm is None
    card.free = 0
    assert counted.take(2.0).alarm == FULL


def test_slowness_is_told_while_it_lasts(counted):
    counted.take(30.0, *[2.0] * 10)
    assert counted.take(60.0).alarm is None, "one round of previews"
    counted.take(*[2.0] * 5)
    assert counted.take(*[9.0] * 5).alarm == SLOWER
    assert counted.take(*[2.0] * 5).alarm is None
    assert counted.take(*[9.0] * 5).alarm == SLOWER
    assert counted.steps[-1].card_used is None, "a processor has no card"
