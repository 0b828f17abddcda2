"""The doctor: what it finds, what it mends, and that its report names nobody."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from easy_scripts.install import doctor, known_failures, surroundings
from easy_scripts.install.doctor import Examination, examine, write_report
from easy_scripts.install.kinds import Gpu, Graphics
from easy_scripts.install.place_checks import Finding
from easy_scripts.launcher.judge import Judgement, State
from easy_scripts.launcher.project import Project, write_json

ROOT = Path(__file__).resolve().parents[2]
NOTHING = Graphics()
RTX = Graphics((Gpu("NVIDIA GeForce RTX 3060", (8, 6), 12288),), (13, 0))


@pytest.fixture
def project(tmp_path):
    """A project that was never set up."""
    shutil.copytree(ROOT / "easy_scripts" / "install" / "locks", tmp_path / "EasyLoRA" / "locks")
    return Project(tmp_path / "EasyLoRA")


def causes(findings):
    return " ".join(finding.cause for finding in findings)


def test_an_environment_that_is_missing(project):
    seen = examine(project, NOTHING)
    assert "has not been set up in this folder yet" in causes(seen.problems)
    assert all(finding.by_setup for finding in seen.problems)
    assert "none found" in seen.text()


FOR_PROCESSOR = {"version": "2.13.0+cpu", "cuda": None, "xpu": None}


def judged(**stamp):
    return Judgement(State.WHOLE, "", {"asked": "auto", "kind": "cu126", **stamp})


@pytest.mark.parametrize(
    ("judgement", "found", "cause"),
    [
        (judged(kind="cpu"), RTX, "PyTorch is set up for cpu. NVIDIA GeForce RTX 3060"),
        (judged(), RTX, "PyTorch is set up for cu126."),  # the driver is newer now
        (judged(kind="cu130", device="the processor"), RTX, "trains on the processor"),
        (judged(), Graphics((Gpu("RTX 5070", (12, 0)),), (12, 8)), "RTX 5070"),
        (judged(kind="cu130", device="NVIDIA GeForce RTX 3060 12 GB"), RTX, None),
        (judged(kind="cpu"), NOTHING, None),
        (
            judged(asked="cpu", kind="cpu"),
            RTX,
            "RTX 3060 was found, and its driver knows CUDA 13.0. But the processor was asked for",
        ),
        (judged(asked="cpu", kind="cpu"), NOTHING, None),
        (judged(asked="cu126"), RTX, None),  # wished so
        (
            judged(kind="cu130", torch=FOR_PROCESSOR, device="the processor"),
            RTX,
            "its build for the processor only; the one for NVIDIA cards, CUDA 13.0 was wanted",
        ),
        (judged(asked="cu126", torch=FOR_PROCESSOR), NOTHING, "the one for NVIDIA cards, CUDA"),
        (judged(kind="cpu", torch={"version": "2.13.0", "cuda": "13.0"}), NOTHING, None),
        (Judgement(State.MISSING, "", {}), RTX, None),
    ],
)
def test_the_build_of_pytorch_against_the_card(judgement, found, cause):
    findings = doctor._torch_build(judgement, found)
    assert bool(findings) == bool(cause)
    if cause:
        assert cause in findings[0].cause and findings[0].remedy.endswith((".", "setup", "auto"))


@pytest.mark.parametrize(
    ("line", "cause", "remedy"),
    [
        ("RuntimeError: CUDA error: no kernel image is available for execution on the device",
         "no code for this graphics card", "build that fits"),
        ("AssertionError: Torch not compiled with CUDA enabled", "graphics card", "driver"),
        ("libcudart.so: cannot open shared object file", "bitsandbytes", "set-up"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to", "memory", "checkpointing"),
        ("OSError: [WinError 1455] The paging file is too small", "paging file", "Windows"),
        ("OSError: [WinError 126] The specified module could not be found. Error loading c10.dll",
         "Visual C++", "https://aka.ms/vs/17/release/vc_redist.x64.exe"),
        ("UnicodeEncodeError: 'charmap' codec can't encode character '\\u2642'", "letter", ".bat"),
    ],
)  # fmt: skip
def test_known_failures_in_the_logs(tmp_path, line, cause, remedy):
    (tmp_path / "train-1.log").write_text(f"Traceback\n{line}\n", encoding="utf-8")
    (tmp_path / "train-2.log").write_text(f"Traceback\n{line}\n", encoding="utf-8")
    (finding,) = known_failures.in_logs(tmp_path)
    assert cause in finding.cause and "(Seen in train-" in finding.cause
    assert remedy in finding.remedy


def test_only_the_newest_logs_count(tmp_path):
    for number in range(7):
        path = tmp_path / f"train-{number}.log"
        path.write_text("CUDA out of memory" if number == 0 else "fine")
        os.utime(path, (number, number))
    assert known_failures.in_logs(tmp_path) == []


def write_log(path, text, when):
    path.write_text(text)
    os.utime(path, (when, when))


def test_no_other_command_hides_the_logs_of_the_training(tmp_path):
    write_log(tmp_path / "train-20261127-101530-7.log", "CUDA out of memory", 1)
    for number in range(2, 10):
        for command in ("setup", "plan", "inspect_model", "inspect_dataset"):
            write_log(tmp_path / f"{command}-20261127-10164{number}-7.log", "fine", number)
    [finding] = known_failures.in_logs(tmp_path)
    assert finding.cause.endswith("(Seen in train-20261127-101530-7.log.)")


def test_what_set_up_has_mended_since_is_past(tmp_path):
    write_log(tmp_path / "train-1.log", "[WinError 126] c10.dll\nCUDA out of memory", 100)
    told = [finding.cause for finding in known_failures.in_logs(tmp_path, mended=99)]
    assert len(told) == 2 and told[1].startswith("A library of PyTorch could not be loaded")
    [left] = known_failures.in_logs(tmp_path, mended=101)
    assert left.cause.startswith("The graphics card ran out of memory.")


def test_variables_of_other_guides_are_told():
    found = surroundings.variables({"PYTHONPATH": "x", "CUDA_VISIBLE_DEVICES": "-1", "PATH": "y"})
    assert [finding.problem for finding in found] == [False, False]
    assert "PYTHONPATH" in found[0].cause and "does not pass it on" in found[0].remedy
    assert "CUDA_VISIBLE_DEVICES" in found[1].cause and "remove it" in found[1].remedy


def test_little_memory_is_told():
    assert surroundings.memory(8 * 2**30) and not surroundings.memory(16 * 2**30)
    assert surroundings.memory(None) == []
    assert surroundings.total_memory() > 2**28


def test_the_hint_about_spilling_is_for_nvidia_on_windows():
    assert surroundings.spilling(RTX, "win32")
    assert not surroundings.spilling(RTX, "linux")
    assert not surroundings.spilling(NOTHING, "win32")


def test_no_screen_is_told():
    (finding,) = surroundings.windows_possible({}, "linux")
    assert not finding.problem and "no screen" in finding.cause


def test_the_report_names_nobody(project, monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ann.smith")
    monkeypatch.setattr(socket, "gethostname", lambda: "WORKSTATION-7")
    monkeypatch.setattr(Path, "home", lambda: project.root.parent)
    seen = examine(project, RTX)
    path = f"{project.root}/logs of ann.smith at workstation-7 in {project.root.parent}/x"
    seen.findings.append(Finding("logs", path, "Remedy."))
    report = write_report(project, seen)
    text = report.read_text(encoding="utf-8")
    assert report.parent == project.logs
    for name in ("ann.smith", "WORKSTATION-7", str(project.root), str(project.root.parent)):
        assert name.lower() not in text.lower(), text
    assert "RTX 3060 (12 GB)" in text and "Remedy." in text


@pytest.mark.parametrize("folder", [r"C:\Users\Ann Smith\EasyLoRA", r"D:\Ann's things\EasyLoRA"])
def test_the_report_does_not_name_who_was_here_before(project, monkeypatch, folder):
    """Bob's doctor on a folder that Ann has moved to him."""
    monkeypatch.setattr(getpass, "getuser", lambda: "bob")
    base = folder.replace("EasyLoRA", "Python312")
    for sentence in (
        f"The folder was moved here from {folder}.",
        f"Easy LoRA was set up with Python 3.12.1 in {base}; now there is Python 3.11.2 in /x.",
        f"The Python that Easy LoRA was set up with is gone from {base}.",
    ):
        write_json(project.stamp, {"folder": folder, "base": base})
        seen = Examination(findings=[Finding("environment", sentence, "Run set-up.")])
        text = write_report(project, seen).read_text(encoding="utf-8")
        assert "Ann" not in text and "Smith" not in text, text
    write_json(project.stamp, {})
    (project.environment / "pyvenv.cfg").write_text(f"home = {base}\n")
    assert "Ann" not in write_report(project, seen).read_text(encoding="utf-8")


