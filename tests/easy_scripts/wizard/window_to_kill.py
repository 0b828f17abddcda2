"""A window that runs its work at once, as a program of its own that a test ends from outside.

    python window_to_kill.py demo|train MEMORY GIVEN

MEMORY is the folder of what it remembers, GIVEN a JSON file with settings filled in. It prints the
number of the process that works (of a bake, its keeper's) when that has been started.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


class KilledWindow:
    """The window, seen from a test: `worker` is the number of the process that works for it."""

    def __init__(self, wizard: str, memory: Path, given: dict) -> None:
        path = memory.with_name("given.json")
        path.write_text(json.dumps(given), encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, __file__, wizard, str(memory), str(path)], cwd=ROOT,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.worker = int(self._process.stdout.readline())

    def kill(self) -> None:
        """End it as the system does: it can do nothing any more."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def main(wizard: str, memory: str, given: str) -> None:
    """Show the page of the work and stay."""
    from easy_scripts import train
    from easy_scripts.train_pages import base_page
    from easy_scripts.wizard import remembered
    from easy_scripts.wizard.asking import show_page
    from easy_scripts.wizard.window import open_wizard

    remembered.memory_folder = lambda: Path(memory)
    base_page.find_base_models = list
    values = json.loads(Path(given).read_text(encoding="utf-8"))
    if wizard == "demo":
        from demo import make_plan

        opened = open_wizard(make_plan(), values)
        show_page(opened, "work")
    else:
        opened = open_wizard(train.PLAN, values)
        show_page(opened, "bake")
    print(opened.page._child._process.pid, flush=True)
    opened.root.mainloop()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(*sys.argv[1:])
