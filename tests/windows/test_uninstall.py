"""uninstall.bat: it removes what is ours, and nothing of the user's."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from wine_pc import ROOT, WINE, windows_path

pytestmark = pytest.mark.slow

SHELL_FOLDERS = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders"
ENTRY = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Uninstall\EasyLoRA"
PAUSE = "Press any key"


def made(*paths):
    """The paths, now files."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return list(paths)


def installed(project):
    """The folder with what every installed copy holds."""
    made(project / "easy_scripts" / "launcher" / "start.bat", project / "easy_lora_files.txt")
    shutil.copy(ROOT / "uninstall.bat", project)
    return project


def note_of(computer, project):
    """The folder by which start.bat notes that the copy in `project` uses our Python."""
    name = windows_path(project).replace(":", "").replace("\\", "_")
    return computer.place / "used by" / name


@pytest.fixture
def project(computer):
    """An installed copy that has fetched a Python."""
    project = installed(computer.folder / "Tom & Ann!")
    made(computer.place / "python" / "x", computer.place / "cache" / "uv.exe")
    note_of(computer, project).mkdir(parents=True)
    return project


@pytest.fixture
def shortcuts(computer, project):
    """Shortcuts in the menu and on a desktop that OneDrive has moved: ours, and others."""
    desktop = computer.folder / "OneDrive & co" / "Desktop"
    menu = computer.place.parents[2] / "AppData/Roaming/Microsoft/Windows/Start Menu/Programs"
    ours = made(*[place / "Easy LoRA - Train.lnk" for place in (desktop, menu)],
                menu / "Uninstall Easy LoRA.lnk")  # fmt: skip
    others = made(*[place / "Easy Money.lnk" for place in (desktop, menu)])
    for key, name, value in (
        (ENTRY, "DisplayName", "Easy LoRA"),
        (ENTRY, "InstallLocation", windows_path(project)),
        (SHELL_FOLDERS, "Desktop", windows_path(desktop)),
    ):
        computer.wine.run(["reg", "add", key, "/v", name, "/d", value, "/f"], computer.folder)
    yield ours, others
    for path in ours + others:
        path.unlink(missing_ok=True)
    computer.wine.run(["reg", "delete", ENTRY, "/f"], computer.folder)


def has_entry(computer):
    return computer.wine.run(["reg", "query", ENTRY], computer.folder).returncode == 0


@pytest.mark.parametrize(("answer", "removed"), [("yes", True), ('"YES"', True), ("no", False)])
def test_what_is_the_users_stays(computer, project, shortcuts, answer, removed):
    ours, others = shortcuts
    ours = ours + made(project / ".venv" / "x", project / "cache" / "x")
    ours += [computer.place / "python" / "x", computer.place]
    others = others + made(project / "output" / "cat.safetensors", project / "logs" / "x")
    code, _, shown = computer.start("uninstall.bat", folder=project, typed=f"{answer}\r\n")
    assert code == (0 if removed else 2), shown
    assert [path.exists() for path in ours] == [not removed] * len(ours)
    assert all(path.exists() for path in others)
    assert has_entry(computer) != removed
    assert ("Nothing was removed" in shown) != removed
    assert PAUSE in shown, "it must be readable after a double-click"


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("no", 2)])
def test_with_an_argument_nothing_waits(computer, project, answer, code):
    ended, _, shown = computer.start("uninstall.bat", answer, folder=project)
    assert ended == code and PAUSE not in shown


def test_the_project_may_lie_where_our_python_lies(computer, project):
    """Not a good folder for it, but nothing of the user's may be lost there."""
    installed(computer.place)
    mine = made(
        *[computer.place / name for name in ("output/my.safetensors", "uv-map.zip", "pictures/1")]
    )
    shutil.rmtree(computer.place / "used by")
    made(computer.place / ".venv" / "x")
    code, _, shown = computer.start("uninstall.bat", "yes", folder=computer.place)
    assert code == 0, shown
    assert all(path.exists() for path in mine)
    assert not [name for name in (".venv", "python", "cache") if (computer.place / name).exists()]


def test_the_root_of_the_drive_is_not_taken_for_ours(computer, project):
    """Without LOCALAPPDATA, "%LOCALAPPDATA%\\EasyLoRA" would be the folder C:\\EasyLoRA."""
    root = computer.wine.prefix / "drive_c" / "EasyLoRA"
    mine = made(root / "output" / "my.safetensors", root / "python" / "x", root / "cache" / "x")
    driver = project / "driver.bat"
    driver.write_bytes(b'@set "LOCALAPPDATA="\r\n@C:\r\n@"%~dp0uninstall.bat" yes\r\n')
    code, _, shown = computer.start(driver.name, folder=project)
    assert code == 0, shown
    assert all(path.exists() for path in mine)
    shutil.rmtree(root)


def test_a_python_that_another_copy_uses_stays(computer, project):
    other = note_of(computer, computer.folder / "another copy")
    other.mkdir()
    code, _, shown = computer.start("uninstall.bat", "yes", folder=project)
    assert code == 0 and "another copy of Easy LoRA uses it" in shown
    assert (computer.place / "python" / "x").exists() and other.exists()
    assert not note_of(computer, project).exists()
    other.rmdir()
    computer.start("uninstall.bat", "yes", folder=project)
    assert not computer.place.exists()


@pytest.mark.parametrize("name", ["python", "pythonw"])
def test_while_a_program_runs_nothing_is_removed(computer, project, name):
    mine = made(project / "cache" / "x")
    program = computer.put(project / ".venv" / "Scripts" / f"{name}.exe")
    other = computer.put(program.with_name("pythonw.exe" if name == "python" else "python.exe"))
    variables = {**computer.wine.variables, "STUB_LOG": windows_path(computer.folder / "log.txt")}
    with subprocess.Popen(
        [WINE, windows_path(program)], env={**variables, "STUB_READS": "1"}, stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        while not (computer.folder / "log.txt").exists():
            assert running.poll() is None
        code, _, shown = computer.start("uninstall.bat", "yes", folder=project)
        assert code == 1 and "is in use, so nothing was removed" in shown
        assert all(path.exists() for path in (program, other, *mine))
    assert program.read_bytes() == computer.wine.stub.read_bytes()
    code, _, shown = computer.start("uninstall.bat", "yes", folder=project)
    assert code == 0 and not (project / ".venv").exists(), shown


def test_what_another_installed_copy_made_stays(computer, project, shortcuts):
    later = windows_path(installed(computer.folder / "another copy"))
    add = ["reg", "add", ENTRY, "/v", "InstallLocation", "/d", later, "/f"]
    computer.wine.run(add, computer.folder)
    code, _, shown = computer.start("uninstall.bat", "yes", folder=project)
    assert code == 0, shown
    assert all(path.exists() for path in shortcuts[0]) and has_entry(computer)


def test_a_copy_out_of_the_zip_leaves_the_shortcuts_of_another(computer, project, shortcuts):
    (project / "easy_lora_files.txt").unlink()
    code, _, shown = computer.start("uninstall.bat", "yes", folder=project)
    assert code == 0, shown
    assert all(path.exists() for path in shortcuts[0]) and has_entry(computer)


def test_alone_in_another_folder_it_removes_nothing(computer):
    folder = computer.folder / "Documents"
    mine = made(folder / ".venv" / "x", folder / "cache" / "x")
    shutil.copy(ROOT / "uninstall.bat", folder)
    code, _, shown = computer.start("uninstall.bat", "yes", folder=folder)
    assert code == 1 and "Nothing was removed" in shown
    assert all(path.exists() for path in mine)
