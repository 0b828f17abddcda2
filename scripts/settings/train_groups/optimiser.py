"""The settings of a training that tell how long and how fast it learns."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.core.declare import setting
from scripts.core.usual import Usual
from scripts.settings.train_reading import read_arguments, read_steps_or_fraction

OPTIMIZERS = (
    "AdamW", "AdamW8bit", "PagedAdamW8bit", "Lion", "Lion8bit", "SGDNesterov",
    "SGDNesterov8bit", "DAdaptation", "AdaFactor", "Prodigy", "CAME",
)  # fmt: skip
SCHEDULERS = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant",
    "constant_with_warmup", "piecewise_constant", "inverse_sqrt", "warmup_stable_decay",
    "cosine_with_min_lr", "adafactor",
)  # fmt: skip


def _usual_rate(low: float, high: float) -> Usual:
    """A range for AdamW and its kin, and what it is for those that want quite other rates."""
    own = {
        **dict.fromkeys(("Lion", "Lion8bit"), (low / 4, high / 5)),
        **dict.fromkeys(("Prodigy", "DAdaptation"), (0.5, 1)),
        **dict.fromkeys(("SGDNesterov", "SGDNesterov8bit"), None),
    }
    return Usual(low, high, by=("optimizer_type", own))


@dataclass(frozen=True)
class OptimiserSettings:
    """Amount, optimiser, rates and their schedule."""

    # fmt: off
    # --- Amount ------------------------------------------------------------------------------
    train_batch_size: int = setting(
        1, label="Batch size", page="Amount", low=1, high=256, aliases=["batch_size"],
        help="Pictures trained on at once: more is faster and steadier and needs more memory.",
        usual=(1, 8),
        above="Memory runs out, and few pictures make so few steps that little is learnt.")
    max_train_steps: int = setting(
        1600, label="Steps", page="Amount", low=1, aliases=["max_steps"],
        help="How many steps to train; not used when epochs are given.",
        usual=(500, 4000), below="Too little is learnt: the trigger word changes next to nothing.",
        above="It burns in: poses and backgrounds of your pictures come back, whatever is asked.")
    max_train_epochs: int | None = setting(
        None, label="Epochs", page="Amount", low=1, aliases=["num_epochs", "epoch"],
        help="How many times to go through all pictures; takes the place of steps.",
        usual=(4, 20), below="Few versions to choose from, and perhaps too little learnt.",
        above="The pictures are learnt by heart, unless their repeats are few.")
    gradient_accumulation_steps: int = setting(
        1, label="Gradient accumulation", page="Amount", low=1, advanced=True,
        aliases=["gradient_acc_steps"],
        help="Collect this many batches for one step: like a larger batch with less memory.",
        usual=(1, 8), above="So few steps are left that little is learnt.")
    seed: int = setting(
        42, label="Seed", page="Amount", low=0, high=4294967295, aliases=["test_seed"],
        help="The same seed and settings give the same LoRA on the same machine.",
        usual=(0, 4294967295),
        beware="Any number will do; another one gives a slightly different LoRA.")

    # --- Optimiser ---------------------------------------------------------------------------
    optimizer_type: str = setting(
        "AdamW8bit", label="Optimiser", page="Optimiser", suggestions=OPTIMIZERS,
        aliases=["optimizer"],
        help="How the weights are changed: AdamW8bit is a good start, Prodigy finds its rate "
        "itself; any class of pytorch_optimizer may be named.",
        beware="Lion wants a lower rate, Prodigy a rate of 1 and more memory; those in 8 bits are "
        "a little less exact.")
    optimizer_args: dict[str, str] = setting(
        {}, label="Optimiser arguments", page="Optimiser", read=read_arguments, advanced=True,
        help="Further arguments of the optimiser, such as weight_decay=0.1 betas=0.9,0.99.",
        beware="A high weight_decay fades the LoRA; 0.01 to 0.1 is usual, more for Lion.")
    learning_rate: float = setting(
        1e-4, label="Learning rate", page="Optimiser", low=0,
        help="How much each step changes: 1e-4 for AdamW, a third to a tenth of that for Lion, 1 "
        "for Prodigy and DAdaptation.",
        usual=_usual_rate(2e-5, 5e-4), below="Hardly anything is learnt.",
        above="It burns in: glaring colours, warped shapes, at worst mere noise.")
    unet_lr: float | None = setting(
        None, label="Learning rate of the U-Net", page="Optimiser", low=0,
        help="The U-Net's own rate; the learning rate when not set.",
        usual=_usual_rate(2e-5, 5e-4),
        below="Hardly anything is learnt; 0 leaves the U-Net as it is.",
        above="It burns in: glaring colours, warped shapes, at worst mere noise.")
    text_encoder_lr: float | None = setting(
        None, label="Learning rate of the text encoder", page="Optimiser", low=0,
        help="The text encoder's own rate, often half of the U-Net's; the learning rate when not "
        "set.",
        usual=_usual_rate(5e-6, 1e-4),
        below="The trigger word is hardly learnt; 0 leaves the text encoder as it is.",
        above="Words lose their meaning, so that other prompts go wrong too.")
    lr_scheduler: str = setting(
        "cosine", label="Schedule", page="Optimiser", choices=SCHEDULERS, aliases=["scheduler"],
        help="How the learning rate changes over the training.",
        beware="With constant the rate stays full to the end, so the last steps burn in more "
        "easily.")
    lr_warmup_steps: float = setting(
        0, label="Warm-up", page="Optimiser", low=0, read=read_steps_or_fraction,
        aliases=["warmup_lr_ratio"],
        help="Steps over which the rate rises to its full value; below 1 a fraction of all "
        "steps.",
        usual=(0, 500), above="Much of the training passes at a rate too low to learn from.")
    lr_decay_steps: float = setting(
        0, label="Decay", page="Optimiser", low=0, read=read_steps_or_fraction, advanced=True,
        help="Steps of the fall at the end, for warmup_stable_decay; below 1 a fraction.",
        usual=(0, 1000), above="The rate falls early, and the later steps teach little.")
    lr_scheduler_num_cycles: int = setting(
        1, label="Restarts", page="Optimiser", low=1, advanced=True, aliases=["cosine_restarts"],
        help="How often cosine_with_restarts starts again.",
        usual=(1, 4), above="The rate jumps up so often that fine detail is undone again.")
    lr_scheduler_power: float = setting(
        1.0, label="Power", page="Optimiser", low=0, advanced=True, aliases=["scheduler_power"],
        help="The power of the polynomial schedule; 1 is a straight line.",
        usual=(0.5, 2), below="The rate stays high until shortly before the end.",
        above="The rate falls early, and the later steps teach little.")
    lr_scheduler_timescale: int | None = setting(
        None, label="Time scale", page="Optimiser", low=1, advanced=True,
        help="The time scale of inverse_sqrt in steps; the warm-up steps when not set.",
        usual=(100, 10000), below="The rate falls early, and the later steps teach little.",
        above="The rate hardly falls, so the last steps burn in more easily.")
    lr_scheduler_min_lr_ratio: float | None = setting(
        None, label="Least rate", page="Optimiser", low=0, high=1, advanced=True,
        help="The share of the rate that the schedule ends with, for cosine_with_min_lr and "
        "warmup_stable_decay.",
        usual=(0, 0.2), above="The rate hardly falls, so the last steps burn in more easily.")
    lr_scheduler_args: dict[str, str] = setting(
        {}, label="Schedule arguments", page="Optimiser", read=read_arguments, advanced=True,
        help="Further arguments of the schedule, such as step_rules=1:100,0.1 for "
        "piecewise_constant.")
    max_grad_norm: float = setting(
        1.0, label="Limit of the gradient", page="Optimiser", low=0, advanced=True,
        help="Gradients longer than this are shortened to it; 0 for no limit.",
        usual=(0.5, 2), below="0 sets no limit; other small numbers make learning slow.",
        above="A single odd batch may spoil the LoRA.")
    # fmt: on
