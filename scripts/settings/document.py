"""Write docs/settings.md from the declarations: `python -m scripts.settings.document`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scripts.core.declare import Declaration, declarations, show_value
from scripts.core.files import PROJECT_FOLDER, write_text
from scripts.core.usual import range_words
from scripts.settings.draw_versions import DrawSettings
from scripts.settings.extract import ExtractSettings
from scripts.settings.merge import MergeSettings
from scripts.settings.resize import ResizeSettings
from scripts.settings.train import TrainSettings

PLACE = PROJECT_FOLDER / "docs" / "settings.md"
INTRODUCTION = """# The settings

*Made from the code by `python -m scripts.settings.document`; a test sees that it is up to date.*

Each name is a key of the config file (JSON or TOML) and, with `--` in front, a flag of the command.
The names are those of sd-scripts; names that other tools use for the same thing are accepted too. A
setting without a default is not set.
"""
COMMANDS = (  # module, what it is for, its settings
    ("scripts.train", "Training", TrainSettings),
    ("scripts.resize_lora", "Making LoRAs smaller", ResizeSettings),
    ("scripts.merge_lora", "Merging LoRAs", MergeSettings),
    ("scripts.extract_lora", "A LoRA from two models", ExtractSettings),
    ("scripts.draw_versions", "Comparing versions", DrawSettings),
)


def settings_document() -> str:
    """The text of docs/settings.md: a chapter a command, a table for each page of its wizard."""
    chapters = [
        line
        for module, title, settings_class in COMMANDS
        for line in (f"\n## {title}: `python -m {module}`", *_tables(settings_class))
    ]
    return "\n".join([INTRODUCTION.rstrip("\n"), *chapters]) + "\n"


def _tables(settings_class: type) -> Iterator[str]:
    page = None
    for entry in declarations(settings_class).values():
        if entry.page != page:
            page = entry.page
            yield from (f"\n### {page}\n", "| Setting | Default | What it does |", "|---|---|---|")
        yield f"| `{entry.name}` | {_default(entry)} | {_description(entry)} |"


def _default(entry: Declaration) -> str:
    return "" if entry.default in (None, {}, ()) else f"`{show_value(entry.default)}`"


def _description(entry: Declaration) -> str:
    parts = [f"**{entry.label}.** {entry.help}"]
    if entry.choices:
        parts.append("One of: " + ", ".join(f"`{choice}`" for choice in entry.choices) + ".")
    if entry.low is not None and entry.high is not None:
        parts.append(f"From {range_words((entry.low, entry.high))}.")
    elif entry.low:
        parts.append(f"At least {entry.low:g}.")
    parts += _advice(entry)
    if entry.aliases:
        parts.append("Also: " + ", ".join(f"`{alias}`" for alias in entry.aliases) + ".")
    return " ".join(parts).replace("|", "\\|")


def _advice(entry: Declaration) -> Iterator[str]:
    """What is usual, and what goes wrong."""
    if entry.tells_usual:
        yield f"Usual: {entry.usual.words()}."
    for title, text in (("Too low", entry.below), ("Too high", entry.above)):
        if text:
            yield f"*{title}:* {text}"
    if entry.beware:
        yield entry.beware


def main(place: Path = PLACE) -> None:
    """Write the document to `place`."""
    write_text(place, settings_document())


if __name__ == "__main__":
    main()
