"""The window of set-up: plan, progress, problem, the last line, stopping."""

from __future__ import annotations

import sys
import time
import tkinter
from functools import partial
from pathlib import Path
from tkinter import ttk

import pytest
from virtual_screen import needs_letters, virtual_screen

from easy_scripts.install import installer_window, setup_window
from easy_scripts.install.kinds import NOT_USED, Gpu, Graphics
from easy_scripts.install.make_environment import NothingFits, Wishes, unused_card
from easy_scripts.launcher.judge import Judgement, State
from easy_scripts.launcher.project import Project, write_json
from easy_scripts.wizard import doctor_dialog
from easy_scripts.wizard.child import Ended, LogLine
from scripts.core.errors import SuiteError
from scripts.core.events import Note, Problem, Stage

PLAN = (
    "No NVIDIA or Intel Arc graphics card was found: training will run on the processor, hours "
    "where a graphics card takes minutes. PyTorch for the processor (no graphics card) is used. "
    "About 0.5 GB to download, 2 GB on the disk."
)


class ScriptedChild:
    """Stands in for the child process: gives what the test puts into `coming`."""

    def __init__(self, module, arguments, folder, python):
        self.python = python
        self.command, self.coming, self.asked = (module, arguments), [], []

    def messages(self):
        coming, self.coming = self.coming, []
        return coming

    def ask(self, request):
        self.asked.append(request)


