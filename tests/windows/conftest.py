"""Wine with a prefix of its own, and a PC in it. Skipped where Wine or the compiler is missing;
.ci/run installs both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from wine_pc import COMPILER, WINE, Computer, Wine, copy_start_files


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
    wine.run(["wineboot", "--init"], folder)
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
