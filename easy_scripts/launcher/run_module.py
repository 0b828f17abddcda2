"""Run a module of the project from any current folder: run_module.py PROJECT MODULE ARGUMENTS.

Like `python -m MODULE ARGUMENTS` started in PROJECT, but without going there.
"""

import runpy
import sys
from pathlib import Path

MENDABLE, STOPPED = 1, 2  # exit codes, as every command's
SETUP = "Start setup.bat" if sys.platform == "win32" else "Run: python3 -m easy_scripts setup"

if __name__ == "__main__":
    project, module = sys.argv[1:3]
    sys.argv = [module, *sys.argv[3:]]
    sys.path[0] = project  # was this file's own folder
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:  # before the command was there to listen for it
        sys.stderr.write("Stopped before the work had begun.\n")
        sys.exit(STOPPED)
    except Exception as error:  # noqa: BLE001 - a damaged package can raise anything
        from easy_scripts.launcher.bug_log import keep_bug

        sys.stderr.write(
            f"This could not go on: {error or type(error).__name__}. A file that Easy LoRA needs "
            f"may be missing or damaged. {SETUP} (it looks at everything and mends what it can). "
            f"If that does not help, {keep_bug(Path(project) / 'logs')}.\n"
        )
        sys.exit(MENDABLE)
