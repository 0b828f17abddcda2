"""The first page of merging: the LoRAs, a strength for each, and strengths by block folded away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tkinter import ttk
from typing import Any

from easy_scripts.lora_pages.block_strengths import BlockStrengths
from easy_scripts.lora_pages.file_list_page import FileListPage
from easy_scripts.wizard.findings import Findings
from easy_scripts.wizard.fold import Fold
from easy_scripts.wizard.slider import Slider
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard

UNKNOWN_FAMILY = "sd1"  # whose blocks are meant when no file tells what it is for


@dataclass
class MergeFindings(Findings):
    """What is known of the LoRAs chosen; written by the page of files.

    `family`: what they are for, "" where none tells. `doras`: the DoRAs among them.
    """

    family: str = ""
    doras: tuple[str, ...] = ()


class MergeFilesPage(FileListPage):
    """Even shares until the first strength is changed by hand."""

    name = "merge_files"
    setting, use = "models", "merge"

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self.handles = ("models", "ratios", "block_ratios")
        self._sliders: dict[str, Slider] = {}

    def build_below(self, body: ttk.Frame) -> None:
        """Strengths by block, folded away."""
        content = self.add_fold(body, "merge.blocks")
        self._fold: Fold = content.master
        ttk.Label(
            content,
            text=self.texts("merge.blocks_help"),
            style="Muted.TLabel",
            font=CAPTION,
            wraplength=self.theme.px(620),
        ).pack(anchor="w", pady=(0, self.theme.px(8)))
        self._blocks_error = ttk.Label(content, style="Error.TLabel",
                                       wraplength=self.theme.px(620))  # fmt: skip
        self._blocks = BlockStrengths(content, self, self._family_of, self._blocks_typed)
        self._blocks.pack(fill="x")
        self.answers.watch(self._follow_strengths, "ratios", "block_ratios")

    # --- strengths -----------------------------------------------------------------------

    def strengths(self) -> list[float]:
        """The strength of each file: as set, else an even share."""
        count = len(self.files)
        ratios = list(self.answers["ratios"])
        return ratios if len(ratios) == count else [1 / count] * count

    def list_files(self, files: list[str]) -> None:
        """Strengths stay with their files; beside those set by hand a new one has an even share."""
        strengths = self._by_file("ratios")
        blocks = self._by_file("block_ratios")
        share = round(1 / max(1, len(files)), 2)
        self.answers.update({
            "models": files,
            "ratios": [strengths.get(path, share) for path in files] if strengths else [],
            "block_ratios": [blocks.get(path, "") for path in files] if blocks else [],
        })  # fmt: skip

    def _by_file(self, setting: str) -> dict[str, Any]:
        values = self.answers[setting]
        return dict(zip(self.files, values, strict=True)) if len(values) == len(self.files) else {}

    def _set_strength(self, path: str, value: float) -> None:
        strengths = self.strengths()
        strengths[self.files.index(path)] = round(value, 4)
        self.answers["ratios"] = strengths

    # --- showing -------------------------------------------------------------------------

    def follow(self) -> None:
        """A slider on each card, a line for each LoRA in the fold."""
        super().follow()
        for path in [path for path in self._sliders if path not in self.cards]:
            del self._sliders[path]
        for path, strength in zip(self.files, self.strengths(), strict=True):
            if path not in self._sliders:
                self._sliders[path] = self.cards[path].add_strength(
                    strength, lambda value, path=path: self._set_strength(path, value)
                )
        self._follow_strengths()
        self._blocks.show(self.files, list(self.answers["block_ratios"]))

    def _follow_strengths(self) -> None:
        self._say(None)
        for path, strength in zip(self.files, self.strengths(), strict=True):
            slider = self._sliders.get(path)
            if slider and slider.value != strength:
                slider.put(strength)

    def _blocks_typed(self, texts: list[str]) -> None:
        self._blocks_error.pack_forget()
        self.answers["block_ratios"] = texts if any(texts) else []

    def _family_of(self, path: str) -> str:
        """The family of a file; where it does not tell, that of the others."""
        families = [self.reader.ask(other).facts.get("family") for other in (path, *self.files)]
        return next(filter(None, families), UNKNOWN_FAMILY)

    # --- checking ------------------------------------------------------------------------

    def wrong(self) -> str | None:
        """Also: all strengths are numbers, not all zero, and the files are of one family."""
        message = super().wrong()
        if message:
            return message
        if not all(slider.valid for slider in self._sliders.values()):
            return self.texts("merge.no_number")
        if not any(self.strengths()):
            return self.texts("merge.all_zero")
        self._tell_findings()
        families: dict[str, list[str]] = {}
        for path in self.files:
            facts = self.reader.ask(path).facts
            if facts.get("family"):
                families.setdefault(facts["family_title"], []).append(Path(path).name)
        if len(families) > 1:
            told = "; ".join(f"{', '.join(names)}: {title}" for title, names in families.items())
            return self.texts("merge.families", families=told)
        return None

    def _tell_findings(self) -> None:
        known = {path: self.reader.ask(path).facts for path in self.files}
        families = [facts["family"] for facts in known.values() if facts.get("family")]
        self.wizard.facts.family = families[-1] if families else ""
        self.wizard.facts.doras = tuple(
            path for path, facts in known.items() if "dora" in facts.get("network_types", ())
        )

    def check(self) -> bool:
        """Also: strengths by block can be read."""
        return super().check() and self._blocks_can_be_read()

    def _blocks_can_be_read(self) -> bool:
        wrong = self._blocks.first_wrong()
        if wrong:
            self._fold.unfold()
            wrong.box.focus_set()
            self.frame.show(wrong.message)
        return not wrong

    def show_error(self, name: str, message: str) -> None:
        """What is wrong with strengths by block is shown where they are."""
        if name != "block_ratios":
            super().show_error(name, message)
        elif self._blocks_can_be_read():
            self._fold.unfold()
            self._blocks_error.configure(text=message)
            self._blocks_error.pack(anchor="w", pady=(0, self.theme.px(8)), before=self._blocks)
            self.frame.show(self._blocks_error)

    def _known(self, path: str) -> None:
        """Warn of different families as soon as they are known, and tell the next page."""
        super()._known(path)
        self._tell_findings()
        families = {self.reader.ask(path).facts.get("family") for path in self.files} - {None}
        if len(families) > 1:
            self._say(self.wrong())
