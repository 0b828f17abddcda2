"""Reading the lock files in easy_scripts/install/locks.

They are pip requirement files of the plainest sort: `name==version`, or that with a marker that
asks for `python_version` or `sys_platform`, and `-r` and `-c` lines. So the standard library can
tell what belongs into an environment, before there is one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

LINE = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)\s*(?:;\s*(?P<marker>.+))?$")
CONDITION = re.compile(r'^(python_version|sys_platform) (==|!=|>=|<) "([^"]+)"$')


def normalised(name: str) -> str:
    """The one spelling of a package name: sv_ttk, SV-ttk and sv.ttk are the same package."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_hash(folder: Path, name: str) -> str | None:
    """The SHA-256 over the lines of `name`.txt and of every file it reads; None if it is missing.

    Comments, empty lines and line ends do not count.
    """
    digest = hashlib.sha256()
    try:
        for line in _lines(folder, f"{name}.txt", {"-r", "-c"}):
            digest.update(line.encode("utf-8") + b"\n")
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def locked_versions(folder: Path, name: str, python_version: str, platform: str) -> dict[str, str]:
    """What `name`.txt wants on a machine: {package name: version}, names normalised.

    python_version: "3.11" or "3.11.7"; platform: as in `sys.platform`.
    Raises ValueError for a line that is no pin, FileNotFoundError for a missing file.
    """
    wanted = {}
    for line in _lines(folder, f"{name}.txt", {"-r"}):
        found = LINE.match(line)
        if not found:
            raise ValueError(f"{name}.txt holds a line that is no pin: {line}")
        if marker_holds(found["marker"] or "", python_version, platform):
            wanted[normalised(found["name"])] = found["version"]
    return wanted


def marker_holds(marker: str, python_version: str, platform: str) -> bool:
    """Whether a marker such as `python_version < "3.11" and sys_platform == "linux"` is true.

    An empty marker is. Raises ValueError for a marker of another sort.
    """
    return all(
        _condition_holds(condition, python_version, platform)
        for condition in marker.strip().split(" and ")
        if condition
    )


def _condition_holds(condition: str, python_version: str, platform: str) -> bool:
    found = CONDITION.match(condition.strip())
    if not found:
        raise ValueError(f"a lock file holds a marker of an unknown sort: {condition}")
    subject, operator, value = found.groups()
    if subject == "sys_platform" and operator in ("==", "!="):
        return (platform == value) == (operator == "==")
    if subject == "python_version" and operator in (">=", "<"):
        return (_minor(python_version) >= _minor(value)) == (operator == ">=")
    raise ValueError(f"a lock file holds a marker of an unknown sort: {condition}")


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _lines(folder: Path, name: str, follow: set[str]) -> Iterator[str]:
    """The lines that say something, with those of the files read by an option in `follow`."""
    for raw in (folder / name).read_text(encoding="utf-8").splitlines():
        line = raw.split("#", 1)[0].strip()
        option, _, included = line.partition(" ")
        if option in follow:
            yield from _lines(folder, included.strip(), follow)
        elif line and option not in ("-r", "-c"):
            yield line