def test_mending_runs_setup_only_where_that_helps(project, monkeypatch):
    runs = []
    monkeypatch.setattr(
        doctor, "ensure_environment", lambda *arguments: runs.append(arguments) or 0
    )
    helpless = Examination(findings=[Finding("disk", "Full.", "Make room.")])
    assert doctor.mend(project, helpless) == 0 and not runs
    seen = Examination(findings=[Finding("environment", "Gone.", "Set up.", by_setup=True)])
    assert doctor.mend(project, seen) == 0 and len(runs) == 1


def test_the_verb_mends_and_looks_again(project, monkeypatch, capsys):
    sick = Examination(findings=[Finding("environment", "Gone.", "Set up.", by_setup=True)])
    states = [sick, Examination()]
    monkeypatch.setattr(doctor, "Project", lambda: project)
    monkeypatch.setattr(doctor, "examine", lambda project: states.pop(0))
    monkeypatch.setattr(doctor, "ensure_environment", lambda project, wishes: 0)
    assert doctor.main(["--mend"]) == 0
    shown = capsys.readouterr().out
    assert "Gone." in shown and "Everything that is needed is in order." in shown
    assert str(project.logs) in shown


def test_without_tk_all_other_verbs_work(tmp_path):
    """Debian splits Tk off Python; setup, train and doctor must not need it."""
    (tmp_path / "tkinter.py").write_text("raise ImportError('no Tk here')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.path.append(sys.argv[2])\n"
        "from easy_scripts import verbs\n"
        "from easy_scripts.install.surroundings import windows_possible\n"
        "print(windows_possible({'DISPLAY': ':0'}, 'linux')[0].cause)\n"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path), str(ROOT)], capture_output=True, text=True
    )
    assert "no Tk here" in result.stdout, result.stderr
