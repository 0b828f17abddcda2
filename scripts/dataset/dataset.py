"""The data set of a training: pictures, their captions and buckets, and the batches of an epoch.

No torch here: `--plan` and the wizard's summary use it too. Sizes come from headers alone.

    dataset = Dataset.from_settings(settings, report)
    for batch in dataset.epoch(1, 0, 1, total_steps): ...

`Dataset.epoch` is a pure function: the same settings, files and numbers give the same batches,
captions, flips and crops, which is what makes a resumed training exact.
"""

from __future__ import annotations

import functools
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from scripts.core.errors import SuiteError
from scripts.core.events import Report
from scripts.dataset.buckets import Size
from scripts.dataset.captions import process_caption, without_chance
from scripts.dataset.dataset_toml import parts_from_toml
from scripts.dataset.reading import ReadLayout, ReadPicture, read_layout
from scripts.dataset.subsets import Layout, Part, parts_from_settings
from scripts.dataset.summary import metadata, plan, tag_occurrence
from scripts.settings.train import TrainSettings

DEFAULT_RESOLUTION = (512, 512)
CACHED_CROPS = 4  # how many random crops of a picture are kept when latents are cached
FRESH_CROPS = 1 << 31


@dataclass(frozen=True, eq=False)
class Picture(ReadPicture):
    """One picture of the data set.

    `size` is (width, height) as seen, `resized` the size before cropping to `bucket`; `caption`
    as read (several lines with wildcards); `caption_state` present, missing or empty; `mask` a
    mask picture, and `mask_from_alpha` whether its own transparency is the mask; `repeats` its
    uses in an epoch (0: a regularisation picture beyond what is needed); `loss_weight` 1, or
    prior_loss_weight for a regularisation picture.
    """

    index: int
    repeats: int
    loss_weight: float

    @property
    def has_mask(self) -> bool:
        """Whether parts of the picture are masked out of the loss."""
        return self.mask is not None or self.mask_from_alpha

    @property
    def can_be_cropped_elsewhere(self) -> bool:
        """Whether resizing leaves something to cut off, so that a random crop can differ."""
        return self.resized != self.bucket


@dataclass(frozen=True)
class Example:
    """One use of a picture.

    `crop` 0 is the middle, others are random places (`buckets.crop_place`); `colours` seeds the
    colour variation, "" for none.
    """

    picture: Picture
    caption: str
    flip: bool
    crop: int
    loss_weight: float
    colours: str = ""


@dataclass(frozen=True)
class Batch:
    """Examples of one bucket (width, height); `number` counts from 0 within the epoch."""

    bucket: Size
    examples: tuple[Example, ...]
    number: int


