"""How long the training wizard takes from the start of its process to its first page on screen.

    python -m benchmarks.wizard_start              # --scale 200 for a finer screen

Beside it, in turn, a bare tkinter window with one label. Needs a screen; on Linux without one it
starts Xvfb. The fastest of several runs counts: what is slower waited for something else. The
processor's time hardly depends on what else the machine does.
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
import time
print("drawn", time.process_time(), flush=True)
"""
WIZARD = """
import importlib, sys
from pathlib import Path
from easy_scripts.wizard import remembered
remembered.memory_folder = lambda: Path(sys.argv[2])
from easy_scripts.wizard.window import open_wizard
wizard = open_wizard(importlib.import_module("easy_scripts." + sys.argv[1]).PLAN)
wizard.root.update()
import time
print("drawn", time.process_time(), flush=True)
"""


def seconds_to_page(program: str, *words: str) -> tuple[float, float]:
    """From the start of the process to the line it writes when its page is drawn: on the clock,
    and of the processor."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words], cwd=PROJECT_FOLDER, stdout=subprocess.PIPE
    )
    line = process.stdout.readline()
    seconds = time.perf_counter() - began
    process.kill()
    process.wait()
    if not line.startswith(b"drawn"):
        raise RuntimeError("the window was not drawn")
    return seconds, float(line.split()[1])


def main() -> None:
    """Measure in turn, print the fastest of each and the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--scale", type=int, default=100, help="per cent, from 100 to 300")
    asked = parser.parse_args()
    times = asked.times
    os.environ["EASY_LORA_SCALE"] = str(asked.scale)
    server = None
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        read, write = os.pipe()
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", "2732x1536x24", "-dpi", "96"],
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
    print(f"at {asked.scale} %, on the clock and of the processor:")
    fastest = [[min(column) for column in zip(*runs, strict=True)] for runs in (bare, wizard)]
    for name, (clock, processor) in zip(
        ("bare tkinter window", "training wizard", "its own work"),
        (*fastest, [whole - least for least, whole in zip(*fastest, strict=True)]),
        strict=True,
    ):
        print(f"{name + ':':21}{clock:.3f} s {processor:.3f} s")


if __name__ == "__main__":
    main()
