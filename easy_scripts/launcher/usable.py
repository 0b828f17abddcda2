"""Ends with 0 when the running Python can set up Easy LoRA, with 1 when it cannot.

start.bat asks every Python that it finds, as `python -I -S usable.py`: a Python that is too old
or too new, has 32 bits, runs on an ARM processor, was built by MSYS2 or Cygwin (for which there are
no packages), came from the Store (which hides what a program writes from all others) or without Tk,
venv or ssl is passed over.
Any Python can read this file, however old.
"""

import os
import sys
import sysconfig

LAUNCHER = os.path.dirname(os.path.abspath(__file__))


def main():
    """The exit code."""
    sys.path.insert(0, os.path.dirname(os.path.dirname(LAUNCHER)))
    from easy_scripts.launcher.python_version import refuse_this_python

    if refuse_this_python() or "ARM" in os.environ.get("PROCESSOR_IDENTIFIER", ""):
        return 1
    if sys.platform in ("win32", "cygwin", "msys") and sysconfig.get_platform() != "win-amd64":
        return 1
    if "windowsapps" in sys.base_prefix.lower():
        return 1
    try:
        import ensurepip
        import ssl
        import tkinter
        import venv
    except ImportError:
        return 1
    return 0 if ensurepip and ssl and tkinter and venv else 1


if __name__ == "__main__":
    sys.exit(main())
