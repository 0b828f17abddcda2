"""Carry out a training: `train(settings, report, control)`.

Only what a phase needs is in memory: the VAE leaves when all pictures are encoded, the text
encoders leave when they are not trained and all captions are encoded, and the U-Net comes last.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from scripts.core.errors import SuiteError
from scripts.core.events import Control, Done, Note, Report, Stage, Start
from scripts.core.files import CACHE_FOLDER, check_output_folder
from scripts.dataset.latents import LatentSource, prepare_latents
from scripts.lora.metadata import BaseHashes
from scripts.lora.network import LoRANetwork
from scripts.models.fp8 import keep_in_fp8
from scripts.models.lean_backward import keep_less
from scripts.models.load import (
    load_text_encoders,
    load_tokenizers,
    load_unet,
    load_vae,
    vae_key,
)
from scripts.models.text import CaptionEncoder
from scripts.models.tokenizer import ClipTokenizer
from scripts.settings.calibration import PACES_NAME, Pace, record
from scripts.settings.train import TrainSettings
from scripts.training.captions import LARGEST_TABLE, LITTLE_TABLE, Captions
from scripts.training.checkpoints import Position, read_progress
from scripts.training.device import (
    Formats,
    choose_formats,
    describe_device,
    is_out_of_memory,
    make_accelerator,
)
from scripts.training.freed_memory import keep_freed_memory
from scripts.training.loop import run_loop
from scripts.training.noise import NoiseSchedule
from scripts.training.optimizers import create_optimizer, create_scheduler, try_out
from scripts.training.plan import Plan, make_plan
from scripts.training.previews import (
    EncodedPrompt,
    Previewer,
    PreviewLook,
    encode_prompts,
    vae_from_file,
    vae_in_memory,
)
from scripts.training.prompts import Prompt, read_prompts
from scripts.training.run import PreviewWork, Run
from scripts.training.saving import output_name_held

log = logging.getLogger(__name__)


def train(
    settings: TrainSettings, report: Report, control: Control, notes: Sequence[str] = ()
) -> Path:
    """Train a LoRA as the settings say; the path of the finished file.

    `notes` are reported first; they are what reading the settings had to say.
    Raises SuiteError for what the user can mend, Cancelled after a stop (with everything saved).
    """
    began = time.monotonic()
    check_output_folder(settings.output_dir)
    formats = choose_formats(settings)
    accelerator = make_accelerator(formats)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    with _held_name(settings, accelerator) as name:
        plan = make_plan(settings, accelerator.num_processes, name)
        report(Start("train", plan.amount.steps, plan.amount.epochs))
        for text in (*notes, *formats.notes, *plan.notes, *plan.guesses, *plan.warnings):
            report(Note(text))
        report(Note(f"{plan.amount.steps} steps, {plan.amount.epochs} epochs, on "
                    f"{describe_device(accelerator.device)}."))  # fmt: skip
        path = _carry_out(plan, formats, accelerator, report, control)
    report(Done(str(path), time.monotonic() - began))
    return path


@contextmanager
def _held_name(settings: TrainSettings, accelerator: Accelerator) -> Iterator[str]:
    """A free output name, held by the main process and known to all."""
    with ExitStack() as held:
        name = [""]
        if accelerator.is_main_process:
            name = [held.enter_context(output_name_held(settings))]
        if accelerator.num_processes > 1:
            broadcast_object_list(name)
        yield name[0]


def _carry_out(
    plan: Plan, formats: Formats, accelerator: Accelerator, report: Report, control: Control
) -> Path:
    try:
        run = prepare(plan, formats, accelerator, report, control)
        try:
            path = run_loop(run)
            _keep_pace(run)
            return path
        finally:
            run.close()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        log.exception("out of memory")
        raise SuiteError(_too_little_memory(accelerator.device)) from error
    finally:
        accelerator.end_training()


def _keep_pace(run: Run) -> None:
    """Remember how fast this was, for the wizard's estimate of the next bake."""
    settings, device = run.settings, run.accelerator.device
    if run.rank != 0 or run.progress.pace is None or settings.resolution is None:
        return
    width, height = settings.resolution
    cuda = device.type == "cuda"
    pace = Pace(
        device=describe_device(device),
        family=run.plan.base.family.name,
        resolution=round(math.sqrt(width * height)),
        batch=settings.train_batch_size * settings.gradient_accumulation_steps,
        precision=run.formats.mixed_precision,
        checkpointing=settings.gradient_checkpointing,
        dim=settings.network_dim,
        seconds_per_step=run.progress.pace,
        memory_bytes=torch.cuda.max_memory_reserved(device) if cuda else None,
    )
    try:
        record(pace, CACHE_FOLDER / PACES_NAME)
    except SuiteError:  # a LoRA is finished: not being able to note its pace is no failure
        log.warning("the pace could not be kept", exc_info=True)


