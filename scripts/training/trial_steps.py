"""The steps of a trial: real ones, around random latents, with the time and memory they take."""

from __future__ import annotations

import dataclasses
import logging
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from accelerate import Accelerator

from scripts.core.events import Control, Report, Stage
from scripts.dataset.buckets import Size
from scripts.dataset.dataset import Batch, Example
from scripts.dataset.random_latents import RandomLatents
from scripts.models.load import load_vae
from scripts.training.batch_search import FITS, Measured, Tried, sizes_to_try, try_sizes
from scripts.training.build import build_run
from scripts.training.card_memory import CardMemory, card_memory
from scripts.training.device import Formats, is_out_of_memory
from scripts.training.loop import take_step
from scripts.training.plan import Plan
from scripts.training.run import Run

TIMED_STEPS = 10  # after one that warms up
STEPS_A_SIZE = 2  # of the search, after one that warms up
SAFE_SHARE = 0.9  # of what is free on the card: a training needs a little more now and then
MOST_STEPS = 200  # more than any trial takes: its schedule must not end before it
TRYING, SEARCHING = "Trying ten steps", "Looking for the largest batch"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """What the batches of a trial are made of: the most costly bucket, and real examples.

    `batch` is the batch size set for that bucket, `pictures` the number in the fullest one.
    """

    bucket: Size
    batch: int
    pictures: int
    examples: tuple[Example, ...]

    @classmethod
    def of(cls, plan: Plan) -> Sample:
        """The sample of a plan's data set."""
        dataset = plan.dataset
        groups = dataset.by_bucket()
        sizes = [(dataset.parts[part].batch_size, bucket) for part, bucket in groups]
        batch, bucket = max(sizes, key=lambda size: size[0] * math.prod(size[1]))
        fullest = max(len(pictures) for pictures in groups.values())
        examples = [example for each in plan.batches(1) for example in each.examples]
        most = max(sizes_to_try(fullest, batch))
        return cls(bucket, batch, fullest, tuple(examples[:most]))

    @property
    def captions(self) -> set[str]:
        """The captions of the examples."""
        return {example.caption for example in self.examples}

    def group(self, size: int, batches: int) -> list[Batch]:
        """The batches of one step, of `size` examples each; few examples come again and again."""
        examples = tuple(self.examples[i % len(self.examples)] for i in range(size))
        return [Batch(self.bucket, examples, number) for number in range(batches)]


def prepare_trial(
    plan: Plan, formats: Formats, accelerator: Accelerator, report: Report, control: Control
) -> Trial:
    """Load everything that the training would have in memory while it takes steps."""
    sample = Sample.of(plan)
    vae = None
    if not plan.dataset.caches_latents:
        report(Stage("Loading the VAE"))
        vae = load_vae(plan.settings.vae or plan.base, formats.vae, accelerator.device)
    latents = RandomLatents(plan.dataset, plan.base.family.latent_scale, vae)
    longer = dataclasses.replace(plan.amount, steps=max(plan.amount.steps, MOST_STEPS))
    plan = dataclasses.replace(plan, amount=longer)
    run = build_run(plan, latents, formats, accelerator, report, control,
                    captions_used=sample.captions)  # fmt: skip
    return Trial(run, sample, card_memory(accelerator.device))


class Trial:
    """Takes steps with a run and measures them; `card` is None on a processor."""

    def __init__(self, run: Run, sample: Sample, card: CardMemory | None) -> None:
        self.run, self.sample, self.card = run, sample, card

    def carry_out(self) -> tuple[Measured | None, list[Tried]]:
        """What a step takes at the set batch, None when the card is too small for it, and what
        became of the sizes tried: on a processor only that one."""
        batch = self.sample.batch
        if self.card is None:
            seconds, _ = measured = self.take_steps(batch, TIMED_STEPS, self._tell_step)
            return measured, [Tried(batch, FITS, seconds / self.pictures_in_step)]
        self.card.free_unused()
        safe = int(self.card.available() * SAFE_SHARE)
        measured = self._attempt(batch, TIMED_STEPS, self._tell_step)
        sizes = sizes_to_try(self.sample.pictures, batch)
        if measured is None:
            sizes = [size for size in sizes if size < batch]
        return measured, self._search(sizes, safe, measured)

    def _search(self, sizes: list[int], safe: int, measured: Measured | None) -> list[Tried]:
        def attempt(size: int) -> Measured | None:
            self.run.report(Stage(SEARCHING, sizes.index(size), len(sizes)))
            if size == self.sample.batch:
                found = measured
            else:
                found = self._attempt(size, STEPS_A_SIZE, most_bytes=safe)
            # A step may consist of several batches: the search compares the time of one.
            return None if found is None else (found[0] / self._batches, found[1])

        with self.card.confined():
            tried = try_sizes(attempt, sizes, safe)
        self.run.report(Stage(SEARCHING, len(sizes), len(sizes)))
        return tried

    def _attempt(self, size: int, count: int, tell: Callable[[int], None] = lambda done: None,
                 most_bytes: float = math.inf) -> Measured | None:  # fmt: skip
        try:
            return self.take_steps(size, count, tell, most_bytes)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.info("%s pictures at once: out of memory", size)
            return None

    def take_steps(
        self, size: int, count: int, tell: Callable[[int], None], most_bytes: float = math.inf
    ) -> Measured:
        """The time of a step of `size` pictures at once, the middle one of `count` behind one
        that warms up, and the bytes reserved; more than `most_bytes` end it after that one."""
        group = self.sample.group(size, self._batches)
        self.run.optimizer.zero_grad(set_to_none=True)  # left over where the memory ran out
        if self.card:
            self.card.free_unused()
        seconds = []
        for number in range(1 + count):
            self.run.control.check()
            tell(number - 1)
            began = time.perf_counter()
            take_step(self.run, group, 1, number, None)
            if self.card:
                self.card.wait()
            seconds.append(time.perf_counter() - began)
            if self.card and self.card.most_reserved() > most_bytes:
                break
        tell(count)
        middle = statistics.median_low(seconds[1:] or seconds)
        return middle, self.card.most_reserved() if self.card else None

    @property
    def pictures_in_step(self) -> int:
        """Pictures in a step at the set batch."""
        return self.sample.batch * self._batches

    @property
    def _batches(self) -> int:
        """Batches in a step."""
        return self.run.settings.gradient_accumulation_steps

    def _tell_step(self, done: int) -> None:
        self.run.report(Stage(TRYING, max(0, done), TIMED_STEPS))
