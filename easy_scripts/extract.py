"""The wizard that makes a LoRA of what two models differ in: `python -m easy_scripts extract`."""

from __future__ import annotations

from pathlib import Path

from easy_scripts.lora_pages.models_page import ModelsPage
from easy_scripts.lora_pages.result_page import ResultPage
from easy_scripts.lora_pages.save_page import SavePage
from easy_scripts.wizard.page import SettingsPage
from easy_scripts.wizard.window import Plan
from easy_scripts.wizard.work_page import WorkPage
from scripts.settings.extract import ExtractSettings, read_extract_settings

MODEL_FILES = (("files.type_model", "*.safetensors *.ckpt"),)


class SizePage(SettingsPage):
    """How large the LoRA becomes, and how it is found."""

    name = "extract_size"
    settings = (
        "dim", "conv_dim", "no_text_encoder", "save_precision", "dynamic_method", "dynamic_param",
        "clamp_quantile",
    )  # fmt: skip


class PlacePage(SavePage):
    """Where the LoRA goes."""

    def proposal(self) -> str:
        """Beside the tuned model."""
        tuned = Path(str(self.answers["model_tuned"]))
        return str(tuned.with_name(f"{tuned.stem}-lora.safetensors"))


class RunPage(WorkPage):
    """The extraction."""

    module = "scripts.extract_lora"


PLAN = Plan(
    "extract", ExtractSettings, (ModelsPage, SizePage, PlacePage, RunPage, ResultPage),
    read=read_extract_settings, takes=("model_tuned", "model_org"), file_types=MODEL_FILES,
)  # fmt: skip
