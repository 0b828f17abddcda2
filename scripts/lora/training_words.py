"""What the metadata of a LoRA tell of its training, in sentences. Standard library only.

for sentence in training_in_words(metadata): print(sentence)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

NEARLY_ALL = 0.8  # of the pictures of a folder: a tag that stands in so many captions is a trigger
TAGS_TOLD = 20


def trigger_words(metadata: Mapping[str, str]) -> list[tuple[str, int]]:
    """The tags in nearly every caption of a folder, with their numbers, most frequent first.

    A folder without captions is trained with its name, which then stands among the tags too.
    """
    pictures = _pictures_by_folder(metadata)
    found: Counter[str] = Counter()
    for folder, tags in _tags_by_folder(metadata).items():
        count = pictures.get(folder) or max(tags.values(), default=0)
        found.update({tag: n for tag, n in tags.items() if n >= NEARLY_ALL * count})
    return found.most_common(TAGS_TOLD)


def common_tags(metadata: Mapping[str, str]) -> list[tuple[str, int]]:
    """The tags of all captions by how often they came, most frequent first."""
    counts: Counter[str] = Counter()
    for tags in _tags_by_folder(metadata).values():
        counts.update(tags)
    return counts.most_common(TAGS_TOLD)


def _tags_by_folder(metadata: Mapping[str, str]) -> dict[str, Counter[str]]:
    """{folder: {tag: in how many captions}}; empty when written by whatever tool otherwise."""
    folders: dict[str, Counter[str]] = {}
    try:
        for folder, tags in json.loads(metadata.get("ss_tag_frequency", "{}")).items():
            folders[folder] = Counter()
            for tag, count in tags.items():
                folders[folder][tag.strip()] += int(count)
    except (ValueError, TypeError, AttributeError):
        return {}
    return folders


def _pictures_by_folder(metadata: Mapping[str, str]) -> dict[str, int]:
    try:
        folders = json.loads(metadata.get("ss_dataset_dirs", "{}"))
        return {name: int(facts["img_count"]) for name, facts in folders.items()}
    except (ValueError, TypeError, AttributeError, KeyError):
        return {}


def training_in_words(metadata: Mapping[str, str]) -> list[str]:
    """Sentences on the base model, pictures, amount, learning rates and more, as far as known."""
    known = {key: value for key, value in metadata.items() if value not in ("", "None")}
    parts = (_base, _pictures, _amount, _rates, _special, _when)
    return [sentence for part in parts for sentence in part(known)]


def _base(known: Mapping[str, str]) -> Iterator[str]:
    if name := known.get("ss_sd_model_name"):
        yield f"Made with the base model {name}."
    if comment := known.get("ss_training_comment"):
        yield f"Comment: {comment}"


def _pictures(known: Mapping[str, str]) -> Iterator[str]:
    pictures = sum(_pictures_by_folder(known).values())
    shown = known.get("ss_num_train_images")
    size = known.get("ss_resolution", "").strip("()").replace(", ", " x ")
    end = f", at {size}" if size else ""
    if pictures:
        repeated = f" ({shown} with repeats)" if shown and shown != str(pictures) else ""
        yield f"Trained on {pictures} pictures{repeated}{end}."
    elif shown:
        yield f"Trained on {shown} pictures with repeats{end}."


def _amount(known: Mapping[str, str]) -> Iterator[str]:
    steps, epochs = known.get("ss_steps"), known.get("ss_epoch")
    if not steps:
        return
    batch = known.get("ss_total_batch_size", known.get("ss_batch_size_per_device"))
    text = f"{steps} steps" + (f" of {batch} pictures each" if batch not in (None, "1") else "")
    if epochs:
        planned = known.get("ss_num_epochs", epochs)
        text += f", {epochs} of {planned} epochs" if planned != epochs else f", epochs: {epochs}"
    yield f"{text}."


def _rates(known: Mapping[str, str]) -> Iterator[str]:
    rates = [
        f"{title} {number}"
        for title, key in (("U-Net", "ss_unet_lr"), ("text encoder", "ss_text_encoder_lr"))
        if (number := known.get(key))
    ]
    if rates or known.get("ss_learning_rate"):
        yield f"Learning rate: {', '.join(rates) or known['ss_learning_rate']}."
    if optimizer := known.get("ss_optimizer"):
        name, _, arguments = optimizer.partition("(")
        text = name.rpartition(".")[2] + (f" ({arguments.removesuffix(')')})" if arguments else "")
        scheduler = known.get("ss_lr_scheduler")
        yield f"Optimiser: {text}" + (f", schedule: {scheduler}." if scheduler else ".")


def _special(known: Mapping[str, str]) -> Iterator[str]:
    titles = {
        "ss_clip_skip": "clip skip", "ss_min_snr_gamma": "min-SNR gamma",
        "ss_noise_offset": "noise offset", "ss_network_dropout": "dropout",
        "ss_multires_noise_iterations": "multires noise", "ss_seed": "seed",
    }  # fmt: skip
    found = [f"{title} {known[key]}" for key, title in titles.items() if _counts(known.get(key))]
    if found:
        yield f"With {', '.join(found)}."


def _counts(value: Any) -> bool:
    return value is not None and value not in ("0", "0.0", "False")


def _when(known: Mapping[str, str]) -> Iterator[str]:
    try:
        began, ended = (float(known[f"ss_training_{end}_at"]) for end in ("started", "finished"))
        day = datetime.fromtimestamp(ended).date().isoformat()
        minutes = max(1, round((ended - began) / 60))
    except (KeyError, ValueError, OverflowError, OSError):
        return
    yield f"Finished on {day} after {minutes} min."
