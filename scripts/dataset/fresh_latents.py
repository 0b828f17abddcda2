"""Latents encoded anew for every batch: slower, for colour variation or without a cache."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from scripts.core.errors import SuiteError
from scripts.core.events import Control, Report, Stage
from scripts.dataset.dataset import Batch, Dataset, Example, Picture
from scripts.dataset.encoding import (
    BatchTensors,
    LatentSource,
    batch_tensors,
    encode_batch,
    read_ahead,
    readers,
)
from scripts.dataset.pictures import UnreadablePicture, open_picture
from scripts.dataset.variants import Prepared, Variant, open_mask, prepare


class FreshLatents(LatentSource):
    """Latents encoded anew for every batch, with the pixels of the next batch read ahead."""

    needs_vae = True

    def __init__(self, dataset: Dataset, vae) -> None:
        super().__init__(dataset)
        self.vae = vae
        self.pool = ThreadPoolExecutor(readers(dataset.settings), thread_name_prefix="pictures")
        self.ahead: tuple[Batch, list[Future]] | None = None

    def _start(self, batch: Batch) -> list[Future]:
        return [self.pool.submit(_prepare_example, example) for example in batch.examples]

    def fetch(self, batch: Batch, upcoming: Batch | None = None) -> BatchTensors:
        """Encode a batch. Raises SuiteError naming a picture that can no longer be opened."""
        known = self.ahead is not None and self.ahead[0] is batch
        futures = self.ahead[1] if known else self._start(batch)
        self.ahead = (upcoming, self._start(upcoming)) if upcoming is not None else None
        prepared = [future.result() for future in futures]
        moments = encode_batch(self.vae, [item.pixels for item in prepared])
        if not torch.isfinite(moments).all():
            names = ", ".join(example.picture.path.name for example in batch.examples)
            raise SuiteError(
                f"The VAE gave no usable numbers for one of these pictures: {names}. Use another "
                "VAE, or set mixed_precision to bf16 or no."
            )
        mean, std = moments.chunk(2, dim=1)
        return batch_tensors(batch, mean, std, [item.mask for item in prepared])

    def close(self) -> None:
        """Stop the reading threads."""
        self.pool.shutdown(wait=True, cancel_futures=True)


def _prepare_example(example: Example) -> Prepared:
    variant = Variant(example.flip, example.crop)
    try:
        return prepare(example.picture, [variant], example.colours)[0]
    except UnreadablePicture as error:
        raise SuiteError(f"The picture {example.picture.path} can no longer be opened: {error}. "
                         "Put it back, or remove it and start again.") from error  # fmt: skip


def check_pictures(dataset: Dataset, report: Report, control: Control) -> dict[Path, str]:
    """Decode every picture once, so that a damaged one is known before the training, not in it."""
    pictures = list({picture.path: picture for picture in dataset.pictures}.values())
    unreadable = {}
    threads = readers(dataset.settings)
    for number, (picture, result) in enumerate(read_ahead(pictures, _check, threads)):
        control.check()
        if isinstance(result, UnreadablePicture):
            unreadable[picture.path] = str(result)
        if number % 20 == 0:
            report(Stage("Checking the pictures", number, len(pictures)))
    return unreadable


def _check(picture: Picture) -> None:
    open_picture(picture.path)
    if picture.mask:
        open_mask(picture.mask)
