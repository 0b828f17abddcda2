"""Open one of the windows: `python -m easy_scripts.window resize [FILES]`.

Each window is a module here with a `PLAN`: train, resize, merge, extract. Without a screen or
without Tk this says so in one sentence.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from easy_scripts.wizard.catalogue import Catalogue
from scripts.core.declare import declarations
from scripts.core.errors import SuiteError
from scripts.core.exit_codes import MENDABLE

if TYPE_CHECKING:
    from easy_scripts.wizard.window import Plan

NO_TK = (
    "The windows cannot be shown, because this Python has no Tk. On Debian and Ubuntu run "
    '"sudo apt install python3-tk"; elsewhere install Python from python.org. {advice}'
)


def main(arguments: Sequence[str]) -> int:
    """Show the window named first, filled with the files named behind it; the exit code."""
    name, *files = arguments
    try:
        _check_tk(name)
        plan = importlib.import_module(f"easy_scripts.{name}").PLAN
        from easy_scripts.wizard.window import show_wizard

        show_wizard(plan, filled(plan, files))
    except SuiteError as error:
        sys.stderr.write(f"{error}\n")
        return MENDABLE
    return 0


def filled(plan: Plan, files: Sequence[str]) -> dict[str, Any]:
    """The settings that files on the command line (dropped on the .bat) stand for."""
    paths = [os.path.abspath(file) for file in files]
    if plan.sort:
        return plan.sort(paths)
    declared = declarations(plan.settings_class)
    first = plan.takes[0]
    if declared[first].kind is tuple:
        return {first: paths} if paths else {}
    return dict(zip(plan.takes, paths, strict=False))


def _check_tk(name: str) -> None:
    try:
        import tkinter  # noqa: F401 - what the windows are made with
    except ImportError as error:
        advice = Catalogue(name)(f"{name}.without_window")
        raise SuiteError(NO_TK.format(advice=advice)) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
