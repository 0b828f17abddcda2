"""Run set-up on a made-up project, in a process of its own that a test can kill.

set_up_made_up_project.py ROOT [STAGE]: prints every stage; kills itself when STAGE begins.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from easy_scripts.install.make_environment import Wishes, make_environment
from easy_scripts.launcher.project import Project
from scripts.core.errors import SuiteError
from scripts.core.events import Event, Stage

KILLED = 9


def main() -> int:
    """Set up, or die on the way."""
    deadly = sys.argv[2] if len(sys.argv) > 2 else None

    def report(event: Event) -> None:
        if isinstance(event, Stage):
            print(event.name, flush=True)
            if deadly and event.name.startswith(deadly):
                os.kill(os.getpid(), KILLED)

    wishes = Wishes(kind="cpu", imports=("torch", "tiny"), reachable=lambda *_: False)
    try:
        make_environment(Project(Path(sys.argv[1])), wishes, report)
    except SuiteError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
