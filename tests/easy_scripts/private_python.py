"""A Python for a made-up project: the one that runs the tests, with all its packages."""

from __future__ import annotations

import sys
import venv

import pytest

from easy_scripts.launcher.project import Project

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals and scripts of Unix")


def put_python(project: Project) -> None:
    """Put a Python where `project` has its own. On Windows a link would not find its DLLs."""
    if sys.platform == "win32":
        venv.create(project.environment, with_pip=False)
        return
    project.python.parent.mkdir(parents=True)
    project.python.symlink_to(sys.executable)
