"""The second page of merging: a new LoRA or a whole model, and of what size."""

from __future__ import annotations

import tkinter
from pathlib import Path
from tkinter import ttk

from easy_scripts.lora_pages.model_info import ModelInfo
from easy_scripts.wizard.page import Page
from easy_scripts.wizard.window import Wizard

LORA, CHECKPOINT = "lora", "checkpoint"
MODEL_FILES = (("files.type_model", "*.safetensors"),)


class MergeTargetPage(Page):
    """A checkpoint is chosen by giving the setting sd_model."""

    name = "merge_target"
    for_lora = ("new_rank", "new_conv_rank", "save_precision")

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        self.info = ModelInfo(self, ("sd_model",), ("single_file",), lambda: None)
        self.reader = self.info.reader
        self._checkpoint: str | None = None  # the one chosen, while a LoRA is to be made

    def build(self, body: ttk.Frame) -> None:
        """Two kinds of result, each with its rows."""
        theme = self.theme
        start = CHECKPOINT if self.answers["sd_model"] else LORA
        self._target = tkinter.StringVar(body, start)
        self._parts = {}
        for kind in (LORA, CHECKPOINT):
            text = self.texts(f"merge_target.{kind}")
            label, place = self.wizard.access_key(text, lambda kind=kind: self._choose(kind))
            ttk.Radiobutton(body, text=label, underline=place, value=kind, variable=self._target,
                            command=self._follow).pack(anchor="w")  # fmt: skip
            holder = ttk.Frame(body)
            holder.pack(fill="x", pady=(theme.px(4), theme.px(10)))
            part = ttk.Frame(holder, padding=(theme.px(30), theme.px(6), 0, 0))
            self._parts[kind] = (holder, part)
        self._fill(self._parts[LORA][1], self._parts[CHECKPOINT][1])
        self.info.tell()
        self._follow()

    def enter(self) -> None:
        """A draft that was taken up meanwhile may name a checkpoint."""
        if self.answers["sd_model"]:
            self._target.set(CHECKPOINT)
        self.rows["new_rank"].show_error(None)  # the LoRAs may be others
        self._follow()

    def _fill(self, lora: ttk.Frame, checkpoint: ttk.Frame) -> None:
        self.add_row(lora, "new_rank")
        more = self.add_fold(lora, "frame.more")
        for name in self.for_lora[1:]:
            self.add_row(more, name)
        self.add_row(checkpoint, "sd_model").file_types = MODEL_FILES

    def _choose(self, kind: str) -> None:
        if self.wizard.page is self:
            self._target.set(kind)
            self._follow()

    def _follow(self) -> None:
        kind = self._target.get()
        for name, (holder, part) in self._parts.items():
            if name == kind:
                part.pack(fill="x")
            else:
                part.pack_forget()
                holder.configure(height=1)
        if kind == LORA:
            self._checkpoint = self.answers["sd_model"] or self._checkpoint
            self.answers["sd_model"] = None
        elif not self.answers["sd_model"]:
            self.answers["sd_model"] = self._checkpoint

    def check(self) -> bool:
        """A whole model needs one to start from, and most DoRAs need a whole model."""
        if self._target.get() == CHECKPOINT and not self.answers["sd_model"]:
            self.show_error("sd_model", self.texts("merge_target.needed"))
            return False
        return super().check() and self._fits_doras() and self.info.check() and self._fits()

    def _fits_doras(self) -> bool:
        """Whether no DoRA would have to become part of a new LoRA; alone and as it is, it is
        copied."""
        models, ratios = self.answers["models"], self.answers["ratios"]
        set_by_hand = dict(zip(models, ratios, strict=False))  # none: even shares, of one the whole
        counted = [path for path in models if set_by_hand.get(path, 1)]
        doras = [path for path in counted if path in self.wizard.facts.doras]
        alone = len(counted) == 1 and set_by_hand.get(counted[0], 1) == 1
        copied = alone and not any(self.answers["block_ratios"])
        if self._target.get() == CHECKPOINT or not doras or copied:
            return True
        self.show_error("new_rank", self.texts("merge_target.dora", name=Path(doras[0]).name))
        return False

    def _fits(self) -> bool:
        """Whether the model is of the LoRAs' family, as far as both are known."""
        known, family = self.info.of("sd_model"), self.wizard.facts.family
        if not known or not known.facts or not family or known.facts["family"] == family:
            return True
        self.show_error("sd_model", self.texts("merge_target.misfit", title=known.facts["title"]))
        return False

    def focus_first(self) -> None:
        """Onwards: what is set is right for most."""
        self.wizard.footer.next.focus_set()

    def closing(self) -> None:
        """End the child that looks at the model."""
        self.reader.close()
