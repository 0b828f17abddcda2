"""Failures that users of LoRA trainers meet again and again, known by what stands in a log.

The doctor looks for them in the newest logs of every command; each has a cause and a remedy in
plain words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from easy_scripts.install.packages import RUNTIME
from easy_scripts.install.place_checks import Finding

NEWEST_LOGS = 5  # of each command
TAIL = 200_000  # letters of each log

# What stands in the log, cause, remedy, whether set-up mends it.
KNOWN: tuple[tuple[str, str, str, bool], ...] = (
    (
        r"no kernel image is available|is not compatible with the current PyTorch installation",
        "The PyTorch that is installed has no code for this graphics card.",
        "Run set-up: it chooses the build that fits the card.",
        True,
    ),
    (
        r"Torch not compiled with CUDA enabled|Found no NVIDIA driver|driver .{0,40}is too old",
        "PyTorch could not use the graphics card: its build or the driver does not fit.",
        "Install NVIDIA's newest driver, restart the PC, then run set-up.",
        True,
    ),
    (
        r"libcudart\.so|CUDA Setup failed|libbitsandbytes\S* (?:not found|could not)",
        "bitsandbytes did not find its library for CUDA.",
        "Run set-up: it mends bitsandbytes, and training uses AdamW until then.",
        True,
    ),
    (
        r"CUDA out of memory|OutOfMemoryError|HIP out of memory|UR_RESULT_ERROR_OUT_OF_DEVICE",
        "The graphics card ran out of memory.",
        "Switch gradient_checkpointing on, lower train_batch_size or resolution, and close other "
        "programs that use the card.",
        False,
    ),
    (
        r"WinError 1455|paging file is too small",
        "Windows ran out of memory because its paging file is too small.",
        "Let Windows manage the size of the paging file (Settings, System, About, Advanced system "
        "settings, Performance, Advanced, Virtual memory) and restart.",
        False,
    ),
    (
        r"WinError 126|WinError 127|DLL load failed|c10\.dll|fbgemm\.dll",
        "A library of PyTorch could not be loaded: Microsoft's Visual C++ runtime may be missing.",
        f"Run set-up; if that does not help, install it first ({RUNTIME}).",
        True,
    ),
    (
        r"xformers|XFORMERS",
        "A guide or another program asked for xformers, which Easy LoRA does not need.",
        "Leave xformers out: PyTorch's own attention is used.",
        False,
    ),
    (
        r"UnicodeEncodeError",
        "A letter in a name could not be written by the console.",
        "Start Easy LoRA by its .bat files, which use UTF-8.",
        False,
    ),
    (
        r"No space left on device|WinError 112\b|not enough space on the disk",
        "A disk became full while Easy LoRA worked.",
        "Make room on the drive of the output folder, or choose an output folder on another one.",
        False,
    ),
    (
        r"WinError 5\b|Permission denied|Access is denied",
        "The system did not let Easy LoRA write a file.",
        "Close programs that have the file open, keep the folder out of OneDrive, and allow Easy "
        "LoRA in the virus scanner's protection of folders.",
        False,
    ),
)


def in_logs(logs: Path, mended: float = 0) -> list[Finding]:
    """The known failures in the newest logs, each once.

    mended: when set-up last came to its end; what it mends and was seen before that is past.
    """
    found: dict[str, Finding] = {}
    for path in newest(logs):
        text = path.read_text(encoding="utf-8", errors="replace")[-TAIL:]
        past = path.stat().st_mtime <= mended
        for pattern, cause, remedy, by_setup in KNOWN:
            if cause in found or (by_setup and past):
                continue
            if re.search(pattern, text):
                told = f"{cause} (Seen in {path.name}.)"
                found[cause] = Finding("logs", told, remedy, problem=False, by_setup=by_setup)
    return list(found.values())


def newest(logs: Path) -> Sequence[Path]:
    """The newest logs of each command, such as train-20261127-101530-4711.log, oldest first."""
    paths = [path for path in logs.glob("*.log") if path.is_file()]
    of_commands: dict[str, list[Path]] = {}
    for path in sorted(paths, key=lambda path: path.stat().st_mtime):
        of_commands.setdefault(path.name.partition("-")[0], []).append(path)
    return [path for some in of_commands.values() for path in some[-NEWEST_LOGS:]]
