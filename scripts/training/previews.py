"""Draw preview pictures while a LoRA is trained, and never let that end the training.

    encoded = encode_prompts(prompts, tokenizers, text_encoders, family, settings)
    previewer = Previewer(unet, family, open_vae, look, report, control)
    previewer.render(encoded, preview_stem("my_lora", epoch=1), step=100)

The prompts are encoded once when the text encoders are not trained, so that these can leave
memory; else before each round. The VAE is asked for only while pictures are decoded. What goes
wrong with a picture is reported as a note; the training goes on.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scripts.core.errors import Cancelled, SuiteError
from scripts.core.events import Control, Note, Preview, Report, Stage
from scripts.models.conditioning import unet_conditioning
from scripts.models.families import Family
from scripts.models.text import CaptionEncoder
from scripts.training.device import is_out_of_memory
from scripts.training.preview_files import picture_parameters, preview_name, write_picture
from scripts.training.prompts import Prompt
from scripts.training.samplers import Sampler, create_scheduler, sampler_named
from scripts.training.sampling import (
    autocast,
    decode_pixels,
    draw_start_noise,
    give_memory_back,
    moved,
    resting,
    sample_latents,
    to_bytes,
)

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

    from scripts.settings.train import TrainSettings

OpenVae = Callable[[], AbstractContextManager["AutoencoderKL"]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt with the U-Net's arguments for it and for its negative prompt, on the CPU."""

    prompt: Prompt
    conditioning: Mapping[str, Any]
    unconditioning: Mapping[str, Any]


@dataclass(frozen=True)
class PreviewLook:
    """What all previews of a training have in common.

    `sampler` is for prompts that name none. `precision` is the type that autocast computes in;
    float32 means no autocast. `model` and `clip_skip` are only written into the pictures.
    """

    folder: Path
    sampler: str
    v_prediction: bool
    zero_terminal_snr: bool
    device: torch.device
    precision: torch.dtype = torch.float32
    model: str | None = None
    clip_skip: int | None = None


@contextmanager
def vae_in_memory(vae: AutoencoderKL, device: torch.device) -> Iterator[AutoencoderKL]:
    """A VAE that is kept: on `device` while it is used, then back where it was."""
    home = next(vae.parameters()).device
    try:
        yield vae.to(device)
    finally:
        vae.to(home)
        give_memory_back(device)


@contextmanager
def vae_from_file(
    load: Callable[[], AutoencoderKL], device: torch.device
) -> Iterator[AutoencoderKL]:
    """A VAE that `load` reads from its file onto `device`, gone again afterwards."""
    vae = load()
    try:
        yield vae
    finally:
        vae.to("meta")  # whoever still refers to it holds no memory
        give_memory_back(device)


@torch.no_grad()
def encode_prompts(
    prompts: Sequence[Prompt],
    tokenizers: Sequence[Any],
    text_encoders: Sequence[nn.Module],
    family: Family,
    settings: TrainSettings,
    precision: torch.dtype = torch.float32,
) -> list[EncodedPrompt]:
    """The U-Net's arguments for each prompt, with the same code as the training's captions.

    Weights such as (red hair:1.2) are always understood, as in the web interfaces. The text
    encoders run where they are, in eval mode, and are left as they were found.
    """
    settings = dataclasses.replace(settings, weighted_captions=True)
    encoder = CaptionEncoder(tokenizers, text_encoders, family, settings)
    device = next(text_encoders[0].parameters()).device
    encoded = []
    with resting(*text_encoders), autocast(device, precision):
        for prompt in prompts:
            output = encoder.encode([prompt.text, prompt.negative])
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


def sample_prompt(
    unet: nn.Module, one: EncodedPrompt, look: PreviewLook, progress: Callable[[int, int], None]
) -> Tensor:
    """The latents of a prompt, (1, 4, height / 8, width / 8), on the look's device.

    The U-Net and autocast are as the caller has set them. `progress` is called with (done, total)
    after each call of the U-Net; what it raises ends the sampling.
    """
    prompt = one.prompt
    noise, generators = draw_start_noise([prompt.seed], prompt.width, prompt.height)
    return sample_latents(
        unet,
        create_scheduler(
            _sampler_of(prompt, look),
            v_prediction=look.v_prediction,
            zero_terminal_snr=look.zero_terminal_snr,
        ),
        moved(one.conditioning, look.device),
        moved(one.unconditioning, look.device),
        noise.to(look.device),
        prompt.steps,
        prompt.guidance,
        progress,
        generators,
    )


def look_parameters(prompt: Prompt, look: PreviewLook) -> str:
    """The text in a picture that says how it was made."""
    more = {"Model": look.model, "Clip skip": look.clip_skip, "RNG": "CPU"}
    return picture_parameters(prompt, _sampler_of(prompt, look).title, more)


