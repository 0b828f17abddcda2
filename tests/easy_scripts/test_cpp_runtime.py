"""Microsoft's C++ library, which PyTorch needs and a fresh Windows has not: found, or told of."""

from __future__ import annotations

import io
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from easy_scripts.install import skeleton
from easy_scripts.install.packages import RUNTIME, Findings
from easy_scripts.install.pip_steps import Workshop
from easy_scripts.install.skeleton import LIBRARIES, LIBRARIES_LINE, make_skeleton
from easy_scripts.launcher.handover import DLL_FOLDER
from easy_scripts.launcher.judge import this_machine
from easy_scripts.launcher.project import Project, write_json
from easy_scripts.wizard.catalogue import Catalogue

# What a Windows does that has no such library but where msvc-runtime puts it.
BARE_WINDOWS = """
import os, sys
folders = []
sys.platform = "win32"
os.add_dll_directory = folders.append
class Torch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch" and sys.prefix not in folders:
            raise OSError("[WinError 126] The specified module could not be found")
sys.meta_path.insert(0, Torch())
"""
WINDOWS_SAYS = (
    "OSError: [WinError 126] The specified module could not be found. Error loading "
    r'"C:\EasyLoRA\.venv\Lib\site-packages\torch\lib\c10.dll" or one of its dependencies.'
)


@pytest.mark.skipif(sys.platform == "win32", reason="it stands in for Windows")
def test_every_python_of_the_environment_finds_it(tmp_path):
    """However that is started: by a tool, by set-up's looks, or by hand."""
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "torch.py").write_text("__version__ = '2.13.0'\n")
    (site / LIBRARIES).write_text(LIBRARIES_LINE)
    code = "import site; site.addsitedir(sys.argv[1]); import torch\n"
    done = subprocess.run(
        [sys.executable, "-S", "-c",
         f"{BARE_WINDOWS}{code}print(torch.__version__, folders == [sys.prefix, sys.argv[1]])",
         str(site)],
        capture_output=True, text=True, env={DLL_FOLDER: str(site)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("2.13.0 True\n", "")


def test_set_up_writes_that_on_windows_alone(tmp_path, monkeypatch):
    project = Project(tmp_path)
    workshop = Workshop(project, io.StringIO(), tmp_path / "log.txt", 0)
    for name in ("_ensure_pip", "_remove_interpreter", "run_logged"):
        monkeypatch.setattr(skeleton, name, lambda *arguments: None)
    written = project.environment / "Lib" / "site-packages" / LIBRARIES
    written.parent.mkdir(parents=True)
    write_json(project.plan, {"machine": this_machine(), "python": platform.python_version()})
    for system in ("linux", "win32"):
        stand_in = SimpleNamespace(**{**vars(sys), "platform": system})
        monkeypatch.setattr(skeleton, "sys", stand_in)
        make_skeleton(workshop, {})
        assert written.exists() == (system == "win32")


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
