"""Run a module of the project from any current folder: run_module.py PROJECT MODULE ARGUMENTS.

Like `python -m MODULE ARGUMENTS` started in PROJECT, but without going there.
"""

import runpy
import sys

if __name__ == "__main__":
    project, module = sys.argv[1:3]
    sys.argv = [module, *sys.argv[3:]]
    sys.path[0] = project  # was this file's own folder
    runpy.run_module(module, run_name="__main__", alter_sys=True)
