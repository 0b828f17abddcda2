"""The wizard that makes LoRAs smaller: `python -m easy_scripts resize [FILES]`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easy_scripts.lora_pages.file_facts import FactsReader
from easy_scripts.lora_pages.file_list_page import LORA_FILES, FileListPage
from easy_scripts.lora_pages.result_page import ResultPage
from easy_scripts.lora_pages.save_page import SavePage
from easy_scripts.lora_pages.size_limits import most, refused
from easy_scripts.lora_pages.size_page import SizePage
from easy_scripts.wizard.findings import Findings
from easy_scripts.wizard.path_row import FOLDER, OUTPUT_FILE
from easy_scripts.wizard.window import Plan, Wizard
from easy_scripts.wizard.work_page import WorkPage
from scripts.settings.resize import ResizeSettings, read_resize_settings, size_title


@dataclass
class ResizeFindings(Findings):
    """`loras`: what is known of the files, asked by all pages; made by the page of files."""

    loras: FactsReader | None = None


class FilesPage(FileListPage):
    """Which LoRAs."""

    name = "resize_files"
    setting, use = "model", "resize"

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        wizard.facts.loras = self.reader


@dataclass(frozen=True)
class Wish:
    """A LoRA, the size that it is to get, the name of the file, and the setting that forbids it."""

    path: Path
    rank: int
    name: str
    refused: str | None


class PlacePage(SavePage):
    """Where the smaller LoRAs go: a file, or a folder for several."""

    def __init__(self, wizard: Wizard) -> None:
        super().__init__(wizard)
        wizard.facts.loras.watch(lambda _: self.frame and self._list_results())

    def _facts(self, path: Path) -> dict[str, Any]:
        return self.wizard.facts.loras.ask(str(path)).facts

    def _wishes(self) -> list[Wish]:
        """Every LoRA at every size."""
        settings, _ = read_resize_settings(self.answers.config())
        conv, method = settings.new_conv_rank, settings.dynamic_method
        return [
            Wish(path, rank, f"{path.stem}-{size_title(rank, conv, method, param)}.safetensors",
                 None if method else refused(self._facts(path), rank, conv))
            for path in settings.model
            for rank in settings.new_rank
            for param in settings.dynamic_param or (None,)
        ]  # fmt: skip

    def _several(self, wishes: list[Wish]) -> bool:
        return sum(not wish.refused for wish in wishes) > 1

    def enter(self) -> None:
        """A single result is a file, several lie in a folder."""
        several = self._several(self._wishes())
        self.row.path_kind = FOLDER if several else OUTPUT_FILE
        self.row.label.configure(text=self.texts("save.folder" if several else "save.file"))
        super().enter()

    def proposal(self) -> str:
        """Beside the LoRA."""
        wishes = self._wishes()
        first = next((wish for wish in wishes if not wish.refused), wishes[0])
        place = first.path.parent
        return str(place if self._several(wishes) else place / first.name)

    def results(self) -> list[Path]:
        """One file for each LoRA and size that it can have."""
        wishes = self._wishes()
        if not self._several(wishes):
            return super().results()
        place = Path(str(self.answers["save_to"] or self.proposal()))
        return [place / wish.name for wish in wishes if not wish.refused]

    def left_out(self) -> list[str]:
        """For each LoRA: the sizes that are none for it."""
        wishes = self._wishes()
        sentences = []
        for path in dict.fromkeys(wish.path for wish in wishes):
            own = [wish for wish in wishes if wish.path == path]
            none = [wish for wish in own if wish.refused]
            if none:
                key = "save.stays" if len(none) == len(own) else "save.left_out"
                sizes = ", ".join(str(wish.rank) for wish in none)
                largest = most(self._facts(path), none[0].refused)
                if none[0].refused == "new_conv_rank":
                    key, sizes = "save.stays_for_conv", self.answers["new_conv_rank"]
                sentences.append(self.texts(key, name=path.name, sizes=sizes, largest=largest))
        return sentences


class RunPage(WorkPage):
    """The resize."""

    module = "scripts.resize_lora"


PLAN = Plan(
    "resize", ResizeSettings, (FilesPage, SizePage, PlacePage, RunPage, ResultPage),
    read=read_resize_settings, takes=("model",), file_types=LORA_FILES,
    findings=ResizeFindings,
)  # fmt: skip
