"""The doctor's window: in every wizard's error window, on the page of the work, and in set-up's."""

from __future__ import annotations

import threading
import tkinter
from tkinter import ttk

import pytest
from demo import make_plan

from easy_scripts.install import setup_window
from easy_scripts.install.doctor import RUN_SETUP, Examination
from easy_scripts.install.place_checks import Finding
from easy_scripts.launcher.project import Project
from easy_scripts.wizard import doctor_dialog, window
from scripts.core.errors import SuiteError

FACTS = [("Graphics", "NVIDIA GeForce RTX 3060 (12 GB)")]
BROKEN = Finding("packages", "The files of torch are not whole: x.dll.", RUN_SETUP, by_setup=True)
FULL = Finding("disk", "There is too little room.", "Make room and start again.")
HINT = Finding("memory", "The computer has 8 GB of memory.", "Close others.", problem=False)


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    """A doctor that finds what the test puts into `findings`, or cannot look."""

    class Doctor:
        findings = ()
        may_look = threading.Event()
        reports = Project(tmp_path / "project")

        def __init__(self):
            self.opened = []

        def examine(self, project, with_windows):
            assert with_windows is False, "Tk must stay in its own thread"
            assert self.may_look.wait(20)
            if self.findings is None:
                raise SuiteError("Another set-up is already running in this folder.")
            return Examination(FACTS, list(self.findings))

    doctor = Doctor()
    doctor.may_look.set()
    monkeypatch.setattr(doctor_dialog, "examine", doctor.examine)
    monkeypatch.setattr(doctor_dialog, "Project", lambda: doctor.reports)
    monkeypatch.setattr(doctor_dialog, "open_file", doctor.opened.append)
    return doctor


def ended(robot):
    """Whether the doctor has looked at everything."""
    return any(text in robot.seen() for text in ("in order", "mended", "could not look"))


@pytest.fixture
def failed(open_robot, doctor):
    """A function: a wizard whose work ended by a bug, and the doctor asked about it."""

    def fail(*findings):
        doctor.findings = findings
        robot = open_robot(make_plan(), {"mode": "bug"})
        robot.press("<Return>")
        robot.press("<Alt-s>")
        robot.until(lambda: not robot.page.busy)
        doctor.may_look.clear()
        robot.click("What is wrong?")
        assert "The doctor is looking at everything" in robot.seen()
        doctor.may_look.set()
        robot.until(lambda: ended(robot))
        return robot

    return fail


def test_on_the_page_of_the_work_it_tells_cause_and_remedy(failed, doctor):
    robot = failed(BROKEN, FULL, HINT)
    seen = robot.seen()
    for text in ("2 things should be mended.", BROKEN.cause, "“Mend” puts this in order.",
                 FULL.cause, FULL.remedy, "Worth knowing", HINT.cause, HINT.remedy):  # fmt: skip
        assert text in seen, text
    assert "python -m" not in seen, "nobody here has a command line"
    assert "RTX 3060" not in seen
    robot.click("▸  What there is")
    assert "Graphics: NVIDIA GeForce RTX 3060 (12 GB)" in robot.seen()
    [report] = (doctor.reports.root / "logs").glob("doctor-*.txt")
    assert str(report) in robot.seen()
    robot.click("Open the report")
    assert doctor.opened == [report]
    robot.press("<Escape>")
    assert robot.open and "Worth knowing" not in robot.seen()


def test_with_nothing_to_mend_it_says_so_and_offers_nothing(failed):
    robot = failed(HINT)
    assert "Everything that is needed is in order." in robot.seen()
    assert "Mend" not in robot.seen()


def test_what_nobody_but_the_user_can_mend_has_no_button(failed):
    robot = failed(FULL)
    assert "One thing should be mended." in robot.seen()
    with pytest.raises(AssertionError):
        robot.find("Mend")


def test_mending_leaves_the_window_and_opens_setup(failed, open_robot, doctor, monkeypatch):
    opened = []
    monkeypatch.setattr(window, "open_setup", opened.append)
    robot = failed(BROKEN)
    assert "Mending closes this window and opens set-up. Your entries are kept." in robot.seen()
    robot.click("Mend")
    assert len(opened) == 1 and not robot.open
    again = open_robot(make_plan())
    assert "Your entries from last time were kept." in again.seen()


