"""The largest download goes on where it stopped, also when set-up was ended in between."""

from __future__ import annotations

import os
import platform
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from breaking_index import breaking_index
from made_up_project import make_project, make_wheels
from made_up_wheels import make_torch

from easy_scripts.install import fetch_wheel as fetching
from easy_scripts.install.fetch_wheel import BrokenDownload, Wanted, fetch_wheel, wanted_wheel
from easy_scripts.launcher.judge import judge, read_json
from scripts.core.events import Note, Stage
from scripts.core.files import sha256_of_file

VERSION = "2.13.0+cpu"
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
SYSTEM = "win_amd64" if sys.platform == "win32" else f"linux_{platform.machine()}"
LABEL = f"{TAG}-{TAG}-{SYSTEM}"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetching, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(fetching, "LONGEST_WAIT", 0.01)


@pytest.fixture
def served(tmp_path) -> Path:
    """A torch of 2 MB for this Python, among wheels for others."""
    folder = tmp_path / "served"
    folder.mkdir()
    for label in (f"cp39-cp39-{SYSTEM}", f"{TAG}-{TAG}-{SYSTEM}x", f"{TAG}t-{TAG}t-{SYSTEM}"):
        make_torch(folder, VERSION, None, label)
    make_torch(folder, "2.12.0+cpu", None, LABEL)
    make_torch(folder, VERSION, None, LABEL, random.Random(1).randbytes(2_000_000).hex())
    return folder


def wanted(address):
    index = address.replace("/simple/", "/whl/cpu")
    return wanted_wheel("torch", VERSION, index, platform.python_version())


def the_wheel(served) -> Path:
    return served / f"torch-{VERSION}-{LABEL}.whl"


