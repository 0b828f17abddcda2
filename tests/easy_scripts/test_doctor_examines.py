"""The doctor on a whole environment, with one thing wrong each time: it finds that and no more.

The environment is a made-up one, but real commands have set it up, and they mend it.
"""

from __future__ import annotations

import os
import shutil
import sys
from types import SimpleNamespace

import pytest
from made_up_project import MODULES, make_project, make_wheels
from made_up_wheels import make_wheel
from test_bitsandbytes_patch import CUDA_TORCH, OPTIM

from easy_scripts.install import doctor, surroundings
from easy_scripts.install.doctor import RUN_SETUP, examine, mend
from easy_scripts.install.kinds import Gpu, Graphics
from easy_scripts.install.lockfiles import lock_hash
from easy_scripts.install.setup_lock import setup_lock
from easy_scripts.install.skeleton import site_packages
from easy_scripts.launcher.judge import read_json
from easy_scripts.launcher.project import write_json

NOTHING = Graphics()
RTX = Graphics((Gpu("NVIDIA GeForce RTX 3060", (8, 6), 12288),), (13, 0))
NEW_CARD_OLD_DRIVER = Graphics((Gpu("NVIDIA GeForce RTX 5070", (12, 0), 12288),), (12, 8))
GIGABYTES = 10**9


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project that was set up, and a copy of it beside."""
    wheels = make_wheels(tmp_path_factory.mktemp("doctor") / "wheels")
    make_wheel(wheels, "tiny", "1.0", {f"{name}.py": "FINE = True\n" for name in MODULES})
    torch = CUDA_TORCH.format(cuda=None) + "__version__ = '2.13.0'\n"
    make_wheel(wheels, "torch", "2.13.0", {"torch/__init__.py": torch, "torch/version.py": ""})
    optim = OPTIM.format(more="pass", dtype="torch.uint8")
    make_wheel(wheels, "bitsandbytes", "0.50.2", {
        "bitsandbytes/__init__.py": "", "bitsandbytes/optim.py": optim,
        "bitsandbytes/libbitsandbytes_cpu.dll": "", "bitsandbytes/libbitsandbytes_cuda130.dll": "",
    })  # fmt: skip
    made = make_project(tmp_path_factory.mktemp("whole") / "Easy LoRA", wheels)
    (made.project.locks / "common.txt").write_text("tiny==1.0\nbitsandbytes==0.50.2\n")
    for kind in ("cu126", "cu130"):
        lock = f"-r common.txt\ntorch==2.13.0+{kind}\n"
        (made.project.locks / f"{kind}.txt").write_text(lock)
    code, out, err = made.run("setup", "--no-bake", "--kind", "auto")
    assert code == 0, out + err
    shutil.copytree(made.project.root, made.project.root.with_name("as it was"), symlinks=True)
    return made


@pytest.fixture
def whole(made, monkeypatch):
    """The project as it was, on a machine without any flaw."""
    root = made.project.root
    shutil.rmtree(root)
    shutil.copytree(root.with_name("as it was"), root, symlinks=True)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    for name, _, _ in surroundings.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    have(monkeypatch, free=10**12)
    monkeypatch.setattr(surroundings, "total_memory", lambda: 32 * 2**30)
    return made.project


def have(monkeypatch, free):
    disk = shutil._ntuple_diskusage(10**12, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: disk)


def change_stamp(project, **changes):
    write_json(project.stamp, {**read_json(project.stamp), **changes})


def test_a_whole_environment_has_no_findings_and_all_facts(whole):
    logs = set(whole.logs.glob("*.log"))
    seen = examine(whole, NOTHING, with_windows=False)
    assert seen.findings == []
    assert set(whole.logs.glob("*.log")) == logs, "looking leaves no log among those it reads"
    assert (whole.logs / "check.txt").is_file()
    assert seen.facts[3:] == [
        ("Graphics", "none found"), ("Driver", "NVIDIA's was not found"),
        ("Set up for", "cpu, PyTorch 2.13.0"), ("Trains on", "the processor"),
        ("8-bit optimisers", "yes"), ("Folder", str(whole.root)),
    ]  # fmt: skip
    assert "Everything that is needed is in order." in seen.text()


def lose_the_environment(project):
    shutil.rmtree(project.environment)


def lose_the_stamp(project):
    project.stamp.unlink()


def lose_the_python(project):
    settings = project.environment / "pyvenv.cfg"
    lines = settings.read_text().splitlines()
    gone = ["home = /gone/bin" if line.startswith("home") else line for line in lines]
    settings.write_text("\n".join(gone) + "\n")


def lose_a_file(project):
    (site_packages(project) / "diffusers.py").unlink()


def lose_a_package(project):
    for path in site_packages(project).glob("bitsandbytes*"):
        shutil.rmtree(path)


def be_told_another_library(project):
    change_stamp(project, environment={"BNB_CUDA_VERSION": "118"})


def be_from_an_older_version(project):
    change_stamp(project, lock="another")


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lose_the_environment, "has not been set up in this folder yet"),
        (lose_the_stamp, "has not been run to its end"),
        (lose_the_python, "set up with is gone from /gone/bin"),
        (lose_a_file, "The files of tiny are not whole: diffusers.py is missing."),
        (lose_a_package, "bitsandbytes 0.50.2 is needed, but none is installed."),
        (be_told_another_library, "8-bit optimisers do not work (RuntimeError: No compatible"),
        (be_from_an_older_version, "needs other package versions"),
    ],
)
def test_what_is_wrong_with_the_environment_is_found_and_mended(whole, damage, cause):
    damage(whole)
    seen = examine(whole, NOTHING, with_windows=False)
    [finding] = seen.findings
    assert cause in finding.cause
    assert finding.problem and finding.by_setup and finding.remedy == RUN_SETUP
    assert mend(whole, seen) == 0
    assert examine(whole, NOTHING, with_windows=False).findings == []


def test_what_set_up_could_not_mend_is_no_problem_for_ever(whole):
    unknown = {"BNB_CUDA_VERSION": "118"}  # there is no such library
    change_stamp(whole, environment=unknown, eight_bit={"works": False, "reason": "no library"})
    seen = examine(whole, NOTHING, with_windows=False)
    assert not seen.problems and not seen.mendable
    [hint] = seen.hints
    assert hint.cause.startswith("8-bit optimisers do not work (RuntimeError: No compatible")
    assert hint.remedy == "Set-up could not mend that; everything else works."


def test_a_package_that_does_not_load_is_found(whole):
    (site_packages(whole) / "tokenizers.py").write_text("import goner")  # as long as it was
    [finding] = examine(whole, NOTHING, with_windows=False).problems
    assert finding.cause.startswith("tokenizers is installed, but cannot be loaded (ModuleNotFound")


def test_another_setup_at_work_is_told(whole):
    with setup_lock(whole.logs):
        [finding] = examine(whole, NOTHING, with_windows=False).problems
    assert "Another set-up is already running" in finding.cause and not finding.by_setup


@pytest.mark.parametrize(
    ("changes", "found", "topic", "cause"),
    [
        ({}, RTX, "torch", "PyTorch is set up for cpu. NVIDIA GeForce RTX 3060 was found"),
        ({}, NEW_CARD_OLD_DRIVER, "driver", "its driver knows CUDA 12.8 only. Install NVIDIA's"),
        ({"kind": "cu130"}, RTX, "torch",
         "its build for the processor only; the one for NVIDIA cards, CUDA 13.0 was wanted."),
        ({"kind": "cu130", "torch": {"version": "2.13.0+cu130", "cuda": "13.0"}}, RTX, "torch",
         "But PyTorch trains on the processor."),
    ],
)  # fmt: skip
def test_a_pytorch_that_does_not_fit_the_card_is_found(whole, changes, found, topic, cause):
    kind = changes.get("kind", "cpu")
    change_stamp(whole, lock=lock_hash(whole.locks, kind), **changes)
    if kind == "cu130":  # what is wanted but for its label, which nobody looks at
        (whole.locks / "cuda13-linux.txt").write_text("")
    [finding] = examine(whole, found, with_windows=False).problems
    assert finding.topic == topic and cause in finding.cause


def no_tk(project, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setitem(sys.modules, "tkinter", None)


def a_variable(project, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")


def little_memory(project, monkeypatch):
    monkeypatch.setattr(surroundings, "total_memory", lambda: 8 * 2**30)


def a_full_disk(project, monkeypatch):
    have(monkeypatch, free=GIGABYTES)


def a_cloud(project, monkeypatch):
    monkeypatch.setenv("OneDriveConsumer", str(project.root.parent))


def a_failure(project, monkeypatch):
    (project.logs / "train-1.log").write_text("RuntimeError: CUDA out of memory.\n")


@pytest.mark.parametrize(
    ("flaw", "topic", "cause"),
    [
        (no_tk, "windows", "Python's windows (Tk) do not work"),
        (a_variable, "variables", "CUDA_VISIBLE_DEVICES is set"),
        (little_memory, "memory", "The computer has 8 GB of memory"),
        (a_full_disk, "disk", "5.0 GB are needed and 1.0 GB are free"),
        (a_cloud, "path", "copied to the internet by OneDrive"),
        (a_failure, "logs", "ran out of memory. (Seen in train-1.log.)"),
    ],
)
def test_what_is_wrong_around_it_is_found(whole, monkeypatch, flaw, topic, cause):
    flaw(whole, monkeypatch)
    [finding] = examine(whole, NOTHING, with_windows=flaw is no_tk).findings
    assert finding.topic == topic and cause in finding.cause and finding.remedy
    assert not finding.by_setup


def test_on_windows_it_tells_where_the_driver_spills(whole, monkeypatch):
    stand_in = SimpleNamespace(platform="win32", version_info=sys.version_info)
    monkeypatch.setattr(doctor, "sys", stand_in)
    change_stamp(whole, asked="cpu")  # wished so
    unused, finding = examine(whole, RTX, with_windows=False).findings
    assert unused.topic == "torch" and "--kind auto" in unused.remedy and not unused.problem
    assert finding.topic == "driver" and "Sysmem Fallback" in finding.remedy
