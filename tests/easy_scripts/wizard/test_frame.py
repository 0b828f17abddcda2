"""The frame: rows, errors, ways forward and back, keys, draft, place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from tkinter import ttk

import pytest
from demo import make_plan
from tool_hands import LORA

from easy_scripts.wizard import window
from easy_scripts.wizard.asking import Asking

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def robot(open_robot):
    return open_robot(make_plan())


def message(robot, name):
    """What stands under the field of a row, and whether in red."""
    label = robot.page.rows[name]._message
    return (label.cget("text"), str(label.cget("style"))) if label.winfo_ismapped() else None


def test_each_declaration_has_the_field_that_suits_it(robot):
    kinds = {name: type(row).__name__ for name, row in robot.page.rows.items()}
    assert kinds == {
        "source": "PathRow", "place": "PathRow", "size": "NumberRow", "strength": "NumberRow",
        "title": "TextRow", "mode": "ChoiceRow", "twice": "SwitchRow", "again": "NumberRow",
        "inner": "NumberRow",
    }  # fmt: skip
    assert "The size, 1 to 64." in robot.seen()


def test_a_tip_says_what_is_usual_and_what_goes_wrong_but_not_the_help_again(robot):
    rows = robot.page.rows
    assert rows["size"].tip().split("\n") == [
        "Usual: 4 to 48.", "Too low: It is hard to see.", "Too high: It fills the disk.",
        "It cannot be undone.", "size · possible: 1 to 64 · default: 32",
    ]  # fmt: skip
    assert [rows[name].tip() for name in ("strength", "twice", "mode", "title")] == [
        "strength · possible: 0 to 1", "twice · default: off", "mode · default: quick", "title",
    ]  # fmt: skip


def test_a_value_outside_what_is_usual_has_a_quiet_note_once_it_is_typed(robot):
    assert message(robot, "size") is None
    robot.fill("size", "60")
    assert message(robot, "size") is None, "what is half typed is not judged"
    robot.until(lambda: message(robot, "size"))
    too_high = ("Higher than usual (4 to 48). It fills the disk.", "Muted.TLabel")
    assert message(robot, "size") == too_high
    robot.page.rows["title"].focus()
    robot.pump()
    assert message(robot, "size") == too_high, "checking the value leaves the note"
    assert robot.page.rows["size"].tip().split("\n") == [
        "Too low: It is hard to see.", "It cannot be undone.",
        "size · possible: 1 to 64 · default: 32",
    ], "the tip does not say the same again"  # fmt: skip
    robot.fill("size", "99")
    robot.press("<Alt-n>")
    assert message(robot, "size")[1] == "Error.TLabel" and robot.page.name == "size"
    robot.fill("size", "2")
    robot.until(lambda: message(robot, "size") == ("Lower than usual (4 to 48). It is hard to see.",
                                                   "Muted.TLabel"))  # fmt: skip
    robot.fill("size", "12")
    robot.until(lambda: message(robot, "size") is None)


def test_a_tip_comes_where_the_pointer_rests(robot):
    label = robot.page.rows["size"].label
    label.event_generate("<Enter>", x=3, y=3)

    def shown():
        tips = [w for w in robot.root.winfo_children() if type(w).__name__ == "RestingTip"]
        return [w for w in tips if w.winfo_viewable() and "4 to 48" in w.msg_var.get()]

    robot.until(shown, "the tip is shown")
    (tip,), row = shown(), robot.page.rows["size"].frame
    gap = tip.winfo_rooty() - (row.winfo_rooty() + row.winfo_height())
    assert 0 <= gap <= 10, "it leaves its own row free"
    assert tip.winfo_rootx() == row.winfo_rootx()
    label.event_generate("<Leave>", x=3, y=3)
    robot.pump()
    assert not shown()


def test_a_tip_is_above_its_row_where_below_there_is_no_room(robot):
    row = robot.page.rows["size"].frame
    screen = robot.root.winfo_screenheight()
    drop = screen - 8 - (row.winfo_rooty() + row.winfo_height())
    robot.root.geometry(f"+{robot.root.winfo_x()}+{robot.root.winfo_y() + drop}")
    robot.until(lambda: screen - row.winfo_rooty() - row.winfo_height() < 12)
    robot.page.rows["size"].label.event_generate("<Enter>", x=3, y=3)

    def shown():
        tips = [w for w in robot.root.winfo_children() if type(w).__name__ == "RestingTip"]
        return [w for w in tips if w.winfo_viewable()]

    robot.until(shown, "the tip is shown")
    bottom = shown()[0].winfo_rooty() + shown()[0].winfo_height()
    assert row.winfo_rooty() - 10 <= bottom <= row.winfo_rooty()


@pytest.mark.skipif(sys.platform == "win32", reason="the picture is taken from the virtual screen")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_barred_tool_is_grey_text_and_no_button(open_robot, monkeypatch, theme):
    from PIL import ImageGrab

    monkeypatch.setenv("EASY_LORA_THEME", theme)
    robot = open_robot(make_plan())
    button = ttk.Button(robot.page.frame.body, text="", style="Toolbutton", width=8)
    button.pack(before=robot.page.frame.body.pack_slaves()[0])
    colours = {}
    for state in ("disabled", "!disabled"):
        button.state([state])
        robot.pump(0.2)
        x, y = button.winfo_rootx(), button.winfo_rooty()
        box = (x, y, x + button.winfo_width(), y + button.winfo_height())
        picture = ImageGrab.grab(box, xdisplay=os.environ["DISPLAY"]).convert("RGB")
        colours[state] = {colour for _, colour in picture.getcolors()}
    assert colours["disabled"] == colours["!disabled"] and len(colours["disabled"]) == 1
    style = ttk.Style(robot.root)
    grey, usual = (style.lookup("Toolbutton", "foreground", [state]) for state in ("disabled", ""))
    assert grey == style.lookup("TButton", "foreground", ["disabled"]) != usual


def test_an_error_stands_in_red_under_the_field_and_bars_only_the_way_forward(robot):
    robot.press("<Alt-n>")
    assert robot.page.name == "save"
    robot.press("<Alt-b>")
    robot.fill("size", "99")
    robot.press("<Alt-n>")
    text, style = message(robot, "size")
    assert robot.page.name == "size"
    assert text == "99 is out of range: it must be between 1 and 64." and style == "Error.TLabel"
    assert robot.root.focus_get() is robot.page.rows["size"].input()
    robot.fill("size", "12")
    assert message(robot, "size") is None, "a mended error goes at once"
    robot.press("<Return>")
    assert robot.page.name == "save"
    robot.fill("last", "")
    robot.press("<Alt-b>")
    assert robot.page.name == "size"


def test_settings_are_checked_together_too(robot):
    robot.fill("size", "3")
    robot.fill("title", "long")
    robot.click("Next")
    assert message(robot, "title") == ("The title is longer than the size. Shorten it.",
                                       "Error.TLabel")  # fmt: skip


def test_a_path_is_understood_as_it_is_pasted(robot, tmp_path):
    file = tmp_path / "with space & ü.safetensors"
    file.write_bytes(b"")
    field = robot.page.rows["source"].input()
    field.focus_force()
    robot.root.clipboard_clear()
    robot.root.clipboard_append(f' "{file}" ')
    robot.press("<<Paste>>")
    assert field.get() == str(file)
    robot.page.rows["size"].input().focus_force()
    robot.click("Next")
    assert robot.page.name == "save"
    assert robot.wizard.memory.recent("source") == [str(file)]


def test_a_missing_file_is_told_before_going_on(robot, tmp_path):
    robot.page.rows["source"].variable.set(str(tmp_path / "gone.safetensors"))
    robot.click("Next")
    assert robot.page.name == "size"
    assert message(robot, "source")[0].startswith("There is no file")


def test_dropped_and_chosen_files_arrive(robot, tmp_path, monkeypatch):
    file = tmp_path / "a {b} c.safetensors"
    file.write_bytes(b"")
    row = robot.page.rows["source"]
    monkeypatch.setattr(row, "choose", lambda: str(file))
    robot.click("Browse…")
    assert robot.wizard.answers["source"] == str(file)
    if not robot.wizard.drops:
        pytest.skip("there is no tkdnd for this system")
    row.variable.set("")
    drop(robot, row, str(file))
    assert robot.wizard.answers["source"] == str(file)
    drop(robot, robot.page.rows["place"], str(file))
    assert robot.wizard.answers["place"] == str(tmp_path), "a file stands for its folder"


def test_a_path_that_the_system_cannot_look_at_is_not_there(robot, tmp_path):
    for name, told in (("source", "There is no file"), ("place", "There is no folder")):
        row = robot.page.rows[name]
        row.variable.set(str(tmp_path / ("a" * 5000)))
        assert not row.check() and row._error.startswith(told)
        assert row._start_folder() == str(tmp_path)


def drop(robot, row, *paths):
    """Let files fall on the field of a row."""
    command = robot.root.tk.call("bind", row.input(), "<<Drop:DND_Files>>")
    robot.root.tk.call(str(command).split()[0], robot.root.tk.call("list", *paths))
    robot.pump()


def test_a_row_comes_and_goes_with_the_setting_it_depends_on(robot):
    assert not robot.page.rows["again"].frame.winfo_ismapped()
    robot.click(robot.page.rows["twice"].input())
    assert robot.page.rows["again"].frame.winfo_ismapped()
    assert robot.wizard.answers["twice"] is True
    robot.fill("again", "x")
    robot.click(robot.page.rows["twice"].input())
    robot.click("Next")
    assert robot.page.name == "save", "what is not shown cannot be wrong"


def test_the_fold_opens_where_something_in_it_is_wrong(robot):
    robot.wizard.answers["inner"] = "77"
    assert not robot.page.rows["inner"].frame.winfo_ismapped()
    robot.click("Next")
    robot.pump()
    assert robot.page.rows["inner"].frame.winfo_ismapped()
    assert "77 is out of range" in message(robot, "inner")[0]


def test_tab_reaches_every_field_and_button(robot):
    wanted = {str(row.input()) for name, row in robot.page.rows.items()
              if name not in ("again", "inner")}  # fmt: skip
    wanted |= {str(robot.wizard.footer.next), str(robot.wizard.footer.cancel)}
    reached, widget = set(), robot.page.rows["source"].input()
    for _ in range(40):
        reached.add(str(widget))
        widget = widget.tk_focusNext()
    assert wanted <= reached


def test_the_keyboard_alone_is_seen_where_it_is(robot):
    """A field that gets the keyboard is scrolled into view."""
    for row in robot.page.rows.values():
        if row.shown and row.frame.winfo_ismapped():
            row.input().focus_force()
            robot.pump()
            top = row.input().winfo_rooty()
            assert robot.wizard._holder.winfo_rooty() <= top
            assert top + row.input().winfo_height() <= robot.wizard.footer.winfo_rooty()


def test_the_mouse_wheel_over_a_field_scrolls_and_does_not_change_it(robot):
    field = robot.page.rows["size"].input()
    field.event_generate("<Button-5>", x=5, y=5)
    field.event_generate("<MouseWheel>", delta=-120)
    robot.pump()
    assert robot.wizard.answers["size"] == 32


def test_nothing_is_cut_off_on_a_small_screen(robot):
    root = robot.root
    assert root.winfo_rooty() + root.winfo_height() <= 768
    right = root.winfo_rootx() + root.winfo_width()
    for button in (robot.wizard.footer.next, robot.wizard.footer.cancel):
        assert button.winfo_rootx() + button.winfo_width() <= right
    for widget in robot.widgets(robot.page.frame.body):
        if isinstance(widget, ttk.Label):
            assert widget.winfo_reqwidth() <= widget.winfo_width() + 1, widget.cget("text")


@pytest.mark.parametrize("how", ["<Escape>", "cross", "button"])
def test_without_work_the_window_closes_unasked_and_the_entries_are_offered_next_time(
    open_robot, how
):
    first = open_robot(make_plan())
    first.fill("title", "my title")
    if how == "cross":
        first.root.tk.call(first.root.protocol("WM_DELETE_WINDOW"))
    elif how == "button":
        first.click("Cancel")
    else:
        first.press(how)
    assert not first.open
    second = open_robot(make_plan())
    assert second.wizard.answers["title"] is None
    assert "Your entries from last time were kept." in second.seen()
    second.click("Use them again")
    assert second.wizard.answers["title"] == "my title"
    assert second.page.rows["title"].input().get() == "my title"
    assert "were kept" not in second.seen()


def test_the_draft_is_on_the_disk_soon_after_typing(robot, memory_folder):
    robot.fill("title", "abc")
    robot.pump(0.6)
    kept = json.loads((memory_folder / "resize.json").read_text(encoding="utf-8"))
    assert kept["draft"] == {"title": "abc"}


def test_size_and_place_are_remembered_and_kept_on_the_screen(open_robot, memory_folder):
    first = open_robot(make_plan())
    first.root.geometry("900x600+77+55")
    first.pump(0.2)
    first.press("<Escape>")
    second = open_robot(make_plan())
    assert (second.root.winfo_width(), second.root.winfo_height()) == (900, 600)
    second.press("<Escape>")
    kept = json.loads((memory_folder / "resize.json").read_text(encoding="utf-8"))
    kept["place"] = [5000, 4000, 9000, 9000]  # a screen that is gone
    (memory_folder / "resize.json").write_text(json.dumps(kept), encoding="utf-8")
    third = open_robot(make_plan())
    root = third.root
    assert root.winfo_x() + root.winfo_width() <= 1366
    assert root.winfo_y() + root.winfo_height() <= 768


@pytest.mark.parametrize("content", ["", "[1]", '{"draft": 3, "place": "x", "recent": []}'])
def test_a_damaged_memory_is_passed_over(open_robot, memory_folder, content):
    memory_folder.mkdir()
    (memory_folder / "resize.json").write_text(content, encoding="utf-8")
    robot = open_robot(make_plan())
    assert robot.page.name == "size"


def test_light_and_dark_follow_the_system(robot, monkeypatch):
    before = robot.wizard.theme.colours
    monkeypatch.setenv("EASY_LORA_THEME", "dark")
    robot.wizard.theme.follow_system()
    robot.pump()
    after = robot.wizard.theme.colours
    style = ttk.Style(robot.root)
    assert before.background != after.background
    assert style.theme_use() == "sun-valley-dark"
    assert style.lookup("TLabel", "foreground") == after.text
    assert str(robot.page.frame._canvas.cget("background")) == after.background


@pytest.mark.parametrize("scale", [100, 150, 200, 300])
def test_everything_grows_with_the_scale_of_the_screen(open_robot, monkeypatch, scale):
    monkeypatch.setenv("EASY_LORA_SCALE", str(scale))
    robot = open_robot(make_plan())
    factor = scale / 100
    switch = robot.page.rows["twice"].input()
    assert switch.winfo_reqwidth() >= 46 * factor
    assert robot.page.rows["size"].input().winfo_reqheight() >= 24 * factor
    assert robot.root.winfo_width() <= 1366 and robot.root.winfo_height() <= 768
    button = robot.wizard.footer.next
    assert button.winfo_rootx() + button.winfo_width() <= 1366, "the buttons stay on the screen"
    assert robot.root.tk.call("tk", "scaling") == pytest.approx(factor * 96 / 72, rel=0.01)


def test_it_opens_at_once_and_loads_nothing_heavy(screen, tmp_path):
    """Its own work, in processor time so that a busy machine does not count."""
    program = """
