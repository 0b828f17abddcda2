"""Settings for small pictures, and a VAE whose latents have a closed form."""

from types import SimpleNamespace

import pytest
import torch

from scripts.settings.train import TrainSettings


@pytest.fixture
def make_settings(tmp_path):
    """Settings for 64x64 pictures in tmp_path/data, seed 1."""

    def make(**changes) -> TrainSettings:
        usual = {
            "train_data_dir": tmp_path / "data",
            "resolution": (64, 64),
            "min_bucket_reso": 64,
            "max_bucket_reso": 256,
            "seed": 1,
        }
        return TrainSettings(**{**usual, **changes})

    return make


class MeanVae:
    """mean = the mean colour of each 8x8 square (and its mean as 4th channel), std = 0.25."""

    device = torch.device("cpu")
    dtype = torch.float32
    config = SimpleNamespace(latent_channels=4)

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, images: torch.Tensor) -> SimpleNamespace:
        self.encoded += len(images)
        colours = torch.nn.functional.avg_pool2d(images, 8)
        mean = torch.cat([colours, colours.mean(1, keepdim=True)], dim=1)
        std = torch.full_like(mean, 0.25)
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=mean, std=std))


@pytest.fixture
def vae():
    return MeanVae()
