"""The wizard that trains a LoRA: from a folder of pictures to the finished file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from easy_scripts.train_pages.bake_findings import BakeFindings
from easy_scripts.train_pages.bake_page import BakePage
from easy_scripts.train_pages.base_page import BasePage
from easy_scripts.train_pages.finished_page import FinishedPage
from easy_scripts.train_pages.kind_page import KindPage
from easy_scripts.train_pages.pictures_page import PicturesPage
from easy_scripts.train_pages.queue_page import QueuePage
from easy_scripts.train_pages.settings_page import AllSettingsPage
from easy_scripts.train_pages.start_page import StartPage, sort_dropped
from easy_scripts.train_pages.summary_page import SummaryPage
from easy_scripts.wizard.window import Plan
from scripts.settings.train import TrainSettings, read_train_settings

MODEL_FILES = (("files.type_model", "*.safetensors *.ckpt"),)


def read(values: Mapping[str, Any]) -> TrainSettings:
    """The settings. Raises SettingErrors with all that is wrong with them together."""
    return read_train_settings(values)[0]


PLAN = Plan(
    "train", TrainSettings,
    (StartPage, QueuePage, BasePage, PicturesPage, KindPage, AllSettingsPage, SummaryPage, BakePage,
     FinishedPage),
    read=read, sort=sort_dropped, file_types=MODEL_FILES, findings=BakeFindings,
)  # fmt: skip
