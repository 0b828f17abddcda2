"""The previews of a training: when texts are encoded, where the VAE comes from, file names.

    previewer = Previewer.create(settings, base, encoder)  # None without prompts
    previewer.encode_ahead()  # when the text encoders are not trained: they can leave memory
    previewer.attach(unet, device, formats, vae_source)
    previewer.draw(position, report, control)

The drawing itself is in `scripts.training.rendering`; what goes wrong with it never ends the
training.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scripts.core.events import Control, Note, Report
from scripts.models.conditioning import unet_conditioning
from scripts.models.load import load_vae
from scripts.models.text import CaptionEncoder
from scripts.training.prompts import Prompt, read_prompts
from scripts.training.rendering import (
    EncodedPrompt,
    PreviewLook,
    autocast,
    explain_failure,
    give_memory_back,
    preview_stem,
    render_previews,
    resting,
)
from scripts.training.samplers import sampler_named
from scripts.training.sampling import moved

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from scripts.models.recognise import BaseModel
    from scripts.settings.train import TrainSettings
    from scripts.training.checkpoints import Position
    from scripts.training.device import Formats

SAMPLE_FOLDER = "sample"  # under output_dir, as sd-scripts has it
PRECISIONS = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

log = logging.getLogger(__name__)


def prompts_of(settings: TrainSettings, base_resolution: int) -> tuple[Prompt, ...]:
    """The prompts that the settings ask for, checked; () for none.

    Raises SettingError or SettingErrors for prompts or a sampler that cannot be used.
    """
    sampler_named(settings.sample_sampler)
    resolution = settings.resolution or (base_resolution, base_resolution)
    return read_prompts(settings.sample_prompts, resolution, settings.seed)


@torch.no_grad()
def encode_prompts(
    prompts: Sequence[Prompt], encoder: CaptionEncoder, precision: torch.dtype = torch.float32
) -> list[EncodedPrompt]:
    """The U-Net's arguments for each prompt, with the same code as the training's captions.

    Weights such as (red hair:1.2) are always understood, as in the web interfaces. The text
    encoders run where they are, in eval mode, and are left as they were found.
    """
    weighing = CaptionEncoder(
        encoder.tokenizers,
        encoder.text_encoders,
        encoder.family,
        dataclasses.replace(encoder.settings, weighted_captions=True),
    )
    device = next(encoder.text_encoders[0].parameters()).device
    encoded = []
    with resting(*encoder.text_encoders), autocast(device, precision):
        for prompt in prompts:
            output = weighing.encode([prompt.text, prompt.negative])
            both = moved(unet_conditioning(output, _sizes(prompt, device)), "cpu")
            encoded.append(EncodedPrompt(prompt, _row(both, 0), _row(both, 1)))
    return encoded


def _sizes(prompt: Prompt, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """SDXL's sizes for prompt and negative prompt: a picture neither enlarged nor cropped."""
    side = torch.tensor([[prompt.height, prompt.width]] * 2, device=device)
    return side, torch.zeros_like(side), side


def _row(arguments: Mapping[str, Any], row: int) -> dict[str, Any]:
    return {
        name: _row(value, row) if isinstance(value, Mapping) else value[row : row + 1].clone()
        for name, value in arguments.items()
    }


@contextmanager
def vae_from_file(load: Callable[[], AutoencoderKL], device: torch.device) -> Iterator:
    """A VAE that `load` reads from its file onto `device`, gone again afterwards."""
    vae = load()
    try:
        yield vae
    finally:
        vae.to("meta")  # whoever still refers to it holds no memory
        give_memory_back(device)


class Previewer:
    """Draws the previews of one training."""

    def __init__(
        self, prompts: Sequence[Prompt], settings: TrainSettings, base: BaseModel,
        encoder: CaptionEncoder,
    ) -> None:  # fmt: skip
        self.prompts = tuple(prompts)
        self._settings = settings
        self._base = base
        self._encoder: CaptionEncoder | None = encoder
        self._encoded: list[EncodedPrompt] | None = None
        self._unet: nn.Module | None = None

    @classmethod
    def create(
        cls, settings: TrainSettings, base: BaseModel, encoder: CaptionEncoder
    ) -> Previewer | None:
        """A previewer for the prompts of the settings, or None when there are none."""
        prompts = prompts_of(settings, base.resolution)
        return cls(prompts, settings, base, encoder) if prompts else None

    def encode_ahead(self) -> None:
        """Encode the prompts now and let go of the text encoders: they will not be trained."""
        self._encoded = encode_prompts(self.prompts, self._encoder)
        self._encoder = None

    def attach(
        self,
        unet: nn.Module,
        device: torch.device,
        formats: Formats,
        vae_source: BaseModel | Path,
    ) -> None:
        """Give what the drawing needs; the VAE is read again from `vae_source` for each round."""
        settings = self._settings
        self._unet = unet
        self._open_vae = partial(
            vae_from_file, partial(load_vae, vae_source, formats.vae, device), device
        )
        self._look = PreviewLook(
            folder=settings.output_dir / SAMPLE_FOLDER,
            sampler=settings.sample_sampler,
            latent_scale=self._base.family.latent_scale,
            v_prediction=bool(settings.v_parameterization),
            zero_terminal_snr=settings.zero_terminal_snr,
            device=device,
            precision=PRECISIONS[formats.mixed_precision],
            model=self._base.path.stem,
            clip_skip=settings.clip_skip,
        )

    def draw(self, position: Position, report: Report, control: Control) -> list[Path]:
        """Draw one round now; the paths of the pictures. Never raises because of a picture."""
        try:
            encoded = self._encoded
            if encoded is None:
                encoded = encode_prompts(self.prompts, self._encoder, self._look.precision)
        except Exception as error:
            log.exception("The prompts of the previews could not be encoded.")
            report(Note(explain_failure(error, "The previews")))
            return []
        epoch = position.epoch if position.epoch_done else None
        stem = preview_stem(self._settings.output_name, epoch=epoch, step=position.step)
        return render_previews(
            encoded, self._unet, self._open_vae, self._look, stem, position.step, report, control
        )
