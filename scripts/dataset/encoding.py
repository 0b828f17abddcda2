"""Pixels into latents: what a batch consists of, the VAE's posterior, pictures read ahead."""

from __future__ import annotations

import abc
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from scripts.dataset.dataset import Batch, Dataset
from scripts.dataset.pictures import UnreadablePicture
from scripts.dataset.variants import crop_top_left
from scripts.settings.train import TrainSettings

ENCODED_PIXELS = 1 << 20  # pixels encoded at once: four pictures of 512x512, one of 1024x1024
READERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class BatchTensors:
    """What the loop needs of a batch; all on the CPU.

    mean, std: (batch, 4, height/8, width/8) float32, not scaled by the VAE factor.
    mask: (batch, 1, height/8, width/8) float32 from 0 to 1, or None when no example has one.
    original_hw, crop_top_left, target_hw: (batch, 2) int64, SDXL's size conditioning.
    """

    mean: torch.Tensor
    std: torch.Tensor
    mask: torch.Tensor | None
    original_hw: torch.Tensor
    crop_top_left: torch.Tensor
    target_hw: torch.Tensor


class LatentSource(abc.ABC):
    """Gives the latents of batches.

    `dataset` is the data set to train on: the one given, without the pictures that turned out to
    be damaged. `needs_vae` tells whether the VAE must stay in memory.
    """

    needs_vae = False

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    @abc.abstractmethod
    def fetch(self, batch: Batch, upcoming: Batch | None = None) -> BatchTensors:
        """The tensors of a batch. `upcoming`, the batch after it, is read ahead when that helps."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of files and threads; a cache made for this run alone is removed."""


@torch.no_grad()
def encode(vae, pixels: np.ndarray) -> torch.Tensor:
    """Mean and standard deviation of the VAE's posterior, joined.

    pixels: (batch, 3, height, width) bytes. Returns (batch, 2 * latent channels, height/8,
    width/8) float32 on the CPU. Runs in the VAE's own type, without autocast: SDXL's VAE gives NaN
    in fp16.
    """
    images = torch.from_numpy(pixels).to(vae.device, torch.float32) / 127.5 - 1.0
    with torch.autocast(vae.device.type, enabled=False):
        posterior = vae.encode(images.to(vae.dtype)).latent_dist
    return torch.cat([posterior.mean, posterior.std], dim=1).float().cpu()


def encode_batch(vae, pictures: list[np.ndarray]) -> torch.Tensor:
    """As `encode`, for the pictures of one batch: at once, or one by one where they are large.

    pictures: of one size, (3, height, width) bytes each.
    """
    _, height, width = pictures[0].shape
    if height * width * len(pictures) > 4 * ENCODED_PIXELS:
        return torch.cat([encode(vae, pixels[None]) for pixels in pictures])
    return encode(vae, np.stack(pictures))


def batch_tensors(
    batch: Batch, mean: torch.Tensor, std: torch.Tensor, masks: list[np.ndarray | None]
) -> BatchTensors:
    """Put a batch together; examples without a mask count whole when others have one."""
    mask = None
    if any(item is not None for item in masks):
        whole = np.ones((1, *mean.shape[2:]), dtype=np.float32)
        mask = torch.from_numpy(np.stack([whole if m is None else m for m in masks]))
    sizes = [example.picture.size for example in batch.examples]
    width, height = batch.bucket
    # Random numbers are filled in by memory order, so that must not depend on where it comes from.
    return BatchTensors(
        mean.contiguous(),
        std.contiguous(),
        mask,
        torch.tensor([(h, w) for w, h in sizes]),
        torch.tensor([crop_top_left(example) for example in batch.examples]),
        torch.tensor([(height, width)] * len(sizes)),
    )


def readers(settings: TrainSettings) -> int:
    """How many pictures are read at once; with lowram one, as each may be a large photograph."""
    return 1 if settings.lowram else READERS


def read_ahead(items: list, work: Callable, threads: int = READERS) -> Iterator[tuple]:
    """(item, work(item) or the UnreadablePicture it raised), in order, by a few threads ahead."""
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        waiting: deque[tuple[object, Future]] = deque()
        coming = iter(items)
        try:
            while True:
                while len(waiting) < 2 * threads and (item := next(coming, None)) is not None:
                    waiting.append((item, pool.submit(_caught, work, item)))
                if not waiting:
                    return
                item, future = waiting.popleft()
                yield item, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _caught(work: Callable, item):
    try:
        return work(item)
    except UnreadablePicture as error:
        return error
