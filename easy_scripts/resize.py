"""The wizard that makes LoRAs smaller: `python -m easy_scripts resize [FILES]`."""

from __future__ import annotations

from pathlib import Path

from easy_scripts.lora_pages.file_list_page import LORA_FILES, FileListPage
from easy_scripts.lora_pages.result_page import ResultPage
from easy_scripts.lora_pages.save_page import SavePage
from easy_scripts.lora_pages.size_page import SizePage
from easy_scripts.wizard.path_row import FOLDER, OUTPUT_FILE
from easy_scripts.wizard.window import Plan
from easy_scripts.wizard.work_page import WorkPage
from scripts.settings.resize import ResizeSettings, read_resize_settings, size_title


class FilesPage(FileListPage):
    """Which LoRAs."""

    name = "resize_files"
    setting = "model"


class PlacePage(SavePage):
    """Where the smaller LoRAs go: a file, or a folder for several."""

    def _names(self) -> list[tuple[Path, str]]:
        """The LoRA and the name of the file, for each result."""
        settings, _ = read_resize_settings(self.answers.config())
        titles = [size_title(rank, settings.new_conv_rank, settings.dynamic_method, param)
                  for rank in settings.new_rank
                  for param in settings.dynamic_param or (None,)]  # fmt: skip
        return [(path, f"{path.stem}-{title}.safetensors")
                for path in settings.model for title in titles]  # fmt: skip

    def enter(self) -> None:
        """A single result is a file, several lie in a folder."""
        several = len(self._names()) > 1
        self.row.path_kind = FOLDER if several else OUTPUT_FILE
        self.row.label.configure(text=self.texts("save.folder" if several else "save.file"))
        super().enter()

    def proposal(self) -> str:
        """Beside the LoRA."""
        names = self._names()
        path, name = names[0]
        return str(path.parent if len(names) > 1 else path.with_name(name))

    def results(self) -> list[Path]:
        """One file for each LoRA and size."""
        names = self._names()
        place = Path(str(self.answers["save_to"] or self.proposal()))
        return super().results() if len(names) == 1 else [place / name for _, name in names]


class RunPage(WorkPage):
    """The resize."""

    module = "scripts.resize_lora"


PLAN = Plan(
    "resize", ResizeSettings, (FilesPage, SizePage, PlacePage, RunPage, ResultPage),
    read=read_resize_settings, takes=("model",), file_types=LORA_FILES,
)  # fmt: skip
