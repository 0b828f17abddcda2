"""The wizard that merges LoRAs: `python -m easy_scripts merge [FILES]`."""

from __future__ import annotations

from pathlib import Path

from easy_scripts.lora_pages.file_list_page import LORA_FILES
from easy_scripts.lora_pages.merge_files_page import MergeFilesPage, MergeFindings
from easy_scripts.lora_pages.merge_target_page import MergeTargetPage
from easy_scripts.lora_pages.result_page import ResultPage
from easy_scripts.lora_pages.save_page import SavePage
from easy_scripts.wizard.window import Plan
from easy_scripts.wizard.work_page import WorkPage
from scripts.settings.merge import MergeSettings, read_merge_settings

NAMES_IN_PROPOSAL = 3
LONGEST_NAME = 80


class PlacePage(SavePage):
    """Where the merged file goes."""

    def proposal(self) -> str:
        """Beside the first LoRA, or beside the checkpoint, named after what is in it."""
        models = [Path(path) for path in self.answers["models"]]
        base = self.answers["sd_model"]
        stems = [path.stem for path in ([Path(base)] if base else []) + models]
        name = " + ".join(stems[:NAMES_IN_PROPOSAL])[:LONGEST_NAME].rstrip(" .")
        if len(stems) > NAMES_IN_PROPOSAL:
            name += f" + {len(stems) - NAMES_IN_PROPOSAL}"
        place = Path(base) if base else models[0]
        stem = name if len(stems) > 1 else f"{name}-merged"
        return str(place.with_name(f"{stem}.safetensors"))


class RunPage(WorkPage):
    """The merge."""

    module = "scripts.merge_lora"


PLAN = Plan(
    "merge", MergeSettings, (MergeFilesPage, MergeTargetPage, PlacePage, RunPage, ResultPage),
    read=read_merge_settings, takes=("models",), file_types=LORA_FILES,
    findings=MergeFindings,
)  # fmt: skip
