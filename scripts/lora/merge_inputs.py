"""The LoRAs of a merge with their strengths, checked: do they fit together, is anything left?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from scripts.core.errors import SettingError
from scripts.lora.block_ratios import BlockRatios, read_block_ratios
from scripts.lora.factors import sides
from scripts.lora.modules import LoraFile, LoraModule, open_lora
from scripts.models.families import FAMILIES
from scripts.settings.merge import MergeSettings

UNET_NAME = re.compile(  # of a layer of Stable Diffusion, in either layout
    r"lora_unet_((down|up|input|output)_blocks|mid(dle)?_block|conv_|time_emb|add_emb|label_emb|out_)"
)
Part = tuple[LoraModule, float]  # a module of one LoRA, and how strongly it counts


@dataclass(frozen=True)
class Ingredient:
    """A LoRA that is merged. `block_text` is what was given for its blocks, "" for nothing."""

    lora: LoraFile
    ratio: float
    blocks: BlockRatios
    block_text: str

    def weight(self, name: str) -> float:
        """How strongly the module of this name counts."""
        return self.ratio * self.blocks.of(name)

    @property
    def is_whole(self) -> bool:
        """Whether it counts exactly as it is, at strength 1 everywhere."""
        return all(self.weight(name) == 1 for name in self.lora.modules)

    @property
    def title(self) -> str:
        """Its strength and name, as in "0.7 x name"."""
        if self.block_text:
            return f"{self.ratio:g} by block x {self.lora.path.stem}"
        return f"{self.ratio:g} x {self.lora.path.stem}"


def open_ingredients(settings: MergeSettings, stack: ExitStack) -> list[Ingredient]:
    """The LoRAs of the settings that count at all, open until `stack` is left.

    Raises SettingError when one cannot be read, when they are of different families or sizes, and
    when nothing would be left.
    """
    loras = [stack.enter_context(open_lora(path, "models")) for path in settings.models]
    family = common_family(loras)
    ingredients = []
    for index, (lora, ratio) in enumerate(zip(loras, settings.strengths, strict=True)):
        text = settings.block_ratios_of(index)
        try:
            blocks = read_block_ratios(text, family or "sd1")
            if text and _is_of_another_kind(lora):
                raise SettingError("block_ratios", "Its model has other blocks than Stable "
                                   "Diffusion. Leave the strengths by block out.")  # fmt: skip
        except SettingError as error:
            raise SettingError("block_ratios", f"For {lora.path.name}: {error}") from error
        ingredient = Ingredient(lora, ratio, blocks, text)
        if any(ingredient.weight(name) for name in lora.modules):
            ingredients.append(ingredient)
    if not ingredients:
        raise SettingError("block_ratios" if any(settings.block_ratios) else "ratios",
                           "With these strengths every layer counts 0, so nothing would be left. "
                           "Give some of them more.")  # fmt: skip
    return ingredients


def common_family(loras: Sequence[LoraFile]) -> str | None:
    """sd1, sd2 or sdxl, None when no file tells. Raises SettingError when they differ."""
    others = [lora for lora in loras if _is_of_another_kind(lora)]
    if 0 < len(others) < len(loras):
        raise SettingError("models", f"{others[0].path.name} is not for Stable Diffusion, and "
                           "others are: they cannot be merged. Choose LoRAs of one "
                           "family.")  # fmt: skip
    for lora in others[1:]:
        if not lora.modules.keys() & others[0].modules.keys():
            raise SettingError("models", f"{others[0].path.name} and {lora.path.name} have no "
                               "layer in common: they are for different models and cannot be "
                               "merged. Choose LoRAs of one family.")  # fmt: skip
    known = [lora for lora in loras if lora.family is not None]
    for lora in known[1:]:
        if lora.family != known[0].family:
            raise SettingError("models", f"{known[0].path.name} is for {title_of(known[0])} and "
                               f"{lora.path.name} for {title_of(lora)}: they cannot be merged. "
                               "Choose LoRAs of one family.")  # fmt: skip
    return known[0].family if known else None


def _is_of_another_kind(lora: LoraFile) -> bool:
    """Whether it is for a model whose layers are unlike Stable Diffusion's, such as Flux."""
    names = [name for name in lora.modules if not name.startswith("lora_te")]
    return bool(names) and not any(UNET_NAME.match(name) for name in names)


def title_of(lora: LoraFile) -> str:
    """The family of a LoRA as people call it."""
    return "an unknown model" if lora.family is None else FAMILIES[lora.family].title


def parts_by_name(ingredients: Sequence[Ingredient]) -> dict[str, list[Part]]:
    """The parts of each module's sum, without those of strength 0.

    Raises SettingError when one layer has different sizes in two files, and SuiteError when there
    is none to compare.
    """
    parts: dict[str, list[Part]] = {}
    for ingredient in ingredients:
        for name, module in ingredient.lora.modules.items():
            weight = ingredient.weight(name)
            if not weight:
                continue
            others = parts.setdefault(name, [])
            if others and sides(others[0][0].shape) != sides(module.shape):
                others[0][0].check_kind()
                module.check_kind()
                raise SettingError("models", f"{module.file.path.name} and "
                                   f"{others[0][0].file.path.name} are for models of different "
                                   f"sizes ({name}): they cannot be merged. Choose LoRAs for one "
                                   "model.")  # fmt: skip
            others.append((module, weight))
    return parts


def describe(ingredients: Sequence[Ingredient]) -> str:
    """What is merged, in one line."""
    return " + ".join(ingredient.title for ingredient in ingredients).replace("+ -", "- ")
