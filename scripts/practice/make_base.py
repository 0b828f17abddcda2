"""Make the practice model from nothing: draw pictures, train VAE, text encoder and U-Net, export.

    python -m scripts.practice.make_base --output base.safetensors --work folder

Seeded: the same seeds and number of threads give the same model on the same machine. An
interrupted run goes on from the checkpoints in the work folder. About 45 minutes on one free core.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from scripts.practice.caption_tokens import CaptionTokens
from scripts.practice.denoiser_training import DenoiserPlan, train_denoiser
from scripts.practice.measure_base import measure
from scripts.practice.original_layout import read_single_file, write_single_file
from scripts.practice.vae_training import VaePlan, train_vae

log = logging.getLogger(__name__)


def make_base(work: Path, output: Path, vae_plan: VaePlan, denoiser_plan: DenoiserPlan) -> None:
    """Train what is not yet trained in ``work``, and write ``output``."""
    vae = train_vae(work, vae_plan, log.info).eval()
    averages = train_denoiser(work, vae, CaptionTokens(), denoiser_plan, log.info).eval()
    parts = {"vae": vae, "unet": averages["unet"], "text_encoder": averages["text_encoder"]}
    metadata = {
        "title": "Easy LoRA practice model",
        "description": "Trained from nothing on 64 x 64 pictures drawn by scripts/practice/draw.py",
        "vae_steps": str(vae_plan.steps),
        "unet_steps": str(denoiser_plan.steps),
    }
    write_single_file(output, nn.ModuleDict(parts), metadata)
    log.info("%s: %.2f MB", output, output.stat().st_size / 1e6)
    log.info("held-out prompts, guidance 3, 20 steps: %s", measure(read_single_file(output)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the practice model from nothing.")
    parser.add_argument("--output", type=Path, required=True, help="the file to write")
    parser.add_argument("--work", type=Path, default=Path("practice_work"), help="checkpoints")
    parser.add_argument("--vae-steps", type=int, default=VaePlan.steps)
    parser.add_argument("--unet-steps", type=int, default=DenoiserPlan.steps)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    vae_plan = replace(VaePlan(), steps=options.vae_steps)
    denoiser_plan = replace(DenoiserPlan(), steps=options.unet_steps)
    make_base(options.work, options.output, vae_plan, denoiser_plan)


if __name__ == "__main__":
    main()