def until(window, condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        window.root.update()
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def english(monkeypatch):
    monkeypatch.setenv("EASY_LORA_LANGUAGE", "en")


@pytest.fixture
def window(screen, tmp_path, monkeypatch):
    monkeypatch.setattr(setup_window, "Child", ScriptedChild)
    monkeypatch.setattr(setup_window, "describe_plan", lambda project, wishes: "About 3 GB.")
    window = setup_window.SetupWindow(tkinter.Tk(), Project(tmp_path), ["--no-bake"])
    yield window
    if window.root.tk.call("info", "commands", "."):
        window.root.destroy()


@pytest.fixture
def running(window):
    until(window, lambda: not window.start.instate(["disabled"]))
    window.start.invoke()
    return window


def test_it_first_says_what_it_will_do(window):
    until(window, lambda: window.notes["text"] == "About 3 GB.")
    assert not window.start.instate(["disabled"])


def test_the_plan_warns_of_a_folder_in_onedrive(screen, tmp_path, monkeypatch):
    monkeypatch.setenv("EASY_LORA_LANGUAGE", "ja")
    project = Project(tmp_path / "OneDrive" / "EasyLoRA")
    window = setup_window.SetupWindow(tkinter.Tk(), project, [])
    until(window, lambda: not window.start.instate(["disabled"]))
    assert "OneDrive か Dropbox" in window.notes["text"], window.notes["text"]
    window.close()


def test_it_shows_how_it_goes_and_the_last_line(running):
    child = running._child
    assert child.command == ("easy_scripts", ["setup", "--no-bake", "--events"])
    assert not Path(child.python).is_relative_to(sys.prefix) or sys.prefix == sys.base_prefix
    child.coming = [Stage("Downloading torch, MB", 25, 100), LogLine("Collecting torch")]
    until(running, lambda: "Collecting torch" in running.log.get("1.0", "end"))
    assert running.stage["text"] == "Downloading torch"
    assert float(running.bar["value"]) == 25 and running.time["text"] == "25 of 100 MB"
    child.coming = [Note("Ready: the processor, 8-bit optimisers yes."), Ended(0)]
    until(running, lambda: running.leave["text"] == "Close")
    assert running.notes["text"].startswith("Ready:") and running.code == 0
    assert running.stage["text"] == "Easy LoRA is ready."


@pytest.mark.parametrize("code", [0, 1])
def test_afterwards_the_training_wizard_can_be_opened(running, monkeypatch, code):
    opened = []
    monkeypatch.setattr(setup_window, "open_window", lambda *given: opened.append(given) or code)
    running._child.coming = [Ended(0)]
    until(running, running.onward.winfo_manager)
    running.onward.invoke()
    until(running, lambda: opened and (code == 0 or running.problem["text"]))
    assert opened[0][1:3] == ("easy_scripts.window", ["train"])


def test_a_problem_can_be_read_and_tried_again(running):
    running._child.coming = [Problem("The disk is full. Make room."), Ended(1)]
    until(running, lambda: running.start["text"] == "Try again")
    assert running.problem["text"] == "The disk is full. Make room." and running.code == 1
    running.start.invoke()
    assert running.problem["text"] == "" and running._child is not None


def test_stopping_asks_the_child_and_waits_for_it(running):
    child = running._child
    running.leave.invoke()
    assert child.asked == ["stop"]
    child.coming = [Stage("Installing PyTorch 2.13.0"), LogLine("still at it")]
    until(running, lambda: "still at it" in running.log.get("1.0", "end"))
    assert running.stage["text"] == "Stopping as soon as it is safe…"
    child.coming = [Ended(2)]
    until(running, lambda: running.leave["text"] == "Close")
    assert running.code == 2


def test_without_its_bake_it_can_be_used_all_the_same(running, monkeypatch):
    """The tool that opened this window need not wait for the bake."""
    monkeypatch.setattr(setup_window, "judge", lambda project: Judgement(State.WHOLE, "", {}))
    running._reason = "Easy LoRA has not been set up in this folder yet."
    running._child.coming = [Note("The practice bake was stopped; everything is set up."), Ended(2)]
    until(running, running.onward.winfo_manager)
    assert running.stage["text"].startswith("Easy LoRA can be used")
    running.onward.invoke()
    assert running.code == 0
    with pytest.raises(tkinter.TclError):
        running.root.winfo_exists()


def test_a_machine_that_nothing_fits_is_told(screen, tmp_path, monkeypatch):
    def refuse(project, wishes):
        raise NothingFits("Install NVIDIA's driver 580 or later.")

    monkeypatch.setattr(setup_window, "describe_plan", refuse)
    monkeypatch.setattr(setup_window, "Child", ScriptedChild)
    window = setup_window.SetupWindow(tkinter.Tk(), Project(tmp_path), [])
    until(window, lambda: "driver 580" in window.problem["text"])
    until(window, window.processor.winfo_ismapped)
    window.processor.invoke()
    assert window._child.command[1] == ["setup", "--events", "--kind", "cpu"]
    window._child.coming = [Ended(2)]
    until(window, lambda: window._child is None)
    window.close()


def test_a_card_that_can_be_used_by_now_is_offered(screen, tmp_path, monkeypatch):
    project = Project(tmp_path)
    write_json(project.plan, {"asked": "cpu"})
    rtx = Graphics((Gpu("NVIDIA GeForce RTX 3060", (8, 6)),), (13, 0))
    wishes = partial(Wishes, detect=lambda: rtx)
    monkeypatch.setattr(setup_window, "Wishes", wishes)
    monkeypatch.setattr(setup_window, "Child", ScriptedChild)
    monkeypatch.setattr(setup_window, "describe_plan", lambda project, wishes: "About 3 GB.")
    window = setup_window.SetupWindow(tkinter.Tk(), project, [])
    until(window, window.card.winfo_ismapped)
    assert window.notes["text"] == (
        "About 3 GB.\n\nNVIDIA GeForce RTX 3060 was found, and its driver knows CUDA 13.0. But the "
        "processor was asked for, and set-up remembers that."
    )
    window.card.invoke()
    assert window._child.command[1] == ["setup", "--events", "--kind", "auto"]
    assert not window.card.winfo_manager()
    window._child.coming = [Ended(2)]
    until(window, lambda: window._child is None)
    window.close()
    old = Graphics(rtx.gpus, (11, 0))
    assert unused_card(project, Wishes(detect=lambda: old)) == "", "its driver is still too old"
    assert unused_card(project, Wishes(detect=Graphics)) == ""
    write_json(project.plan, {"asked": "auto"})
    assert unused_card(project, wishes()) == ""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ZeroDivisionError("ours"), "This is an error of Easy LoRA; please send the log file"),
        (PermissionError(13, "Access is denied", "C:\\x"), "C:\\x cannot be written: access"),
        (
            FileNotFoundError(2, "No such file or directory", "C:/nvidia-smi.exe"),
            "This could not go on: [Errno 2] No such file or directory: 'C:/nvidia-smi.exe'. Try",
        ),
    ],
)
def test_whatever_ends_a_thread_is_told(screen, tmp_path, monkeypatch, error, told):
    def fail(*_):
        raise error

    monkeypatch.setattr(setup_window, "describe_plan", fail)
    window = setup_window.SetupWindow(tkinter.Tk(), Project(tmp_path), [])
    until(window, lambda: told in window.problem["text"])
    monkeypatch.setattr(doctor_dialog, "examine", lambda *_, **__: fail())
    window.doctor.invoke()
    [dialog] = [w for w in window.root.winfo_children() if isinstance(w, tkinter.Toplevel)]
    until(window, lambda: any(told in str(w.cget("text")) for w in widgets(dialog)
                              if isinstance(w, ttk.Label)))  # fmt: skip
    dialog.destroy()
    window.close()
    logs = [path.read_text() for path in (tmp_path / "logs").glob("window-*.log")]
    assert all(f"{type(error).__name__}: {error}" in log for log in logs)
    assert bool(logs) != isinstance(error, PermissionError)
    monkeypatch.setattr(installer_window, "payload", fail)
    monkeypatch.setattr(installer_window.tempfile, "gettempdir", lambda: str(tmp_path / "temp"))
    installer = installer_window.InstallerWindow(tkinter.Tk(), tmp_path / "a")
    installer.button.invoke()
    until(installer, lambda: told in installer.message["text"])
    assert installer.code == 1
    installer.root.destroy()


