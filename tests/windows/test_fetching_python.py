"""start.bat on a PC without a Python: it fetches uv, checks it, and lets it install one."""

from __future__ import annotations

import re
import shutil

import pytest
from wine_pc import START, last_call, windows_local, windows_path, with_variable

pytestmark = pytest.mark.slow

TEXT = START.read_text("ascii")
[SHA] = re.findall(r'set "SHA=([0-9a-f]{64})"', TEXT)
[VERSION] = re.findall(r'set "UV=([0-9.]+)"', TEXT)
GOOD = b"the zip of uv"  # what the stub of certutil takes for the zip of that SHA


@pytest.fixture
def internet(computer, tmp_path):
    """curl, certutil, tar and, in what is fetched, uv; all of them stubs.

    Stand-ins that must never be started lie on PATH: Windows' own are the ones in system32.
    """
    system = computer.wine.prefix / "drive_c" / "windows" / "system32"
    shutil.move(system / "certutil.exe", tmp_path / "certutil.exe")  # Wine's does nothing
    names = ("curl.exe", "tar.exe", "certutil.exe")
    for name in names:
        computer.put(system / name)
        computer.put(computer.folder / "bin" / name)
        computer.put(computer.project / name)
    computer.download = computer.folder / "release.zip"
    computer.download.write_bytes(GOOD)
    computer.variables |= {"STUB_ZIP": windows_path(computer.download), "STUB_SHA": SHA}
    yield computer
    for name in names:
        (system / name).unlink()
    shutil.move(tmp_path / "certutil.exe", system / "certutil.exe")


@pytest.fixture
def kept(internet):
    """The zip of uv in the place where it is kept until Python is there."""
    path = internet.place / "cache" / f"uv-{VERSION}.zip"
    path.parent.mkdir(parents=True)
    return path


def work(calls):
    return [call.name for call in calls if not call.is_question]


def test_without_python_one_is_fetched_and_found_again(internet):
    code, calls, shown = internet.start("setup.bat", "--check", STUB_CODE="7")
    assert code == 7, shown
    assert "fetches one of its own" in shown
    assert work(calls) == ["curl.exe", "certutil.exe", "tar.exe", "uv.exe", "python.exe"]
    system = [call for call in calls if call.name in ("curl.exe", "certutil.exe", "tar.exe")]
    assert {call.program.lower().rpartition("\\")[0] for call in system} == {r"c:\windows\system32"}
    curl, _, _, uv, python = [call for call in calls if not call.is_question]
    place = windows_local(internet.place)
    assert curl.arguments[-1].startswith("https://") and "--continue-at" in curl.arguments
    assert f"/{VERSION}/" in curl.arguments[-1]
    assert "--ssl-no-revoke" in curl.arguments  # the server that knows may be out of reach
    assert uv.variables["UV_SYSTEM_CERTS"] == "true"  # among them those of a proxy or scanner
    assert uv.arguments[:3] == ["python", "install", "3.12"]
    assert uv.variables["UV_PYTHON_INSTALL_DIR"] == place + "\\python"
    assert python.program.startswith(place + "\\python")
    assert python.arguments[-2:] == ["setup", "--check"]
    assert python.folder == windows_path(internet.project)
    _, calls, _ = internet.start("setup.bat")
    assert {call.name for call in calls} == {"python.exe"}  # nothing is fetched twice
    assert not list(internet.place.rglob("*.zip"))
    [copy] = (internet.place / "used by").iterdir()  # for the uninstaller of another copy
    assert copy.name.endswith("_EasyLoRA")


def test_the_zip_of_another_version_does_not_stand_in_the_way(internet, kept):
    kept.with_name("uv-0.1.0.zip").write_bytes(b"older")
    (internet.place / "uv.zip").write_bytes(b"older")
    code, calls, shown = internet.start("setup.bat")
    assert code == 0, shown
    assert work(calls)[0] == "curl.exe"


def test_a_damaged_download_is_thrown_away_and_fetched_once_more(internet, kept):
    kept.write_bytes(b"damaged")
    code, calls, shown = internet.start("setup.bat")
    assert code == 0, shown
    assert work(calls)[:3] == ["certutil.exe", "curl.exe", "certutil.exe"]


def test_a_download_that_is_never_the_known_one_is_not_run(internet, kept):
    internet.download.write_bytes(b"something else")
    code, calls, shown = internet.start("setup.bat")
    assert code == 1
    assert work(calls) == ["curl.exe", "certutil.exe"] * 2
    assert "not the file that was asked for" in shown and "python.org" in shown
    assert "connection" not in shown
    assert not kept.exists()


def test_a_download_that_broke_off_is_kept_and_goes_on(internet, kept):
    zipped = internet.variables.pop("STUB_ZIP")
    part = kept.with_name(kept.name + ".part")
    part.write_bytes(b"the first half")
    code, _, _ = internet.start("setup.bat")
    assert code == 1 and part.read_bytes() == b"the first half"
    code, calls, shown = internet.start("setup.bat", STUB_ZIP=zipped)
    assert code == 0, shown
    assert "uv.exe" in work(calls) and not part.exists()


def test_without_the_internet_it_says_what_to_do(internet):
    internet.variables.pop("STUB_ZIP")
    code, calls, shown = internet.start("setup.bat")
    assert code == 1
    assert work(calls) == ["curl.exe"]
    assert "Check the connection to the internet" in shown and "python.org" in shown


def test_what_cannot_be_checked_is_kept_but_not_run(internet, kept):
    code, calls, shown = internet.start("setup.bat", STUB_NO_CERTUTIL="1")
    assert code == 1 and work(calls) == ["curl.exe", "certutil.exe"]
    assert "cannot be checked" in shown and "connection" not in shown
    assert kept.read_bytes() == GOOD  # a second start does not fetch it again
    code, calls, _ = internet.start("setup.bat", STUB_NO_CERTUTIL="1")
    assert code == 1 and work(calls) == ["certutil.exe"]


def test_a_python_that_uv_cannot_install_is_told(internet):
    code, calls, shown = internet.start("setup.bat", STUB_UV="2")
    certificates = [call.variables["UV_SYSTEM_CERTS"] for call in calls if call.name == "uv.exe"]
    assert code == 1 and certificates == ["true", "false"]
    assert "Python could not be installed" in shown
    assert "proxy" in shown and "virus scanner" in shown


def test_an_arm_processor_is_told_in_one_plain_truth(internet):
    code, calls, shown = internet.start(
        with_variable(internet, "PROCESSOR_IDENTIFIER", "ARMv8 (64-bit) Family 8")
    )
    assert (code, calls) == (1, [])
    assert "ARM processor" in shown
    assert "fetch" not in shown and "connection" not in shown and "python.org" not in shown


def test_nothing_is_fetched_to_the_root_of_the_drive(internet):
    """Without LOCALAPPDATA, "%LOCALAPPDATA%\\EasyLoRA" would be the folder C:\\EasyLoRA."""
    code, calls, shown = internet.start(with_variable(internet, "LOCALAPPDATA", ""))
    assert (code, calls) == (1, []), shown
    assert "LOCALAPPDATA is missing" in shown and "python.org" in shown
    python = internet.put(internet.folder / "bin" / "python.exe")
    code, calls, _ = internet.start(with_variable(internet, "LOCALAPPDATA", ""))
    assert code == 0 and last_call(calls).program == windows_path(python)
