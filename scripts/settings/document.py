"""Write docs/settings.md from the declarations: `python -m scripts.settings.document`."""

from __future__ import annotations

from pathlib import Path

from scripts.core.declare import Declaration, declarations, show_value
from scripts.core.files import PROJECT_FOLDER, write_text
from scripts.settings.train import TrainSettings

PLACE = PROJECT_FOLDER / "docs" / "settings.md"
INTRODUCTION = """# The settings of training

*Made from the code by `python -m scripts.settings.document`; a test sees that it is up to date.*

Each name is a key of the config file (JSON or TOML) and, with `--` in front, a flag of
`python -m scripts.train`. The names are those of sd-scripts; names that other tools use for the
same thing are accepted too. A setting without a default is not set.
"""


def settings_document() -> str:
    """The text of docs/settings.md: one table for each page of the wizard."""
    lines = [INTRODUCTION]
    page = None
    for entry in declarations(TrainSettings).values():
        if entry.page != page:
            page = entry.page
            lines += [f"\n## {page}\n", "| Setting | Default | What it does |", "|---|---|---|"]
        lines.append(f"| `{entry.name}` | {_default(entry)} | {_description(entry)} |")
    return "\n".join(lines) + "\n"


def _default(entry: Declaration) -> str:
    return "" if entry.default in (None, {}, ()) else f"`{show_value(entry.default)}`"


def _description(entry: Declaration) -> str:
    parts = [f"**{entry.label}.** {entry.help}"]
    if entry.choices:
        parts.append("One of: " + ", ".join(f"`{choice}`" for choice in entry.choices) + ".")
    if entry.low is not None and entry.high is not None:
        parts.append(f"From {entry.low:g} to {entry.high:g}.")
    elif entry.low:
        parts.append(f"At least {entry.low:g}.")
    if entry.aliases:
        parts.append("Also: " + ", ".join(f"`{alias}`" for alias in entry.aliases) + ".")
    return " ".join(parts).replace("|", "\\|")


def main(place: Path = PLACE) -> None:
    """Write the document to `place`."""
    write_text(place, settings_document())


if __name__ == "__main__":
    main()
