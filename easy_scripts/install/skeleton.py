"""The bare private environment: a folder with an interpreter and pip, made by Python's own venv.

Everything here may be killed at any point: the next set-up finds either an interpreter that
starts, or something that it puts in order again.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

from easy_scripts.install.inspect_environment import read_packages
from easy_scripts.install.pip_steps import Workshop, run_logged
from easy_scripts.launcher.handover import DLL_FOLDER
from easy_scripts.launcher.judge import (
    python_version_of,
    read_json,
    read_pyvenv_cfg,
    same_minor,
    this_machine,
)
from easy_scripts.launcher.project import Project, write_json
from scripts.core.errors import SuiteError
from scripts.core.files import write_text

OLD = ".venv-old-"
IN_USE = "in-use-"
NOT_OURS = ".venv-not-from-easy-lora-"
# Python reads this whenever it starts. It tells Windows where libraries lie: msvc-runtime puts
# Microsoft's, which PyTorch needs and a bare Windows lacks, beside the environment's folders.
LIBRARIES = "easy_lora_libraries.pth"
LIBRARIES_LINE = (
    "import os, sys; list(map(os.add_dll_directory, filter(os.path.isdir, "
    f"(sys.prefix, os.environ.get('{DLL_FOLDER}', '')))))\n"
)


def refuse_a_file(folder: Path) -> None:
    """Raise SuiteError when there is a file where the environment has to be."""
    if folder.exists() and not folder.is_dir():
        raise SuiteError(
            f"{folder} is a file, but Easy LoRA needs a folder of that name. Rename the file and "
            "start again."
        )


def refuse_python_without_venv() -> None:
    """Raise SuiteError when this Python cannot make environments (Debian splits that off)."""
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        return
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise SuiteError(
        f"This Python {version} cannot make private environments. On Debian and Ubuntu run "
        f'"sudo apt install python{version}-venv", elsewhere install Python from python.org, '
        "then start again."
    )


def base_python() -> str:
    """The interpreter that was installed on this machine, even when we run inside a venv."""
    return getattr(sys, "_base_executable", None) or sys.executable


def make_skeleton(workshop: Workshop, plan: dict) -> str | None:
    """See to it that the environment has a Python that starts and a pip that works.

    What is there and fits is kept, with all its packages. `plan` is what the environment is
    made for; its file, written first, marks the folder as ours.

    Returns a sentence when a folder that is not ours was moved aside. Raises SuiteError.
    """
    project = workshop.project
    note = _set_aside(workshop) if _must_begin_anew(project) else None
    _remove_old_ones(workshop)
    in_order = _interpreter_in_order(project)
    python = python_version_of(project.python) if in_order else _this_version()
    write_json(project.plan, {**plan, "python": python, "machine": this_machine()})
    if not in_order:
        refuse_python_without_venv()
        _remove_interpreter(project)
        command = [base_python(), "-m", "venv", "--without-pip", str(project.environment)]
        run_logged(workshop, command, "The private environment could not be made")
    _ensure_pip(workshop)
    if sys.platform == "win32":
        write_text(site_packages(project) / LIBRARIES, LIBRARIES_LINE)
    return note


def _must_begin_anew(project: Project) -> bool:
    """Whether what is there is of no use: not ours, or packages for another Python or machine."""
    folder = project.environment
    if not folder.exists():
        return False
    plan = read_json(project.plan)
    if not plan:
        return any(folder.iterdir())
    if plan.get("machine") != this_machine():
        return True
    if _interpreter_in_order(project):
        return False
    return not same_minor(str(plan.get("python")), _this_version())


def _this_version() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


def _interpreter_in_order(project: Project) -> bool:
    """Whether the interpreter starts, and is the one that pyvenv.cfg and the folder speak of."""
    settings = read_pyvenv_cfg(project.environment)
    version = python_version_of(project.python)
    if version is None or not Path(settings.get("home", "")).is_dir():
        return False
    noted = settings.get("version") or settings.get("version_info", "")
    made_here = str(project.environment) in settings.get("command", str(project.environment))
    return same_minor(noted, version) and made_here


def _set_aside(workshop: Workshop) -> str | None:
    """Rename the environment out of the way: at once, or not at all."""
    project = workshop.project
    ours = project.plan.exists()
    label = OLD if ours else NOT_OURS
    aside = project.root / f"{label}{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        os.rename(project.environment, aside)
    except OSError as error:
        raise _in_use(project.environment, error) from error
    workshop.write(f"moved {project.environment} to {aside}")
    if ours:
        return None
    return (
        f"The folder {project.environment.name} was not made by Easy LoRA; it is kept as {aside}."
    )


def _in_use(path: Path, error: OSError) -> SuiteError:
    return SuiteError(
        f"{path} could not be moved out of the way ({error.strerror}). Close every training and "
        "every window of Easy LoRA, then start again."
    )


def _remove_old_ones(workshop: Workshop) -> None:
    for folder in workshop.project.root.glob(OLD + "*"):
        shutil.rmtree(folder, ignore_errors=True)  # in use: the next set-up tries again


def _remove_interpreter(project: Project) -> None:
    """Remove the interpreter's links and settings, which `venv` would leave as they are.

    Windows does not delete a program that runs (a tool may have started us with it), but lets it
    be renamed; the next set-up removes it.
    """
    folder = project.python.parent
    for path in folder.glob(IN_USE + "*"):
        with suppress(OSError):
            path.unlink()
    for path in [project.environment / "pyvenv.cfg", *folder.glob("python*")]:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            try:
                path.rename(folder / f"{IN_USE}{time.time_ns()}-{path.name}")
            except OSError as error:
                raise _in_use(path, error) from error


def _ensure_pip(workshop: Workshop) -> None:
    """Install Python's bundled pip when there is none that works."""
    python = str(workshop.project.python)
    site = site_packages(workshop.project)
    packages, damaged = read_packages(site) if site.is_dir() else ({}, {})
    if "pip" in packages and "pip" not in damaged:
        return
    refuse_python_without_venv()
    shutil.rmtree(site / "pip", ignore_errors=True)
    for folder in site.glob("pip-*.dist-info"):
        shutil.rmtree(folder, ignore_errors=True)
    command = [python, "-m", "ensurepip", "--upgrade", "--default-pip"]
    run_logged(workshop, command, "The installer pip could not be put into the environment")


def site_packages(project: Project) -> Path:
    """The folder of the environment's packages."""
    if sys.platform == "win32":
        return project.environment / "Lib" / "site-packages"
    version = read_pyvenv_cfg(project.environment).get("version", _this_version())
    minor = ".".join(version.split(".")[:2])
    return project.environment / "lib" / f"python{minor}" / "site-packages"
