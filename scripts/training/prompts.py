"""The prompts of the previews: read from a file or a list in the config, checked before training.

A `.txt` file holds one prompt a line with sd-scripts' options (lines that begin with # are
left out); a `.json` file a list of such lines or of objects; a `.toml` file a `[prompt]` table
with `[[prompt.subset]]` tables, as sd-scripts reads them:

    a cat on a sofa --n blurry, lowres --w 512 --h 768 --d 1 --l 7.5 --s 28 --ss euler_a

Standard library only.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.config import read_structured
from scripts.core.declare import read_float, read_int
from scripts.core.errors import SettingError, SettingErrors, SuiteError
from scripts.core.files import read_text
from scripts.training.samplers import sampler_named

SETTING = "sample_prompts"
DEFAULT_STEPS = 30  # the defaults of sd-scripts
DEFAULT_GUIDANCE = 7.5
DEFAULT_SIDE_STEP = 64  # a size that is not given is rounded to whole blocks of the U-Net
LARGEST_SEED = 4294967295
SIDE_STEP = 8  # a size that is given, to whole latent pixels

# letters after "--" -> key of a table; the letters are those of sd-scripts
OPTION_KEYS = {
    "n": "negative_prompt", "w": "width", "h": "height", "d": "seed", "l": "scale",
    "s": "sample_steps", "ss": "sample_sampler",
}  # fmt: skip
KEY_ALIASES = {
    "negative": "negative_prompt", "steps": "sample_steps", "sampler": "sample_sampler",
    "guidance": "scale", "guidance_scale": "scale", "cfg_scale": "scale",
}  # fmt: skip
OPTION_START = re.compile(r"(?:^|\s)--(?=[A-Za-z])")


@dataclass(frozen=True)
class Prompt:
    """One preview picture. Sizes in pixels; `sampler` None means the setting sample_sampler."""

    number: int  # from 0, in the order given
    text: str
    negative: str
    width: int
    height: int
    seed: int
    guidance: float
    steps: int
    sampler: str | None = None


def read_prompts(
    source: Path | str | Sequence[Any] | None,
    resolution: tuple[int, int],
    seed: int = 0,
    steps: int = DEFAULT_STEPS,
    guidance: float = DEFAULT_GUIDANCE,
) -> tuple[Prompt, ...]:
    """The prompts of the setting sample_prompts: a file, or a list of lines and tables.

    Args:
        source: the value of the setting; None gives no prompts.
        resolution: (width, height) of the training, the size of prompts that give none.
        seed: prompt number i without a seed gets seed + i, so that each preview of a training
            starts from the same noise and they can be compared.
        steps, guidance: for prompts that give none.

    Raises SettingError (SettingErrors for several) that names the line or prompt.
    """
    if source is None:
        return ()
    usual = {"width": resolution[0], "height": resolution[1], "sample_steps": steps,
             "scale": guidance}  # fmt: skip
    prompts, errors = [], []
    for place, entry in _entries(source):
        try:
            prompts.append(_prompt(entry, len(prompts), usual, seed))
        except ValueError as error:
            errors.append(SettingError(SETTING, f"{place}: {error}"))
        except SettingError as error:
            errors.append(SettingError(SETTING, f"{place}: {error}"))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SettingErrors(errors)
    if not prompts:
        message = "The list holds no prompt. Write one prompt a line."
        if isinstance(source, str | Path):
            message = f"The file {source} holds no prompt. Write one prompt a line."
        raise SettingError(SETTING, message)
    return tuple(prompts)


def parse_line(line: str) -> dict[str, str]:
    """A prompt line as a table: {"prompt": text, "width": "512", ...}, values still texts.

    Raises ValueError for an option that is not known, has no value or comes twice.
    """
    text, *options = OPTION_START.split(line.strip())
    table = {"prompt": text.strip()}
    for option in options:
        letters, _, value = option.strip().partition(" ")
        key = OPTION_KEYS.get(letters.lower())
        if key is None:
            known = " ".join(f"--{name}" for name in OPTION_KEYS)
            raise ValueError(f"--{letters} is not known here. Remove it; these can be used: "
                             f"{known}.")  # fmt: skip
        if not value.strip() and key != "negative_prompt":
            raise ValueError(f"--{letters} has no value. Write one after it, or remove it.")
        if key in table:
            raise ValueError(f"--{letters} is given twice. Keep one.")
        table[key] = value.strip()
    return table


def _entries(source: Path | str | Sequence[Any]) -> list[tuple[str, Any]]:
    """(where it stands, line or table) of each prompt."""
    if not isinstance(source, str | Path):
        return [(f"Prompt {number}", entry) for number, entry in enumerate(source, 1)]
    path = Path(source)
    if not path.is_file():
        raise SettingError(SETTING, f"There is no file {path}. Choose the file with the prompts "
                           "again, or write them as a list.")  # fmt: skip
    readers: dict[str, Callable[[Path], list[tuple[str, Any]]]] = {
        ".txt": _lines_of_text, ".json": _items_of_json, ".toml": _tables_of_toml,
    }  # fmt: skip
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SettingError(SETTING, f"{path.name} is not a prompt file. Choose a .txt, .json or "
                           ".toml file.")  # fmt: skip
    try:
        return reader(path)
    except OSError as error:
        raise SettingError(SETTING, f"{path} cannot be read ({error.strerror or error}). "
                           "Choose another file.") from error  # fmt: skip
    except SettingError:
        raise
    except SuiteError as error:
        raise SettingError(SETTING, str(error)) from error


def _lines_of_text(path: Path) -> list[tuple[str, str]]:
    text, _ = read_text(path)
    lines = [(f"Line {number} of {path.name}", line.strip())
             for number, line in enumerate(text.splitlines(), 1)]  # fmt: skip
    return [(place, line) for place, line in lines if line and not line.startswith("#")]


def _items_of_json(path: Path) -> list[tuple[str, Any]]:
    text, _ = read_text(path)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingError(SETTING, f"The file {path.name} is not valid JSON: {error}. Correct "
                           "that place.") from error  # fmt: skip
    if not isinstance(content, list):
        raise SettingError(SETTING, f"The file {path.name} holds no list. Write the prompts "
                           'between [ and ], such as ["a cat", "a dog"].')  # fmt: skip
    return [(f"Prompt {number} of {path.name}", entry) for number, entry in enumerate(content, 1)]


def _tables_of_toml(path: Path) -> list[tuple[str, Any]]:
    shared = read_structured(path).get("prompt")
    if not isinstance(shared, dict):
        raise SettingError(SETTING, f"The file {path.name} holds no [prompt]. Write [prompt] and "
                           "under it [[prompt.subset]] tables.")  # fmt: skip
    subsets = shared.get("subset", [{}])
    shared = {key: value for key, value in shared.items() if key != "subset"}
    if not isinstance(subsets, list) or not all(isinstance(subset, dict) for subset in subsets):
        raise SettingError(SETTING, f"In {path.name} the subsets are no tables. Write "
                           "[[prompt.subset]] above each.")  # fmt: skip
    return [(f"Prompt {number} of {path.name}", {**shared, **subset})
            for number, subset in enumerate(subsets, 1)]  # fmt: skip


def _prompt(entry: Any, number: int, usual: Mapping[str, Any], seed: int) -> Prompt:
    """`usual` holds width, height, sample_steps and scale for what the entry does not give."""
    table = parse_line(entry) if isinstance(entry, str) else _known_keys(entry)
    width = _side("The width", table.get("width"), usual["width"])
    height = _side("The height", table.get("height"), usual["height"])
    own_seed = _within("The seed", table.get("seed", -1), read_int, -1, LARGEST_SEED)
    scale = table.get("scale", usual["scale"])
    steps = table.get("sample_steps", usual["sample_steps"])
    sampler = table.get("sample_sampler")
    if sampler is not None:
        sampler_named(sampler, SETTING)
    return Prompt(
        number=number,
        text=str(table["prompt"]).strip(),
        negative=str(table.get("negative_prompt", "")).strip(),
        width=width,
        height=height,
        seed=own_seed if own_seed >= 0 else seed + number,
        guidance=_within("The guidance scale", scale, read_float, 0, 100),
        steps=_within("The number of steps", steps, read_int, 1, 1000),
        sampler=None if sampler is None else str(sampler),
    )  # fmt: skip


def _known_keys(entry: Any) -> dict[str, Any]:
    """A table with the keys of sd-scripts; keys that are null count as not given."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{entry!r} is not a prompt. Write a text, or a table with a prompt.")
    allowed = {"prompt", "enum", *OPTION_KEYS.values()}
    table = {}
    for key, value in entry.items():
        name = KEY_ALIASES.get(key, key)
        if name not in allowed:
            close = difflib.get_close_matches(str(key), [*allowed, *KEY_ALIASES], n=1)
            advice = f"Did you mean {close[0]}?" if close else "Remove it."
            raise ValueError(f"{key} is not known here. {advice}")
        if value is not None:
            table[name] = value
    if "prompt" not in table:
        raise ValueError('It has no "prompt". Add one.')
    return table


def _side(what: str, given: Any, training: int) -> int:
    """A picture side in pixels: the one given in whole latent pixels, else the training's."""
    if given is None:
        return max(DEFAULT_SIDE_STEP, round(training / DEFAULT_SIDE_STEP) * DEFAULT_SIDE_STEP)
    return _within(what, given, read_int, 64, 4096) // SIDE_STEP * SIDE_STEP


def _within(what: str, raw: Any, read: Callable[[Any], Any], low: float, high: float) -> Any:
    try:
        value = read(raw)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error
    if not low <= value <= high:
        raise ValueError(f"{what}: {raw} is out of range: it must be between {max(low, 0)} "
                         f"and {high}.")  # fmt: skip
    return value