def test_the_window_of_the_installer(screen, tmp_path, monkeypatch):
    unpacked, done = [], []
    monkeypatch.setattr(installer_window, "payload", lambda: tmp_path)
    monkeypatch.setattr(installer_window, "make_entries", lambda *given: done.append(given))
    monkeypatch.setattr(installer_window, "start_setup", done.append)

    def unpack(packed, folder):
        unpacked.append(folder)
        if len(unpacked) == 1:
            raise SuiteError("holds other files")

    monkeypatch.setattr(installer_window, "unpack", unpack)
    window = installer_window.InstallerWindow(tkinter.Tk(), tmp_path / "a")
    window.button.invoke()
    until(window, lambda: window.message["text"] == "holds other files")
    assert not done and window.code == 1
    window.folder.set(str(tmp_path / "OneDrive" / "b"))
    assert "OneDrive" in window.notice["text"]
    window.folder.set(str(tmp_path / "b"))
    assert window.notice["text"] == ""
    window.desktop.set(True)
    window.button.invoke()
    until(window, lambda: window.code == 0)
    assert unpacked == [tmp_path / "a", tmp_path / "b"]
    assert done == [(tmp_path / "b", True, True), tmp_path / "b"]
    with pytest.raises(tkinter.TclError):
        window.root.winfo_exists()  # the window has closed


def widgets(parent):
    for child in parent.winfo_children():
        if child.winfo_ismapped():
            yield child
            yield from widgets(child)


def assert_whole(root, what):
    """Nothing on the window is cut off, and the window is on the screen."""
    root.update()
    for widget in widgets(root):
        if isinstance(widget, ttk.Label | ttk.Button | ttk.Checkbutton):
            text = (what, widget.cget("text"))
            assert widget.winfo_reqwidth() <= widget.winfo_width() + 1, text
            assert widget.winfo_reqheight() <= widget.winfo_height() + 1, text
    assert root.winfo_width() <= root.winfo_screenwidth()
    assert root.winfo_height() <= root.winfo_screenheight()


LONG = Problem(
    "PyTorch could not be installed. The disk is full. Make room on the drive that Easy "
    "LoRA lies on. Then start again: set-up goes on where it stopped. Log: C:\\x.log"
)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    ("scale", "size"), [(100, (1366, 768)), (150, (1920, 1080)), (200, (2732, 1536)),
                        (300, (3840, 2160))],
)  # fmt: skip
def test_nothing_is_cut_off_at_any_scale(tmp_path, monkeypatch, language, scale, size):
    monkeypatch.setenv("EASY_LORA_LANGUAGE", language)
    monkeypatch.setenv("EASY_LORA_SCALE", str(scale))
    monkeypatch.setattr(setup_window, "Child", ScriptedChild)
    monkeypatch.setattr(setup_window, "describe_plan", lambda project, wishes: PLAN)
    with virtual_screen(*size):
        window = setup_window.SetupWindow(tkinter.Tk(), Project(tmp_path), [])
        needs_letters(window.root, language)
        until(window, lambda: not window.start.instate(["disabled"]))
        assert_whole(window.root, "plan")
        width = window.root.winfo_width()
        window._unused = f"NVIDIA GeForce RTX 3060 was found. {NOT_USED}"
        window._show_plan(f"{PLAN}\n\n{window._unused}")
        assert_whole(window.root, "card")
        window.card.pack_forget()
        window._show_refusal(LONG.message)
        assert_whole(window.root, "refusal")
        assert window.bar.winfo_reqwidth() >= 560 * scale / 100
        window._use("cpu")
        window._child.coming = [Stage("Downloading torch, MB", 25, 2500), Note("A note.")]
        until(window, lambda: "2500" in window.time["text"])
        assert_whole(window.root, "progress")
        jump = abs(window.root.winfo_width() - width)
        assert jump <= 0.05 * scale, "a line may stick out by a few pixels"
        window._child.coming = [LONG, Ended(1)]
        until(window, lambda: window._child is None)
        assert_whole(window.root, "problem")
        window.run()
        window._child.coming = [Note("Ready: the processor, 8-bit optimisers yes."), Ended(0)]
        until(window, lambda: window._child is None)
        assert_whole(window.root, "ready")
        window.close()
        installer = installer_window.InstallerWindow(tkinter.Tk(), tmp_path / "OneDrive")
        installer.message["text"] = installer.texts.said(f"{tmp_path} holds other files. Choose a "
                                                         "folder.")  # fmt: skip
        assert_whole(installer.root, "installer")
        installer.root.destroy()
