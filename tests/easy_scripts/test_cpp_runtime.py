"""Microsoft's C++ library, which PyTorch needs and a fresh Windows has not: found, or told of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from easy_scripts.install.packages import RUNTIME, Findings
from easy_scripts.launcher.handover import BOOTSTRAP
from easy_scripts.wizard.catalogue import Catalogue

ROOT = Path(__file__).resolve().parents[2]
# What a Windows does that has no such library but where msvc-runtime puts it.
BARE_WINDOWS = """
import os, runpy, sys
folders = []
sys.platform = "win32"
os.add_dll_directory = folders.append
class Torch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and sys.prefix not in folders:
            raise OSError("[WinError 126] The specified module could not be found")
sys.meta_path.insert(0, Torch())
sys.path.insert(0, sys.argv[1])
"""
WINDOWS_SAYS = (
    "OSError: [WinError 126] The specified module could not be found. Error loading "
    r'"C:\EasyLoRA\.venv\Lib\site-packages\torch\lib\c10.dll" or one of its dependencies.'
)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "torch.py").write_text("__version__ = '2.13.0'\n")
    (tmp_path / "work.py").write_text("import torch\nprint('loaded', torch.__version__)\n")
    return tmp_path


def on_bare_windows(project: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BARE_WINDOWS + code, str(ROOT)],
        cwd=project, capture_output=True, text=True, env={"PYTHONPATH": str(project)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="it stands in for Windows")
def test_the_work_finds_it_in_the_environment(project):
    code = f"sys.argv = ['', {str(project)!r}, 'work']\n"
    code += f"runpy.run_path({str(BOOTSTRAP)!r}, run_name='__main__')"
    assert on_bare_windows(project, code) == "loaded 2.13.0\n"


@pytest.mark.skipif(sys.platform == "win32", reason="it stands in for Windows")
def test_setups_look_finds_it_in_the_environment(project):
    code = "from easy_scripts.install.inspect_environment import try_imports\n"
    assert on_bare_windows(project, code + "print(try_imports(['torch', 'gone']))") == (
        """{'gone': "ModuleNotFoundError: No module named 'gone'"}\n"""
    )


@pytest.mark.parametrize(
    "error",
    [WINDOWS_SAYS, "ImportError: DLL load failed while importing _C: %1 is not valid"],
)
def test_without_it_the_remedy_is_told(error):
    told = Findings({}, {}, imports={"torch": error}).shortcoming
    assert told.startswith("torch is installed, but cannot be loaded (")
    assert told.count(".).") == 0 and told.endswith(
        f"Install Microsoft's Visual C++ runtime ({RUNTIME})."
    )
    japanese = Catalogue(language="ja").said(told)
    assert japanese.startswith("torch は入っていますが、読み込めません（") and RUNTIME in japanese


def test_another_error_gets_no_such_remedy():
    told = Findings({}, {}, imports={"torch": "ImportError: libx.so: no such file"}).shortcoming
    assert told == "torch is installed, but cannot be loaded (ImportError: libx.so: no such file)."
