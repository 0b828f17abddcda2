"""Draw the versions of a LoRA at several strengths: `draw_versions(settings, report, control)`.

One part of the base model is in memory at a time, as in a training: the text encoders leave when
every prompt has been encoded with every version and strength that changes them; then the U-Net
comes, and each version is put into it and taken out again. Only the VAE, which is small, waits in
main memory to decode each picture as soon as it is sampled.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from torch import nn

from scripts.core.errors import Cancelled, SuiteError
from scripts.core.events import Control, Facts, Note, Preview, Report, Saved, Stage
from scripts.drawing.grid import Cell
from scripts.drawing.lora_versions import (
    SETTING,
    Shape,
    Version,
    check_sizes,
    read_factors,
    shapes_of,
    without_place,
)
from scripts.drawing.plan import Drawing, prepare
from scripts.lora.network import LoRANetwork
from scripts.lora.targets import text_encoder_targets, unet_targets
from scripts.models.fp8 import keep_in_fp8
from scripts.models.load import load_text_encoders, load_tokenizers, load_unet, load_vae
from scripts.settings.draw_versions import DrawSettings
from scripts.training.device import is_out_of_memory
from scripts.training.freed_memory import keep_freed_memory
from scripts.training.preview_files import write_picture
from scripts.training.previews import (
    EncodedPrompt,
    OpenVae,
    encode_prompts,
    look_parameters,
    sample_prompt,
    vae_in_memory,
)
from scripts.training.prompts import Prompt
from scripts.training.sampling import autocast, decode_pixels, give_memory_back, to_bytes

STAGE = "Drawing the pictures"
Encoded = dict[tuple[int | None, float], list[EncodedPrompt]]  # by version and strength

log = logging.getLogger(__name__)


def draw_versions(settings: DrawSettings, report: Report, control: Control) -> Path:
    """Draw each version at each strength for each prompt; the path of the (first) sheet.

    Raises SuiteError for what the user can mend, Cancelled after a stop. What was drawn until then
    is kept, with a sheet.
    """
    drawing = prepare(settings)
    for note in drawing.notes:
        report(Note(note))
    drawn: dict[Cell, Path] = {}
    try:
        _draw(drawing, drawn, report, control)
    except Cancelled as stopped:
        if not drawn:
            raise
        _finish(drawing, drawn, report)
        raise Cancelled(f"Stopped: {len(drawn)} of {len(drawing.grid.cells())} pictures were "
                        f"drawn, and are in {settings.save_to}.") from stopped  # fmt: skip
    except Exception as error:
        if drawn:
            _finish(drawing, drawn, report)
        if not is_out_of_memory(error):
            raise
        log.exception("out of memory")
        raise SuiteError(_too_little_memory(drawing)) from error
    return _finish(drawing, drawn, report)[0]


def _draw(drawing: Drawing, drawn: dict[Cell, Path], report: Report, control: Control) -> None:
    """Draw all pictures; each goes into `drawn` as soon as its file is written."""
    base, formats, device = drawing.base, drawing.formats, drawing.look.device
    versions = drawing.grid.versions
    if device.type == "cpu":
        keep_freed_memory()
    encoded, places = _encode(drawing, report, control)
    give_memory_back(device)
    control.check()
    report(Stage("Loading the U-Net"))
    unet = load_unet(base, formats.base, device)
    if formats.fp8_base:
        keep_in_fp8(unet, formats.base)
    unet_places = shapes_of(unet_targets(unet, base.family.name))
    check_sizes(versions, unet_places, base.path.name)
    for note in without_place(versions, {**places, **unet_places}, base.path.name):
        report(Note(note))
    vae = load_vae(drawing.train.vae or base, formats.vae, "cpu")
    painter = _Painter(drawing, unet, partial(vae_in_memory, vae, device), report, control)
    for number, cells in groupby(drawing.grid.cells(), lambda cell: cell.version):
        with _inserted(drawing, number, unet_places, unet, []) as set_strength:
            for cell in cells:
                set_strength(cell.strength)
                one = encoded[cell.version, cell.strength][cell.prompt]
                drawn[cell] = painter.paint(cell, one)


def _encode(drawing: Drawing, report: Report, control: Control) -> tuple[Encoded, dict[str, Shape]]:
    """The prompts as each version at each strength understands them, on the CPU, and the places
    of the text encoders' layers."""
    report(Stage("Loading the text encoder"))
    base, grid, dtype = drawing.base, drawing.grid, drawing.formats.base
    text_encoders = load_text_encoders(base, dtype, drawing.look.device)
    places = shapes_of(text_encoder_targets(text_encoders))
    check_sizes(grid.versions, places, base.path.name)
    encode = partial(encode_prompts, grid.prompts, load_tokenizers(base), text_encoders,
                     base.family, drawing.train, dtype)  # fmt: skip
    encoded: Encoded = {(None, 0.0): encode()}
    for number, version in enumerate(grid.versions):
        control.check()
        strengths = [strength for strength in grid.strengths if strength]
        if not places.keys() & version.shapes.keys():  # most LoRAs for SDXL
            encoded |= {(number, strength): encoded[None, 0.0] for strength in strengths}
            continue
        with _inserted(drawing, number, places, None, text_encoders) as set_strength:
            for strength in strengths:
                set_strength(strength)
                encoded[number, strength] = encode()
    return encoded, places


