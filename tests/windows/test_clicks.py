"""Double-clicks and drops: what stays readable, and that nothing else is started.

After a double-click, the command line of cmd names the file; here, too, in a variable.
"""

from __future__ import annotations

import shutil

import pytest
from wine_pc import BAT_FILES, ROOT, last_call

pytestmark = pytest.mark.slow

PAUSE = "Press any key"
AND = ["&", "echo", "IT WENT ON"]  # as cmd takes the rest of a dropped file called a&echo.pt


def click(name, rest=""):
    """The command line of cmd after a double-click, or a drop of what stands in `rest`.

    Without its inner quotes, which Wine's cmd cannot compare.
    """
    return f"C:\\Windows\\system32\\cmd.exe /c C:\\Easy LoRA\\{name} {rest}"


@pytest.fixture
def ready(computer):
    """A PC on which set-up has run, with a Python on PATH."""
    computer.put(computer.project / ".venv" / "Scripts" / "python.exe")
    computer.put(computer.folder / "bin" / "python.exe")
    return computer


@pytest.mark.parametrize("name", BAT_FILES)
@pytest.mark.parametrize("code", ["0", "2", "1"])
def test_a_failure_stays_readable_after_a_double_click(ready, name, code):
    """0 is done and 2 was stopped: what has gone well leaves no black window."""
    ended, calls, shown = ready.start(name, *AND, STUB_CODE=code, CMDCMDLINE=click(name))
    assert ended == int(code)
    assert (PAUSE in shown) == (code == "1")
    assert "WENT ON" not in shown, "cmd must not run the rest of a dropped file's name"
    assert last_call(calls).variables["EASY_LORA_CLICKED"] == name


def test_in_a_console_nothing_waits_and_the_console_goes_on(ready):
    _, calls, shown = ready.start("lora_merge.bat", *AND, STUB_CODE="1")
    assert PAUSE not in shown and "WENT ON" in shown
    assert "EASY_LORA_CLICKED" not in last_call(calls).variables


@pytest.mark.parametrize("options", [["--config", "x.toml"], ["C:\\a b.pt", "--dim", "4"]])
def test_a_program_that_gives_options_is_no_double_click(ready, options):
    """Programs and PowerShell start a .bat file by the same command line as Explorer does."""
    name = "run_training.bat"
    line = click(name, " ".join(options))
    ended, calls, shown = ready.start(name, *options, STUB_CODE="1", CMDCMDLINE=line)
    assert ended == 1 and PAUSE not in shown
    assert "EASY_LORA_CLICKED" not in last_call(calls).variables
    assert last_call(calls).arguments[1:] == ["train", *options]


def test_a_dash_within_a_name_is_no_option(ready):
    name, files = "lora_resize.bat", ["C:\\OneDrive - Firma\\-a.pt", "C:\\b's.pt", "C:\\(c) -d.pt"]
    _, calls, _ = ready.start(name, *files, CMDCMDLINE=click(name))
    call = last_call(calls)
    assert call.variables["EASY_LORA_CLICKED"] == name and call.arguments[2:] == files


def test_quotes_within_an_option_break_nothing(ready):
    """As in --output_name="Tom & Ann"; Wine's start hands quotes on as \\", so from a file."""
    driver = ready.project / "driver.bat"
    driver.write_bytes(b'@run_training.bat --output_name="Tom & Ann" "b & c.pt"\r\n')
    ended, calls, shown = ready.start(driver.name, STUB_CODE="5")
    assert ended == 5, shown
    assert last_call(calls).arguments[1:] == ["train", "--output_name=Tom & Ann", "b & c.pt"]


def test_the_command_line_of_a_double_click_is_passed_on(ready):
    """Python reads the dropped files from it."""
    line = 'C:\\Windows\\cmd.exe /c ""C:\\Easy LoRA\\setup.bat" C:\\a&b.txt "C:\\c d.txt""'
    _, calls, _ = ready.start("setup.bat", CMDCMDLINE=line)
    assert last_call(calls).variables["EASY_LORA_LINE"] == line


@pytest.mark.parametrize("name", BAT_FILES)
@pytest.mark.parametrize("clicked", [True, False])
def test_a_bat_file_started_alone_says_that_the_zip_must_be_unpacked(computer, name, clicked):
    alone = computer.folder / "Temp1_easy_lora.zip"
    alone.mkdir()
    shutil.copy(ROOT / name, alone)
    line = {"CMDCMDLINE": click(name)} if clicked else {}
    code, calls, shown = computer.start(name, *AND, folder=alone, **line)
    assert calls == [] and "Extract all" in shown
    assert (PAUSE in shown) == clicked and ("WENT ON" in shown) != clicked
    assert code == 1 or not clicked


@pytest.mark.parametrize("clicked", [True, False])
def test_without_a_python_too(computer, clicked):
    line = {"CMDCMDLINE": click("setup.bat")} if clicked else {}
    _, calls, shown = computer.start("setup.bat", *AND, **line)
    assert calls == [] and "Python could not be fetched" in shown
    assert (PAUSE in shown) == clicked and ("WENT ON" in shown) != clicked