def _too_little_memory(device: torch.device) -> str:
    what = "graphics card" if device.type == "cuda" else "computer"
    return (
        f"The {what} ran out of memory. Turn on gradient_checkpointing, or lower train_batch_size "
        "or resolution, and close other programs. What was saved before is still good."
    )


def prepare(
    plan: Plan, formats: Formats, accelerator: Accelerator, report: Report, control: Control
) -> Run:
    """Load the models, encode what can be encoded ahead, and build network and optimiser."""
    convolutions = plan.settings.conv_dim is not None or plan.base.family.name == "sd1"
    try_out(plan.settings, accelerator.device, convolutions)  # before anyone waits for pictures
    plan, latents, vae = _encode_pictures(plan, formats, accelerator, report, control)
    settings, base, device = plan.settings, plan.base, accelerator.device
    position = Position()
    if settings.resume:
        position, notes = read_progress(settings.resume, plan)
        for note in notes:
            report(Note(note))

    control.check()
    report(Stage("Loading the text encoder"))
    tokenizers = load_tokenizers(base)
    encoder = CaptionEncoder(
        tokenizers, load_text_encoders(base, formats.base, device), base.family, settings
    )
    size = settings.resolution or (base.resolution, base.resolution)
    prompts = read_prompts(settings.sample_prompts, size, settings.seed)
    encode = partial(_encode_prompts, prompts, encoder, settings, formats)
    captions = Captions(encoder, device, LITTLE_TABLE if settings.lowram else LARGEST_TABLE)
    if settings.text_encoder_rate == 0:
        encoded = encode()
        encode = partial(list, encoded)
        with accelerator.autocast():  # as when they are encoded at each use
            captions.encode_ahead(_captions_to_come(plan), report, control)
    text_encoders = captions.modules
    _tell_of_cut_captions(plan, tokenizers[0], report)
    del encoder

    control.check()
    report(Stage("Loading the U-Net"))
    unet = load_unet(base, formats.base, device)
    if formats.fp8_base:
        keep_in_fp8(unet, formats.base)
    keep_less(unet)
    torch.manual_seed(settings.seed)
    network = LoRANetwork.create(unet, text_encoders, base.family, settings)
    _set_modes(unet, text_encoders, network, settings)
    made = create_optimizer(settings, network.param_groups(settings), device)
    for note in (*network.notes, *made.notes):
        if note not in plan.notes:
            report(Note(note))
    scheduler = create_scheduler(made.optimizer, settings, plan.amount.steps)
    previews = None
    if prompts:
        previewer = _previewer(plan, formats, unet, vae, device, report, control)
        previews = PreviewWork(previewer, encode)
    # In a thread. Not earlier: it would take processor and disk from the loading of the models.
    hashes = BaseHashes.begin(plan.base, plan.settings.vae)
    run = Run(
        plan=plan,
        formats=formats,
        accelerator=accelerator,
        report=report,
        control=control,
        captions=captions,
        latents=latents,
        unet=unet,
        network=network,
        optimizer=accelerator.prepare_optimizer(made.optimizer),
        optimizer_title=made.title,
        scheduler=scheduler,
        schedule=NoiseSchedule(settings.zero_terminal_snr).to(device),
        previews=previews,
        hashes=hashes,
        position=position,
    )
    if settings.resume:
        run.restore(settings.resume)
    return run