@dataclass(frozen=True, eq=False)
class Dataset:
    """See the module's text. Make one with `from_settings`.

    `every` holds all usable pictures; `notes`, `warnings` and `guesses` are sentences for the
    user about what was found.
    """

    settings: TrainSettings
    layout: Layout
    every: tuple[Picture, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    guesses: tuple[str, ...]

    @classmethod
    def from_settings(
        cls,
        settings: TrainSettings,
        report: Report | None = None,
        default_resolution: Size = DEFAULT_RESOLUTION,
    ) -> Dataset:
        """Find the folders, read headers and captions, sort into buckets.

        `default_resolution` is used when the settings name none (what suits the base model).
        Raises SettingError or SettingErrors when nothing usable is there.
        """
        if settings.dataset_config is not None:
            layout = parts_from_toml(settings.dataset_config, settings, default_resolution)
        else:
            layout = parts_from_settings(settings, default_resolution)
        return cls._from_layout(settings, layout, read_layout(layout, report))

    @classmethod
    def _from_layout(cls, settings: TrainSettings, layout: Layout, read: ReadLayout) -> Dataset:
        pictures = [
            Picture(
                **item.__dict__,
                index=index,
                repeats=repeats,
                loss_weight=settings.prior_loss_weight if item.subset.is_reg else 1.0,
            )
            for index, (item, repeats) in enumerate(
                zip(read.pictures, repeats_by_part(read.pictures), strict=True)
            )
        ]
        return cls(
            settings,
            layout,
            tuple(pictures),
            (*layout.notes, *read.notes),
            (*layout.warnings, *read.warnings),
            (*layout.guesses, *read.guesses),
        )

    def without(self, reasons: dict[Path, str]) -> Dataset:
        """The data set without the pictures that turned out to be unreadable (path -> why).

        Repeats of regularisation pictures are counted anew. Raises SuiteError when no training
        picture is left.
        """
        if not reasons:
            return self
        kept = [picture for picture in self.every if picture.path not in reasons]
        if all(picture.subset.is_reg for picture in kept):
            raise SuiteError("None of the training pictures can be opened. Replace the damaged "
                             "files.")  # fmt: skip
        renewed = [
            replace(picture, repeats=repeats)
            for picture, repeats in zip(kept, repeats_by_part(kept), strict=True)
        ]
        told = "; ".join(f"{path.name}: {why}" for path, why in sorted(reasons.items()))
        warning = f"Left out because they cannot be opened: {told}."
        return replace(self, every=tuple(renewed), warnings=(*self.warnings, warning))

    # --- numbers ----------------------------------------------------------------------------

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts: one, or one for each [[datasets]] of a dataset TOML."""
        return self.layout.parts

    @functools.cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures that are used."""
        return tuple(picture for picture in self.every if picture.repeats)

    @property
    def num_train_images(self) -> int:
        """Training pictures times their repeats."""
        return sum(p.repeats for p in self.pictures if not p.subset.is_reg)

    @property
    def num_reg_images(self) -> int:
        """Regularisation pictures times the repeats of their folders."""
        return sum(p.subset.folder.repeats for p in self.every if p.subset.is_reg)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of an epoch on one process: for each bucket ceil(pictures / batch size)."""
        return sum(
            math.ceil(sum(p.repeats for p in pictures) / self.parts[part].batch_size)
            for (part, _), pictures in self.by_bucket().items()
        )

    def by_bucket(self) -> dict[tuple[int, Size], list[Picture]]:
        """The pictures by (part, bucket), sorted."""
        groups: dict[tuple[int, Size], list[Picture]] = defaultdict(list)
        for picture in self.pictures:
            groups[picture.part, picture.bucket].append(picture)
        return dict(sorted(groups.items()))

    def buckets(self) -> list[tuple[int, int, int]]:
        """(width, height, uses in an epoch) of every bucket that is used, sorted."""
        counts: dict[Size, int] = defaultdict(int)
        for picture in self.pictures:
            counts[picture.bucket] += picture.repeats
        return [(*bucket, count) for bucket, count in sorted(counts.items())]

    # --- epochs -----------------------------------------------------------------------------

    @property
    def caches_latents(self) -> bool:
        """Whether latents are encoded once; varying colours makes that impossible."""
        wanted = self.settings.cache_latents or self.settings.cache_latents_to_disk
        return wanted and not any(s.color_aug for part in self.parts for s in part.subsets)

    def epoch(
        self, epoch: int, first_step: int, steps_per_batch: Fraction | float, total_steps: int
    ) -> list[Batch]:
        """The batches of one epoch, in order.

        Args:
            epoch: counted from 1.
            first_step: optimiser steps done before this epoch.
            steps_per_batch: optimiser steps a batch, 1 / gradient_accumulation_steps.
            total_steps: of the whole training; both steps only matter to the token warm-up.
        """
        seed = self.settings.seed
        groups: list[list[tuple[Picture, int]]] = []
        for (part, bucket), pictures in self.by_bucket().items():
            uses = [(picture, use) for picture in pictures for use in range(picture.repeats)]
            random.Random(f"{seed} pictures {epoch} {part} {bucket}").shuffle(uses)
            size = self.parts[part].batch_size
            groups += [uses[start : start + size] for start in range(0, len(uses), size)]
        random.Random(f"{seed} batches {epoch}").shuffle(groups)
        pace = Fraction(steps_per_batch).limit_denominator(1 << 20)
        batches = []
        for number, group in enumerate(groups):
            step = first_step + math.floor(number * pace)
            examples = tuple(self._example(*use, epoch, step, total_steps) for use in group)
            batches.append(Batch(group[0][0].bucket, examples, number))
        return batches

    def _example(
        self, picture: Picture, use: int, epoch: int, step: int, total_steps: int
    ) -> Example:
        subset = picture.subset
        name = f"{self.settings.seed} example {epoch} {picture.index} {use}"
        draw = random.Random(name)
        flip = subset.flip_aug and draw.random() < 0.5
        crop = 0
        if subset.random_crop and picture.can_be_cropped_elsewhere:
            crop = draw.randint(1, CACHED_CROPS if self.caches_latents else FRESH_CROPS)
        caption = process_caption(picture.caption, subset.captions, draw, epoch, step, total_steps)
        colours = name if subset.color_aug else ""
        return Example(picture, caption, flip, crop, picture.loss_weight, colours)

    def possible_captions(self) -> tuple[str, ...] | None:
        """Every caption that can occur, when these are few; None when chance makes many.

        With few, the text encoder's outputs can be computed once.
        """
        found: dict[str, None] = {}
        for picture in self.pictures:
            options = picture.subset.captions
            if options.splits_tags or options.enable_wildcard:
                return None
            plain = process_caption(picture.caption, without_chance(options), random.Random(0))
            found[plain] = None
            if options.caption_dropout_rate > 0 or options.caption_dropout_every_n_epochs > 0:
                found[""] = None
        return tuple(found)

    # --- telling ----------------------------------------------------------------------------

    def metadata(self) -> dict[str, str]:
        """The ss_* entries of the LoRA file that concern the data."""
        return metadata(self)

    def plan(self) -> dict:
        """Folders, buckets, counts, guesses and warnings as plain JSON, for `--plan`."""
        return plan(self)

    def tag_occurrence(self) -> str:
        """The text of tag_occurrence_txt_file."""
        return tag_occurrence(self, self.settings.sort_tag_occurrence_alphabetically)


def repeats_by_part(pictures: Sequence[Picture | ReadPicture]) -> list[int]:
    """How often each picture is used in an epoch, in the order given.

    Training pictures: the repeats of their folder. Regularisation pictures of a part go round
    until there are as many uses of them as of its training pictures.
    """
    repeats = [picture.subset.folder.repeats for picture in pictures]
    for part in {picture.part for picture in pictures}:
        ours = [i for i, picture in enumerate(pictures) if picture.part == part]
        reg = [i for i in ours if pictures[i].subset.is_reg]
        wanted = sum(repeats[i] for i in ours) - sum(repeats[i] for i in reg)
        renewed = regularisation_repeats([repeats[i] for i in reg], wanted)
        for i, count in zip(reg, renewed, strict=True):
            repeats[i] = count
    return repeats


def regularisation_repeats(repeats: list[int], wanted: int) -> list[int]:
    """How often each regularisation picture is used so that `wanted` uses come together.

    The first round gives every picture its folder's repeats, later rounds one more each, until
    the count is reached; pictures that are not reached are not used (0). sd-scripts' rule.
    """
    used = [0] * len(repeats)
    count, position = 0, 0
    while count < wanted and repeats:
        place = position % len(repeats)
        more = repeats[place] if position < len(repeats) else 1
        used[place] += more
        count += more
        position += 1
    return used
