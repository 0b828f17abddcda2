"""The settings of `scripts.train`, declared once, under the names that sd-scripts gives them.

From these declarations come the keys of the config files, the flags, `--help`, docs/settings.md
and the wizard's rows. `read_train_settings` makes the object and reports all errors at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.config import read_config
from scripts.core.declare import build, names_of_tables, overridden, setting
from scripts.settings.train_checks import check_together
from scripts.settings.train_reading import (
    COMBINED_KEYS,
    expand_combined_keys,
    read_arguments,
    read_foreign,
    read_joined,
    read_precision,
    read_prompts,
    read_resolution,
    read_steps_or_fraction,
)

OPTIMIZERS = (
    "AdamW", "AdamW8bit", "PagedAdamW8bit", "Lion", "Lion8bit", "SGDNesterov",
    "SGDNesterov8bit", "DAdaptation", "AdaFactor", "Prodigy", "CAME",
)  # fmt: skip
SCHEDULERS = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant",
    "constant_with_warmup", "piecewise_constant", "inverse_sqrt", "warmup_stable_decay",
    "cosine_with_min_lr", "adafactor",
)  # fmt: skip
CURVES = ("sine", "cosine", "linear", "reverse_linear", "zeros")
SAMPLERS = (
    "ddim", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpm++ 2m", "dpm++ 2m karras",
    "dpmsolver", "dpmsolver++", "dpmsingle", "pndm", "lms", "ddpm", "unipc",
)  # fmt: skip
PRECISIONS = ("float", "fp16", "bf16")


@dataclass(frozen=True)
class TrainSettings:
    """Everything that a training run can be told. None means "not set"."""

    # fmt: off
    # --- Base model -------------------------------------------------------------------------
    pretrained_model_name_or_path: Path | None = setting(
        None, label="Base model", page="Base model", path="file", aliases=["base_model"],
        help="The Stable Diffusion model to train on: one .safetensors or .ckpt file, or a "
        "diffusers folder.")
    vae: Path | None = setting(
        None, label="Other VAE", page="Base model", path="file", advanced=True,
        help="A VAE file to use in place of the one inside the base model.")
    v2: bool | None = setting(
        None, label="Stable Diffusion 2.x", page="Base model", advanced=True,
        help="The base model is Stable Diffusion 2.x; found from the file when not set.")
    v_parameterization: bool | None = setting(
        None, label="v-prediction", page="Base model", advanced=True,
        help="The base model predicts velocity (v); found from the file when it can be known.")
    clip_skip: int | None = setting(
        None, label="Clip skip", page="Base model", low=1, high=12,
        help="Which of the last text encoder layers to use: 1 for realistic models, 2 for anime "
        "models; not used with SDXL.")
    max_token_length: int = setting(
        75, label="Longest caption (tokens)", page="Base model",
        aliases=["max_clip_token_length"], low=75, high=225, advanced=True,
        help="How many tokens of a caption are used: 75, 150 or 225.")
    network_weights: Path | None = setting(
        None, label="Go on from a LoRA", page="Base model", path="file", advanced=True,
        aliases=["lora_model_for_resume", "lora_network_weights"],
        help="A LoRA file whose weights the training starts from.")
    dim_from_weights: bool = setting(
        False, label="Sizes from that LoRA", page="Base model", advanced=True,
        help="Take dim and alpha from the file given as network_weights.")

    # --- Pictures ---------------------------------------------------------------------------
    train_data_dir: Path | None = setting(
        None, label="Pictures", page="Pictures", path="folder", aliases=["img_folder"],
        help="The folder that holds the picture folders, each named like 10_name: how often its "
        "pictures are repeated, then what they show.")
    reg_data_dir: Path | None = setting(
        None, label="Regularisation pictures", page="Pictures", path="folder", advanced=True,
        aliases=["reg_img_folder"],
        help="A folder of ordinary pictures of the same class, so that the model does not forget "
        "them.")
    dataset_config: Path | None = setting(
        None, label="Dataset file", page="Pictures", path="file", advanced=True,
        help="A dataset TOML of sd-scripts, in place of the picture folders above.")
    folder_repeats: dict[str, int] = setting(
        {}, label="Repeats by folder", page="Pictures", advanced=True, read=read_arguments,
        help="Repeats for folders by name, such as cats=10, without renaming the folders.")
    resolution: tuple[int, int] | None = setting(
        None, label="Resolution", page="Pictures", aliases=["train_resolution", "max_resolution"],
        read=read_resolution,
        help="Training resolution, 512 or 512,768 (width,height); when not set, what suits the "
        "base model.")
    enable_bucket: bool = setting(
        True, label="Keep picture shapes", page="Pictures", aliases=["buckets"],
        help="Sort the pictures into buckets by shape in place of cropping all to one shape.")
    min_bucket_reso: int = setting(
        256, label="Shortest bucket side", page="Pictures", low=64, high=4096, advanced=True,
        aliases=["min_bucket_resolution"], help="The shortest side a bucket may have, in pixels.")
    max_bucket_reso: int | None = setting(
        None, label="Longest bucket side", page="Pictures", low=64, high=8192, advanced=True,
        aliases=["max_bucket_resolution"],
        help="The longest side a bucket may have, in pixels; twice that of the resolution when "
        "not set.")
    bucket_reso_steps: int = setting(
        64, label="Bucket step", page="Pictures", low=8, high=512, advanced=True,
        help="Bucket sides are multiples of this many pixels; itself a multiple of 8.")
    bucket_no_upscale: bool = setting(
        False, label="Never enlarge", page="Pictures", advanced=True,
        help="Small pictures keep their size in place of being enlarged.")
    caption_extension: str = setting(
        ".txt", label="Caption files end with", page="Pictures", advanced=True,
        help="The ending of the caption files beside the pictures.")
    shuffle_caption: bool = setting(
        False, label="Shuffle tags", page="Pictures", aliases=["shuffle_captions"],
        help="Put the tags of a caption in a new order each time; good for tag captions.")
    keep_tokens: int = setting(
        0, label="Keep the first tags", page="Pictures", low=0, high=255,
        help="So many tags at the start stay in place when tags are shuffled or dropped; 1 keeps "
        "a trigger word first.")
    caption_prefix: str | None = setting(
        None, label="Text before captions", page="Pictures", advanced=True,
        help="Text put in front of every caption, such as a trigger word and a comma.")
    caption_suffix: str | None = setting(
        None, label="Text after captions", page="Pictures", advanced=True,
        help="Text put behind every caption.")
    caption_dropout_rate: float = setting(
        0.0, label="Drop captions", page="Pictures", low=0, high=1, advanced=True,
        help="The share of pictures trained without their caption, 0 to 1.")
    caption_dropout_every_n_epochs: int = setting(
        0, label="Epochs without captions", page="Pictures", low=0, advanced=True,
        help="Every so many epochs all captions are left out; 0 for never.")
    caption_tag_dropout_rate: float = setting(
        0.0, label="Drop tags", page="Pictures", low=0, high=1, advanced=True,
        help="The share of tags left out each time, 0 to 1.")
    token_warmup_min: int = setting(
        1, label="Tags at the start", page="Pictures", low=1, advanced=True,
        help="How many tags are used at the first step of a token warm-up.")
    token_warmup_step: float = setting(
        0.0, label="Token warm-up", page="Pictures", low=0, advanced=True,
        help="Tags are added until this step (a fraction below 1: of all steps); 0 for off.")
    weighted_captions: bool = setting(
        False, label="Weighted captions", page="Pictures", advanced=True,
        help="Captions may hold weights such as (red hair:1.2).")
    flip_aug: bool = setting(
        False, label="Mirror pictures", page="Pictures",
        help="Mirror pictures at random; not for faces or things with a left and a right.")
    color_aug: bool = setting(
        False, label="Vary colours", page="Pictures", advanced=True,
        help="Vary hue and brightness a little at random; turns the latent cache off.")
    random_crop: bool = setting(
        False, label="Random crop", page="Pictures", advanced=True,
        help="Cut the bucket's shape from a random place in place of the middle.")
    masked_loss: bool = setting(
        False, label="Masks", page="Pictures", advanced=True, aliases=["alpha_mask"],
        help="Train only where the picture's transparency, or a mask picture, is opaque (white).")
    conditioning_data_dir: Path | None = setting(
        None, label="Mask folder", page="Pictures", path="folder", advanced=True,
        shown_when=("masked_loss", [True]),
        help="A folder with a mask picture of the same name for each picture; without it the "
        "transparency of the pictures is the mask.")
    cache_latents: bool = setting(
        True, label="Cache latents", page="Pictures", advanced=True,
        help="Encode the pictures once before the training: faster, and needs less memory.")
    cache_latents_to_disk: bool = setting(
        False, label="Keep the cache", page="Pictures", advanced=True,
        help="Keep the encoded pictures for the next training, in the cache folder.")

    # --- LoRA -------------------------------------------------------------------------------
    network_dim: int = setting(
        32, label="LoRA size (dim)", page="LoRA", low=1, high=1024, aliases=["net_dim"],
        help="The rank of the LoRA: 8 to 32 for a character, 32 to 128 for a style; the file "
        "grows with it.")
    network_alpha: float | None = setting(
        None, label="Alpha", page="LoRA", low=0, aliases=["alpha"],
        help="Scales the LoRA by alpha / dim; half of dim when not set.")
    conv_dim: int | None = setting(
        None, label="Convolution size (LoCon)", page="LoRA", low=1, high=512, advanced=True,
        help="Train the 3x3 convolutions too, with this rank; makes a LoCon.")
    conv_alpha: float | None = setting(
        None, label="Convolution alpha", page="LoRA", low=0, advanced=True,
        help="Alpha of the 3x3 convolutions; half of conv_dim when not set.")
    network_dropout: float | None = setting(
        None, label="Dropout", page="LoRA", low=0, high=0.99, advanced=True,
        help="The share of the LoRA's inner values left out at each step.")
    rank_dropout: float | None = setting(
        None, label="Rank dropout", page="LoRA", low=0, high=0.99, advanced=True,
        help="The share of ranks left out at each step.")
    module_dropout: float | None = setting(
        None, label="Module dropout", page="LoRA", low=0, high=0.99, advanced=True,
        help="The share of layers left out at each step.")
    network_train_unet_only: bool = setting(
        False, label="U-Net only", page="LoRA", aliases=["unet_only"],
        help="Leave the text encoder as it is: less memory and faster; usual for SDXL.")
    network_train_text_encoder_only: bool = setting(
        False, label="Text encoder only", page="LoRA", advanced=True, aliases=["text_only"],
        help="Train the text encoder and leave the U-Net as it is.")
    scale_weight_norms: float | None = setting(
        None, label="Limit weight norms", page="LoRA", low=0, advanced=True,
        help="Scale layers down whose change grows beyond this norm; 1 is a good start.")
    down_lr_weight: str | None = setting(
        None, label="Rate of the down blocks", page="LoRA", read=read_joined, advanced=True,
        suggestions=CURVES,
        help="12 numbers (SDXL 9) by which the learning rate of the down blocks is multiplied, or "
        "a curve: sine, cosine, linear, reverse_linear, zeros.")
    mid_lr_weight: str | None = setting(
        None, label="Rate of the middle block", page="LoRA", read=read_joined, advanced=True,
        help="The number (SDXL 3 numbers) by which the middle block's learning rate is "
        "multiplied.")
    up_lr_weight: str | None = setting(
        None, label="Rate of the up blocks", page="LoRA", read=read_joined, advanced=True,
        suggestions=CURVES,
        help="12 numbers (SDXL 9) for the up blocks, or the name of a curve.")
    block_lr_zero_threshold: float = setting(
        0.0, label="Rate that counts as none", page="LoRA", low=0, advanced=True,
        help="Blocks whose rate weight is not above this are left out of the LoRA.")
    block_dims: str | None = setting(
        None, label="Sizes by block", page="LoRA", read=read_joined, advanced=True,
        help="25 ranks (SDXL 23), one for each block from the input to the output.")
    block_alphas: str | None = setting(
        None, label="Alphas by block", page="LoRA", read=read_joined, advanced=True,
        help="25 alphas (SDXL 23), one for each block.")
    conv_block_dims: str | None = setting(
        None, label="Convolution sizes by block", page="LoRA", read=read_joined, advanced=True,
        help="25 ranks (SDXL 23) for the 3x3 convolutions of each block.")
    conv_block_alphas: str | None = setting(
        None, label="Convolution alphas by block", page="LoRA", read=read_joined, advanced=True,
        help="25 alphas (SDXL 23) for the 3x3 convolutions of each block.")

    # --- Amount -----------------------------------------------------------------------------
    train_batch_size: int = setting(
        1, label="Batch size", page="Amount", low=1, high=256, aliases=["batch_size"],
        help="Pictures trained on at once: more is faster and steadier and needs more memory.")
    max_train_steps: int = setting(
        1600, label="Steps", page="Amount", low=1, aliases=["max_steps"],
        help="How many steps to train; not used when epochs are given.")
    max_train_epochs: int | None = setting(
        None, label="Epochs", page="Amount", low=1, aliases=["num_epochs", "epoch"],
        help="How many times to go through all pictures; takes the place of steps.")
    gradient_accumulation_steps: int = setting(
        1, label="Gradient accumulation", page="Amount", low=1, advanced=True,
        aliases=["gradient_acc_steps"],
        help="Collect this many batches for one step: like a larger batch with less memory.")
    seed: int = setting(
        42, label="Seed", page="Amount", low=0, high=4294967295, aliases=["test_seed"],
        help="The same seed and settings give the same LoRA on the same machine.")

    # --- Optimiser --------------------------------------------------------------------------
    optimizer_type: str = setting(
        "AdamW8bit", label="Optimiser", page="Optimiser", suggestions=OPTIMIZERS,
        aliases=["optimizer"],
        help="How the weights are changed: AdamW8bit is a good start, Prodigy finds its rate "
        "itself; any class of pytorch_optimizer may be named.")
    optimizer_args: dict[str, str] = setting(
        {}, label="Optimiser arguments", page="Optimiser", read=read_arguments, advanced=True,
        help="Further arguments of the optimiser, such as weight_decay=0.1 betas=0.9,0.99.")
    learning_rate: float = setting(
        1e-4, label="Learning rate", page="Optimiser", low=0,
        help="How much each step changes: 1e-4 for AdamW, a third to a tenth of that for Lion, 1 "
        "for Prodigy and DAdaptation.")
    unet_lr: float | None = setting(
        None, label="Learning rate of the U-Net", page="Optimiser", low=0,
        help="The U-Net's own rate; the learning rate when not set.")
    text_encoder_lr: float | None = setting(
        None, label="Learning rate of the text encoder", page="Optimiser", low=0,
        help="The text encoder's own rate, often half of the U-Net's; the learning rate when not "
        "set.")
    lr_scheduler: str = setting(
        "cosine", label="Schedule", page="Optimiser", choices=SCHEDULERS, aliases=["scheduler"],
        help="How the learning rate changes over the training.")
    lr_warmup_steps: float = setting(
        0, label="Warm-up", page="Optimiser", low=0, read=read_steps_or_fraction,
        aliases=["warmup_lr_ratio"],
        help="Steps over which the rate rises to its full value; below 1 a fraction of all "
        "steps.")
    lr_decay_steps: float = setting(
        0, label="Decay", page="Optimiser", low=0, read=read_steps_or_fraction, advanced=True,
        help="Steps of the fall at the end, for warmup_stable_decay; below 1 a fraction.")
    lr_scheduler_num_cycles: int = setting(
        1, label="Restarts", page="Optimiser", low=1, advanced=True, aliases=["cosine_restarts"],
        help="How often cosine_with_restarts starts again.")
    lr_scheduler_power: float = setting(
        1.0, label="Power", page="Optimiser", low=0, advanced=True, aliases=["scheduler_power"],
        help="The power of the polynomial schedule; 1 is a straight line.")
    lr_scheduler_timescale: int | None = setting(
        None, label="Time scale", page="Optimiser", low=1, advanced=True,
        help="The time scale of inverse_sqrt in steps; the warm-up steps when not set.")
    lr_scheduler_min_lr_ratio: float | None = setting(
        None, label="Least rate", page="Optimiser", low=0, high=1, advanced=True,
        help="The share of the rate that the schedule ends with, for cosine_with_min_lr and "
        "warmup_stable_decay.")
    lr_scheduler_args: dict[str, str] = setting(
        {}, label="Schedule arguments", page="Optimiser", read=read_arguments, advanced=True,
        help="Further arguments of the schedule, such as step_rules=1:100,0.1 for "
        "piecewise_constant.")
    max_grad_norm: float = setting(
        1.0, label="Limit of the gradient", page="Optimiser", low=0, advanced=True,
        help="Gradients longer than this are shortened to it; 0 for no limit.")

    # --- Loss and noise ---------------------------------------------------------------------
    zero_terminal_snr: bool = setting(
        False, label="Zero terminal SNR", page="Loss and noise", advanced=True,
        help="Noise schedule that ends in pure noise; for v-prediction models made with it.")
    noise_offset: float | None = setting(
        None, label="Noise offset", page="Loss and noise", low=0, high=1, advanced=True,
        help="Helps very dark and very bright pictures; 0.03 to 0.1.")
    adaptive_noise_scale: float | None = setting(
        None, label="Adaptive noise offset", page="Loss and noise", low=-1, high=1, advanced=True,
        help="Adds this share of the mean latent to the noise offset.")
    multires_noise_iterations: int | None = setting(
        None, label="Multi-resolution noise", page="Loss and noise", low=0, high=64,
        advanced=True, help="How many coarser noises are added; 6 to 10.")
    multires_noise_discount: float = setting(
        0.3, label="Multi-resolution discount", page="Loss and noise", low=0, high=1,
        advanced=True, help="How much weaker each coarser noise is; 0.1 to 0.8.")
    ip_noise_gamma: float | None = setting(
        None, label="Input perturbation", page="Loss and noise", low=0, high=1, advanced=True,
        help="Extra noise on the input only; 0.05 to 0.1.")
    min_snr_gamma: float | None = setting(
        None, label="Min-SNR gamma", page="Loss and noise", low=0,
        help="Evens out the loss over the noise levels; 5 is a good value.")
    scale_v_pred_loss_like_noise_pred: bool = setting(
        False, label="Scale v loss", page="Loss and noise", advanced=True,
        help="For v-prediction: weigh the loss as in noise prediction.")
    v_pred_like_loss: float | None = setting(
        None, label="v-like loss", page="Loss and noise", low=0, advanced=True,
        help="Adds the loss weighted as in v-prediction, times this number.")
    debiased_estimation_loss: bool = setting(
        False, label="Debiased estimation", page="Loss and noise", advanced=True,
        help="Weigh the loss by the inverse square root of the signal-to-noise ratio.")
    loss_type: str = setting(
        "l2", label="Loss", page="Loss and noise", advanced=True,
        choices=("l1", "l2", "huber", "smooth_l1"),
        help="How the error is measured; huber and smooth_l1 care less for outliers.")
    huber_schedule: str = setting(
        "snr", label="Huber schedule", page="Loss and noise", advanced=True,
        choices=("constant", "exponential", "snr"),
        help="How the Huber parameter depends on the noise level.")
    huber_c: float = setting(
        0.1, label="Huber parameter", page="Loss and noise", low=1e-4, advanced=True,
        help="Where huber and smooth_l1 turn from squares to straight lines.")
    huber_scale: float = setting(
        1.0, label="Huber scale", page="Loss and noise", low=0, advanced=True,
        help="Scales the Huber parameter of the constant and exponential schedules.")
    prior_loss_weight: float = setting(
        1.0, label="Weight of regularisation pictures", page="Loss and noise", low=0,
        advanced=True, help="How much the loss of regularisation pictures counts.")
    min_timestep: int = setting(
        0, label="First timestep", page="Loss and noise", low=0, high=999, advanced=True,
        help="The lowest noise level trained.")
    max_timestep: int = setting(
        1000, label="Last timestep", page="Loss and noise", low=1, high=1000, advanced=True,
        help="Noise levels below this one are trained.")

    # --- Speed and memory -------------------------------------------------------------------
    mixed_precision: str | None = setting(
        None, label="Precision", page="Speed and memory", choices=("no", "fp16", "bf16"),
        help="Number format while training; when not set, the best one that the device has.")
    full_bf16: bool = setting(
        False, label="All in bf16", page="Speed and memory", advanced=True,
        help="The LoRA and its gradients in bf16 too: less memory, less exact.")
    gradient_checkpointing: bool = setting(
        False, label="Gradient checkpointing", page="Speed and memory",
        help="Much less memory, about a quarter slower; use it when memory runs out.")
    sdpa: bool = setting(
        True, label="SDPA attention", page="Speed and memory", advanced=True,
        aliases=["xformers", "mem_eff_attn"], read=lambda raw: True,
        help="PyTorch's fast attention is always used; xformers and mem_eff_attn are other names "
        "for it.")
    fp8_base: bool = setting(
        False, label="fp8 base model", page="Speed and memory", advanced=True,
        help="Keep the U-Net of the base model in fp8 on the graphics card: saves memory, not "
        "time.")
    lowram: bool = setting(
        False, label="Little main memory", page="Speed and memory", advanced=True,
        help="Read one picture at a time and keep fewer encoded captions in main memory: slower. "
        "The model is always loaded straight into the graphics card's memory.")

    # --- Result -----------------------------------------------------------------------------
    output_dir: Path | None = setting(
        None, label="Save into", page="Result", path="output folder", aliases=["output_folder"],
        help="The folder for the finished LoRA.")
    output_name: str = setting(
        "last", label="Name", page="Result", aliases=["change_output_name"],
        help="The name of the LoRA file, without its ending.")
    save_precision: str = setting(
        "fp16", label="Number format of the file", page="Result", choices=PRECISIONS,
        read=read_precision, advanced=True,
        help="fp16 is what everyone uses; float is twice as large.")
    save_model_as: str = setting(
        "safetensors", label="Kind of file", page="Result", aliases=["save_as"],
        choices=("safetensors", "ckpt", "pt"), advanced=True,
        help="The format of the file; safetensors unless an old program needs another.")
    save_every_n_epochs: int | None = setting(
        None, label="Save every so many epochs", page="Result", low=1,
        help="Also save the LoRA each time so many epochs have passed.")
    save_every_n_steps: int | None = setting(
        None, label="Save every so many steps", page="Result", low=1, advanced=True,
        help="Also save the LoRA each time so many steps have passed.")
    save_n_epoch_ratio: int | None = setting(
        None, label="Save so many times", page="Result", low=1, advanced=True,
        help="Save the LoRA about so many times in all; takes the place of every n epochs.")
    save_last_n_epochs: int | None = setting(
        None, label="Keep the last epochs", page="Result", low=1, advanced=True,
        help="Of the LoRAs saved by epoch during this training keep only the last so many.")
    save_last_n_steps: int | None = setting(
        None, label="Keep the last steps", page="Result", low=1, advanced=True,
        help="Of the LoRAs saved by step keep only those of the last so many steps.")
    save_state: bool = setting(
        False, label="Save the training state", page="Result",
        help="Save what is needed to go on later, beside each saved LoRA.")
    resume: Path | None = setting(
        None, label="Go on from a state", page="Result", path="folder", advanced=True,
        help="A state folder of an earlier training, to go on exactly where it stopped.")
    logging_dir: Path | None = setting(
        None, label="TensorBoard log", page="Result", path="output folder", advanced=True,
        aliases=["log_dir"], help="A folder for the curves of loss and rates, for TensorBoard.")

    # --- Previews ---------------------------------------------------------------------------
    sample_prompts: tuple[Any, ...] | Path | None = setting(
        None, label="Preview prompts", page="Previews", path="file", read=read_prompts,
        help="What to draw as a preview: a file with a prompt a line, or a list of prompts in the "
        "config.")
    sample_every_n_steps: int | None = setting(
        None, label="Preview every so many steps", page="Previews", low=1,
        help="Draw previews each time so many steps have passed.")
    sample_every_n_epochs: int | None = setting(
        None, label="Preview every so many epochs", page="Previews", low=1,
        help="Draw previews each time so many epochs have passed.")
    sample_at_first: bool = setting(
        False, label="Preview before training", page="Previews",
        help="Draw previews before the first step too, to compare with.")
    sample_sampler: str = setting(
        "ddim", label="Sampler", page="Previews", suggestions=SAMPLERS, advanced=True,
        help="The sampler that draws the previews.")

    # --- Texts in the file ------------------------------------------------------------------
    training_comment: str | None = setting(
        None, label="Comment", page="Texts", help="A note kept in the LoRA file.")
    metadata_title: str | None = setting(
        None, label="Title", page="Texts", advanced=True,
        help="The title kept in the file; its name when not set.")
    metadata_author: str | None = setting(
        None, label="Author", page="Texts", advanced=True, help="The author kept in the file.")
    metadata_description: str | None = setting(
        None, label="Description", page="Texts", advanced=True,
        help="A description kept in the file.")
    metadata_license: str | None = setting(
        None, label="Licence", page="Texts", advanced=True, help="The licence kept in the file.")
    metadata_tags: str | None = setting(
        None, label="Tags", page="Texts", advanced=True,
        help="Tags kept in the file, with commas between.")
    no_metadata: bool = setting(
        False, label="No training details", page="Texts", advanced=True, aliases=["no_meta"],
        help="Leave the training details out of the file; what UIs need to load it stays.")
    tag_occurrence_txt_file: bool = setting(
        False, label="List of tags", page="Texts", advanced=True,
        help="Write a text file beside the LoRA that counts the tags of the captions.")
    sort_tag_occurrence_alphabetically: bool = setting(
        False, label="Sort that list by name", page="Texts", advanced=True,
        shown_when=("tag_occurrence_txt_file", [True]),
        help="Sort the list of tags by name in place of by number.")

    # fmt: on

    @property
    def alpha(self) -> float:
        """The network alpha in force: as set, else half of dim."""
        return self.network_dim / 2 if self.network_alpha is None else self.network_alpha

    @property
    def alpha_of_convolutions(self) -> float | None:
        """The alpha of the 3x3 convolutions in force, None without conv_dim."""
        if self.conv_dim is None:
            return None
        return self.conv_dim / 2 if self.conv_alpha is None else self.conv_alpha

    @property
    def unet_rate(self) -> float:
        """The U-Net's base learning rate; 0 when it is not trained."""
        if self.network_train_text_encoder_only:
            return 0.0
        return self.learning_rate if self.unet_lr is None else self.unet_lr

    @property
    def text_encoder_rate(self) -> float:
        """The text encoder's base learning rate; 0 when it is not trained."""
        if self.network_train_unet_only:
            return 0.0
        return self.learning_rate if self.text_encoder_lr is None else self.text_encoder_lr


def read_train_settings(values: Mapping[str, Any]) -> tuple[TrainSettings, list[str]]:
    """The settings from raw values by name, and notes on renamed and unneeded keys.

    Raises SettingErrors with everything that is wrong.
    """
    return build(TrainSettings, expand_combined_keys(values), check_together, read_foreign)


def read_unfinished_settings(values: Mapping[str, Any]) -> TrainSettings:
    """The settings while some are still to be chosen: whether they go together is not asked.

    Raises SettingErrors with every value that cannot be read.
    """
    return build(TrainSettings, expand_combined_keys(values), foreign=read_foreign)[0]


def read_train_config(path: Path) -> dict[str, Any]:
    """The raw values of a config file. Raises SuiteError when it cannot be read."""
    return read_config(path, {*COMBINED_KEYS, *names_of_tables(TrainSettings)})


def flags_over_config(given: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Raw values from a config with the flags `given` in their place, whatever their names.

    Raises SettingErrors when a key that holds several settings cannot be read.
    """
    return overridden(TrainSettings, expand_combined_keys(values), expand_combined_keys(given))
