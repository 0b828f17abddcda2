"""What the keys of other tools mean here, where a new name alone does not do it: one small rule
each. A rule looks at the draft, takes the keys that it knows, and gives settings for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scripts.core.declare import show_value
from scripts.core.errors import SettingErrors
from scripts.settings.import_draft import Draft, Fate
from scripts.settings.import_tables import POPUP_DEFAULTS, SD_SCRIPTS_DEFAULTS
from scripts.settings.train_reading import (
    COMBINED_KEYS,
    expand_combined_keys,
)

Rule = Callable[[Draft], None]


# --- every tool -----------------------------------------------------------------------------


def split_network_args(draft: Draft) -> None:
    """network_args holds several settings; each is put in place of the whole."""
    for key in COMBINED_KEYS:
        if draft.peek(key) is None:
            continue
        try:
            expanded = expand_combined_keys(draft.raw)
        except SettingErrors as errors:
            draft.tell(key, Fate.REFUSED, str(errors.errors[0]))
            continue
        new = [name for name in expanded if name not in draft.raw]
        draft.raw = expanded
        draft.tell(key, Fate.CHANGED, f"It was taken apart into {', '.join(new) or 'nothing'}.")


def model_kind(draft: Draft) -> None:
    """false is these flags' default elsewhere and says nothing of the model, whose file does."""
    for key in ("v2", "v_parameterization"):
        if key in draft.raw and str(draft.raw[key]).lower() in ("false", "0"):
            draft.tell(key, Fate.NOT_NEEDED, "It is found from the base model's file.")


def old_optimizer_flags(draft: Draft) -> None:
    """use_8bit_adam and use_lion (deprecated) chose the optimiser; both won over its name."""
    flags = {"use_8bit_adam": "AdamW8bit", "use_lion": "Lion", "use_lion_optimizer": "Lion"}
    for key, name in flags.items():
        if str(draft.raw.get(key)).lower() in ("true", "1"):
            for other in ("optimizer_type", "optimizer"):
                if draft.peek(other) not in (None, name):
                    draft.tell(other, Fate.NOT_NEEDED, f"{key} is on and chose {name}.")
            draft.give(key, "optimizer_type", name, Fate.CHANGED, f"It means the optimiser {name}.")


def attention(draft: Draft) -> None:
    """Which attention is used is no question here; xformers may be a bool or a word."""
    for key in ("xformers", "mem_eff_attn", "sdpa"):
        if str(draft.raw.get(key)).lower() in ("none", "false") and key in draft.raw:
            draft.tell(key, Fate.NOT_NEEDED, "PyTorch's fast attention is always used.")


def several_text_rates(draft: Draft) -> None:
    """A list of rates, one for each text encoder, has one rate here."""
    raw = draft.raw.get("text_encoder_lr")
    if not isinstance(raw, list) or not raw:
        return
    alike = all(rate == raw[0] for rate in raw)
    note = "" if alike else (
        f"All text encoders share one rate here: {show_value(raw[0])} was taken of "
        f"{show_value(raw)}."
    )  # fmt: skip
    fate = Fate.USED if alike else Fate.CHANGED
    draft.give("text_encoder_lr", "text_encoder_lr", raw[0], fate, note)


def lycoris_convolutions(draft: Draft, defaults: Mapping[str, Any]) -> None:
    """LyCORIS trains the convolutions with the network's own sizes unless told otherwise; where the
    file does not say those either, with `defaults`."""
    if draft.peek("algo") not in (None, "lora", "locon"):
        return
    for conv, own in (("conv_dim", ("net_dim", "network_dim")),
                      ("conv_alpha", ("alpha", "network_alpha"))):  # fmt: skip
        said = [draft.peek(name) for name in own] + [defaults.get(name) for name in own]
        size = next(one for one in said if one is not None)
        if draft.peek(conv) is None:
            note = f"Not in the file; LyCORIS takes that of the network: {show_value(size)}."
            draft.give(conv, conv, size, Fate.ADDED, note)


def lora_convolutions(draft: Draft) -> None:
    """networks.lora takes 1 for conv_alpha unless told otherwise."""
    unsaid = draft.peek("conv_alpha") is None and "conv_alpha" not in draft.given
    if _has_convolutions(draft) and unsaid:
        note = "Not in the file; sd-scripts takes 1."
        draft.give("conv_alpha", "conv_alpha", 1, Fate.ADDED, note)


def without_convolutions(draft: Draft) -> None:
    """conv_alpha means nothing where no convolutions are trained."""
    if draft.peek("conv_alpha") is not None and not _has_convolutions(draft):
        draft.tell("conv_alpha", Fate.NOT_NEEDED, "Without conv_dim no convolutions are trained.")


def _has_convolutions(draft: Draft) -> bool:
    """Whether a size is given, where 0 is none, or one for each block."""
    sized = draft.number("conv_dim") > 0 or "conv_dim" in draft.given
    return sized or draft.peek("conv_block_dims") is not None


def add_defaults(draft: Draft, defaults: dict[str, Any], tool: str) -> None:
    """Give what the tool does by itself when its file does not say."""
    known = {**draft.aliases, **{name: name for name in draft.declared}}
    said = {known[key] for key, raw in draft.raw.items() if key in known and raw not in (None, "")}
    said |= {known[entry.key] for entry in draft.entries if entry.key in known}
    for key, value in defaults.items():
        name = known[key]
        if name in said or name in draft.given:
            continue
        note = f"Not in the file; {tool} takes {show_value(value)}."
        draft.give(name, name, value, Fate.ADDED, note)


