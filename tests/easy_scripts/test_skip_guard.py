"""In .ci/run, a skip that nobody allowed fails the run (tests/skip_guard.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GUARD = Path(__file__).resolve().parents[1] / "skip_guard.py"
TEST = """
import pytest

def test_passes():
    pass

def test_skips():
    pytest.skip("no such thing here")
"""


@pytest.mark.parametrize(
    ("ci", "allowed", "code"),
    [
        ("", "", 0),
        ("true", "", 1),
        ("true", "test_it.py::test_skips: Skipped: no such thing\n", 0),
        ("true", "# test_it.py::test_skips\ntest_it.py::test_other\n", 1),
    ],
)
def test_a_skip(tmp_path, ci, allowed, code):
    shutil.copy(GUARD, tmp_path)
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["skip_guard"]\n')
    (tmp_path / "allowed_skips.txt").write_text(allowed)
    (tmp_path / "test_it.py").write_text(TEST)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", "."],
        cwd=tmp_path,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
    )
    assert result.returncode == code, result.stdout
    assert "1 passed, 1 skipped" in result.stdout
    assert ("test_it.py::test_skips: Skipped: no such thing here" in result.stdout) == bool(code)
