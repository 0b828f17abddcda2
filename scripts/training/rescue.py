"""When a training breaks: notice it, and go back once to where it was good.

    watch = LossWatch()
    watch.see(0.13)                       # raises Broken when the losses are no good any more
    position = go_back(run, broken)       # raises SuiteError the second time

Broken is a loss that is no number, one far above what it was at the beginning, or weights that are
no numbers. The training goes back to the last LoRA it saved, else to its start, with a fresh
optimiser at half the learning rate.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from scripts.core.errors import SuiteError
from scripts.core.events import Note
from scripts.lora.file import load_lora
from scripts.training.checkpoints import Position

if TYPE_CHECKING:
    from scripts.training.run import Run

WINDOW = 50  # steps: single losses differ by their noise level, as much as tenfold
EXPLODED = 3.0  # times the mean loss of the first WINDOW steps: worse than without any LoRA
RATE_FACTOR = 0.5

log = logging.getLogger(__name__)


class Broken(Exception):
    """The training has become useless; the text says how it shows, as the end of a sentence."""


class LossWatch:
    """Sees the loss of every step, in order."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=WINDOW)
        self._first: float | None = None

    def see(self, loss: float) -> None:
        """Raises Broken when the loss is no number, or the mean of the last WINDOW ones is
        EXPLODED times that of the first ones."""
        if not math.isfinite(loss):
            raise Broken(f"the loss became {loss}")
        self._latest.append(loss)
        if len(self._latest) < WINDOW:
            return
        mean = math.fsum(self._latest) / WINDOW
        if self._first is None:
            self._first = mean
        elif mean > EXPLODED * self._first:
            raise Broken(f"the loss rose from {self._first:.3g} to {mean:.3g}")


def go_back(run: Run, broken: Broken) -> Position:
    """Put `run` back to its last good save; from where it goes on.

    Raises SuiteError when that was done before, and with several processes, which could not be
    brought to do it together.
    """
    log.warning("the training broke: %s", broken)
    step = run.progress.seen_step
    advice = "Use a lower learning rate, or mixed_precision bf16 or no."
    if run.rate_factor != 1 or run.processes > 1:
        again = f"{broken} again, at half the learning rate too"
        what = again if run.rate_factor != 1 else broken
        raise SuiteError(f"Near step {step} {what}: the training is broken from there on and was "
                         f"stopped. {advice} What was saved before is still good.")  # fmt: skip
    position, where = _load_what_was_good(run)
    run.begin_optimizer_anew(RATE_FACTOR, position)
    run.progress.go_back(position.step)
    text = (f"Near step {step} {broken}. Going back to {where}, and on with half the learning "
            f"rate. If it breaks again, it stops. {advice}")  # fmt: skip
    run.report(Note(text, warning=True))
    return position


def _load_what_was_good(run: Run) -> tuple[Position, str]:
    """The weights of the last LoRA saved, of the state that was resumed, or new ones; their
    position, and how to call it."""
    path, position = run.good
    if path is not None and path.exists():
        run.network.load_file_state(load_lora(path)[0])
        return position, _title(path, position)
    if run.settings.resume is not None:
        run.restore(run.settings.resume)
        return run.position, f"step {run.position.step}, where it was resumed"
    torch.manual_seed(run.settings.seed)
    run.network.draw_first_weights(run.settings)
    return Position(), "the start"


def _title(path: Path, position: Position) -> str:
    return f"step {position.step}, {path.name}"
