"""Starting work: from any folder, with a clean environment, exit codes and Ctrl+C passed on."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from private_python import posix_only, put_python

from easy_scripts.launcher.clicked import clicked
from easy_scripts.launcher.handover import (
    ALWAYS_SET,
    child_environment,
    open_setup,
    open_window,
    run_module,
    work_environment,
)
from easy_scripts.launcher.project import Project
from easy_scripts.launcher.run_module import SETUP

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


def bring_launcher(project, name):
    """Put a module of the launcher into the project."""
    folder = project.root / "easy_scripts" / "launcher"
    folder.mkdir(parents=True)
    for each in (name, "__init__.py"):
        shutil.copy(ROOT / "easy_scripts" / "launcher" / each, folder)


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
        "PIP_USER": "1", "PIP_TARGET": "/x", "PIP_PREFIX": "/x", "TCL_LIBRARY": "/x",
        "tk_library": "/x",
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
        "PIP_USER": "0",
    }


def test_certificates_that_are_gone_are_not_asked_for(tmp_path):
    (tmp_path / "company.pem").touch()
    there, gone = str(tmp_path / "company.pem"), str(tmp_path / "gone.pem")
    kept = child_environment({
        "SSL_CERT_FILE": there, "REQUESTS_CA_BUNDLE": str(tmp_path),
        "PIP_CERT": gone, "CURL_CA_BUNDLE": gone, "requests_ca_bundle": "",
    })  # fmt: skip
    assert kept == {**ALWAYS_SET, "SSL_CERT_FILE": there, "REQUESTS_CA_BUNDLE": str(tmp_path)}


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


def test_a_window_is_left_alone_as_soon_as_it_can_be_seen(project, tmp_path):
    """However long that takes: it gives a sign."""
    told = tmp_path / "told"
    bring_launcher(project, "window_sign.py")
    (project.root / "scripts" / "work.py").write_text(
        "import os, sys, time\n"
        "from easy_scripts.launcher.window_sign import SIGN, give_sign\n"
        "open(sys.argv[2], 'w').write(str(os.getpid()))\n"
        "time.sleep(1.5)\n"  # it is being drawn
        "give_sign()\n"
        "assert SIGN not in os.environ\n"
        "time.sleep(20)\n"
    )
    started = time.monotonic()
    assert open_window(project, "scripts.work", ["resize", str(told)], {}) == 0
    assert 1.4 < time.monotonic() - started < 15
    os.kill(int(told.read_text()), signal.SIGTERM)


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


@pytest.mark.parametrize("seconds", [0, 5])
def test_a_window_that_dies_before_it_can_be_seen_is_told(project, capfd, seconds):
    (project.root / "scripts" / "work.py").write_text(
        f"import time\ntime.sleep({seconds})\nraise SystemExit('no display here')\n"
    )
    assert open_window(project, "scripts.work", ["resize"], {}) == 1
    assert "no display here" in capfd.readouterr().err
    log = project.logs / "window-resize.log"
    assert log.read_text(encoding="utf-8").strip() == "no display here"


@pytest.mark.parametrize("start", [open_window, run_module])
def test_a_package_that_is_gone_is_a_sentence_and_a_log(project, capfd, start):
    bring_launcher(project, "bug_log.py")
    (project.root / "scripts" / "work.py").write_text("import sv_ttk_of_yore\n")
    assert start(project, "scripts.work", ["resize"], {}) == 1
    told = capfd.readouterr().err
    assert told.startswith("This could not go on: No module named 'sv_ttk_of_yore'. A file that ")
    assert f"{SETUP} (it looks at everything and mends what it can)" in told
    assert "Traceback" not in told
    [log] = project.logs.glob("easy_scripts-*.log")
    assert str(log) in told
    assert "import sv_ttk_of_yore" in log.read_text(encoding="utf-8")


def test_a_window_that_dies_without_a_word_is_told_too(project, capfd):
    (project.root / "scripts" / "work.py").write_text("import os\nos._exit(9)\n")
    assert open_window(project, "scripts.work", ["resize"], {}) == 9
    assert "(code 9), without saying why. Start setup.bat: " in capfd.readouterr().err


SHOWN_IN_A_CONSOLE = {"run_child", "start_setup", "open_window", "open_setup"}


def processes_started(tree):
    """(function, call) for each subprocess that the module of this syntax tree starts."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for call in ast.walk(function):
                name = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
                if name in ("subprocess.run", "subprocess.Popen"):
                    yield function.name, call


def test_no_program_opens_a_black_window_of_its_own():
    """But where a console is wanted, or the process is detached from every console."""
    seen = 0
    for path in (ROOT / "easy_scripts").rglob("*.py"):
        for function, call in processes_started(ast.parse(path.read_text(encoding="utf-8"))):
            flags = {word.arg: ast.unparse(word.value) for word in call.keywords}
            quiet = flags.get("creationflags") == "NO_CONSOLE"
            assert quiet or function in SHOWN_IN_A_CONSOLE, f"{path}: {function}"
            seen += quiet
    assert seen >= 8
