"""A Windows PC without Windows: Wine runs the .bat files, with stubs in place of the programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPILER = "x86_64-w64-mingw32-gcc"
WINE = next((path for path in ("/usr/lib/wine/wine64", "/usr/bin/wine") if Path(path).exists()), "")
START = ROOT / "easy_scripts" / "launcher" / "start.bat"
BAT_FILES = sorted(path.name for path in ROOT.glob("*.bat") if path.stem != "uninstall")


def windows_path(path: Path) -> str:
    """The path as Windows programs under Wine see it."""
    return "Z:" + str(path).replace("/", "\\")


@dataclass(frozen=True)
class Call:
    """One start of a stub: the program, its current folder, arguments and environment."""

    program: str
    folder: str
    arguments: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    read: str = ""  # what it found on its stdin

    @property
    def name(self) -> str:
        """Such as "python.exe"."""
        return self.program.split("\\")[-1].lower()

    @property
    def is_question(self) -> bool:
        """Whether this was only the question if this Python can be used."""
        return any("usable.py" in argument for argument in self.arguments)


@dataclass
class Wine:
    """A Windows of its own for these tests."""

    prefix: Path
    stub: Path
    screen: Mapping[str, str] = field(default_factory=dict)  # DISPLAY, where windows are wanted

    def run(
        self,
        command: Sequence[str],
        folder: Path,
        variables: Mapping[str, str] | None = None,
        seconds: float = 300,
        typed: str = "",
    ) -> subprocess.CompletedProcess:
        """Run a command in `folder`, with no more than these variables of ours.

        typed: what somebody has typed for it beforehand.
        """
        return subprocess.run(
            [WINE, *command], cwd=folder, env={**self.variables, **(variables or {})},
            input=typed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=seconds, encoding="utf-8", errors="replace",
        )  # fmt: skip

    @property
    def variables(self) -> dict[str, str]:
        """The environment that Wine itself needs."""
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.prefix), "LC_ALL": "C.UTF-8",
            "WINEPREFIX": str(self.prefix), "WINEDEBUG": "-all", "KMP_AFFINITY": "disabled",
            "WINEDLLOVERRIDES": "mscoree=;mshtml=;certutil.exe=n;powershell.exe=n",  # stubs
            **self.screen,
        }  # fmt: skip

    @contextmanager
    def kept_warm(self) -> Iterator[None]:
        """Make the prefix and keep one program running in it.

        The others then need not start all of Wine again, and Wine's own services hold no pipe of
        theirs open (a file in its place would do for cmd, but not for Windows' Python).
        """
        waiting = subprocess.Popen(
            [WINE, "cmd"], env=self.variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            waiting.stdin.write(b"echo rea^dy\r\n")
            waiting.stdin.flush()
            while b"ready" not in waiting.stdout.readline():
                assert waiting.poll() is None, "Wine does not start"
            yield
        finally:
            waiting.kill()
            waiting.wait()
            waiting.stdin.close()
            waiting.stdout.close()


@dataclass
class Computer:
    """A Windows PC: a place for the project, and folders of programs on its PATH."""

    wine: Wine
    folder: Path
    project: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """Where a Python of our own goes: LOCALAPPDATA is Wine's, whatever it is told."""
        (profile,) = self.wine.prefix.glob("drive_c/users/*/AppData/Local")
        return profile / "EasyLoRA"

    def put(self, path: Path) -> Path:
        """Put the stub at `path`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.wine.stub, path)
        return path

    def start(
        self,
        bat: str,
        *arguments: str,
        folder: Path | None = None,
        typed: str = "",
        **variables: str,
    ) -> tuple[int, list[Call], str]:
        """Start a .bat file; its exit code, what the stubs were asked, and what was printed."""
        log = self.folder / "calls.txt"
        log.unlink(missing_ok=True)
        names = {
            "STUB_LOG": windows_path(log),
            "WINEPATH": windows_path(self.folder / "bin"), **self.variables, **variables,
        }  # fmt: skip
        done = self.wine.run(
            ["cmd", "/c", bat, *arguments], folder or self.project, names, typed=typed
        )
        return done.returncode, read_calls(log), done.stdout


def read_calls(log: Path) -> list[Call]:
    """What the stubs wrote down."""
    calls = []
    program, folder, arguments, variables, read = "", "", [], {}, ""
    text = log.read_bytes().decode("utf-8").replace("\r\n", "\n") if log.exists() else ""
    for line in text.split("\n"):
        kind, _, content = line.partition(" ")
        if kind == "P":
            program, arguments, variables, read = content, [], {}, ""
        elif kind == "C":
            folder = content
        elif kind == "A":
            arguments.append(content)
        elif kind == "V":
            name, _, value = content.partition("=")
            variables[name] = value
        elif kind == "I":
            read = content
        elif kind == "E":
            calls.append(Call(program, folder, arguments, variables, read))
    return calls


def wait_for_window(wine: Wine, title: str) -> str:
    """Wait until a window bears the title; its number."""
    end = time.monotonic() + 60
    search = ["xdotool", "search", "--onlyvisible", "--name", title]
    while True:
        found = subprocess.run(
            search, env={**os.environ, **wine.screen}, capture_output=True, text=True
        )
        if found.returncode == 0:
            return found.stdout.split()[0]
        assert time.monotonic() < end, f"no window {title}"
        time.sleep(0.2)


def last_call(calls: list[Call]) -> Call:
    """The one call that was no question."""
    (call,) = [call for call in calls if not call.is_question]
    return call


def with_variable(computer: Computer, name: str, value: str) -> str:
    """A .bat file that starts setup.bat with a variable that Wine sets anew in every program."""
    driver = computer.project / "driver.bat"
    driver.write_bytes(f'@set "{name}={value}"\r\n@setup.bat\r\n'.encode("ascii"))
    return driver.name


def windows_local(path: Path) -> str:
    """A path in the prefix as Windows programs see it."""
    return "C:" + str(path).split("drive_c")[1].replace("/", "\\")


def copy_start_files(target: Path) -> Path:
    """The .bat files and what they hand over to, in a folder of that path."""
    (target / "easy_scripts").mkdir(parents=True)
    for name in BAT_FILES:
        shutil.copy(ROOT / name, target)
    shutil.copytree(ROOT / "easy_scripts" / "launcher", target / "easy_scripts" / "launcher")
    shutil.copy(ROOT / "easy_scripts" / "__init__.py", target / "easy_scripts")
    return target
