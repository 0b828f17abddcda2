"""How long the training wizard takes from the start of its process to its first page on screen.

    python -m benchmarks.wizard_start

Beside it, in turn, a bare tkinter window with one label. Needs a screen; on Linux without one it
starts Xvfb. The fastest of several runs counts: what is slower waited for something else.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

from scripts.core.files import PROJECT_FOLDER

BARE = """
import tkinter
root = tkinter.Tk()
tkinter.Label(root, text="A bare window").pack()
root.update()
print("drawn", flush=True)
"""
WIZARD = """
import importlib, sys
from pathlib import Path
from easy_scripts.wizard import remembered
remembered.memory_folder = lambda: Path(sys.argv[2])
from easy_scripts.wizard.window import open_wizard
wizard = open_wizard(importlib.import_module("easy_scripts." + sys.argv[1]).PLAN)
wizard.root.update()
print("drawn", flush=True)
"""


def seconds_to_page(program: str, *words: str) -> float:
    """From the start of the process to the line it writes when its page is drawn."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], cwd=PROJECT_FOLDER, stdout=subprocess.PIPE
    )
    line = process.stdout.readline()
    seconds = time.perf_counter() - began
    process.kill()
    process.wait()
    if line.strip() != b"drawn":
        raise RuntimeError("the window was not drawn")
    return seconds


def main() -> None:
    """Measure in turn, print the fastest of each and the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    server = None
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        read, write = os.pipe()
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "1366x768x24", "-dpi", "96"],
            pass_fds=[write], stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as answer:
            os.environ["DISPLAY"] = f":{answer.readline().strip()}"
    try:
        with tempfile.TemporaryDirectory() as folder:
            bare, wizard = [], []
            for _ in range(times):
                bare.append(seconds_to_page(BARE))
                wizard.append(seconds_to_page(WIZARD, "train", folder))
    finally:
        if server:
            server.terminate()
            server.wait()
    print(f"bare tkinter window: {min(bare):.3f} s")
    print(f"training wizard:     {min(wizard):.3f} s")
    print(f"its own work:        {min(wizard) - min(bare):.3f} s")


if __name__ == "__main__":
    main()
