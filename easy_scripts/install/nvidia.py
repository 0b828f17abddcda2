"""Asking NVIDIA's own tool, nvidia-smi, which cards there are and how new the driver is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from easy_scripts.install.card_names import capability_of
from easy_scripts.install.kinds import Gpu, Graphics, Version
from easy_scripts.launcher.no_console import NO_CONSOLE

SECONDS = 20  # the tool takes one or two; a sick driver makes it hang for ever
CUDA_VERSION = re.compile(r"CUDA (?:UMD )?Version\s*:\s*(\d+)\.(\d+)")
FIELDS = "name,compute_cap,memory.total"
FIELDS_OF_OLD = "name,name,memory.total"  # drivers before 510 refuse the whole question otherwise
Ask = Callable[[Sequence[str]], "str | None"]


def detect(ask: Ask | None = None) -> Graphics:
    """The NVIDIA cards of this machine; none when the tool is missing, hangs or fails."""
    ask = ask or ask_nvidia_smi
    for fields in (FIELDS, FIELDS_OF_OLD):
        table = ask([f"--query-gpu={fields}", "--format=csv,noheader,nounits"])
        if table is None:  # missing or hanging: a second question would hang as well
            return Graphics()
        gpus = parse_cards(table)
        if gpus:
            return Graphics(gpus, parse_driver_cuda(ask([]) or ""))
    return Graphics()


def parse_cards(table: str) -> tuple[Gpu, ...]:
    """The cards in the answer to --query-gpu: one line each, `name, capability, MiB`."""
    cards = []
    for line in table.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 3 or not parts[0]:
            continue
        capability = re.fullmatch(r"(\d+)\.(\d+)", parts[1])
        cards.append(
            Gpu(
                parts[0],
                (int(capability[1]), int(capability[2])) if capability else capability_of(parts[0]),
                int(parts[2]) if parts[2].isdigit() else None,
            )
        )
    return tuple(cards)


def parse_driver_cuda(header: str) -> Version | None:
    """The CUDA version in nvidia-smi's header, which newer drivers call "CUDA UMD Version"."""
    found = CUDA_VERSION.search(header)
    return (int(found[1]), int(found[2])) if found else None


def ask_nvidia_smi(arguments: Sequence[str]) -> str | None:
    """What nvidia-smi prints; empty when it fails, None when it is missing or hangs."""
    program = _find_nvidia_smi()
    if program is None:
        return None
    try:
        result = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
            creationflags=NO_CONSOLE,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else ""


def _find_nvidia_smi() -> str | None:
    found = shutil.which("nvidia-smi")
    if found or sys.platform != "win32":
        return found
    for variable, rest in (
        ("SystemRoot", "System32/nvidia-smi.exe"),
        ("ProgramFiles", "NVIDIA Corporation/NVSMI/nvidia-smi.exe"),
    ):
        path = Path(os.environ.get(variable, "")) / rest
        if os.environ.get(variable) and path.is_file():
            return str(path)
    return None
