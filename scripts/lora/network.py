"""The LoRA of a whole model: which layers get one, and what is trained, saved and loaded.

`LoRANetwork.create` puts the layers into the models, `param_groups` feeds the optimiser,
`state_dict_for_file` goes to `scripts.lora.file.save_lora`, and `remove` leaves the models as
they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from scripts.core.errors import SettingError
from scripts.lora.blocks import block_of, rate_groups
from scripts.lora.file import LayerFactors, load_lora, split_layers
from scripts.lora.layer import LoRALayer, draw_weights
from scripts.lora.targets import (
    Target,
    sizes_from_settings,
    text_encoder_targets,
    unet_targets,
)

if TYPE_CHECKING:
    from scripts.models.families import Family
    from scripts.settings.train import TrainSettings


@dataclass(frozen=True)
class ScaledNorms:
    """What `scale_weight_norms` did: tensors without dimensions, so that nothing waits for the
    graphics card until someone reads them."""

    keys_scaled: Tensor
    mean_norm: Tensor
    maximum_norm: Tensor


@dataclass(frozen=True)
class NetworkSummary:
    """How many layers got a LoRA, how many weights that makes, and their sizes.

    `dim` and `alpha` of all layers that are not wider convolutions, None where they differ.
    """

    text_encoder_layers: int
    unet_layers: int
    weights: int
    dim: int | None
    alpha: float | None


class LoRANetwork(nn.Module):
    """All LoRA layers of one training. Its parameters are the LoRA's alone."""

    def __init__(
        self, layers: dict[str, LoRALayer], targets: dict[str, Target], family_name: str
    ) -> None:
        super().__init__()
        self.family_name = family_name
        self.factors = nn.ModuleDict(
            {name: nn.ModuleDict({"down": layer.down, "up": layer.up})
             for name, layer in layers.items()}
        )  # fmt: skip
        self._layers = layers
        self._targets = targets
        self.notes: tuple[str, ...] = ()

    @classmethod
    def create(
        cls,
        unet: nn.Module | None,
        text_encoders: Sequence[nn.Module],
        family: Family,
        settings: TrainSettings,
    ) -> LoRANetwork:
        """Put LoRA layers into the models, as the settings say, and load network_weights.

        The models are frozen. A part whose learning rate is 0 gets no layers. New weights are
        drawn from torch's default generator. The LoRA's weights are float32, or bfloat16 with
        full_bf16.

        Raises SettingError for block settings that cannot be read, and for network_weights that
        do not fit.
        """
        state = None
        if settings.network_weights is not None:
            state, _ = load_lora(settings.network_weights, setting="network_weights")
        targets: list[Target] = []
        if settings.text_encoder_rate > 0:
            targets += text_encoder_targets(text_encoders)
        if settings.unet_rate > 0 and unet is not None:
            targets += unet_targets(unet, family.name)
        factors = {}
        if state is not None:
            factors = _named_as(targets, split_layers(state, "network_weights"))
        if settings.dim_from_weights:
            sizes = {name: (part.dim, part.alpha) for name, part in factors.items()}
        else:
            sizes = sizes_from_settings(targets, family.name, settings)
        for model in (unet, *text_encoders):
            if model is not None:
                model.requires_grad_(False)
        dropouts = settings.network_dropout, settings.rank_dropout, settings.module_dropout
        network = cls._insert(targets, sizes, family.name, dropouts)
        if settings.full_bf16:
            network.to(torch.bfloat16)
        if state is not None:
            network.notes = network._load_first_weights(factors)
        return network

    @classmethod
    def of_factors(
        cls,
        factors: dict[str, LayerFactors],
        unet: nn.Module | None,
        text_encoders: Sequence[nn.Module],
        family: Family,
        setting: str,
    ) -> LoRANetwork:
        """Put a finished LoRA into the models, to draw with it: no gradients, no dropout.

        `factors` are its layers by their names in a file; those that have no place in these
        models are left out.

        Raises SettingError (of `setting`) when a layer has another shape than the model's.
        """
        targets = text_encoder_targets(text_encoders)
        if unet is not None:
            targets += unet_targets(unet, family.name)
        sizes = {name: (part.dim, part.alpha) for name, part in factors.items()}
        network = cls._insert(targets, sizes, family.name)
        for name in network._layers:
            network._load_layer(name, factors[name], setting)
        return network.requires_grad_(False).eval()

    @classmethod
    def _insert(
        cls,
        targets: Sequence[Target],
        sizes: dict[str, tuple[int, float]],
        family_name: str,
        dropouts: tuple[float | None, float | None, float | None] = (None, None, None),
    ) -> LoRANetwork:
        layers, used = {}, {}
        for target in targets:
            if target.name not in sizes:
                continue
            dim, alpha = sizes[target.name]
            layer = LoRALayer(target.layer, dim, alpha, *(share or 0.0 for share in dropouts))
            setattr(target.parent, target.attribute, layer)
            layers[target.name], used[target.name] = layer, target
        return cls(layers, used, family_name)

    def remove(self) -> None:
        """Put the base models' own layers back."""
        for target in self._targets.values():
            setattr(target.parent, target.attribute, target.layer)

    def layers(self) -> Iterator[tuple[str, LoRALayer]]:
        """(name in a file, layer) for every layer, text encoders first."""
        return iter(self._layers.items())

    def train(self, mode: bool = True) -> LoRANetwork:
        """Turn the dropouts on, or off for previews, without touching the base models' mode."""
        super().train(mode)
        for layer in self._layers.values():
            layer.training = mode
        return self

    def set_multiplier(self, multiplier: float) -> None:
        """How strongly the LoRA acts: 1 as trained, 0 not at all."""
        for layer in self._layers.values():
            layer.multiplier = multiplier

    def trainable_parameters(self) -> list[nn.Parameter]:
        """All weights of the LoRA, in a fixed order."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def param_groups(self, settings: TrainSettings) -> list[dict[str, Any]]:
        """The optimiser's groups {"params", "lr", "name"}: text encoder first, then the U-Net.

        With block weights every block is a group of its own (`rate_groups` tells the same
        without torch).
        """
        groups = []
        for group in rate_groups(settings, self.family_name):
            parameters = []
            for name, layer in self._layers.items():
                in_unet = name.startswith("lora_unet_")
                if in_unet != (group.name != "text_encoder"):
                    continue
                if group.block is None or block_of(name) == group.block:
                    parameters += [layer.down.weight, layer.up.weight]
            if parameters:
                groups.append({"params": parameters, "lr": group.rate, "name": group.name})
        return groups

    @torch.no_grad()
    def state_dict_for_file(self) -> dict[str, Tensor]:
        """The weights under their names in a file: alpha (no dimensions), down and up.

        They are the live weights, not copies: save them before the next step.
        """
        state = {}
        for name, layer in self._layers.items():
            state[f"{name}.alpha"] = torch.tensor(layer.alpha, dtype=torch.float32)
            state[f"{name}.lora_down.weight"] = layer.down.weight.detach()
            state[f"{name}.lora_up.weight"] = layer.up.weight.detach()
        return state

    @torch.no_grad()
    def draw_first_weights(self, settings: TrainSettings) -> None:
        """Begin anew, with weights from torch's generator or again with those of
        network_weights."""
        for layer in self._layers.values():
            draw_weights(layer.down, layer.up)
        if settings.network_weights is not None:
            state, _ = load_lora(settings.network_weights, setting="network_weights")
            targets = list(self._targets.values())
            self._load_first_weights(_named_as(targets, split_layers(state, "network_weights")))

    def load_file_state(self, state: dict[str, Tensor]) -> None:
        """Take over the weights of a file with exactly this network's layers and sizes.

        Where alpha differs, `up` is scaled so that ΔW stays what it is in the file.

        Raises SettingError (of `resume`) when layers or sizes differ.
        """
        factors = split_layers(state, "resume")
        different = sorted(set(factors) ^ set(self._layers))
        if different:
            raise SettingError("resume", "The saved LoRA has other layers than these settings "
                               f"give, such as {different[0]}. Use the settings it was made "
                               "with.")  # fmt: skip
        for name, part in factors.items():
            self._load_layer(name, part, "resume")

    def _load_first_weights(self, factors: dict[str, LayerFactors]) -> tuple[str, ...]:
        notes = []
        trained = {_part_of(name) for name in self._layers}
        left_out = [name for name in factors if name not in self._layers]
        unfit = [name for name in left_out if _part_of(name) in trained]
        if not set(factors) & set(self._layers):
            raise SettingError("network_weights", "None of the LoRA's layers fits this model and "
                               "these settings. Choose a LoRA for this kind of model.")  # fmt: skip
        for name, part in factors.items():
            if name in self._layers:
                self._load_layer(name, part, "network_weights")
        if unfit:
            raise SettingError("network_weights", f"{len(unfit)} layers of the LoRA have no place "
                               f"with these settings, such as {unfit[0]}. Turn on "
                               "dim_from_weights, or set conv_dim as it was.")  # fmt: skip
        if left_out:
            notes.append(f"{len(left_out)} layers of the LoRA are left out, because that part of "
                         "the model is not trained.")  # fmt: skip
        new = len(set(self._layers) - set(factors))
        if new:
            notes.append(f"{new} layers are not in the LoRA and start new.")
        return tuple(notes)

    @torch.no_grad()
    def _load_layer(self, name: str, part: LayerFactors, setting: str) -> None:
        layer = self._layers[name]
        down, up = layer.down.weight, layer.up.weight
        if part.dim != layer.dim:
            size = "conv_dim" if self._targets[name].is_conv else "network_dim"
            raise SettingError(setting, f"The LoRA has dim {part.dim} where these settings give "
                               f"{layer.dim} ({name}). Turn on dim_from_weights, or set "
                               f"{size} to {part.dim}.")  # fmt: skip
        if part.down.numel() != down.numel() or part.up.numel() != up.numel():
            raise SettingError(setting, f"The LoRA does not fit this base model: {name} has "
                               "another shape. Choose a LoRA for this kind of model.")  # fmt: skip
        down.copy_(part.down.reshape(down.shape))
        up.copy_(part.up.reshape(up.shape))
        if not math.isclose(part.alpha, layer.alpha, rel_tol=1e-6):  # float32 in the file
            up.mul_(part.alpha / layer.alpha)

    @torch.no_grad()
    def scale_weight_norms(self, max_norm: float) -> ScaledNorms:
        """Scale every ΔW whose Frobenius norm is above `max_norm` down to it.

        √(max / ‖ΔW‖) on each factor. ‖ΔW‖ comes from the dim x dim Gram matrices:
        ‖UD‖² = Σ (UᵀU) ∘ (DDᵀ). Call it after every batch, as sd-scripts does.
        """
        layers = list(self._layers.values())
        norms = torch.stack([_norm_of_change(layer) for layer in layers])
        ratios = max_norm / norms.clamp(min=max_norm)  # 1 where nothing is to be done
        roots = ratios.sqrt()
        for layer, root in zip(layers, roots.unbind(), strict=True):
            layer.down.weight.mul_(root)
            layer.up.weight.mul_(root)
        scaled = norms * ratios
        return ScaledNorms((ratios != 1).sum(), scaled.mean(), scaled.max())

    def summary(self) -> NetworkSummary:
        """How many layers and weights there are, for messages and metadata."""
        names = list(self._layers)
        plain = [layer for name, layer in self._layers.items() if not self._targets[name].is_conv]
        dims, alphas = {layer.dim for layer in plain}, {layer.alpha for layer in plain}
        in_unet = sum(name.startswith("lora_unet_") for name in names)
        return NetworkSummary(
            text_encoder_layers=len(names) - in_unet,
            unet_layers=in_unet,
            weights=sum(parameter.numel() for parameter in self.parameters()),
            dim=dims.pop() if len(dims) == 1 else None,
            alpha=alphas.pop() if len(alphas) == 1 else None,
        )


def _named_as(
    targets: Sequence[Target], factors: dict[str, LayerFactors]
) -> dict[str, LayerFactors]:
    """Factors under the names used here; some tools write SDXL with diffusers' paths."""
    names = {
        f"lora_unet_{target.path.replace('.', '_')}": target.name
        for target in targets
        if target.name.startswith("lora_unet_")
    }
    return {names.get(name, name): part for name, part in factors.items()}


def _part_of(name: str) -> str:
    return name.partition("_text_model_")[0] if "_text_model_" in name else "lora_unet"


def _norm_of_change(layer: LoRALayer) -> Tensor:
    down = layer.down.weight.float().flatten(1)  # (dim, inputs)
    up = layer.up.weight.float().flatten(1)  # (outputs, dim)
    squared = ((up.T @ up) * (down @ down.T)).sum().clamp(min=0)
    return squared.sqrt() * layer.scale