def test_a_doctor_that_cannot_look_says_why(open_robot, doctor):
    doctor.findings = None
    robot = open_robot(make_plan())
    robot.wizard.open_doctor()
    robot.until(lambda: ended(robot))
    assert "Another set-up is already running in this folder." in robot.seen()


def bug(robot, answer):
    """Let an error of ours happen in the window, and answer the question that it leads to."""
    asked = robot.answer(answer)
    try:
        raise ZeroDivisionError("ours")
    except ZeroDivisionError as error:
        robot.wizard._tell_bug(type(error), error, error.__traceback__)
    return asked()


def test_it_is_one_answer_in_the_window_that_tells_of_a_bug(
    open_robot, doctor, monkeypatch, tmp_path
):
    monkeypatch.setattr(window, "LOG_FOLDER", tmp_path)
    robot = open_robot(make_plan())
    doctor.findings = (BROKEN,)
    assert "This is an error of Easy LoRA." in bug(robot, 2)[0]
    robot.until(lambda: ended(robot))
    assert BROKEN.cause in robot.seen()
    [log] = tmp_path.glob("window-*.log")
    assert "ZeroDivisionError: ours" in log.read_text(encoding="utf-8")


def test_while_something_runs_nothing_is_mended(open_robot, doctor, monkeypatch, tmp_path):
    monkeypatch.setattr(window, "LOG_FOLDER", tmp_path)
    doctor.findings = (BROKEN,)
    robot = open_robot(make_plan(), {"mode": "long"})
    robot.press("<Return>")
    robot.press("<Alt-s>")
    robot.until(lambda: "of 300" in robot.seen())
    bug(robot, 2)
    robot.until(lambda: ended(robot))
    assert "Mending has to wait until the work has ended." in robot.seen()
    assert robot.find("Mend").instate(["disabled"])
    robot.press("<Escape>")
    assert robot.page.busy


def test_it_closes_while_it_looks(open_robot, doctor):
    doctor.may_look.clear()
    robot = open_robot(make_plan())
    robot.wizard.open_doctor()
    robot.pump()
    robot.press("<Escape>")
    doctor.may_look.set()
    robot.pump(0.2)
    assert robot.open and "The doctor" not in robot.seen()


@pytest.mark.parametrize(("language", "scale"), [("en", 100), ("ja", 100), ("en", 200)])
def test_in_setups_window_mending_is_another_run(
    screen, doctor, tmp_path, monkeypatch, language, scale
):
    monkeypatch.setenv("EASY_LORA_LANGUAGE", language)
    monkeypatch.setenv("EASY_LORA_SCALE", str(scale))
    monkeypatch.setattr(setup_window, "describe_plan", lambda project, wishes: "About 3 GB.")
    doctor.findings = (BROKEN, FULL, HINT)
    setup = setup_window.SetupWindow(tkinter.Tk(), Project(tmp_path), [])
    runs = []
    monkeypatch.setattr(setup, "run", lambda: runs.append(1))
    setup.root.deiconify()
    setup.root.update()
    setup.doctor.invoke()
    [dialog] = [w for w in setup.root.winfo_children() if isinstance(w, tkinter.Toplevel)]

    def widgets(parent):
        for child in parent.winfo_children():
            yield child
            yield from widgets(child)

    def buttons():
        return [w for w in widgets(dialog) if isinstance(w, ttk.Button)]

    mend = {"en": "Mend", "ja": "修復する(M)"}[language]
    while mend not in [button.cget("text") for button in buttons()]:
        setup.root.update()
    setup.root.update()
    for widget in widgets(dialog):
        if isinstance(widget, ttk.Label | ttk.Button) and widget.winfo_ismapped():
            assert widget.winfo_reqwidth() <= widget.winfo_width() + 1, widget.cget("text")
    next(button for button in buttons() if button.cget("text") == mend).invoke()
    assert runs == [1] and not dialog.winfo_exists()
    setup.close()
