"""What a data set tells about itself: the LoRA file's metadata, the plan, the list of tags."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from scripts.dataset.captions import EMPTY, MISSING, PRESENT

if TYPE_CHECKING:
    from scripts.dataset.dataset import Dataset, Picture
    from scripts.dataset.subsets import Part, Subset


def metadata(dataset: Dataset) -> dict[str, str]:
    """The ss_* entries that concern the data, as sd-scripts writes them: all values are strings.

    A dataset TOML gives ss_datasets, with the folders of all parts joined; a folder tree gives
    the single entries.
    """
    trained: dict[str, dict] = {}
    regular: dict[str, dict] = {}
    tags: dict[str, dict[str, int]] = {}
    for number, part in enumerate(dataset.parts):
        for name, counts in tag_frequency(dataset, number).items():
            tags.setdefault(name, counts)
        for subset in part.subsets:
            group = regular if subset.is_reg else trained
            if not (dataset.layout.from_file and subset.is_reg):
                group[_free_name(group, subset.folder.path.name)] = {
                    "n_repeats": subset.folder.repeats,
                    "img_count": len(_usable(dataset, subset)),
                }
    entries = {
        "ss_num_train_images": str(dataset.num_train_images),
        "ss_num_reg_images": str(dataset.num_reg_images),
        "ss_tag_frequency": _json(tags),
        "ss_dataset_dirs": _json(trained),
    }
    if dataset.layout.from_file:
        parts = [_part_metadata(dataset, number) for number in range(len(dataset.parts))]
        return entries | {"ss_datasets": _json(parts)}
    return entries | _single_part_metadata(dataset) | {"ss_reg_dataset_dirs": _json(regular)}


def _single_part_metadata(dataset: Dataset) -> dict[str, str]:
    part, settings = dataset.parts[0], dataset.settings
    return {
        "ss_batch_size_per_device": str(part.batch_size),
        "ss_resolution": str(part.resolution),
        "ss_color_aug": str(settings.color_aug),
        "ss_flip_aug": str(settings.flip_aug),
        "ss_random_crop": str(settings.random_crop),
        "ss_shuffle_caption": str(settings.shuffle_caption),
        "ss_enable_bucket": str(part.enable_bucket),
        "ss_bucket_no_upscale": str(part.bucket_no_upscale),
        "ss_min_bucket_reso": str(part.min_bucket_reso),
        "ss_max_bucket_reso": str(part.max_bucket_reso),
        "ss_keep_tokens": str(settings.keep_tokens),
        "ss_bucket_info": _json(bucket_info(dataset, 0)),
    }


def _part_metadata(dataset: Dataset, number: int) -> dict:
    part = dataset.parts[number]
    pictures = [picture for picture in dataset.every if picture.part == number]
    return {
        "is_dreambooth": True,
        "batch_size_per_device": part.batch_size,
        "num_train_images": sum(p.repeats for p in pictures if not p.subset.is_reg),
        "num_reg_images": sum(p.subset.folder.repeats for p in pictures if p.subset.is_reg),
        "resolution": list(part.resolution),
        "enable_bucket": part.enable_bucket,
        "min_bucket_reso": part.min_bucket_reso,
        "max_bucket_reso": part.max_bucket_reso,
        "tag_frequency": tag_frequency(dataset, number),
        "bucket_info": bucket_info(dataset, number),
        "subsets": [_subset_metadata(dataset, subset) for subset in part.subsets],
    }


def _subset_metadata(dataset: Dataset, subset: Subset) -> dict:
    options = subset.captions
    return {
        "img_count": len(_usable(dataset, subset)),
        "num_repeats": subset.folder.repeats,
        "color_aug": subset.color_aug,
        "flip_aug": subset.flip_aug,
        "random_crop": subset.random_crop,
        "shuffle_caption": options.shuffle_caption,
        "keep_tokens": options.keep_tokens,
        "keep_tokens_separator": options.keep_tokens_separator,
        "secondary_separator": options.secondary_separator or None,
        "enable_wildcard": options.enable_wildcard,
        "caption_prefix": options.caption_prefix or None,
        "caption_suffix": options.caption_suffix or None,
        "image_dir": subset.folder.path.name,
        "class_tokens": subset.folder.class_tokens,
        "is_reg": subset.is_reg,
    }


def _usable(dataset: Dataset, subset: Subset) -> list[Picture]:
    return [picture for picture in dataset.every if picture.subset is subset]


def _free_name(group: dict, name: str) -> str:
    """The name, or "name (2)", "name (3)" when it is taken."""
    free, number = name, 2
    while free in group:
        free, number = f"{name} ({number})", number + 1
    return free


def tag_frequency(dataset: Dataset, part: int | None = None) -> dict[str, dict[str, int]]:
    """How many pictures of each folder have each tag (lower case); repeats do not count."""
    found: dict[str, dict[str, int]] = {}
    for picture in dataset.every:
        if part is not None and picture.part != part:
            continue
        counts = found.setdefault(picture.subset.folder.path.name, {})
        for tag in tags_of(picture.caption):
            counts[tag] = counts.get(tag, 0) + 1
    return found


def tags_of(caption: str) -> list[str]:
    """The tags of a caption: split at commas, without blanks around, lower case, none empty."""
    return [tag.strip().lower() for tag in caption.split(",") if tag.strip()]


def bucket_info(dataset: Dataset, part: int) -> dict | None:
    """Buckets with their uses in an epoch, and the mean ratio error; None without buckets."""
    if not dataset.parts[part].enable_bucket:
        return None
    pictures = [picture for picture in dataset.every if picture.part == part and picture.repeats]
    counts: Counter = Counter()
    for picture in pictures:
        counts[picture.bucket] += picture.repeats
    errors = [abs(picture.ratio_error) for picture in pictures]
    return {
        "buckets": {
            str(number): {"resolution": list(bucket), "count": count}
            for number, (bucket, count) in enumerate(sorted(counts.items()))
        },
        "mean_img_ar_error": sum(errors) / len(errors) if errors else 0.0,
    }


def plan(dataset: Dataset) -> dict:
    """What the wizard and `--plan` show of the data.

    `folders`: path, repeats, is_reg, class_tokens, pictures, captions (present, missing, empty)
    and uses in an epoch; `buckets`: width, height, uses; `mends`: values of folder_repeats that
    would take in what was left out.
    """
    return {
        "folders": [
            _folder_plan(dataset, part, subset) for part in dataset.parts for subset in part.subsets
        ],
        "buckets": [
            {"width": width, "height": height, "count": count}
            for width, height, count in dataset.buckets()
        ],
        "num_train_images": dataset.num_train_images,
        "num_reg_images": dataset.num_reg_images,
        "batches_per_epoch": dataset.batches_per_epoch,
        "guesses": list(dataset.guesses),
        "warnings": list(dataset.warnings),
        "notes": list(dataset.notes),
        "mends": list(dataset.layout.mends),
    }


def _folder_plan(dataset: Dataset, part: Part, subset: Subset) -> dict:
    pictures = _usable(dataset, subset)
    states = Counter(picture.caption_state for picture in pictures)
    return {
        "path": str(subset.folder.path),
        "name": subset.folder.path.name,
        "repeats": subset.folder.repeats,
        "is_reg": subset.is_reg,
        "class_tokens": subset.folder.class_tokens,
        "pictures": len(pictures),
        "uses_per_epoch": sum(picture.repeats for picture in pictures),
        "captions": {state: states[state] for state in (PRESENT, MISSING, EMPTY)},
        "resolution": list(part.resolution),
        "batch_size": part.batch_size,
    }


def tag_occurrence(dataset: Dataset, alphabetically: bool) -> str:
    """A text with each folder's tags and how many of its pictures have them, a line each."""
    blocks = []
    for name, counts in tag_frequency(dataset).items():
        order = sorted(counts.items(), key=lambda item: item[0] if alphabetically else -item[1])
        lines = [f"{tag}: {count}" for tag, count in order]
        blocks.append("\n".join([f"[{name}]", *lines, ""]))
    return "\n".join(blocks)


def _json(content) -> str:
    return json.dumps(content)
