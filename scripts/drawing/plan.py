"""What a drawing of versions will be, worked out from headers and prompts before torch has work.

drawing = prepare(settings)
print(len(drawing.grid.cells()))
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from scripts.core.errors import SettingError, SettingErrors, SuiteError
from scripts.core.files import check_output_folder
from scripts.drawing.grid import Grid
from scripts.drawing.lora_versions import open_versions
from scripts.models.recognise import BaseModel, recognise
from scripts.models.vae_file import recognise_vae
from scripts.settings.draw_versions import DrawSettings
from scripts.settings.train import TrainSettings
from scripts.training.device import Formats, choose_device, choose_formats
from scripts.training.plan import fill_in
from scripts.training.previews import PreviewLook
from scripts.training.prompts import Prompt, read_prompts
from scripts.training.samplers import sampler_named

SHARED = (  # settings that mean the same in a training
    "vae", "v_parameterization", "zero_terminal_snr", "clip_skip", "max_token_length",
    "mixed_precision", "fp8_base",
)  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """What will be drawn, checked before anything heavy is loaded.

    `train` holds the settings that drawing has in common with a training, filled in.
    """

    settings: DrawSettings
    train: TrainSettings
    base: BaseModel
    grid: Grid
    look: PreviewLook
    formats: Formats
    notes: tuple[str, ...]


def prepare(settings: DrawSettings) -> Drawing:
    """Look at all files, headers only, and at all prompts.

    Raises SettingError (SettingErrors) for whatever keeps the drawing from starting.
    """
    sampler_named(settings.sampler, "sampler")
    base = _recognise(settings)
    train, guesses = fill_in(_as_of_training(settings), base)
    formats = choose_formats(train)
    versions = open_versions(settings.loras, base)
    prompts = _read_prompts(settings, train)
    check_output_folder(settings.save_to, "save_to", keep=False)
    strengths = tuple(dict.fromkeys(settings.strengths))  # each once
    moment = time.strftime("%Y%m%d%H%M%S")
    look = PreviewLook(
        folder=settings.save_to,
        sampler=settings.sampler,
        v_prediction=bool(train.v_parameterization),
        zero_terminal_snr=train.zero_terminal_snr,
        device=choose_device(),
        precision=formats.base,
        model=base.path.stem,
        clip_skip=train.clip_skip,
    )
    grid = Grid(settings.save_to, tuple(versions), strengths, prompts, moment)
    base_notes = base.notes if settings.v_parameterization is None else ()
    notes = (*base_notes, *guesses, *formats.notes)
    return Drawing(settings, train, base, grid, look, formats, notes)


def _as_of_training(settings: DrawSettings) -> TrainSettings:
    known = {name: getattr(settings, name) for name in SHARED}
    if settings.width and settings.height:
        known["resolution"] = settings.width, settings.height
    return TrainSettings(**known, dim_from_weights=True)  # no alpha is to be guessed


def _recognise(settings: DrawSettings) -> BaseModel:
    name = "vae"
    try:
        if settings.vae is not None:
            recognise_vae(settings.vae)
        name = "model"
        return recognise(settings.model, settings.vae)
    except SuiteError as error:
        raise SettingError(name, str(error)) from error


def _read_prompts(settings: DrawSettings, train: TrainSettings) -> tuple[Prompt, ...]:
    width, height = train.resolution
    size = settings.width or width, settings.height or height
    try:
        prompts = read_prompts(
            settings.prompts, size, settings.seed, settings.steps, settings.guidance
        )
    except SettingErrors as several:
        errors = [SettingError("prompts", str(error)) for error in several.errors]
        raise SettingErrors(errors) from several
    except SettingError as error:
        raise SettingError("prompts", str(error)) from error
    return prompts[: settings.most_prompts]
