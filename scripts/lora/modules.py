"""A LoRA file of any kind as modules whose ΔW = scale · up · down, in kohya's naming.

    with open_lora(path) as lora:
        print(lora.family, lora.network_types, len(lora.modules))
        up, down, scale = lora.modules["lora_unet_..."].factors()

The header is read at once, numbers only when factors are asked for. NumPy, no torch (but for
.pt and .ckpt files).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.core.errors import SettingError, SuiteError
from scripts.lora.factors import (
    FACTOR,
    Layer,
    OddParts,
    is_wide,
    kronecker_factors,
    make_factors,
    read_layer,
    sides,
)
from scripts.lora.layer_keys import LayerKeys, read_layer_keys
from scripts.lora.low_rank import Decomposition, KroneckerDecomposition, decompose
from scripts.lora.peft_alpha import read_peft_config, stated_alpha
from scripts.lora.tensor_files import TensorFile, open_tensors, size_of
from scripts.models.other_kinds import other_kind

WIDE_CONVOLUTION = re.compile(
    r"_(conv1|conv2|in_layers_2|out_layers_3|(down|up)samplers_\d+_conv|0_op|[12]_conv|conv_in|"
    r"conv_out)$"
)
NARROW_CONVOLUTION = re.compile(r"_(conv_shortcut|skip_connection)$")
PEFT_MAGNITUDE = "lora_magnitude_vector"  # in the key
PROJECTION = re.compile(r"_attentions_\d+_proj_(in|out)$")
# What this suite can tell of but neither resize nor merge, by a part that such a layer has.
OTHER_TYPES = {
    "oft": ("oft_",),
    "ia3": ("on_input",),
    "glora": ("a1.", "a2.", "b1."),
    "norm": ("w_norm", "b_norm"),
    "bias": ("diff_b",),
}


@dataclass(frozen=True)
class LoraModule:
    """One layer of a LoRA file.

    name: kohya's (lora_unet_..., lora_te_...). network_type: lora, tucker, loha, lokr, diff
    (a whole matrix), dora (a LoRA with a magnitude), or one that has no ΔW alone: oft, ia3,
    glora, norm, bias, unknown. shape: of ΔW, (out, in) or (out, in, kh, kw). rank: as in the
    file. alpha: the file's, or the rank where it is missing or zero.
    """

    name: str
    network_type: str
    shape: tuple[int, ...]
    rank: int
    alpha: float
    parts: dict[str, str] = field(repr=False)  # part in kohya's naming -> key in the file
    file: TensorFile = field(repr=False)
    layer: Layer = field(repr=False)

    @property
    def is_conv(self) -> bool:
        """Whether ΔW is a convolution's, 1x1 too."""
        return len(self.shape) > 2

    @property
    def is_conv_3x3(self) -> bool:
        """Whether ΔW is that of a convolution wider than 1x1."""
        return is_wide(self.shape)

    @property
    def full_rank(self) -> int:
        """The rank that ΔW can have: above `rank` for LoHa and LoKr."""
        return self.layer.full_rank

    @property
    def scale(self) -> float:
        """alpha / rank; 1 for the kinds whose alpha has no meaning."""
        return 1.0 if self.layer.rank is None else self.alpha / self.rank

    def factors(self, without_magnitude: bool = False) -> tuple[np.ndarray, np.ndarray, float]:
        """(up (out, r), down (r, in·kh·kw), scale): ΔW = scale · up · down, float32, exact.

        r is the rank in the file for a LoRA; for LoHa, LoKr and whole matrices it is what ΔW needs.
        A DoRA's ΔW alone is given only when asked for by `without_magnitude`.

        Raises SuiteError for a kind that has no ΔW alone, and for values that are not numbers.
        """
        arrays = self._arrays(without_magnitude)
        return *make_factors(self.layer.kind, arrays), self.scale

    def decomposition(
        self, without_magnitude: bool = False
    ) -> Decomposition | KroneckerDecomposition:
        """The singular value decomposition of ΔW / scale, by the quickest way for its kind.

        Raises SuiteError as `factors` does.
        """
        arrays = self._arrays(without_magnitude)
        if self.layer.kind == "lokr":
            first, second = kronecker_factors(arrays)
            return KroneckerDecomposition(decompose(*first), decompose(*second))
        return decompose(*make_factors(self.layer.kind, arrays))

    def _arrays(self, without_magnitude: bool) -> dict[str, np.ndarray]:
        if self.network_type == "dora" and not without_magnitude:
            raise SuiteError(f"{self.file.path.name} is a DoRA: its magnitudes belong to exactly "
                             "its own directions, so it cannot be changed this way without another "
                             "effect. Train it again with the size you want.")  # fmt: skip
        self.check_kind()
        return {part: self.read(part) for part in self.layer.weights}

    def check_kind(self) -> None:
        """Raise SuiteError if the module's kind has no ΔW alone."""
        if self.layer.kind == "unknown" or self.network_type in OTHER_TYPES:
            raise SuiteError(f"{self.file.path.name} holds {self.name} of a kind "
                             f"({self.network_type}) that cannot be turned into a LoRA. Choose a "
                             "LoRA, LoCon, LoHa or LoKr file.")  # fmt: skip
        strange = [part for part in self.layer.weights if not FACTOR.fullmatch(part)]
        if strange:
            raise SuiteError(f"{self.file.path.name} holds {self.name} with a part of unknown "
                             f"effect ({strange[0]}). Choose a file with layers of up and down "
                             "alone.")  # fmt: skip

    def read(self, part: str) -> np.ndarray:
        """One part (such as "lora_up.weight" or "dora_scale") in float32. PEFT's magnitudes, which
        are one for each output and lie flat or as (1, out, 1, 1), come as (out, 1, ...) too.

        Raises SuiteError for values that are not numbers.
        """
        array = self.file.read(self.parts[part])
        # A sum shows what is not finite, or (hardly ever) overflows: then each number is looked at.
        if not np.isfinite(array.sum()) and not np.isfinite(array).all():
            raise SuiteError(f"The file {self.file.path.name} is damaged: {self.parts[part]} holds "
                             "values that are not numbers. Choose another file.")  # fmt: skip
        if part == "dora_scale" and (array.ndim == 1 or PEFT_MAGNITUDE in self.parts[part]):
            return array.reshape(-1, *[1] * (len(self.shape) - 1))
        return array


