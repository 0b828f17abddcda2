"""Start one of the wizards for LoRA files as a program."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from easy_scripts.wizard.window import Plan, show_wizard
from scripts.core.errors import SuiteError

LORA_FILES = (("files.type_lora", "*.safetensors *.pt *.ckpt"),)
MENDABLE = 1


def start(plan: Plan, given: Mapping[str, Any]) -> int:
    """Show the wizard until it is closed; the exit code. Without a screen: one sentence."""
    try:
        show_wizard(plan, given)
    except SuiteError as error:
        sys.stderr.write(f"{error}\n")
        return MENDABLE
    return 0
