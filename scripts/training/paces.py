"""How fast a training was, kept for the wizard's estimate of the next one."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from scripts.core.errors import SuiteError
from scripts.settings.calibration import PACES_NAME, Pace, record
from scripts.training.device import describe_device

if TYPE_CHECKING:
    from scripts.training.run import Run

log = logging.getLogger(__name__)


def pace_of(
    run: Run, seconds_per_step: float, memory_bytes: int | None = None, batch: int | None = None
) -> Pace | None:
    """The pace of a run; None where its parts have resolutions of their own.

    Args:
        memory_bytes: what it took of the card; the most of this process so far if not given.
        batch: pictures at once, where these are not the settings'.
    """
    settings, device = run.settings, run.accelerator.device
    if settings.resolution is None:
        return None
    if memory_bytes is None and device.type == "cuda":
        memory_bytes = torch.cuda.max_memory_reserved(device)
    width, height = settings.resolution
    return Pace(
        device=describe_device(device),
        family=run.plan.base.family.name,
        resolution=round(math.sqrt(width * height)),
        batch=(batch or settings.train_batch_size) * settings.gradient_accumulation_steps,
        precision=run.formats.mixed_precision,
        checkpointing=settings.gradient_checkpointing,
        dim=settings.network_dim,
        seconds_per_step=seconds_per_step,
        memory_bytes=memory_bytes,
    )


def keep_paces(paces: Iterable[Pace | None], folder: Path) -> None:
    """Keep the paces that are known in the cache folder."""
    try:
        for pace in paces:
            if pace is not None:
                record(pace, folder / PACES_NAME)
    except SuiteError:  # the work itself went well: not being able to note its pace is no failure
        log.warning("the pace could not be kept", exc_info=True)
