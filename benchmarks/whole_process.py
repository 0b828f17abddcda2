"""Measure a command as its user has it: the whole process, from its start to its end.

The measuring process must stay small, because Linux counts its memory into that of what it starts:
`apart` does whatever needs memory in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

from scripts.core.files import PROJECT_FOLDER

R = TypeVar("R")


def apart(work: Callable[..., R], *arguments: object) -> R:
    """The result of work(*arguments), done in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


@dataclass(frozen=True)
class Measured:
    """Seconds by the clock, processor seconds of all threads, and the most memory (bytes); the
    last two are None where the system does not tell."""

    seconds: float
    processor_seconds: float | None
    peak_bytes: int | None

    def __str__(self) -> str:
        text = f"{self.seconds:8.2f} s"
        if self.processor_seconds is not None:
            text += f", {self.processor_seconds:8.2f} s of processor"
        return text + (f", {self.peak_bytes / 1e9:.2f} GB" if self.peak_bytes else "")


def measure(module: str, words: Sequence[str], times: int = 1) -> Measured:
    """The fastest of `times` runs of `python -m module words`.

    Raises RuntimeError with what the command said when it failed.
    """
    return min((_once(module, words) for _ in range(times)), key=lambda run: run.seconds)


def _once(module: str, words: Sequence[str]) -> Measured:
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words], cwd=PROJECT_FOLDER, stdout=said, stderr=said
        )
        usage = None
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        code = process.wait()
        seconds = time.perf_counter() - began
        if code:
            said.seek(0)
            raise RuntimeError(f"{module} failed: {said.read().decode(errors='replace')[-2000:]}")
    if usage is None:  # Windows
        return Measured(seconds, None, None)
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)
