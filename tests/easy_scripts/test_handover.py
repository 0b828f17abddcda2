"""Starting work: from any folder, with a clean environment, exit codes and Ctrl+C passed on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from private_python import posix_only, put_python

from easy_scripts.launcher import handover
from easy_scripts.launcher.clicked import clicked
from easy_scripts.launcher.handover import (
    child_environment,
    open_setup,
    open_window,
    run_module,
    work_environment,
)
from easy_scripts.launcher.project import Project

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import json, os, signal, sys, time
from scripts import sibling
if sys.argv[1] == "tell":
    facts = {"argv": sys.argv[1:], "cwd": os.getcwd(), "sibling": sibling.NAME, "name": __name__,
             "environment": dict(os.environ), "path": sys.path}
    open(sys.argv[2], "w").write(json.dumps(facts))
    sys.exit(int(sys.argv[3]))
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
open(sys.argv[2], "w").write("ready")
while not asked:
    time.sleep(0.02)
time.sleep(0.3)  # it finishes its step
open(sys.argv[2], "w").write(f"saved after {len(asked)}")
sys.exit(2)
"""
DRIVER = """
import sys
import time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from easy_scripts.launcher.handover import run_module
from easy_scripts.launcher.project import Project
print("started", flush=True)
sys.exit(run_module(Project(Path(sys.argv[2])), "scripts.work", ["wait", sys.argv[3]], {}))
"""


@pytest.fixture
def project(tmp_path):
    """A project with a `scripts.work` and this Python as its environment's."""
    project = Project(tmp_path / "Ein Ort für Bilder")
    scripts = project.root / "scripts"
    scripts.mkdir(parents=True)
    (scripts / "__init__.py").write_text("")
    (scripts / "work.py").write_text(WORK)
    (scripts / "sibling.py").write_text("NAME = 'sibling'\n")
    put_python(project)
    return project


def test_arguments_folder_and_exit_code_arrive(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = run_module(project, "scripts.work", ["tell", "facts.json", "41", "ü &!"], {})
    facts = json.loads((tmp_path / "facts.json").read_text())  # relative to the user's folder
    assert code == 41
    assert facts["argv"] == ["tell", "facts.json", "41", "ü &!"]
    assert facts["cwd"] == str(tmp_path)
    assert facts["sibling"] == "sibling" and facts["name"] == "__main__"
    assert facts["path"][0] == str(project.root)
    assert str(ROOT / "easy_scripts" / "launcher") not in facts["path"]
    assert str(tmp_path) not in facts["path"]


def test_a_folder_can_be_given(project, tmp_path):
    result = tmp_path / "facts.json"
    assert run_module(project, "scripts.work", ["tell", str(result), "0"], {}, project.root) == 0
    assert json.loads(result.read_text())["cwd"] == str(project.root)


def test_the_environment_is_clean_and_the_rest_stays():
    base = {
        "PYTHONHOME": "/x", "PYTHONPATH": "/x", "CONDA_PREFIX": "/x", "conda_default_env": "x",
        "PIP_USER": "1", "PIP_TARGET": "/x", "PIP_PREFIX": "/x",
        "PIP_PROXY": "http://proxy", "PIP_INDEX_URL": "http://mirror", "HTTPS_PROXY": "p",
        "PATH": "/bin",
    }  # fmt: skip
    assert child_environment(base) == {
        "PIP_PROXY": "http://proxy",
        "PIP_INDEX_URL": "http://mirror",
        "HTTPS_PROXY": "p",
        "PATH": "/bin",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
    }


def test_work_goes_without_the_network_and_with_what_the_stamp_says():
    work = work_environment({"HF_HUB_OFFLINE": "0"}, {"environment": {"BNB_CUDA_VERSION": "126"}})
    assert work["HF_HUB_OFFLINE"] == "1"
    assert work["TRANSFORMERS_OFFLINE"] == "1"
    assert work["BNB_CUDA_VERSION"] == "126"


@posix_only
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_reaches_the_child_once_and_is_waited_for(project, tmp_path, number):
    sign = tmp_path / "sign"
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(ROOT), str(project.root), str(sign)],
        stdout=subprocess.PIPE,
        start_new_session=True,  # no terminal that would tell the child by itself
    )
    try:
        assert process.stdout.readline() == b"started\n"
        while not (sign.exists() and sign.read_text() == "ready"):
            assert process.poll() is None
        os.kill(process.pid, number)
        assert process.wait(timeout=20) == 2
    finally:
        process.kill()
        process.stdout.close()
    assert sign.read_text() == "saved after 1"


@posix_only
def test_a_child_that_was_killed_gives_128_plus_the_signal(project):
    (project.root / "scripts" / "work.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    assert run_module(project, "scripts.work", [], {}) == 137


def test_a_window_that_lives_is_left_alone(project, tmp_path, monkeypatch):
    monkeypatch.setattr(handover, "SEEMS_TO_LIVE", 1.0)
    sign = tmp_path / "sign"
    work = "import os, sys, time\nopen(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(20)\n"
    (project.root / "scripts" / "work.py").write_text(work)
    assert open_window(project, "scripts.work", [str(sign)], {}) == 0
    os.kill(int(sign.read_text()), signal.SIGTERM)


def test_set_up_opens_with_the_python_below_the_environment(project, monkeypatch):
    """As after a double-click, so that it shows its window; not by what it may have to replace."""
    told = project.root / "told.json"
    (project.root / "easy_scripts").mkdir()
    (project.root / "easy_scripts" / "__main__.py").write_text(
        "import json, os, sys\nfrom pathlib import Path\n"
        f"part = Path({str(told)!r} + '.part')\n"
        "part.write_text(json.dumps([sys.executable, sys.argv[1:], dict(os.environ)]))\n"
        f"part.rename({str(told)!r})\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", "/x")
    open_setup(project)
    deadline = time.monotonic() + 20
    while not told.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    python, arguments, environment = json.loads(told.read_text())
    assert os.path.realpath(python) == os.path.realpath(sys._base_executable)
    assert arguments == ["setup"]
    assert clicked(environment) and "PYTHONPATH" not in environment


def test_a_window_that_dies_at_once_is_told(project, capfd):
    (project.root / "scripts" / "work.py").write_text("raise SystemExit('no display here')\n")
    assert open_window(project, "scripts.work", [], {}) == 1
    assert "no display here" in capfd.readouterr().err
