"""Made-up latents of any batch, for a trial: time and memory do not depend on what is in them."""

from __future__ import annotations

import numpy as np
import torch

from scripts.dataset.buckets import Size
from scripts.dataset.dataset import Batch, Dataset
from scripts.dataset.encoding import BatchTensors, LatentSource, batch_tensors, encode_batch
from scripts.dataset.subsets import LATENT_FACTOR

CHANNELS = 4


class RandomLatents(LatentSource):
    """Random numbers in the shape of a batch's bucket; masks where the data set has any.

    With a VAE, for a training whose latents are not cached, each batch is encoded from random
    pixels: that is a part of such a step. No picture is opened.
    """

    def __init__(self, dataset: Dataset, latent_scale: float, vae=None) -> None:
        super().__init__(dataset)
        self.needs_vae = vae is not None
        self._vae, self._scale = vae, latent_scale
        self._masked = any(picture.has_mask for picture in dataset.pictures)
        self._known: dict[tuple[int, Size], tuple[torch.Tensor, ...]] = {}
        self._pixels: dict[tuple[int, Size], list[np.ndarray]] = {}

    def fetch(self, batch: Batch, upcoming: Batch | None = None) -> BatchTensors:
        """The tensors of a batch; the same ones for every batch of its size."""
        width, height = batch.bucket
        mask = None
        if self._masked:
            mask = np.ones((1, height // LATENT_FACTOR, width // LATENT_FACTOR), np.float32)
        mean, std = self._moments(len(batch.examples), batch.bucket)
        return batch_tensors(batch, mean, std, [mask] * len(batch.examples))

    def _moments(self, count: int, bucket: Size) -> tuple[torch.Tensor, ...]:
        """Mean and standard deviation, (count, 4, height/8, width/8); scaled, they are about 1."""
        width, height = bucket
        key = count, bucket
        if self._vae is not None:
            if key not in self._pixels:
                shape = (count, 3, height, width)
                numbers = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
                self._pixels = {key: list(numbers)}
            return encode_batch(self._vae, self._pixels[key]).chunk(2, dim=1)
        if key not in self._known:
            shape = (count, CHANNELS, height // LATENT_FACTOR, width // LATENT_FACTOR)
            mean = torch.randn(shape) / self._scale
            self._known = {key: (mean, torch.full_like(mean, 0.1))}
        return self._known[key]

    def close(self) -> None:
        """Nothing is open."""