def _encode_pictures(
    plan: Plan, formats: Formats, accelerator: Accelerator, report: Report, control: Control
) -> tuple[Plan, LatentSource, nn.Module | None]:
    """The plan without pictures that turned out damaged, the latents, and the VAE if it stays."""
    report(Stage("Loading the VAE"))
    vae = load_vae(plan.settings.vae or plan.base, formats.vae, accelerator.device)
    run_id = [uuid.uuid4().hex[:12]]
    if accelerator.num_processes > 1:
        broadcast_object_list(run_id)
    latents = prepare_latents(
        plan.dataset, vae, vae_key(vae), plan.settings, CACHE_FOLDER, report, control,
        is_main=accelerator.is_main_process, wait=accelerator.wait_for_everyone,
        run_id=run_id[0],
    )  # fmt: skip
    if latents.dataset is not plan.dataset:
        for warning in latents.dataset.warnings[len(plan.dataset.warnings) :]:
            report(Note(warning))
        plan = plan.with_dataset(latents.dataset)
    if not latents.needs_vae:
        vae = None
        if accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
    return plan, latents, vae


def _encode_prompts(
    prompts: tuple[Prompt, ...],
    encoder: CaptionEncoder,
    settings: TrainSettings,
    formats: Formats,
) -> list[EncodedPrompt]:
    return encode_prompts(
        prompts, encoder.tokenizers, encoder.text_encoders, encoder.family, settings, formats.base
    )


def _previewer(
    plan: Plan,
    formats: Formats,
    unet: nn.Module,
    vae: nn.Module | None,
    device: torch.device,
    report: Report,
    control: Control,
) -> Previewer:
    settings = plan.settings
    look = PreviewLook(
        folder=settings.output_dir / "sample",
        sampler=settings.sample_sampler,
        v_prediction=bool(settings.v_parameterization),
        zero_terminal_snr=settings.zero_terminal_snr,
        device=device,
        precision=formats.base,
        model=plan.base.path.stem,
        clip_skip=settings.clip_skip,
    )
    if vae is not None:
        open_vae = partial(vae_in_memory, vae, device)
    else:
        source = settings.vae or plan.base
        open_vae = partial(vae_from_file, partial(load_vae, source, formats.vae, device), device)
    return Previewer(unet, plan.base.family, open_vae, look, report, control)


def _tell_of_cut_captions(plan: Plan, tokenizer: ClipTokenizer, report: Report) -> None:
    """Name the captions that are longer than max_token_length: their end is not read."""
    most = plan.settings.max_token_length
    lengths = {picture.path: len(tokenizer.ids(picture.caption))
               for picture in plan.dataset.pictures}  # fmt: skip
    cut = [path.name for path, length in lengths.items() if length > most]
    if cut:
        advice = " Set it to 150 or 225." if most < 225 else ""
        report(Note(f"Captions longer than max_token_length, {most} tokens: {len(cut)}, such as "
                    f"that of {cut[0]} (the longest has {max(lengths.values())}). Their end is "
                    f"not read.{advice}"))  # fmt: skip


def _captions_to_come(plan: Plan) -> set[str]:
    """Every caption that the training will use."""
    few = plan.dataset.possible_captions()
    if few is not None:
        return set(few)
    return {
        example.caption
        for epoch in range(1, plan.amount.epochs + 1)
        for batch in plan.batches(epoch)
        for example in batch.examples
    }


def _set_modes(
    unet: nn.Module, text_encoders: list[nn.Module], network: LoRANetwork, settings: TrainSettings
) -> None:
    """Training mode for the LoRA; checkpointing, which the models do in training mode only."""
    network.train()
    if settings.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
        unet.train()
        # transformers then wants gradients down to the embeddings: only where they are trained
        for text_encoder in text_encoders if settings.text_encoder_rate > 0 else ():
            text_encoder.gradient_checkpointing_enable({"use_reentrant": False})
            text_encoder.train()
