"""A screen that nobody sees, of any size, and whether its fonts have the letters that it takes."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest


@contextmanager
def virtual_screen(width: int, height: int) -> Iterator[None]:
    """A screen of so many pixels, for the block."""
    pytest.importorskip("tkinter", reason="this Python has no Tk")
    if sys.platform in ("win32", "darwin"):
        yield
        return
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", _display(width, height))
        yield


@cache
def _display(width: int, height: int) -> str:
    """A new screen's address. It stays until the end: Tk would die with a screen it has used."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24", "-dpi", "96",
         "-nolisten", "tcp"],
        pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    atexit.register(server.terminate)
    os.close(write)
    with os.fdopen(read) as answer:
        return f":{answer.readline().strip()}"


def needs_letters(root, language: str) -> None:
    """Skip the test (which fails in CI) where no font has the letters of the language: what would
    be measured and seen are boxes."""
    from easy_scripts.wizard.screen import font_family

    if language == "ja" and font_family(root, language) in ("DejaVu Sans", "TkDefaultFont"):
        pytest.skip("no font here has Japanese letters: install fonts-noto-cjk")