def _sampler_of(prompt: Prompt, look: PreviewLook) -> Sampler:
    return sampler_named(prompt.sampler or look.sampler)


class Previewer:
    """Draws one round of previews after another with the U-Net as it is being trained."""

    def __init__(
        self,
        unet: nn.Module,
        family: Family,
        open_vae: OpenVae,
        look: PreviewLook,
        report: Report,
        control: Control,
    ) -> None:
        """`open_vae` gives the VAE on the right device for a while: see `vae_from_file`."""
        self._unet = unet
        self._family = family
        self._open_vae = open_vae
        self._look = look
        self._report = report
        self._control = control
        self._warned = False  # that a picture is black: once is enough

    def render(
        self,
        encoded: Sequence[EncodedPrompt] | Callable[[], Sequence[EncodedPrompt]],
        stem: str,
        step: int | None = None,
    ) -> list[Path]:
        """Draw and write a picture for each prompt; give the paths of those that were written.

        `encoded` may be a function that encodes the prompts anew, for trained text encoders.
        First all are sampled, then the VAE is fetched and all are decoded. Reports a Stage at
        each sampling step, a Preview for each picture and a Note for what failed, which warns of
        the first picture that is black: this never raises because of a picture. When someone asks
        to stop, it returns at once with what was written so far. The modes of the U-Net's modules
        and the random state stay as they were.
        """
        device = self._look.device
        cards = [device] if device.type == "cuda" else []
        paths: list[Path] = []
        with torch.random.fork_rng(devices=cards), torch.no_grad():
            try:
                latents = self._sample_all(encoded() if callable(encoded) else encoded)
                give_memory_back(device)
                if latents:
                    self._decode_all(latents, stem, step, paths)
            except Cancelled:
                log.info("The previews were cut short by a stop.")
            except Exception as error:
                log.exception("The previews failed.")
                self._report(Note(_explain(error, "The previews")))
            finally:
                give_memory_back(device)
        return paths

    def _sample_all(self, encoded: Sequence[EncodedPrompt]) -> list[tuple[Prompt, Tensor]]:
        latents = []
        with resting(self._unet), autocast(self._look.device, self._look.precision):
            for place, one in enumerate(encoded, 1):
                name = f"Preview {place} of {len(encoded)}"
                try:
                    latents.append((one.prompt, self._sample(one, name).cpu()))
                except Cancelled:
                    raise
                except Exception as error:
                    log.exception("%s failed while it was sampled.", name)
                    self._report(Note(_explain(error, name, one.prompt)))
                    give_memory_back(self._look.device)
        return latents

    def _sample(self, one: EncodedPrompt, name: str) -> Tensor:
        def progress(done: int, total: int) -> None:
            self._report(Stage(name, done, total))
            self._control.check()

        self._control.check()
        return sample_prompt(self._unet, one, self._look, progress)

    def _decode_all(
        self, latents: list[tuple[Prompt, Tensor]], stem: str, step: int | None, paths: list[Path]
    ) -> None:
        """Decode and write each picture; the paths of those that were written go into `paths`."""
        moment = time.strftime("%Y%m%d%H%M%S")
        with self._open_vae() as vae:
            for prompt, drawn in latents:
                self._control.check()
                path = self._look.folder / preview_name(stem, prompt, moment)
                try:
                    pixels = decode_pixels(vae, drawn, self._family.latent_scale)
                    picture = to_bytes(pixels)[0]
                    write_picture(path, picture, look_parameters(prompt, self._look))
                except Exception as error:
                    log.exception("The preview %s failed while it was decoded.", path.name)
                    self._report(Note(_explain(error, f"Preview {prompt.number + 1}", prompt)))
                    give_memory_back(self._look.device)
                    continue
                if not (torch.isfinite(pixels).all() and picture.any()) and not self._warned:
                    self._warned = True
                    self._report(Note(_explain_black(prompt), warning=True))
                paths.append(path)
                self._report(Preview(str(path), prompt.text, step))


def _explain(error: Exception, what: str, prompt: Prompt | None = None) -> str:
    """A plain sentence or two for previews that failed: why, and what to do."""
    if isinstance(error, SuiteError):
        return f"{what} could not be drawn; the training goes on. {error}"
    if is_out_of_memory(error):
        size = f" ({prompt.width} x {prompt.height})" if prompt else ""
        return (f"{what}{size} could not be drawn, because memory ran out; the training goes on. "
                "Make the previews smaller, for example with --w 512 --h 512 after the prompt, "
                "or draw none.")  # fmt: skip
    return (f"{what} could not be drawn because of an error in the program; the training goes on. "
            "The log holds the details.")  # fmt: skip


def _explain_black(prompt: Prompt) -> str:
    return (f"Preview {prompt.number + 1} is black, in whole or in part: the model gave numbers "
            "that are not valid. If this goes on, stop and train again with a lower learning "
            "rate, or with mixed_precision bf16 or no.")  # fmt: skip
