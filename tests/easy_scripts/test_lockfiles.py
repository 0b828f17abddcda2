"""The lock files: read right, complete, and the same for everybody."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from easy_scripts.install.kinds import KINDS
from easy_scripts.install.lockfiles import (
    LINE,
    lock_hash,
    locked_versions,
    marker_holds,
    normalised,
)
from easy_scripts.launcher.project import Project

LOCKS = Project().locks
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PLATFORMS = ("linux", "win32", "darwin")


def every_line():
    for path in sorted(LOCKS.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith(("#", "-r ", "-c ")):
                yield path.name, line


def test_every_line_is_one_exact_version_that_packaging_reads_alike():
    lines = list(every_line())
    assert len(lines) > 80
    for file, line in lines:
        found = LINE.match(line)
        assert found, f"{file}: {line}"
        theirs = Requirement(line)
        assert normalised(found["name"]) == canonicalize_name(theirs.name)
        assert [(pin.operator, pin.version) for pin in theirs.specifier] == [
            ("==", found["version"])
        ]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_markers_mean_what_packaging_says(python, platform):
    world = {"python_version": python, "sys_platform": platform}
    markers = {LINE.match(line)["marker"] for _, line in every_line()} - {None}
    assert len(markers) >= 4
    for marker in markers:
        assert marker_holds(marker, python, platform) == Marker(marker).evaluate(world), marker


@pytest.mark.parametrize(
    "marker", ['os_name == "nt"', 'python_version <= "3.11"', 'sys_platform < "x"', "nonsense"]
)
def test_other_markers_are_refused(marker):
    with pytest.raises(ValueError, match="unknown sort"):
        marker_holds(marker, "3.11", "linux")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_pins_torch_and_all_that_is_asked_for(kind, platform, python):
    wanted = locked_versions(LOCKS, kind, python, platform)
    label = "" if platform == "darwin" and kind == "cpu" else f"+{kind}"
    assert wanted["torch"] == f"2.13.0{label}"
    for line in (LOCKS / "direct.in").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            asked = Requirement(line)
            world = {"python_version": python, "sys_platform": platform}
            if asked.marker is None or asked.marker.evaluate(world):
                pin = Version(wanted[canonicalize_name(asked.name)].split("+")[0])
                assert pin in asked.specifier, line


@pytest.mark.parametrize(
    ("python", "version"),
    [("3.10", "14.42.34433"), ("3.11", "14.44.35112"), ("3.12", "14.51.36231"),
     ("3.13", "14.51.36231")],
)  # fmt: skip
def test_windows_gets_microsofts_library_in_a_version_that_has_a_wheel(python, version):
    assert locked_versions(LOCKS, "cu130", python, "win32")["msvc-runtime"] == version
    for platform in ("linux", "darwin"):
        assert "msvc-runtime" not in locked_versions(LOCKS, "cu130", python, platform)


def test_the_lock_is_complete():
    """Whatever a locked package requires on this machine is locked too (the closure)."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    locked = set(locked_versions(LOCKS, "cpu", python, sys.platform))
    locked |= set(locked_versions(LOCKS, "test", python, sys.platform))
    looked_at = 0
    for name in sorted(locked - {"torch"}):
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another Python version
        looked_at += 1
        for line in requirements:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in locked, f"{name} requires {line}"
    assert looked_at > 60


def test_one_package_has_one_version_on_one_machine():
    for python in PYTHONS:
        for platform in PLATFORMS:
            seen = {}
            for file, line in every_line():
                found = LINE.match(line)
                if file == "common.txt" and marker_holds(found["marker"] or "", python, platform):
                    assert found["name"] not in seen, line
                    seen[found["name"]] = line


def test_test_tools_agree_with_the_environment():
    for python in PYTHONS:
        common = locked_versions(LOCKS, "common", python, "linux")
        tools = locked_versions(LOCKS, "test", python, "linux")
        assert {name: common[name] for name in tools if name in common} == {
            name: tools[name] for name in tools if name in common
        }
        assert {"pytest", "hypothesis", "ruff"} <= set(tools)


def test_hash_follows_the_files_that_are_read(tmp_path):
    (tmp_path / "common.txt").write_text("a==1\n")
    (tmp_path / "limits.txt").write_text("b==1\n")
    (tmp_path / "cpu.txt").write_text("-r common.txt\n-c limits.txt\ntorch==2\n")
    first = lock_hash(tmp_path, "cpu")
    (tmp_path / "limits.txt").write_text("b==2\n")
    second = lock_hash(tmp_path, "cpu")
    (tmp_path / "common.txt").write_text("a==2\n")
    assert len({first, second, lock_hash(tmp_path, "cpu")}) == 3
    assert lock_hash(tmp_path, "nothing") is None


def test_a_line_without_a_version_is_refused(tmp_path):
    (tmp_path / "cpu.txt").write_text("numpy>=2\n")
    with pytest.raises(ValueError, match="numpy>=2"):
        locked_versions(tmp_path, "cpu", "3.11", "linux")
