"""Latents encoded once: the cache is built, then read through memory-mapped files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from scripts.core.errors import SuiteError
from scripts.core.events import Control, Report, Stage
from scripts.dataset.buckets import Size
from scripts.dataset.dataset import Batch, Dataset, Picture
from scripts.dataset.encoding import (
    ENCODED_PIXELS,
    BatchTensors,
    LatentSource,
    batch_tensors,
    encode,
    read_ahead,
    readers,
)
from scripts.dataset.latent_store import LatentStore, row_bytes
from scripts.dataset.pictures import UnreadablePicture
from scripts.dataset.subsets import LATENT_FACTOR
from scripts.dataset.variants import (
    Prepared,
    Variant,
    mask_source,
    prepare,
    variant_key,
    variants_of,
)

SAVE_EVERY = 64  # rows between two writings of the index, which a crash does not lose
SPARE_BYTES = 256 << 20


class CachedLatents(LatentSource):
    """Latents from memory-mapped files."""

    def __init__(self, dataset: Dataset, store: LatentStore, vae_key: str) -> None:
        super().__init__(dataset)
        self.store = store
        self.vae_key = vae_key
        self.hashes: dict[Path, str] = {}

    def key(self, picture: Picture, variant: Variant) -> str:
        """The cache key of a variant. Raises UnreadablePicture when the picture is gone."""
        mask = mask_source(picture)
        mask_content = mask if isinstance(mask, str) else self.content_hash(mask)
        content = self.content_hash(picture.path)
        return variant_key(picture, variant, content, mask_content, self.vae_key)

    def content_hash(self, path: Path) -> str:
        """The SHA-256 of a file, asked for once a run."""
        if path not in self.hashes:
            try:
                self.hashes[path] = self.store.content_hash(path)
            except OSError as error:
                raise UnreadablePicture(f"it cannot be read ({error.strerror})") from error
        return self.hashes[path]

    def open_files(self) -> dict[Path, str]:
        """Open the files with the rows of this data set, while nobody can change the store.

        Returns the pictures that have no rows since they cannot be opened, and why.
        """
        found = {}
        needed: set[str] = set()
        index = self.store.index
        for picture in self.dataset.pictures:
            try:
                keys = [self.key(picture, variant) for variant in variants_of(picture)]
            except UnreadablePicture as error:
                found[picture.path] = str(error)
                continue
            if not all(key in index.entries for key in keys):
                found[picture.path] = index.unreadable.get(str(picture.path), "it is damaged")
            else:
                needed.update(keys)
        self.store.open_files(needed)
        return found

    def fetch(self, batch: Batch, upcoming: Batch | None = None) -> BatchTensors:
        """The tensors of a batch, copied out of the mapped files."""
        rows = [
            self.store.row(self.key(example.picture, Variant(example.flip, example.crop)))
            for example in batch.examples
        ]
        channels = rows[0].shape[0] // 2  # mean and std, and a mask where there is one
        moments = torch.from_numpy(np.stack([row[: 2 * channels] for row in rows]))
        masks = [row[2 * channels :] if len(row) % 2 else None for row in rows]
        return batch_tensors(batch, moments[:, :channels], moments[:, channels:], masks)

    def close(self) -> None:
        """Close the files; a cache of this run alone is removed with its folder."""
        self.store.close()


@dataclass(frozen=True)
class Missing:
    """A picture with the variants that are not in the cache yet."""

    picture: Picture
    variants: tuple[Variant, ...]


def build_cache(source: CachedLatents, vae, report: Report, control: Control) -> None:
    """Encode every variant that the cache lacks, bucket by bucket."""
    missing, total = find_missing(source, report, control)
    count = sum(len(item.variants) for item in missing)
    report(Stage("Encoding the pictures", total - count, total))
    if not count:
        return
    channels = vae.config.latent_channels
    check_space(source.store.folder, missing, channels)
    done = total - count
    since_save = 0
    for items in encoding_batches(source, missing, control):
        moments = encode(vae, np.stack([prepared.pixels for _, _, prepared in items]))
        for (picture, variant, prepared), row in zip(items, moments.numpy(), strict=True):
            if not np.isfinite(row).all():
                raise SuiteError(
                    f"The VAE gave no usable numbers for {picture.path.name}, so the LoRA would "
                    "come out black. Use another VAE, or set mixed_precision to bf16 or no."
                )
            if prepared.mask is not None:
                row = np.concatenate([row, prepared.mask])
            source.store.add(source.key(picture, variant), picture.path, row)
        done += len(items)
        since_save += len(items)
        if since_save >= SAVE_EVERY:
            source.store.save()
            since_save = 0
        report(Stage("Encoding the pictures", done, total))


def find_missing(
    source: CachedLatents, report: Report, control: Control
) -> tuple[list[Missing], int]:
    """The variants that are not cached, sorted by bucket, and the number of all variants."""
    missing: list[Missing] = []
    seen: set[str] = set()
    total = 0
    pictures = sorted(source.dataset.pictures, key=lambda picture: picture.bucket)
    for number, picture in enumerate(pictures):
        control.check()
        if number % 100 == 0:
            report(Stage("Comparing the pictures with the cache", number, len(pictures)))
        try:
            keys = {source.key(picture, variant): variant for variant in variants_of(picture)}
        except UnreadablePicture:  # gone since the folders were read; named after the building
            continue
        new = {key: variant for key, variant in keys.items() if key not in seen}
        seen |= new.keys()  # the same picture may be there twice, and two crops at one place
        total += len(new)
        wanted = [v for key, v in new.items() if not source.store.find(key, picture.path)]
        if wanted:
            missing.append(Missing(picture, tuple(wanted)))
    return missing, total


def check_space(folder: Path, missing: list[Missing], channels: int) -> None:
    """Raise SuiteError when the disk has no room for the rows to come."""
    needed = sum(
        len(item.variants) * row_bytes(
            (2 * channels + int(item.picture.has_mask),
             item.picture.bucket[1] // LATENT_FACTOR, item.picture.bucket[0] // LATENT_FACTOR)
        )
        for item in missing
    )  # fmt: skip
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise SuiteError(
            f"The encoded pictures need {needed / 2**30:.1f} GB on the disk of {folder}, where "
            f"{free / 2**30:.1f} GB are free. Make room there, or turn cache_latents off."
        )


def encoding_batches(
    source: CachedLatents, missing: list[Missing], control: Control
) -> Iterator[list[tuple[Picture, Variant, Prepared]]]:
    """Prepared variants in groups of one bucket, read ahead by threads.

    Pictures that cannot be opened are noted in the index and skipped.
    """
    buffer: list[tuple[Picture, Variant, Prepared]] = []
    unreadable = source.store.index.unreadable
    threads = readers(source.dataset.settings)
    for item, prepared in read_ahead(missing, lambda i: prepare(i.picture, i.variants), threads):
        control.check()
        if isinstance(prepared, UnreadablePicture):
            unreadable[str(item.picture.path)] = str(prepared)
            continue
        unreadable.pop(str(item.picture.path), None)
        for variant, pixels in zip(item.variants, prepared, strict=True):
            if buffer and buffer[0][0].bucket != item.picture.bucket:
                yield buffer
                buffer = []
            buffer.append((item.picture, variant, pixels))
            if len(buffer) >= encoding_batch_size(item.picture.bucket):
                yield buffer
                buffer = []
    if buffer:
        yield buffer


def encoding_batch_size(bucket: Size) -> int:
    """How many pictures of a bucket are encoded at once."""
    return max(1, ENCODED_PIXELS // (bucket[0] * bucket[1]))