def test_the_name_says_version_python_and_system(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    windows = wanted_wheel("torch", "2.13.0+cu130", "https://x/whl/cu130", "3.12.4")
    assert windows.page == "https://x/whl/cu130/torch/"
    assert windows.is_named("torch-2.13.0+cu130-cp312-cp312-win_amd64.whl")
    for other in ("torch-2.13.0+cu126-cp312-cp312-win_amd64.whl",
                  "torch-2.13.0+cu130-cp313-cp313-win_amd64.whl",
                  "torch-2.13.0+cu130-cp312-cp312t-win_amd64.whl",
                  "torch-2.13.0+cu130-cp312-cp312-win_arm64.whl"):  # fmt: skip
        assert not windows.is_named(other)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    linux = wanted_wheel("torch", "2.13.0+cpu", "https://x", "3.10.1")
    assert linux.is_named("torch-2.13.0+cpu-cp310-cp310-manylinux_2_28_x86_64.whl")


def test_it_comes_whole_with_its_megabytes(served, tmp_path):
    events = []
    with breaking_index(served, breaks=0) as (address, asked):
        path = fetch_wheel(wanted(address), tmp_path / "kept", events.append)
    assert path == tmp_path / "kept" / the_wheel(served).name
    assert sha256_of_file(path) == sha256_of_file(the_wheel(served))
    assert events[-1] == Stage("Downloading torch, MB", 2, 2)
    assert asked[path.name] == 1


def test_each_byte_is_fetched_once_however_often_it_breaks(served, tmp_path):
    events = []
    size = the_wheel(served).stat().st_size
    with breaking_index(served, breaks=6) as (address, asked):
        path = fetch_wheel(wanted(address), tmp_path, events.append)
    assert sha256_of_file(path) == sha256_of_file(the_wheel(served))
    assert asked[path.name] == 7 and asked[f"sent {path.name}"] == size


def test_a_later_start_goes_on_with_what_is_there(served, tmp_path):
    data = the_wheel(served).read_bytes()
    part = tmp_path / f"{the_wheel(served).name}.part"
    part.write_bytes(data[:-1000])
    with breaking_index(served, breaks=0) as (address, asked):
        path = fetch_wheel(wanted(address), tmp_path, lambda event: None)
        assert path.read_bytes() == data and not part.exists()
        assert asked[f"sent {path.name}"] == 1000
        fetch_wheel(wanted(address), tmp_path, lambda event: None)  # it is there already
        assert asked[path.name] == 1
        path.rename(part)  # killed between the last byte and the new name
        assert fetch_wheel(wanted(address), tmp_path, lambda event: None).read_bytes() == data


def test_a_server_that_cannot_begin_in_the_middle(served, tmp_path):
    part = tmp_path / f"{the_wheel(served).name}.part"
    part.write_bytes(b"something")
    with breaking_index(served, breaks=0, ranges=False) as (address, _):
        path = fetch_wheel(wanted(address), tmp_path, lambda event: None)
    assert path.read_bytes() == the_wheel(served).read_bytes()


def test_a_half_of_another_file_is_found_out_and_fetched_anew(served, tmp_path):
    part = tmp_path / f"{the_wheel(served).name}.part"
    part.write_bytes(b"x" * 1000)
    with breaking_index(served, breaks=0) as (address, asked):
        path = fetch_wheel(wanted(address), tmp_path, lambda event: None)
        assert asked[path.name] == 2
    assert path.read_bytes() == the_wheel(served).read_bytes()


def test_what_never_comes_whole_is_told_and_kept(served, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "TRIES", 2)
    events = []
    with breaking_index(served, breaks=3) as (address, _):
        wish = wanted(address)
        found = fetching._find(wish)
    monkeypatch.setattr(fetching, "_find", lambda wanted: found)  # and now the server is gone
    (tmp_path / f"{the_wheel(served).name}.part").write_bytes(b"half")
    with pytest.raises(BrokenDownload):
        fetch_wheel(wish, tmp_path, events.append)
    assert [event.text for event in events if isinstance(event, Note)] == [
        "The connection broke off; it is tried again."
    ]
    assert (tmp_path / f"{the_wheel(served).name}.part").read_bytes() == b"half"


@pytest.mark.parametrize("page", ["http://127.0.0.1:9/whl/cpu/torch/", "no address"])
def test_without_an_index_there_is_none(tmp_path, page):
    assert fetch_wheel(Wanted("torch", page, "torch", "whl"), tmp_path, lambda event: None) is None


def test_a_wheel_that_the_index_lacks(served, tmp_path):
    with breaking_index(served, breaks=0) as (address, _):
        wish = wanted_wheel("torch", "9.9.9", address.replace("/simple/", "/whl/cpu"), "3.11")
        assert fetch_wheel(wish, tmp_path, lambda event: None) is None


OWN_INDEX = """
import sys
from easy_scripts.install import kinds
kinds.TORCH_INDEX = sys.argv[1]
from easy_scripts.verbs import run
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.slow
def test_set_up_killed_in_mid_download_does_not_begin_anew(served, tmp_path):
    """The real commands: half of torch is there, set-up is killed, and the next one goes on."""
    wheels = make_wheels(tmp_path / "wheels")
    next(wheels.glob("torch-*")).unlink()
    for path in wheels.glob("*.whl"):
        path.rename(served / path.name)
    made_up = make_project(tmp_path / "Äpfel & Birnen", wheels)
    size = the_wheel(served).stat().st_size

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", OWN_INDEX, index, "setup"], cwd=made_up.project.root,
            env=made_up.variables, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    with breaking_index(served, breaks=1) as (address, asked):
        index = address.replace("/simple/", "/whl/")
        for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "https_proxy"):
            made_up.variables.pop(name)
        made_up.variables["PIP_INDEX_URL"] = address
        process = start()
        part = made_up.project.downloads / f"{the_wheel(served).name}.part"
        while not part.exists() or part.stat().st_size < size // 2:
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        out, _ = start().communicate(timeout=120)
    assert "Ready: " in out.splitlines()[-1], out
    assert "cannot be reached" not in out
    assert judge(made_up.project).whole
    assert read_json(made_up.project.stamp)["torch"]["version"] == VERSION
    assert asked[f"sent {the_wheel(served).name}"] == size
    assert not made_up.project.downloads.exists()
