"""What the keys of the kohya_ss GUI mean here; see `import_rules`."""

from __future__ import annotations

import shlex

from scripts.core.errors import SuiteError
from scripts.core.flags import FlagParser, add_flags, read_flags
from scripts.settings.import_draft import Draft, Fate
from scripts.settings.import_rules import SHARED, Rule, split_network_args, without_convolutions
from scripts.settings.import_tables import LYCORIS_ONLY
from scripts.settings.train import TrainSettings
from scripts.settings.train_reading import COMBINED_KEYS, NOT_NEEDED


def gui_command_line(draft: Draft) -> None:
    """additional_parameters is a free command line, whose flags go before the other keys."""
    text = draft.peek("additional_parameters")
    if text is None:
        return
    parser = FlagParser(add_help=False)
    add_flags(parser, TrainSettings, also=sorted({*NOT_NEEDED, *COMBINED_KEYS}))
    try:
        flags = read_flags(parser, shlex.split(str(text).replace("\\", "\\\\")))
    except (SuiteError, ValueError) as error:
        draft.tell("additional_parameters", Fate.REFUSED, str(error))
        return
    for name in flags:
        setting = draft.aliases.get(name, name)
        for other in [key for key in draft.raw if draft.aliases.get(key, key) == setting]:
            if other != name:
                draft.tell(other, Fate.NOT_NEEDED, "additional_parameters goes before it.")
    draft.raw |= flags
    draft.tell("additional_parameters", Fate.CHANGED,
               f"Its flags were read as keys: {', '.join(flags)}.")  # fmt: skip


def gui_amount(draft: Draft) -> None:
    """max_train_epochs wins, then max_train_steps; `epoch` is what the GUI counts steps from."""
    if draft.number("max_train_epochs") > 0:
        losers, winner = ("epoch", "max_train_steps"), "max_train_epochs"
    elif draft.number("max_train_steps") > 0:
        losers, winner = ("epoch",), "max_train_steps"
    else:
        return
    for key in losers:
        if draft.peek(key) is not None and draft.number(key) > 0:
            draft.tell(key, Fate.NOT_NEEDED, f"{winner} is given and goes before it.")


def gui_warmup(draft: Draft) -> None:
    """lr_warmup is a percentage of all steps; lr_warmup_steps, where there is one, wins."""
    percent = draft.number("lr_warmup")
    if "lr_warmup" not in draft.raw:
        return
    if draft.number("lr_warmup_steps") > 0:
        draft.tell("lr_warmup", Fate.NOT_NEEDED, "lr_warmup_steps is given and goes before it.")
    elif percent <= 0:
        draft.tell("lr_warmup", Fate.NOT_SET, "", "lr_warmup_steps")
    elif draft.peek("lr_scheduler") == "constant":
        draft.tell("lr_warmup", Fate.NOT_NEEDED, "The GUI has no warm-up with a constant rate.")
    elif percent >= 100:
        draft.tell("lr_warmup", Fate.REFUSED, f"{percent:g} % of all steps is all of them, so the "
                   "rate would only rise. Give less than 100.")  # fmt: skip
    else:
        draft.raw.pop("lr_warmup_steps", None)
        draft.give("lr_warmup", "lr_warmup_steps", percent / 100, Fate.CHANGED,
                   f"{percent:g} % of all steps is {percent / 100:g} here.")  # fmt: skip


def gui_network(draft: Draft) -> None:
    """The GUI writes conv_dim and all of LyCORIS into every file and looks at them for some types
    only."""
    kind = str(draft.peek("LoRA_type") or "Standard")
    if kind == "Standard":
        for key in ("conv_dim", "conv_alpha"):
            if draft.peek(key) is not None:
                draft.tell(key, Fate.NOT_NEEDED, "The type is Standard, which has no convolutions.")
    if not kind.startswith("LyCORIS"):
        for key in sorted(LYCORIS_ONLY & draft.raw.keys()):
            draft.tell(key, Fate.NOT_NEEDED, f"The type is {kind}, which does not look at it.")


def gui_rates(draft: Draft) -> None:
    """A rate of 0 beside another one leaves that part out; two zeros mean the common rate."""
    rates = {"unet_lr", "text_encoder_lr"}
    if rates <= draft.raw.keys() and all(draft.number(key) == 0 for key in rates):
        for key in sorted(rates):
            draft.tell(key, Fate.NOT_SET, "", key)


def gui_noise(draft: Draft) -> None:
    """noise_offset_type says which of two groups of keys counts."""
    kind = str(draft.peek("noise_offset_type") or "")
    multires = ("multires_noise_iterations", "multires_noise_discount")
    if kind == "Original":
        other = multires
    elif kind == "Multires":
        other = ("noise_offset", "adaptive_noise_scale")
    else:
        return
    draft.tell("noise_offset_type", Fate.NOT_NEEDED, "Which noise there is decides.")
    for key in other:
        if draft.number(key) != 0:
            draft.tell(key, Fate.NOT_NEEDED, f"The noise offset type is {kind}.")


def gui_prompts(draft: Draft) -> None:
    """sample_prompts holds the prompts themselves, a line each; lines with # are remarks."""
    text = draft.peek("sample_prompts")
    if not isinstance(text, str):
        return
    lines = [line.strip() for line in text.splitlines()]
    prompts = [line for line in lines if line and not line.startswith("#")]
    if prompts:
        draft.give("sample_prompts", "sample_prompts", prompts, Fate.CHANGED,
                   "It holds the prompts themselves; they are kept in the config.")  # fmt: skip


def gui_seed(draft: Draft) -> None:
    """A seed of 0 means a random one there."""
    if draft.peek("seed") is not None and draft.number("seed") == 0:
        draft.tell("seed", Fate.NOT_SET, "0 means a random seed there.", "seed")


GUI_RULES: tuple[Rule, ...] = (
    gui_command_line, split_network_args, gui_amount, gui_warmup, gui_network,
    without_convolutions, gui_rates, gui_noise, gui_prompts, gui_seed, *SHARED,
)  # fmt: skip