@contextmanager
def _inserted(
    drawing: Drawing,
    number: int | None,
    places: Mapping[str, Shape],
    unet: nn.Module | None,
    text_encoders: list[nn.Module],
) -> Iterator[Callable[[float], None]]:
    """Version `number` in its places of the models; gives what sets its strength. None puts
    nothing in."""
    if number is None:
        yield lambda strength: None
        return
    factors = read_factors(drawing.grid.versions[number], places)
    network = LoRANetwork.of_factors(factors, unet, text_encoders, drawing.base.family, SETTING)
    try:
        yield network.set_multiplier
    finally:
        network.remove()


@dataclass
class _Painter:
    """Samples, decodes and writes one picture after another."""

    drawing: Drawing
    unet: nn.Module
    open_vae: OpenVae
    report: Report
    control: Control
    steps_done: int = 0

    def __post_init__(self) -> None:
        grid = self.drawing.grid
        self.steps = sum(grid.prompts[cell.prompt].steps for cell in grid.cells())

    def paint(self, cell: Cell, one: EncodedPrompt) -> Path:
        """Draw a picture with the U-Net as it is now; where it is.

        Reports a Stage, counted in sampling steps over all pictures, after each call of the U-Net.
        Raises Cancelled between two of them.
        """
        prompt, look = one.prompt, self.drawing.look

        def progress(done: int, total: int) -> None:
            self.report(Stage(STAGE, self.steps_done + prompt.steps * done // total, self.steps))
            self.control.check()

        self.control.check()
        with torch.no_grad(), autocast(look.device, look.precision):
            latents = sample_prompt(self.unet, one, look, progress)
        with self.open_vae() as vae:
            pixels = decode_pixels(vae, latents, self.drawing.base.family.latent_scale)
        path = self.drawing.grid.path_of(cell)
        write_picture(path, to_bytes(pixels)[0], look_parameters(self._named(cell, prompt), look))
        if not torch.isfinite(pixels).all():
            self.report(Note(f"{path.name} is black, in whole or in part: the model gave numbers "
                             "that are not valid. Try mixed_precision bf16 or no."))  # fmt: skip
        self.steps_done += prompt.steps
        lora = None if cell.version is None else str(self._version(cell).path)
        self.report(Preview(str(path), prompt.text, lora=lora, strength=cell.strength))
        return path

    def _version(self, cell: Cell) -> Version:
        return self.drawing.grid.versions[cell.version]

    def _named(self, cell: Cell, prompt: Prompt) -> Prompt:
        """The prompt as the web interfaces want it, which load a LoRA by its name in there."""
        if cell.version is None:
            return prompt
        lora = f"<lora:{self._version(cell).path.stem}:{cell.strength:g}>"
        return dataclasses.replace(prompt, text=f"{prompt.text} {lora}".strip())


def _finish(drawing: Drawing, drawn: Mapping[Cell, Path], report: Report) -> list[Path]:
    """Write the sheets of what was drawn and tell what there is; the paths of the sheets."""
    grid = drawing.grid
    sheets = grid.write_sheets(drawn, drawing.base.path.stem)
    for sheet in sheets:
        report(Saved(str(sheet), what="sheet"))
    report(Facts(grid.facts(drawn, sheets), f"{len(drawn)} pictures are in {grid.folder}."))
    return sheets


def _too_little_memory(drawing: Drawing) -> str:
    what = "graphics card" if drawing.look.device.type == "cuda" else "computer"
    return (f"The {what} ran out of memory. Close other programs, draw smaller pictures (width, "
            "height), or turn on fp8_base. What was drawn before is kept.")  # fmt: skip
