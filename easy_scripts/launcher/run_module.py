"""Run a module of the project from any current folder: run_module.py PROJECT MODULE ARGUMENTS.

Like `python -m MODULE ARGUMENTS` started in PROJECT, but without going there.
"""

import os
import runpy
import sys

STOPPED = 2  # the exit code of every command that was stopped

if __name__ == "__main__":
    project, module = sys.argv[1:3]
    sys.argv = [module, *sys.argv[3:]]
    sys.path[0] = project  # was this file's own folder
    if sys.platform == "win32":
        os.add_dll_directory(sys.prefix)  # where msvc-runtime puts Microsoft's C++ library
        if os.environ.get("EASY_LORA_DLL_FOLDER"):
            os.add_dll_directory(os.environ["EASY_LORA_DLL_FOLDER"])
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:  # before the command was there to listen for it
        sys.stderr.write("Stopped before the work had begun.\n")
        sys.exit(STOPPED)