@dataclass(frozen=True)
class LoraFile:
    """A LoRA file: what its header tells, and its modules by kohya's name. A context manager.

    family: sd1, sd2, sdxl, or None. naming: kohya, peft or diffusers. dtype: the number format of
    most weights ("F16"). network_types: how many modules of each type. others: keys that belong
    to no module.
    """

    path: Path
    metadata: dict[str, str]
    modules: dict[str, LoraModule]
    family: str | None
    naming: str
    size_bytes: int
    dtype: str
    network_types: dict[str, int]
    others: tuple[str, ...]
    file: TensorFile = field(repr=False)

    def __enter__(self) -> LoraFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.__exit__()


def open_lora(path: Path | str, setting: str | None = None) -> LoraFile:
    """The LoRA file at `path`, open for reading.

    Raises SuiteError (SettingError of `setting`) when it is missing, broken, cut off, or something
    else than a LoRA, by the name of what it seems to be.
    """
    path = Path(path)
    try:
        file = open_tensors(path)
        try:
            return _lora_file(path, file)
        except BaseException:
            file.__exit__()
            raise
    except SuiteError as error:
        if setting is None:
            raise
        raise SettingError(setting, str(error)) from error


def _lora_file(path: Path, file: TensorFile) -> LoraFile:
    keys = read_layer_keys(file.shapes, file.metadata)
    if not keys.layers:
        raise SuiteError(_not_a_lora(path, file))
    config = read_peft_config(path, file.metadata)
    modules = {name: _module(name, keys, file, config) for name in keys.layers}
    sizes: Counter[str] = Counter()
    for key, dtype in file.dtypes.items():
        if len(file.shapes[key]) > 1:
            sizes[dtype] += size_of(file.shapes[key], dtype)
    return LoraFile(
        path=path,
        metadata=file.metadata,
        modules=modules,
        family=keys.family,
        naming=keys.naming,
        size_bytes=path.stat().st_size,
        dtype=sizes.most_common(1)[0][0] if sizes else "F32",
        network_types=dict(Counter(module.network_type for module in modules.values())),
        others=tuple(keys.others),
        file=file,
    )


def _module(name: str, keys: LayerKeys, file: TensorFile, config: dict[str, Any]) -> LoraModule:
    parts = keys.layers[name]
    shapes = {part: file.shapes[key] for part, key in parts.items()}
    try:
        layer = read_layer(shapes, _kernel(name, keys.family))
    except OddParts as error:
        raise SuiteError(f"The file {file.path.name} is damaged: the parts of {name} do not fit "
                         "together. Choose another file.") from error  # fmt: skip
    network_type = "dora" if "dora_scale" in parts else layer.kind
    for other, signs in OTHER_TYPES.items():
        if any(part.startswith(signs) for part in parts):
            network_type = other
    rank = layer.rank or min(sides(layer.shape), default=1)
    alpha = stated_alpha(config, next(iter(parts.values())), rank) or 0.0
    if "alpha" in parts:
        array = file.read(parts["alpha"])
        alpha = float(array.reshape(-1)[0]) if array.size else 0.0
        if array.size > 1 or not math.isfinite(alpha):
            raise SuiteError(f"The file {file.path.name} is damaged: {parts['alpha']} is not a "
                             "number. Choose another file.")  # fmt: skip
    return LoraModule(
        name, network_type, layer.shape, rank, alpha or float(rank), parts, file, layer
    )


def _kernel(name: str, family: str | None) -> tuple[int, ...]:
    """The kernel of the base model's layer, by its name; () for a Linear."""
    if WIDE_CONVOLUTION.search(name):
        return (3, 3)
    if NARROW_CONVOLUTION.search(name) or (PROJECTION.search(name) and family in ("sd1", None)):
        return (1, 1)
    return ()


def _not_a_lora(path: Path, file: TensorFile) -> str:
    names = file.shapes
    kind = other_kind(names)
    what = kind.title if kind else "something else"
    if any(key.startswith("model.diffusion_model.") for key in names):
        what = "a whole Stable Diffusion model (a checkpoint)"
    if not names:
        what = "an empty file"
    return f"{path.name} is not a LoRA: it seems to be {what}. Choose a LoRA file."
