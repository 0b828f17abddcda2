"""The installer, EasyLoRA-Setup.exe: choose a folder, unpack, make shortcuts, run set-up.

    EasyLoRA-Setup.exe                          asks for the folder in a window
    EasyLoRA-Setup.exe --silent --folder X      asks nothing; exit code 0 when all went well
installer.spec builds it. It changes nothing but that folder, the shortcuts, the entry in Settings,
and what set-up fetches. As it has no console, --silent writes EasyLoRA-Setup.log: into the folder's
logs once there is one, before that into the folder for temporary files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from easy_scripts.install.installer_entries import make_entries
from easy_scripts.install.installer_files import LIST, default_folder, notices, payload, unpack
from easy_scripts.install.installer_start import start_setup
from scripts.core.errors import SuiteError
from scripts.core.exit_codes import BUG, DONE, MENDABLE

LOG = "EasyLoRA-Setup.log"


def log_path(folder: Path) -> Path:
    """Where --silent tells how it went."""
    ours = (folder / LIST).is_file()
    return (folder / "logs" if ours else Path(tempfile.gettempdir())) / LOG


def tell(folder: Path, text: str) -> None:
    """Write a line to the log, and to the console where there is one."""
    path = log_path(folder)
    with suppress(OSError):  # the exit code is still there
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    if sys.stderr:
        sys.stderr.write(f"{text}\n")


def install_silently(folder: Path, with_setup: bool, kind: str | None = None) -> int:
    """Unpack and set up without a question; the exit code.

    kind: which build of PyTorch set-up takes in place of the one that fits the graphics card.
    """
    try:
        names = unpack(payload(), folder)
        tell(folder, f"{len(names)} files of Easy LoRA were unpacked into {folder}.")
        for sentence in notices(folder):
            tell(folder, sentence)
        make_entries(folder, menu=False, desktop=False)
        if not with_setup:
            return DONE
        with log_path(folder).open("a", encoding="utf-8") as output:
            code = start_setup(folder, output, kind)
        tell(folder, f"Set-up ended with {code}.")
        return code
    except (SuiteError, OSError) as error:
        tell(folder, str(error))
        return MENDABLE
    except Exception:  # noqa: BLE001 - without a console, nobody would ever see it
        tell(folder, traceback.format_exc())
        return BUG


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the installer; the exit code."""
    parser = argparse.ArgumentParser(prog="EasyLoRA-Setup", description=__doc__.splitlines()[0])
    parser.add_argument("--silent", action="store_true", help="ask nothing and show no window")
    parser.add_argument("--folder", type=Path, default=default_folder())
    parser.add_argument("--no-setup", action="store_true", help="only unpack")
    parser.add_argument("--kind", help="with --silent: the build of PyTorch, such as cpu")
    options = parser.parse_args(arguments)
    folder = options.folder.absolute()
    if options.silent:
        return install_silently(folder, not options.no_setup, options.kind)
    from easy_scripts.install.installer_window import ask_and_install

    return ask_and_install(folder)


if __name__ == "__main__":
    sys.exit(main())
