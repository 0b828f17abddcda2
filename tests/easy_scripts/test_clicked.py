"""Dropped files, as Windows' Explorer hands them to cmd."""

from __future__ import annotations

import pytest

from easy_scripts.launcher.clicked import clicked, true_arguments

BAT = r'C:\WINDOWS\system32\cmd.exe /c ""C:\Easy LoRA & co\lora_resize.bat" '


@pytest.mark.parametrize(
    ("dropped", "files"),
    [
        ('"', []),  # a double-click
        (r'C:\loras\a.safetensors"', [r"C:\loras\a.safetensors"]),
        (r'C:\x&y.pt "C:\c d.pt""', [r"C:\x&y.pt", r"C:\c d.pt"]),
        (r'"C:\c d.pt" C:\100%.pt C:\ca^ret.pt"', [r"C:\c d.pt", r"C:\100%.pt", r"C:\ca^ret.pt"]),
        (r'\\server\it!\ü.pt "\\server\日 本.pt""', [r"\\server\it!\ü.pt", r"\\server\日 本.pt"]),
    ],
)
def test_the_files_that_were_dropped(dropped, files):
    environment = {"EASY_LORA_CLICKED": "lora_resize.bat", "EASY_LORA_LINE": BAT + dropped}
    assert clicked(environment)
    assert true_arguments(["cut short"], environment) == files


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"EASY_LORA_LINE": r"C:\WINDOWS\system32\cmd.exe"},  # typed in a console
        {"EASY_LORA_CLICKED": "lora_resize.bat", "EASY_LORA_LINE": "cmd /c lora_resize.bat a"},
    ],
)
def test_typed_arguments_stay_as_they_are(environment):
    assert true_arguments(["a", "b c"], environment) == ["a", "b c"]
