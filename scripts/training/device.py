"""Choose device and number formats, and say what was changed and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, parse_flag_from_env

from scripts.core.errors import SettingError, SuiteError
from scripts.settings.train import TrainSettings


@dataclass(frozen=True)
class Formats:
    """The number formats of a run: of the frozen base model and of the VAE.

    `mixed_precision` is what autocast uses: "no", "fp16" or "bf16". `fp8_base` tells that the
    frozen U-Net's weights are kept in fp8 between uses.
    """

    mixed_precision: str
    base: torch.dtype
    fp8_base: bool
    notes: tuple[str, ...]
    vae: torch.dtype = torch.float32


def choose_formats(settings: TrainSettings) -> Formats:
    """The number formats for the settings on this machine.

    Without a setting: bf16 where the graphics card has it, else fp16; on a CPU no mixed
    precision. fp16 is never used on a CPU, where it is some 40 times slower than fp32.

    Raises SettingError when bf16 was asked for and the card cannot do it.
    """
    notes = []
    cuda = torch.cuda.is_available()
    precision = settings.mixed_precision
    if precision is None:
        if settings.full_bf16:
            precision = "bf16"
        else:
            precision = "no" if not cuda else "bf16" if _has_bf16() else "fp16"
    if not cuda and precision == "fp16":
        precision = "no"
        notes.append("mixed_precision is no in place of fp16: a CPU is far too slow with fp16.")
    if cuda and precision == "bf16" and not _has_bf16():
        raise SettingError("mixed_precision", "This graphics card cannot use bf16. Take fp16.")
    fp8 = settings.fp8_base and cuda
    if settings.fp8_base and not cuda:
        notes.append("fp8_base is off: it is for graphics cards, and would only make a CPU slower.")
    base = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    return Formats(precision, base, fp8, tuple(notes))


def _has_bf16() -> bool:
    """Whether the card itself computes in bf16; torch would emulate it on older ones, slowly."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def choose_device() -> torch.device:
    """The device that pictures are drawn on: the graphics card if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_accelerator(formats: Formats) -> Accelerator:
    """accelerate's view of this process: device, precision, and the other processes if any.

    Accumulation is the loop's own: a step is taken after the last batch of an epoch too.

    Raises SuiteError when there are more processes than cards.
    """
    on_cards = torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")
    wanted, cards = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if on_cards and wanted > cards:
        raise SuiteError(f"More processes were started ({wanted}) than there are graphics cards "
                         f"here ({cards}). Start one for each card: accelerate launch "
                         f"--num_processes {cards}.")  # fmt: skip
    # accelerate keeps the first training's precision for the whole process; a second training in
    # the same process may use another.
    AcceleratorState._reset_state()
    # Of torch's ways to compute attention, cuDNN's is reported to give wrong gradients on an H100,
    # where torch prefers it (pytorch/pytorch#150700, #139298, #196678). The others are as fast.
    torch.backends.cuda.enable_cudnn_sdp(False)
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=24))  # others wait for previews
    return Accelerator(
        mixed_precision=formats.mixed_precision,
        cpu=not torch.cuda.is_available(),
        kwargs_handlers=[patience],
    )


def describe_device(device: torch.device) -> str:
    """The device as a person knows it: "NVIDIA GeForce RTX 3060, 12 GB" or "CPU, 8 threads"."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GB"
    return f"CPU, {torch.get_num_threads()} threads"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the graphics card's memory or the main memory was used up."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()  # many libraries raise a plain RuntimeError for it
    signs = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed",
             "bad_alloc", "bad alloc")  # fmt: skip
    return any(sign in text for sign in signs)


def too_little_memory(device: torch.device) -> str:
    """What to say when a training has used up the memory, and what to change."""
    what = "graphics card" if device.type == "cuda" else "computer"
    return (
        f"The {what} ran out of memory. Turn on gradient_checkpointing, or lower train_batch_size "
        "or resolution, and close other programs."
    )
