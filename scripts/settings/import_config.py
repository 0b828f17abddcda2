"""Read a config of any tool: ours, the older popup scripts', the kohya_ss GUI's, sd-scripts'.

    imported = import_config(Path("config-1681.json"))
    imported.values            # our settings, as a JSON-able dict; what is not named is our default
    imported.entries           # one line for each key of the file: what became of it
    print("\\n".join(imported.lines()))

Nothing of the file is dropped in silence: every key is used, renamed, changed in meaning, not set,
not needed, unknown or refused, and says why. What the other tool does by itself where its file is
silent is added, when it does something else than we do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.core.config import read_structured
from scripts.core.declare import as_config, build, declarations, names_by_alias
from scripts.core.errors import SettingError, SuiteError
from scripts.settings.import_draft import Draft, Entry, Fate
from scripts.settings.import_gui_rules import GUI_RULES
from scripts.settings.import_rules import (
    POPUP_RULES,
    SD_SCRIPTS_RULES,
    Rule,
    apply,
    split_network_args,
)
from scripts.settings.import_tables import GUI_MARKS, LEFT_BEHIND, POPUP_MARKS
from scripts.settings.train import TrainSettings, read_train_config
from scripts.settings.train_checks import check_together
from scripts.settings.train_reading import NOT_NEEDED

DATASET_SECTIONS = {"general", "datasets"}
CHOSEN_LATER = {"pretrained_model_name_or_path", "train_data_dir", "output_dir"}


@dataclass(frozen=True)
class Kind:
    """A tool whose files can be read, and the rules for its keys."""

    name: str
    title: str
    rules: tuple[Rule, ...]


OURS = Kind("ours", "a config of Easy LoRA", (split_network_args,))
POPUP = Kind("popup", "a config of the older popup scripts", POPUP_RULES)
GUI = Kind("kohya_gui", "a config of the kohya_ss GUI", GUI_RULES)
SD_SCRIPTS = Kind("sd_scripts", "a config of sd-scripts", SD_SCRIPTS_RULES)
DATASET = Kind("dataset", "a dataset file of sd-scripts", ())


@dataclass(frozen=True)
class Imported:
    """What a file holds, in our terms.

    `values` is ready for `read_train_settings` and for saving as JSON; `entries` is the report,
    one for each key of the file and each default that was added; `problems` are settings that
    contradict each other (what has to be chosen anyway, such as the pictures, is none);
    `missing` names settings whose file or folder is not there on this computer.
    """

    kind: Kind
    values: dict[str, Any]
    entries: tuple[Entry, ...]
    problems: tuple[SettingError, ...] = ()
    missing: tuple[str, ...] = ()

    def of(self, fate: Fate) -> list[Entry]:
        """The lines of the report with this fate."""
        return [entry for entry in self.entries if entry.fate is fate]

    def summary(self) -> str:
        """One sentence: the kind of file, and how many keys had which fate."""
        counts = Counter(entry.fate for entry in self.entries)
        parts = [f"{counts[fate]} {fate.value}" for fate in Fate if counts[fate]]
        return f"This is {self.kind.title}: {', '.join(parts)}."

    def lines(self) -> list[str]:
        """The report as text, what needs attention first."""
        order = (Fate.REFUSED, Fate.UNKNOWN, Fate.CHANGED, Fate.ADDED, Fate.NOT_NEEDED,
                 Fate.RENAMED, Fate.NOT_SET, Fate.USED)  # fmt: skip
        lines = [self.summary()]
        lines += [f"{error.setting}: {error}" for error in self.problems]
        lines += [f"{name}: {self.values[name]} is not on this computer. Choose it again."
                  for name in self.missing]  # fmt: skip
        for fate in order:
            found = self.of(fate)
            if not found:
                continue
            lines += ["", fate.value.capitalize() + ":"]
            if fate in (Fate.USED, Fate.NOT_SET):
                quiet = [entry.key for entry in found if not entry.note]
                lines += [f"  {', '.join(quiet)}"] if quiet else []
                found = [entry for entry in found if entry.note]
            lines += [f"  {entry.key}: {entry.note}" for entry in found]
        return lines


def import_config(path: Path) -> Imported:
    """Read the config at `path`. Raises SuiteError when it is no config in JSON or TOML."""
    content = read_structured(path)
    if isinstance(content.get("datasets"), list):
        return _dataset(path, content)
    values = read_train_config(path)
    kind = kind_of(values)
    draft = Draft(dict(values))
    apply(kind.rules, draft)
    draft.finish()
    settings, _ = build(TrainSettings, draft.given)
    plain = as_config(settings)
    final = {name: plain[name] for name in draft.given if name in plain}
    final |= _found_beside(path.parent, final)
    problems = [error for error in check_together(settings) if error.setting not in CHOSEN_LATER]
    return Imported(kind, final, tuple(draft.entries), tuple(problems), _missing(final))


def kind_of(values: Mapping[str, Any]) -> Kind:
    """The tool that wrote a config with these keys.

    A file with nothing but names of our settings is ours. Raises SuiteError when no key is known.
    """
    keys = set(values)
    if keys & POPUP_MARKS:
        return POPUP
    if keys & GUI_MARKS:
        return GUI
    names = declarations(TrainSettings)
    if keys & (set(NOT_NEEDED) | set(LEFT_BEHIND)):
        return SD_SCRIPTS
    if not keys & (set(names) | set(names_by_alias(names))):
        raise SuiteError("The file holds no training settings. Choose a config of Easy LoRA, "
                         "kohya_ss, sd-scripts or the older popup scripts.")  # fmt: skip
    return OURS


def _dataset(path: Path, content: Mapping[str, Any]) -> Imported:
    """A dataset file is used as it is; the training reads its sections."""
    entries = []
    for key in content:
        if key in DATASET_SECTIONS:
            note = "The whole file is used as the dataset file."
            entries.append(Entry(key, Fate.USED, "dataset_config", note))
        else:
            note = "It is no section of a dataset file. Move it into a config file."
            entries.append(Entry(key, Fate.REFUSED, "", note))
    return Imported(DATASET, {"dataset_config": str(path.absolute())}, tuple(entries))


def _path_settings(values: Mapping[str, Any]) -> list[str]:
    """The given settings that name a file or folder which must exist."""
    declared = declarations(TrainSettings)
    return [name for name in values
            if declared[name].path in ("file", "folder") and isinstance(values[name], str)
            ]  # fmt: skip


def _found_beside(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Relative paths that lead somewhere from the config's folder but not from here."""
    found = {}
    for name in _path_settings(values):
        path = Path(values[name])
        if not path.is_absolute() and not path.exists() and (folder / path).exists():
            found[name] = str((folder / path).absolute())
    return found


def _missing(values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in _path_settings(values) if not Path(values[name]).exists())
