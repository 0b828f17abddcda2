"""The folder that Easy LoRA lies in, and what runs from it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
from pathlib import Path

import pytest

from easy_scripts.install import place_checks
from easy_scripts.install.place_checks import check_place, cloud_folder, path_length
from easy_scripts.install.running import all_processes, running_from

LONG = "C:\\" + "x" * 80


@pytest.mark.parametrize(
    ("root", "platform", "long_paths", "bad"),
    [
        (r"C:\EasyLoRA", "win32", False, False),
        (LONG, "win32", False, True),
        (LONG, "win32", True, False),
        (LONG, "linux", False, False),
        ("C:\\" + "x" * 57, "win32", False, False),  # 60 letters
        ("C:\\" + "x" * 58, "win32", False, True),
    ],
)
def test_long_paths(root, platform, long_paths, bad):
    finding = path_length(root, platform, long_paths)
    assert bool(finding) == bad
    if finding:
        assert (
            finding.problem and "short path" in finding.remedy and str(len(root)) in finding.cause
        )


def test_the_longest_root_is_the_longest_that_pytorch_fits_into():
    """Against the list of files of the torch that is installed here: it has the same licences."""
    files = [file.as_posix() for file in importlib.metadata.files("torch")]
    inside = re.compile(r"^torch-2\.13\.0[^/]*\.dist-info/")
    names = [inside.sub("torch-2.13.0+cu130.dist-info/", name) for name in files]
    folders = {name.rpartition("/")[0] for name in names}
    assert max(map(len, names)) == place_checks.LONGEST_FILE
    assert max(map(len, folders)) == place_checks.LONGEST_FOLDER
    assert place_checks.LONGEST_ROOT == 60
    for length, fits in ((60, True), (61, False)):
        site = length + len(r"\.venv\Lib\site-packages") + 1
        files_fit = all(site + len(name) <= 259 for name in names)
        folders_fit = all(site + len(name) <= 247 for name in folders)
        assert (files_fit and folders_fit) == fits


@pytest.mark.parametrize(
    ("root", "environment", "bad"),
    [
        (r"C:\Users\Ann\OneDrive\EasyLoRA", {}, True),
        (r"C:\Users\Ann\OneDrive - Firma\EasyLoRA", {}, True),
        (r"D:\cloud\EasyLoRA", {"OneDriveConsumer": r"d:\Cloud"}, True),
        ("/home/ann/Dropbox/EasyLoRA", {}, True),
        (r"C:\EasyLoRA", {"OneDrive": r"C:\Users\Ann\OneDrive"}, False),
        (r"C:\EasyLoRA", {"OneDrive": ""}, False),
    ],
)
def test_folders_in_the_cloud(root, environment, bad):
    finding = cloud_folder(root, environment)
    assert bool(finding) == bad
    assert finding is None or not finding.problem


def test_a_good_place_has_nothing_to_be_said_about(tmp_path):
    assert check_place(tmp_path, 0.001) == []


def test_little_room(tmp_path, monkeypatch):
    free = shutil._ntuple_diskusage(10**12, 10**12, 200 * 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    (finding,) = check_place(tmp_path)
    assert finding.topic == "disk" and "5.0 GB are needed and 0.2 GB are free" in finding.cause


def test_a_place_that_cannot_be_written_to(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", denied)  # root, as in CI, may write anywhere
    finding = place_checks.writable(tmp_path)
    assert finding.problem and "Permission denied" in finding.cause


def test_what_runs_from_an_environment():
    here, parent = os.getpid(), os.getppid()
    environment = Path("/easy/.venv")
    processes = [
        (1, 0, "/sbin/init"),
        (here, parent, "/easy/.venv/bin/python"),
        (parent, 1, "/easy/.venv/bin/python"),  # what started us
        (900001, 1, "/easy/.venv/bin/python"),
        (900002, here, "/easy/.venv/bin/python"),
        (900003, 1, "/easy/.venv-old/bin/python"),
        (900004, 1, ""),
    ]
    assert running_from(environment, processes) == [900001, 900002]


def test_this_process_and_its_parent_are_seen():
    parents = {number: parent for number, parent, _ in all_processes()}
    assert parents[os.getpid()] == os.getppid()
