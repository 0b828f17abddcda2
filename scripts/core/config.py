"""Read a config file: JSON, or TOML with its section headings ignored (as sd-scripts does)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from scripts.core.errors import SuiteError
from scripts.core.files import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_config(path: Path) -> dict[str, Any]:
    """The keys and raw values of the config file at `path`.

    Raises SuiteError when there is no such file or it is neither JSON nor TOML.
    """
    content = read_structured(path)
    if path.suffix.lower() == ".toml":
        return _without_sections(content)
    return content


def read_structured(path: Path) -> dict[str, Any]:
    """The content of a JSON or TOML file as it stands. Raises SuiteError as `read_config`."""
    if not path.is_file():
        raise SuiteError(f"There is no file {path}. Choose it again.")
    text, _ = read_text(path)
    try:
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        kind = "TOML" if path.suffix.lower() == ".toml" else "JSON"
        raise SuiteError(f"The file {path.name} is not valid {kind}: {error}. Correct that place "
                         "or choose another file.") from error  # fmt: skip
    if not isinstance(content, dict):
        raise SuiteError(f"The file {path.name} holds no settings. Choose a config file.")
    return content


def _without_sections(content: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and key != "optimizer_args":
            flat.update(_without_sections(value))
        else:
            flat[key] = value
    return flat
