"""What a data set is made of: parts (one resolution and batch size) of subsets (one folder each).

`parts_from_settings` makes the one part of a folder tree; `scripts.dataset.dataset_toml` makes
the parts of a dataset TOML of sd-scripts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from scripts.core.errors import SettingError
from scripts.dataset.buckets import BucketChoice, Size, bucket_sizes, choose_bucket
from scripts.dataset.buckets import choose_bucket_without_enlarging as choose_shrinking
from scripts.dataset.captions import CaptionOptions
from scripts.dataset.folder_search import find_folders
from scripts.dataset.folders import Folder, FolderScan, read_folder_name
from scripts.dataset.pictures import readable_endings
from scripts.settings.train import TrainSettings

LATENT_FACTOR = 8  # a VAE latent stands for 8x8 pixels, so sides are multiples of 8


@dataclass(frozen=True)
class Subset:
    """One folder and how its pictures are used. The names are those of sd-scripts."""

    folder: Folder
    is_reg: bool
    caption_extension: str
    captions: CaptionOptions
    flip_aug: bool
    color_aug: bool
    random_crop: bool
    masked: bool
    conditioning_data_dir: Path | None


@dataclass(frozen=True)
class Part:
    """Subsets that share resolution, batch size and bucket rules: one [[datasets]] entry."""

    subsets: tuple[Subset, ...]
    resolution: Size
    batch_size: int
    enable_bucket: bool
    min_bucket_reso: int
    max_bucket_reso: int
    bucket_reso_steps: int
    bucket_no_upscale: bool

    def sizes(self) -> list[Size]:
        """The bucket sizes; one when buckets are off."""
        if not self.enable_bucket:
            return [self.resolution]
        return bucket_sizes(
            self.resolution, self.min_bucket_reso, self.max_bucket_reso, self.bucket_reso_steps
        )

    def choose(self, size: Size, sizes: list[Size]) -> BucketChoice:
        """The bucket of a picture; `sizes` is what `sizes()` gave."""
        if self.enable_bucket and self.bucket_no_upscale:
            return choose_shrinking(size, self.resolution, self.bucket_reso_steps)
        return choose_bucket(size, sizes)


@dataclass
class Layout:
    """The parts of a data set, and what the user should know about how they were found."""

    parts: tuple[Part, ...]
    from_file: bool = False
    guesses: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mends: list[dict] = field(default_factory=list)

    def add_scan(self, scan: FolderScan) -> None:
        """Take over what a search for folders had to say."""
        self.guesses += scan.guesses
        self.warnings += scan.warnings
        self.mends += scan.mends


def parts_from_settings(settings: TrainSettings, default_resolution: Size) -> Layout:
    """The one part of train_data_dir and reg_data_dir.

    Raises SettingError when a folder is missing or holds no pictures, or both are the same.
    """
    reg, train = settings.reg_data_dir, settings.train_data_dir
    if reg and os.path.normcase(os.path.abspath(reg)) == os.path.normcase(os.path.abspath(train)):
        raise SettingError(
            "reg_data_dir",
            f"{reg} is also the folder with the training pictures. Choose another folder, or "
            "leave the regularisation pictures out.",
        )
    layout = Layout(())
    subsets = []
    unmatched: set[str] | None = None
    others = [settings.conditioning_data_dir, settings.logging_dir]
    if settings.output_dir and not read_folder_name(settings.output_dir.name):
        others.append(settings.output_dir)  # a LoRA may well be saved beside its pictures
    for root, is_reg in ((train, False), (reg, True)):
        if root is None:
            continue
        scan = find_folders(
            root,
            settings.folder_repeats,
            [path for path in [*others, train if is_reg else reg] if path],
            "reg_data_dir" if is_reg else "train_data_dir",
            readable_endings(),
        )
        layout.add_scan(scan)
        unmatched = scan.unmatched if unmatched is None else unmatched & scan.unmatched
        subsets += [subset_from_settings(settings, folder, is_reg) for folder in scan.folders]
    for name in sorted(unmatched or ()):
        layout.warnings.append(
            f"folder_repeats names {name}, but there is no such folder with pictures."
        )
    part = part_from_settings(settings, subsets, default_resolution)
    layout.parts = (fit_part(part, layout.guesses),)
    return layout


def subset_from_settings(settings: TrainSettings, folder: Folder, is_reg: bool) -> Subset:
    """A subset that is used as the training settings say."""
    return Subset(
        folder=folder,
        is_reg=is_reg,
        caption_extension=dotted(settings.caption_extension),
        captions=CaptionOptions(
            shuffle_caption=settings.shuffle_caption,
            keep_tokens=settings.keep_tokens,
            caption_prefix=settings.caption_prefix or "",
            caption_suffix=settings.caption_suffix or "",
            caption_dropout_rate=settings.caption_dropout_rate,
            caption_dropout_every_n_epochs=settings.caption_dropout_every_n_epochs,
            caption_tag_dropout_rate=settings.caption_tag_dropout_rate,
            token_warmup_min=settings.token_warmup_min,
            token_warmup_step=settings.token_warmup_step,
        ),
        flip_aug=settings.flip_aug,
        color_aug=settings.color_aug,
        random_crop=settings.random_crop,
        masked=settings.masked_loss,
        conditioning_data_dir=settings.conditioning_data_dir,
    )


def part_from_settings(
    settings: TrainSettings, subsets: Iterable[Subset], default_resolution: Size
) -> Part:
    """A part with the bucket rules of the training settings, not yet seen to by `fit_part`."""
    resolution = settings.resolution or default_resolution
    return Part(
        subsets=tuple(subsets),
        resolution=resolution,
        batch_size=settings.train_batch_size,
        enable_bucket=settings.enable_bucket,
        min_bucket_reso=settings.min_bucket_reso,
        max_bucket_reso=settings.max_bucket_reso or 2 * max(resolution),
        bucket_reso_steps=settings.bucket_reso_steps,
        bucket_no_upscale=settings.bucket_no_upscale,
    )


def fit_part(part: Part, guesses: list[str]) -> Part:
    """Bend sizes that cannot be used as given to the nearest ones that can, and say so.

    Sides are whole latents (multiples of 8). Bucket limits go out to whole steps, as in
    sd-scripts, and as far as the resolution needs.
    """
    changes: dict = {}
    whole = tuple(max(LATENT_FACTOR, side // LATENT_FACTOR * LATENT_FACTOR)
                  for side in part.resolution)  # fmt: skip
    step = part.bucket_reso_steps
    if not part.enable_bucket and whole != part.resolution:
        changes["resolution"] = whole
        guesses.append(f"The resolution {_by(part.resolution)} is not a multiple of 8: "
                       f"{_by(whole)} is used.")  # fmt: skip
    if part.enable_bucket and not part.bucket_no_upscale:
        shortest = max(step, part.min_bucket_reso // step * step)
        if shortest > min(part.resolution):
            shortest = max(step, min(part.resolution) // step * step)
        longest = -(-max(part.max_bucket_reso, *part.resolution) // step) * step
        for name, old, new in (("min_bucket_reso", part.min_bucket_reso, shortest),
                               ("max_bucket_reso", part.max_bucket_reso, longest)):  # fmt: skip
            if old != new:
                changes[name] = new
                guesses.append(f"{name} {old} does not suit the resolution {_by(part.resolution)} "
                               f"with a step of {step}: {new} is used.")  # fmt: skip
    if part.enable_bucket and step > min(part.resolution):
        raise SettingError("bucket_reso_steps", f"A step of {step} is larger than the resolution "
                           f"{_by(part.resolution)}. Take 64 or less.")  # fmt: skip
    return Part(**{**part.__dict__, **changes})


def dotted(ending: str) -> str:
    """A caption ending with its dot, in lower case."""
    ending = ending.strip().lower()
    return ending if ending.startswith(".") else f".{ending}"


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
