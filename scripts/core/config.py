"""Read a config file: JSON, or TOML with its section headings ignored (as sd-scripts does)."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from scripts.core.errors import SuiteError
from scripts.core.files import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLE = "C:/models/x.safetensors"


def read_config(path: Path, tables: Collection[str] = ()) -> dict[str, Any]:
    """The keys and raw values of the config file at `path`.

    `tables` names the keys whose value is a table, which in TOML is no section heading then.

    Raises SuiteError when there is no such file or it is neither JSON nor TOML.
    """
    content = read_structured(path)
    if path.suffix.lower() == ".toml":
        return _without_sections(content, tables)
    return content


def read_structured(path: Path) -> dict[str, Any]:
    """The content of a JSON or TOML file as it stands. Raises SuiteError as `read_config`."""
    try:
        if path.is_dir():
            raise SuiteError(f"{path} is a folder. Choose a config file in it.")
        if not path.is_file():
            raise SuiteError(f"There is no file {path}. Choose it again.")
        text, _ = read_text(path)
    except OSError as error:
        raise SuiteError(f"The file {path} cannot be read: {error.strerror or error}.") from error
    try:
        content = tomllib.loads(text) if path.suffix.lower() == ".toml" else json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise SuiteError(f"The file {path.name} is not valid JSON at {place}. "
                         + _advice_on_json(error)) from error  # fmt: skip
    except tomllib.TOMLDecodeError as error:
        raise SuiteError(f"The file {path.name} is not valid TOML: {error}. "
                         + _advice_on_toml(str(error))) from error  # fmt: skip
    if not isinstance(content, dict):
        raise SuiteError(f"The file {path.name} holds no settings. Choose a config file.")
    return content


def _advice_on_json(error: json.JSONDecodeError) -> str:
    if "escape" in error.msg:
        return f"In JSON a backslash is written twice, or use /: {EXAMPLE}."
    before, after = error.doc[: error.pos].rstrip(), error.doc[error.pos :].lstrip()
    if after.startswith(","):  # Python 3.13 points at the comma, older ones behind it
        before, after = before + ",", after[1:].lstrip()
    if before.endswith(",") and after[:1] in ("}", "]"):
        return f"Remove the last comma, in front of {after[0]}."
    return f"There it says: {error.msg}. Correct that place or choose another file."


def _advice_on_toml(message: str) -> str:
    if "Unescaped" in message or "hex value" in message:
        return f"Write paths with single quotes or with /: '{EXAMPLE}'."
    return "Correct that place or choose another file."


def _without_sections(content: dict[str, Any], tables: Collection[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and key not in tables:
            flat.update(_without_sections(value, tables))
        else:
            flat[key] = value
    return flat
