"""In .ci/run, a skip that nobody allowed fails the run (tests/skip_guard.py)."""

from __future__ import annotations

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
    ("options", "allowed", "code"),
    [
        ([], "", 0),
        (["-p", "skip_guard"], "", 1),
        (["-p", "skip_guard"], "test_it.py::test_skips: Skipped: no such thing\n", 0),
        (["-p", "skip_guard"], "# test_it.py::test_skips\ntest_it.py::test_other\n", 1),
    ],
)
def test_a_skip(tmp_path, options, allowed, code):
    shutil.copy(GUARD, tmp_path)
    (tmp_path / "allowed_skips.txt").write_text(allowed)
    (tmp_path / "test_it.py").write_text(TEST)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", ".", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == code, result.stdout
    assert "1 passed, 1 skipped" in result.stdout
    assert ("test_it.py::test_skips: Skipped: no such thing here" in result.stdout) == bool(code)
