"""The data set of a training: its pictures, their captions and buckets, and the batches of an epoch.

No torch here: `--plan` and the wizard's summary use it too. Sizes come from headers alone.

    dataset = Dataset.from_settings(settings, report)
    for batch in dataset.epoch(1, 0, 1, total_steps): ...

`Dataset.epoch` is a pure function: the same settings, files and numbers give the same batches,
captions, flips and crops, which is what makes a resumed training exact.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from scripts.core.events import Report
from scripts.dataset.buckets import Size
from scripts.dataset.captions import process_caption, without_chance
from scripts.dataset.dataset_toml import parts_from_toml
from scripts.dataset.pictures import UnreadablePicture
from scripts.dataset.reading import ReadLayout, read_layout
from scripts.dataset.subsets import Layout, Part, Subset, parts_from_settings
from scripts.settings.train import TrainSettings

DEFAULT_RESOLUTION = (512, 512)
CACHED_CROPS = 4  # how many random crops of a picture are kept when latents are cached
FRESH_CROPS = 1 << 31


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of the data set.

    `size` is (width, height) as seen, `resized` the size before cropping to `bucket`; `caption`
    as read (several lines with wildcards); `caption_state` present, missing or empty; `mask` a
    mask picture, and `mask_from_alpha` whether its own transparency is the mask; `repeats` its
    uses in an epoch; `loss_weight` 1, or prior_loss_weight for a regularisation picture.
    """

    index: int
    path: Path
    size: Size
    subset: Subset
    part: int
    caption: str
    caption_state: str
    mask: Path | None
    mask_from_alpha: bool
    bucket: Size
    resized: Size
    ratio_error: float
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
    """See the module's text. Make one with `from_settings`."""

    settings: TrainSettings
    layout: Layout
    pictures: tuple[Picture, ...]
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
        return cls.from_layout(settings, layout, read_layout(layout, report))

    @classmethod
    def from_layout(cls, settings: TrainSettings, layout: Layout, read: ReadLayout) -> Dataset:
        """The data set of pictures that `read_layout` found; repeats are counted here."""
        pictures = []
        for part in range(len(layout.parts)):
            ours = [item for item in read.pictures if item.part == part]
            for item, repeats in zip(ours, repeats_of(ours), strict=True):
                if repeats == 0:
                    continue
                weight = settings.prior_loss_weight if item.subset.is_reg else 1.0
                content = {**item.__dict__, "index": len(pictures), "repeats": repeats}
                pictures.append(Picture(**content, loss_weight=weight))
        return cls(
            settings,
            layout,
            tuple(pictures),
            tuple([*layout.notes, *read.notes]),
            tuple([*layout.warnings, *read.warnings]),
            tuple([*layout.guesses, *read.guesses]),
        )

    # --- numbers ----------------------------------------------------------------------------

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts: one, or one for each [[datasets]] of a dataset TOML."""
        return self.layout.parts

    @property
    def num_train_images(self) -> int:
        """Training pictures times their repeats."""
        return sum(p.repeats for p in self.pictures if not p.subset.is_reg)

    @property
    def num_reg_images(self) -> int:
        """Regularisation pictures times the repeats of their folders."""
        return sum(
            len(subset.folder.pictures) * subset.folder.repeats
            for part in self.parts
            for subset in part.subsets
            if subset.is_reg
        )

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
        caption = process_caption(
            picture.caption, subset.captions, draw, epoch, step, total_steps
        )
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

    def without(self, reasons: dict[Path, str]) -> Dataset:
        """The data set without the pictures that turned out to be unreadable (path -> why).

        Repeats of regularisation pictures are counted anew. Raises SuiteError when no training
        picture is left.
        """
        if not reasons:
            return self
        kept = [picture for picture in self.pictures if picture.path not in reasons]
        if not any(not picture.subset.is_reg for picture in kept):
            raise UnreadablePicture(
                "None of the training pictures can be opened. Replace the damaged files."
            )
        repeats: list[int] = []
        for part in range(len(self.parts)):
            repeats += repeats_of([picture for picture in kept if picture.part == part])
        renewed = [
            replace(picture, index=index, repeats=count)
            for index, (picture, count) in enumerate(zip(kept, repeats, strict=True))
            if count
        ]
        told = "; ".join(f"{path.name}: {why}" for path, why in sorted(reasons.items()))
        warning = f"{len(reasons)} pictures left out that cannot be opened ({told})."
        return replace(
            self, pictures=tuple(renewed), warnings=(*self.warnings, warning)
        )


def repeats_of(pictures: Iterable) -> list[int]:
    """How often each picture is used in an epoch: its folder's repeats for training pictures;
    regularisation pictures go round until there are as many of them as training pictures.
    """
    pictures = list(pictures)
    wanted = sum(p.subset.folder.repeats for p in pictures if not p.subset.is_reg)
    reg = regularisation_repeats(
        [p.subset.folder.repeats for p in pictures if p.subset.is_reg], wanted
    )
    each = iter(reg)
    return [next(each) if p.subset.is_reg else p.subset.folder.repeats for p in pictures]


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
