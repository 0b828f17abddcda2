"""Start work in the private environment and wait for it.

The child is `<environment python> run_module.py PROJECT MODULE ARGUMENTS`: it keeps the user's
current folder, so that relative paths mean what they say, and finds the project all the same
(PYTHONPATH could not do that: it is cleared, because what people have in it breaks things).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from easy_scripts.launcher.clicked import CLICKED
from easy_scripts.launcher.project import Project
from easy_scripts.launcher.window_sign import SIGN

BOOTSTRAP = Path(__file__).with_name("run_module.py")
CLEARED = {
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONEXECUTABLE",
    "TCL_LIBRARY",
    "TK_LIBRARY",
    "__PYVENV_LAUNCHER__",
    "PIP_USER",
    "PIP_TARGET",
    "PIP_PREFIX",
}
# A file of certificates that another program has left behind: where it is gone, nothing is fetched.
CERTIFICATES = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "PIP_CERT"}
# PIP_USER: also where pip's own settings say "user = true".
ALWAYS_SET = {"PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", "PIP_USER": "0"}
NO_NETWORK = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
# The seam for what set-up finds out about a machine (such as BNB_CUDA_VERSION): a stamp may
# carry {"environment": {...}}, and the work is started with it.
STAMP_VARIABLES = "environment"
SECONDS_BETWEEN_LOOKS = 0.05  # whether a window that was started can be seen yet
DIED = (
    "The window ended before it could be seen (code {code}), without saying why. Start setup.bat: "
    "it looks at everything and mends what it can.\n"
)
OF_ITS_OWN = 0x00000008 | 0x00000200  # DETACHED_PROCESS, CREATE_NEW_PROCESS_GROUP
DLL_FOLDER = "EASY_LORA_DLL_FOLDER"  # one more folder for Windows' libraries, see skeleton.py


def child_environment(base: Mapping[str, str], extra: Mapping[str, str] | None = None) -> dict:
    """The environment variables for a child: `base` without what leads Python astray.

    Every other setting of pip's stays: proxies and mirrors live there.
    """
    kept = {
        key: value
        for key, value in base.items()
        if key.upper() not in CLEARED
        and not key.upper().startswith("CONDA_")
        and not (key.upper() in CERTIFICATES and not os.path.exists(value))
    }
    return {**kept, **ALWAYS_SET, **(extra or {})}


def without_advice(base: Mapping[str, str]) -> dict:
    """`base` without the library that a guide for another program told bitsandbytes to use."""
    return {key: value for key, value in base.items() if key.upper() != "BNB_CUDA_VERSION"}


def work_environment(base: Mapping[str, str], stamp: dict) -> dict:
    """`child_environment` for training and the other work: nothing goes to the network."""
    variables = {**NO_NETWORK, **stamp.get(STAMP_VARIABLES, {})}
    return child_environment(without_advice(base), variables)


def module_command(project: Project, module: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs a module of the project in the private environment."""
    return [str(project.python), str(BOOTSTRAP), str(project.root), module, *arguments]


def run_module(
    project: Project,
    module: str,
    arguments: Sequence[str],
    stamp: dict,
    folder: Path | None = None,
) -> int:
    """Run `module` in the private environment and give its exit code.

    folder: the child's current folder; None keeps the user's.
    """
    command = module_command(project, module, arguments)
    return run_child(command, work_environment(os.environ, stamp), folder)


def open_window(project: Project, module: str, arguments: Sequence[str], stamp: dict) -> int:
    """Start a module that opens a window, and leave it alone: no black console stays behind it.

    arguments: the first is the name of the tool, which its log bears: window-resize.log.
    Returns 0 as soon as the window can be seen, and its exit code when it ends before that; what
    it printed is then printed here.
    """
    project.logs.mkdir(exist_ok=True)
    log = project.logs / f"window-{arguments[0]}.log"
    command = module_command(project, module, arguments)
    windowless = project.python.with_name("pythonw.exe")
    if windowless.is_file():
        command[0] = str(windowless)
    with TemporaryDirectory(prefix="easy_lora_", ignore_cleanup_errors=True) as folder:
        sign = Path(folder) / "seen"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                env={**work_environment(os.environ, stamp), SIGN: str(sign)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                creationflags=OF_ITS_OWN if sys.platform == "win32" else 0,
            )
        while process.poll() is None and not sign.exists():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        if sign.exists():
            return 0
    said = log.read_text(encoding="utf-8", errors="replace")
    sys.stderr.write(said or DIED.format(code=process.returncode))
    return process.returncode


def open_setup(project: Project) -> None:
    """Open set-up's window in a process of its own, run by the Python that was installed here:
    set-up may have to replace the environment's. Raises OSError.
    """
    python = Path(getattr(sys, "_base_executable", None) or sys.executable)
    if python.stem.lower() == "pythonw":  # it has no streams, which set-up writes to
        python = python.with_name(f"python{python.suffix}")
    subprocess.Popen(
        [str(python), str(project.root / "easy_scripts"), "setup"],
        env=child_environment(os.environ, {CLICKED: "setup.bat"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        creationflags=OF_ITS_OWN if sys.platform == "win32" else 0,
        start_new_session=True,
    )


def run_child(command: Sequence[str], environment: dict, folder: Path | None = None) -> int:
    """Start `command`, let it have Ctrl+C, wait for its own end, and give its exit code.

    A child that was ended by signal n gives 128 + n, as shells do.
    """
    process = subprocess.Popen(command, env=environment, cwd=folder)
    terminal_tells_child = sys.platform == "win32" or _in_the_foreground()
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:
                if not terminal_tells_child:
                    process.send_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 128 - code if code < 0 else code


def _in_the_foreground() -> bool:
    """Whether a Ctrl+C in the terminal reaches the child without our help."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
