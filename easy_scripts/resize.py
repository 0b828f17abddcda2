"""The wizard that makes LoRAs smaller: `python -m easy_scripts.resize [FILES]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from easy_scripts.lora_pages.file_list_page import FileListPage
from easy_scripts.lora_pages.result_page import ResultPage
from easy_scripts.lora_pages.save_page import SavePage
from easy_scripts.lora_pages.size_page import SizePage
from easy_scripts.lora_pages.start import LORA_FILES, start
from easy_scripts.wizard.path_row import FOLDER, OUTPUT_FILE
from easy_scripts.wizard.window import Plan
from easy_scripts.wizard.work_page import WorkPage
from scripts.settings.resize import ResizeSettings, read_resize_settings


class FilesPage(FileListPage):
    """Which LoRAs."""

    name = "resize_files"
    setting = "model"


class PlacePage(SavePage):
    """Where the smaller LoRAs go: a file, or a folder for several."""

    def _plan(self) -> tuple[list[Path], list[int]]:
        sizes = self.answers["new_rank"]
        return [Path(path) for path in self.answers["model"]], [int(size) for size in sizes]

    def enter(self) -> None:
        """A single result is a file, several lie in a folder."""
        files, sizes = self._plan()
        several = len(files) * len(sizes) > 1
        self.row.path_kind = FOLDER if several else OUTPUT_FILE
        self.row.label.configure(text=self.texts("save.folder" if several else "save.file"))
        super().enter()

    def proposal(self) -> str:
        """Beside the LoRA."""
        files, sizes = self._plan()
        if len(files) * len(sizes) > 1:
            return str(files[0].parent)
        return str(files[0].with_name(f"{files[0].stem}-dim{sizes[0]}.safetensors"))

    def results(self) -> list[tuple[Path, str]]:
        """One file for each LoRA and size."""
        files, sizes = self._plan()
        place = Path(str(self.answers["save_to"] or self.proposal()))
        if len(files) * len(sizes) == 1:
            return [(place, "")]
        return [(place / f"{file.stem}-dim{size}.safetensors", "")
                for file in files for size in sizes]  # fmt: skip


class RunPage(WorkPage):
    """The resize."""

    module = "scripts.resize_lora"


PLAN = Plan(
    "resize", ResizeSettings, (FilesPage, SizePage, PlacePage, RunPage, ResultPage),
    read=read_resize_settings, file_types=LORA_FILES,
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Open the wizard with the files given; the exit code."""
    return start(PLAN, {"model": list(arguments)} if arguments else {})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
