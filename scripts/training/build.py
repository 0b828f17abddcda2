"""Build a run around latents that are there: text encoders, U-Net, LoRA layers, optimiser.

The text encoders leave when they are not trained and all captions are encoded; the U-Net comes
last. A training builds its run once its pictures are encoded, a trial around made-up latents.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from accelerate import Accelerator
from torch import nn

from scripts.core.events import Control, Note, Report, Stage
from scripts.dataset.latents import LatentSource
from scripts.lora.network import LoRANetwork
from scripts.models.fp8 import keep_in_fp8
from scripts.models.lean_backward import keep_less
from scripts.models.load import load_text_encoders, load_tokenizers, load_unet, load_vae
from scripts.models.text import CaptionEncoder
from scripts.models.tokenizer import ClipTokenizer
from scripts.settings.train import TrainSettings
from scripts.training.captions import LARGEST_TABLE, LITTLE_TABLE, Captions
from scripts.training.checkpoints import Position, read_progress
from scripts.training.device import Formats
from scripts.training.noise import NoiseSchedule
from scripts.training.optimizers import create_optimizer, create_scheduler
from scripts.training.plan import Plan
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


def build_run(
    plan: Plan, latents: LatentSource, formats: Formats, accelerator: Accelerator, report: Report,
    control: Control, *, vae: nn.Module | None = None, captions_used: set[str] | None = None,
) -> Run:  # fmt: skip
    """Load the models, encode captions that can be encoded ahead, build network and optimiser.

    Args:
        vae: the VAE when it stays in memory; previews load it otherwise.
        captions_used: the only captions that will be asked for, by a trial; None: the plan's.
    """
    settings, device = plan.settings, accelerator.device
    position = Position()
    if settings.resume:
        position, notes = read_progress(settings.resume, plan)
        for note in notes:
            report(Note(note))
    captions, prompts = _read_texts(plan, formats, accelerator, report, control, captions_used)
    text_encoders = captions.modules

    control.check()
    report(Stage("Loading the U-Net"))
    unet = load_unet(plan.base, formats.base, device)
    if formats.fp8_base:
        keep_in_fp8(unet, formats.base)
    keep_less(unet)
    torch.manual_seed(settings.seed)
    network = LoRANetwork.create(unet, text_encoders, plan.base.family, settings)
    _set_modes(unet, text_encoders, network, settings)
    made = create_optimizer(settings, network.param_groups(settings), device)
    for note in (*network.notes, *made.notes):
        if note not in plan.notes:
            report(Note(note))
    previews = None
    if prompts is not None:
        previewer = _previewer(plan, formats, unet, vae, device, report, control)
        previews = PreviewWork(previewer, prompts)
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
        scheduler=create_scheduler(made.optimizer, settings, plan.amount.steps),
        schedule=NoiseSchedule(settings.zero_terminal_snr).to(device),
        previews=previews,
        position=position,
    )
    if settings.resume:
        run.restore(settings.resume)
    return run


def _read_texts(
    plan: Plan, formats: Formats, accelerator: Accelerator, report: Report, control: Control,
    captions_used: set[str] | None,
) -> tuple[Captions, Callable[[], list[EncodedPrompt]] | None]:  # fmt: skip
    """The captions, and what gives the encoded prompts of previews (None: there are none)."""
    control.check()
    report(Stage("Loading the text encoder"))
    settings, base, device = plan.settings, plan.base, accelerator.device
    tokenizers = load_tokenizers(base)
    encoder = CaptionEncoder(
        tokenizers, load_text_encoders(base, formats.base, device), base.family, settings
    )
    size = settings.resolution or (base.resolution, base.resolution)
    prompts = read_prompts(settings.sample_prompts, size, settings.seed)
    encode = partial(_encode_prompts, prompts, encoder, settings, formats)
    captions = Captions(encoder, device, LITTLE_TABLE if settings.lowram else LARGEST_TABLE)
    if settings.text_encoder_rate == 0:
        encode = partial(list, encode())
        with accelerator.autocast():  # as when they are encoded at each use
            captions.encode_ahead(_captions_to_come(plan), report, control, captions_used)
    _tell_of_cut_captions(plan, tokenizers[0], report)
    return captions, encode if prompts else None


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
