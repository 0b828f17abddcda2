"""The first page of merging: the LoRAs, a strength for each, and strengths by block folded away."""

from __future__ import annotations

import tkinter
from pathlib import Path
from tkinter import ttk
from typing import Any

from easy_scripts.lora_pages.file_list_page import FileListPage
from easy_scripts.wizard.slider import Slider
from easy_scripts.wizard.theme import CAPTION
from easy_scripts.wizard.window import Wizard

CURVES = ("", "sine", "cosine", "linear", "reverse_linear")


class MergeFilesPage(FileListPage):
    """Even shares until the first strength is changed by hand."""

    name = "merge_files"
    setting = "models"

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self.handles = ("models", "ratios", "block_ratios")
        self._sliders: dict[str, Slider] = {}
        self._blocks: dict[str, tuple[tkinter.StringVar, ttk.Frame]] = {}

    def build_below(self, body: ttk.Frame) -> None:
        """Strengths by block, folded away."""
        content = self.add_fold(body, "merge.blocks")
        ttk.Label(
            content,
            text=self.texts("merge.blocks_help"),
            style="Muted.TLabel",
            font=CAPTION,
            wraplength=self.theme.px(620),
        ).pack(anchor="w", pady=(0, self.theme.px(8)))
        self._block_rows = ttk.Frame(content)
        self._block_rows.pack(fill="x")
        self._block_rows.columnconfigure(1, weight=1)
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
        self._follow_blocks()

    def _follow_strengths(self) -> None:
        self._say(None)
        for path, strength in zip(self.files, self.strengths(), strict=True):
            slider = self._sliders.get(path)
            if slider and slider.value != strength:
                slider.put(strength)

    def _follow_blocks(self) -> None:
        for child in self._block_rows.winfo_children():
            child.destroy()
        self._blocks.clear()
        given = list(self.answers["block_ratios"])
        for row, path in enumerate(self.files):
            text = tkinter.StringVar(self._block_rows, given[row] if row < len(given) else "")
            ttk.Label(self._block_rows, text=Path(path).stem[:32]).grid(
                row=row, column=0, sticky="w", padx=(0, self.theme.px(16)))  # fmt: skip
            box = ttk.Combobox(self._block_rows, textvariable=text, values=CURVES)
            box.grid(row=row, column=1, sticky="ew", pady=self.theme.px(4))
            text.trace_add("write", lambda *_: self._blocks_typed())
            self._blocks[path] = (text, box)

    def _blocks_typed(self) -> None:
        texts = [self._blocks[path][0].get().strip() for path in self.files]
        self.answers["block_ratios"] = texts if any(texts) else []

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
        families: dict[str, list[str]] = {}
        self.wizard.facts.pop("family", None)
        for path in self.files:
            facts = self.reader.ask(path).facts
            if facts.get("family"):
                families.setdefault(facts["family_title"], []).append(Path(path).name)
                self.wizard.facts["family"] = facts["family"]
        if len(families) > 1:
            told = "; ".join(f"{', '.join(names)}: {title}" for title, names in families.items())
            return self.texts("merge.families", families=told)
        return None

    def _known(self, path: str) -> None:
        """Warn of different families as soon as they are known."""
        super()._known(path)
        families = {self.reader.ask(path).facts.get("family") for path in self.files} - {None}
        if len(families) > 1:
            self._say(self.wrong())
