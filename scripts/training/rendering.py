"""Draw one round of preview pictures and write them, without ever raising because of a picture.

`scripts.training.previews` calls this from the training; it needs only a U-Net, a way to get the
VAE for a moment, and prompts whose texts are encoded already.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor, nn

from scripts.core.errors import Cancelled, SuiteError
from scripts.core.events import Control, Note, Preview, Report, Stage
from scripts.core.files import replace_atomically
from scripts.training.prompts import Prompt
from scripts.training.samplers import create_scheduler, sampler_named
from scripts.training.sampling import (
    decode_pixels,
    draw_start_noise,
    moved,
    sample_latents,
    to_bytes,
)

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

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
    latent_scale: float
    v_prediction: bool
    zero_terminal_snr: bool
    device: torch.device
    precision: torch.dtype = torch.float32
    model: str | None = None
    clip_skip: int | None = None

    def sampler_of(self, prompt: Prompt):
        """The `Sampler` that draws this prompt."""
        return sampler_named(prompt.sampler or self.sampler)


def render_previews(
    encoded: Sequence[EncodedPrompt],
    unet: nn.Module,
    open_vae: OpenVae,
    look: PreviewLook,
    stem: str,
    step: int | None,
    report: Report,
    control: Control,
) -> list[Path]:
    """Draw and write a picture for each prompt; give the paths of those that were written.

    First all are sampled, then the VAE is asked for and all are decoded. Reports a Stage at each
    sampling step, a Preview for each picture and a Note for what failed. When someone asks to
    stop it returns at once with what was written so far. The modes of the U-Net's modules and
    the random state stay as they were.

    Args:
        open_vae: gives a VAE for a `with` block, on the device where it shall run.
        stem: how the names of the pictures begin, see `preview_stem`.
        step: the training step, for the Preview events.
    """
    cards = [look.device] if look.device.type == "cuda" else []
    paths: list[Path] = []
    with torch.random.fork_rng(devices=cards), torch.no_grad():
        try:
            latents = _sample_all(encoded, unet, look, report, control)
            give_memory_back(look.device)
            if latents:
                _decode_all(latents, open_vae, look, stem, step, report, control, paths)
        except Cancelled:
            log.info("The previews were cut short by a stop.")
        except Exception as error:
            log.exception("The previews failed.")
            report(Note(explain_failure(error, "The previews")))
        finally:
            give_memory_back(look.device)
    return paths


def preview_stem(output_name: str, *, epoch: int | None = None, step: int = 0) -> str:
    """How the names of a round of previews begin, as sd-scripts writes it.

    `<output_name>_e000001` after an epoch, `<output_name>_000100` after a step.
    """
    return f"{output_name}_e{epoch:06d}" if epoch is not None else f"{output_name}_{step:06d}"


def _sample_all(
    encoded: Sequence[EncodedPrompt],
    unet: nn.Module,
    look: PreviewLook,
    report: Report,
    control: Control,
) -> list[tuple[Prompt, Tensor]]:
    latents = []
    with resting(unet), autocast(look.device, look.precision):
        for place, one in enumerate(encoded, 1):
            name = f"Preview {place} of {len(encoded)}"
            try:
                latents.append((one.prompt, _sample(one, unet, look, name, report, control)))
            except Cancelled:
                raise
            except Exception as error:
                log.exception("%s failed while it was sampled.", name)
                report(Note(explain_failure(error, name, one.prompt)))
                give_memory_back(look.device)
    return latents


def _sample(
    one: EncodedPrompt,
    unet: nn.Module,
    look: PreviewLook,
    name: str,
    report: Report,
    control: Control,
) -> Tensor:
    """The latents of one picture, on the CPU."""
    prompt = one.prompt

    def progress(done: int, total: int) -> None:
        report(Stage(name, done, total))
        control.check()

    control.check()
    noise, generators = draw_start_noise([prompt.seed], prompt.width, prompt.height)
    return sample_latents(
        unet,
        create_scheduler(
            look.sampler_of(prompt),
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
    ).cpu()


def _decode_all(
    latents: list[tuple[Prompt, Tensor]],
    open_vae: OpenVae,
    look: PreviewLook,
    stem: str,
    step: int | None,
    report: Report,
    control: Control,
    paths: list[Path],
) -> None:
    """Decode and write each picture; the paths of those that were written go into `paths`."""
    moment = time.strftime("%Y%m%d%H%M%S")
    with open_vae() as vae:
        for prompt, drawn in latents:
            control.check()
            path = look.folder / f"{stem}_{prompt.number:02d}_{moment}_{prompt.seed}.png"
            try:
                pixels = decode_pixels(vae, drawn, look.latent_scale)
                _write(pixels, path, picture_parameters(prompt, look))
            except Exception as error:
                log.exception("The preview %s failed while it was decoded.", path.name)
                report(Note(explain_failure(error, f"Preview {prompt.number + 1}", prompt)))
                give_memory_back(look.device)
                continue
            if not torch.isfinite(pixels).all():
                report(Note(
                    f"Preview {prompt.number + 1} is black, in whole or in part: the model gave "
                    "numbers that are not valid. If this goes on, stop and train again with a "
                    "lower learning rate, or with mixed_precision bf16 or no."))  # fmt: skip
            paths.append(path)
            report(Preview(str(path), prompt.text, step))


def _write(pixels: Tensor, path: Path, parameters: str) -> None:
    information = PngInfo()
    information.add_text("parameters", parameters)
    with replace_atomically(path) as temporary:
        Image.fromarray(to_bytes(pixels)[0]).save(temporary, format="PNG", pnginfo=information)


def picture_parameters(prompt: Prompt, look: PreviewLook) -> str:
    """How a picture was made, as the web interfaces write it into PNG files and read it."""
    facts = {
        "Steps": prompt.steps, "Sampler": look.sampler_of(prompt).title,
        "CFG scale": f"{prompt.guidance:g}", "Seed": prompt.seed,
        "Size": f"{prompt.width}x{prompt.height}", "Model": look.model,
        "Clip skip": look.clip_skip, "RNG": "CPU",
    }  # fmt: skip
    lines = [prompt.text]
    if prompt.negative:
        lines.append(f"Negative prompt: {prompt.negative}")
    lines.append(", ".join(f"{name}: {fact}" for name, fact in facts.items() if fact is not None))
    return "\n".join(lines)


def explain_failure(error: Exception, what: str, prompt: Prompt | None = None) -> str:
    """A plain sentence or two for previews that failed: why, and what to do."""
    if isinstance(error, SuiteError):
        return f"{what} could not be drawn; the training goes on. {error}"
    if _is_out_of_memory(error):
        size = f" ({prompt.width} x {prompt.height})" if prompt else ""
        return (f"{what}{size} could not be drawn, because memory ran out; the training goes on. "
                "Make the previews smaller, for example with --w 512 --h 512 after the prompt, "
                "or draw none.")  # fmt: skip
    return (f"{what} could not be drawn because of an error in the program; the training goes on. "
            "The log holds the details.")  # fmt: skip


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()  # the CPU's allocator raises a plain RuntimeError
    return "not enough memory" in text or "can't allocate memory" in text


@contextmanager
def resting(*modules: nn.Module) -> Iterator[None]:
    """All modules in eval mode (no dropout); then each in the mode in which it was found."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    """Autocast to `precision` as the training does; nothing for float32."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, precision)


def give_memory_back(device: torch.device) -> None:
    """Hand what torch keeps in reserve on a graphics card back to the driver."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