import sys, time
began = time.process_time()
from easy_scripts import resize
from easy_scripts.wizard import remembered, window
from pathlib import Path
remembered.memory_folder = lambda: Path(sys.argv[1])
wizard = window.open_wizard(resize.PLAN)
wizard.root.update()
print(time.process_time() - began, *({"torch", "numpy", "PIL"} & set(sys.modules)))
"""
    times = []
    for _ in range(3):
        output = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True, timeout=60,
            capture_output=True, text=True, env={**os.environ, "EASY_LORA_SCALE": "100"},
        ).stdout.split()  # fmt: skip
        times.append(float(output[0]))
        assert output[1:] == []
    assert min(times) < 0.4, times


def test_an_error_of_ours_is_told_once_also_where_logs_cannot_be_written(
    open_robot, tmp_path, monkeypatch
):
    (tmp_path / "logs").write_bytes(b"a file where the folder should be")
    monkeypatch.setattr(window, "LOG_FOLDER", tmp_path / "logs")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    robot = open_robot(make_plan())
    asked = robot.answer(0)
    for _ in range(3):
        try:
            raise ValueError("made up")
        except ValueError as error:
            robot.wizard._tell_bug(type(error), error, error.__traceback__)
    (log,) = (tmp_path / "temporary" / "easy_lora_logs").iterdir()
    assert len(asked()) == 1 and f"What happened is written in {log}." in asked()[0]
    assert "ValueError: made up" in log.read_text(encoding="utf-8")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "logs" / "below a file"))
    asked = robot.answer(0)
    try:
        raise KeyError("another")
    except KeyError as error:
        robot.wizard._tell_bug(type(error), error, error.__traceback__)
    assert "There is no log of it" in asked()[0]


def test_an_answer_comes_although_what_wanted_it_early_has_failed(robot):
    def fail(_):
        raise RuntimeError("made up")

    told, answers = [], []
    robot.root.report_callback_exception = lambda kind, error, trace: told.append(str(error))
    asking = Asking(robot.wizard, "scripts.inspect_lora")
    asking.ask([str(LORA)], answers.append, early=fail)
    robot.until(lambda: answers, "the answer has come")
    assert told == ["made up"] and not asking.busy
    assert answers[0].facts["family"] == "sd1"