# --- the older popup scripts ----------------------------------------------------------------


def popup_resolution(draft: Draft) -> None:
    """train_resolution is the width and, without height_resolution, the height too."""
    height = draft.peek("height_resolution")
    if height is None:
        return
    width = draft.peek("train_resolution") or POPUP_DEFAULTS["train_resolution"]
    draft.give("train_resolution", "resolution", f"{width},{height}", Fate.CHANGED,
               "Width and height are one setting here.")  # fmt: skip
    draft.tell("height_resolution", Fate.CHANGED, "It is the height in resolution.", "resolution")


def popup_amount(draft: Draft) -> None:
    """With max_steps the popup scripts do not look at num_epochs; here epochs would win."""
    if draft.number("max_steps") > 0 and "num_epochs" in draft.raw:
        draft.tell("num_epochs", Fate.NOT_NEEDED, "max_steps is given and goes before it.")


def popup_warmup(draft: Draft) -> None:
    """A ratio of all steps is a number of steps below 1 here."""
    ratio = draft.number("warmup_lr_ratio")
    if ratio >= 1:
        draft.tell("warmup_lr_ratio", Fate.REFUSED, f"{ratio:g} is {ratio:.0%} of all steps, so "
                   "the rate would only rise. Give a share below 1.")  # fmt: skip
    elif ratio > 0:
        draft.give("warmup_lr_ratio", "lr_warmup_steps", ratio, Fate.CHANGED,
                   f"A warm-up below 1 is a share of all steps: {ratio:.3g} is "
                   f"{ratio * 100:.3g} %.")  # fmt: skip


def popup_locon(draft: Draft) -> None:
    """locon, locon_dim and locon_alpha (deprecated) are what conv_dim and conv_alpha are now."""
    on = str(draft.raw.get("locon")).lower() == "true"
    for old, new in (("locon_dim", "conv_dim"), ("locon_alpha", "conv_alpha")):
        if on and draft.peek(old) is not None and draft.peek(new) is None:
            draft.give(old, new, draft.peek(old), Fate.RENAMED, f"It is called {new} here.")
        elif draft.peek(old) is not None:
            draft.tell(old, Fate.NOT_NEEDED, "locon is off, or conv_dim is given.")
    if on:
        draft.tell("locon", Fate.NOT_NEEDED, "conv_dim decides whether it becomes a LoCon.")


def popup_network(draft: Draft) -> None:
    """lyco changes what network_args means; "unit" among them marks a DyLoRA."""
    if draft.peek("network_module") is not None:
        draft.tell("network_module", Fate.NOT_NEEDED, "The LoRA code is built in.")
    if draft.peek("unit") is not None:
        draft.tell("unit", Fate.REFUSED, "It asks for a DyLoRA, which is not made here: an "
                   "ordinary LoRA of that size would be trained.")  # fmt: skip
    if str(draft.raw.get("lyco")).lower() == "true":
        lycoris_convolutions(draft, POPUP_DEFAULTS)
    else:
        lora_convolutions(draft)


def popup_saving(draft: Draft) -> None:
    """Where two keys say when to save or to draw, one of them wins there."""
    pairs = (("save_n_epoch_ratio", "save_every_n_epochs"),
             ("sample_every_n_epochs", "sample_every_n_steps"))  # fmt: skip
    for winner, loser in pairs:
        if draft.number(winner) > 0 and draft.number(loser) > 0:
            draft.tell(loser, Fate.NOT_NEEDED, f"{winner} is given and goes before it.")


# --- sd-scripts -----------------------------------------------------------------------------


def sd_scripts_network(draft: Draft) -> None:
    """With LyCORIS as its module sd-scripts makes a LoCon even without conv_dim."""
    if str(draft.peek("network_module") or "").startswith(("lycoris", "locon.")):
        lycoris_convolutions(draft, SD_SCRIPTS_DEFAULTS)
    else:
        lora_convolutions(draft)


def sd_scripts_defaults(draft: Draft) -> None:
    """What sd-scripts does when its file does not say otherwise."""
    defaults = dict(SD_SCRIPTS_DEFAULTS)
    rates = ("unet_lr", "text_encoder_lr")
    if all(draft.peek(name) is not None or name in draft.given for name in rates):
        del defaults["learning_rate"]  # both parts have rates of their own
    add_defaults(draft, defaults, "sd-scripts")


def popup_defaults(draft: Draft) -> None:
    """What the popup scripts do when a key is missing, as in files of other versions."""
    defaults = dict(POPUP_DEFAULTS)
    if "optimizer_args" in draft.raw:
        del defaults["optimizer_args"]  # null means none there
    add_defaults(draft, defaults, "the older tool")


SHARED: tuple[Rule, ...] = (
    model_kind, old_optimizer_flags, attention, several_text_rates,
)  # fmt: skip
POPUP_RULES: tuple[Rule, ...] = (
    split_network_args, popup_resolution, popup_amount, popup_warmup, popup_locon, popup_network,
    without_convolutions, popup_saving, *SHARED, popup_defaults,
)  # fmt: skip
SD_SCRIPTS_RULES: tuple[Rule, ...] = (
    split_network_args, *SHARED, sd_scripts_network, without_convolutions, sd_scripts_defaults,
)  # fmt: skip


def apply(rules: Iterable[Rule], draft: Draft) -> None:
    """Apply the rules in their order."""
    for rule in rules:
        rule(draft)
