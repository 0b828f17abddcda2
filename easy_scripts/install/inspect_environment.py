"""Looks at a private environment from inside: which packages are there, whole, and importable.

Run by set-up with the environment's own Python, in a fresh process:
    inspect_environment.py RESULT_FILE [MODULE ...]
Writes one JSON object to RESULT_FILE (what libraries print cannot disturb it there):
    packages: {name: version}
    damaged: {name: what is wrong with its files}
    imports: {module: error}, of the modules asked for
    torch: {version, cuda, xpu}, when torch was asked for
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import re
import shutil
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

METADATA_FOLDER = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)\.dist-info$")
NEEDED = ("METADATA", "RECORD", "INSTALLER")  # pip writes RECORD last


def read_packages(site: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What is installed in the site-packages folder `site`: (versions, damage), by name.

    A file that is missing, or is not as long as the package's own list (RECORD) says, is damage:
    that is what a killed installation and an over-eager virus scanner leave behind. So are the
    lists of two versions.
    """
    packages: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for folder, name, version in _metadata_folders(site):
        damage = "two versions are there" if name in packages else _damage(folder)
        packages[name] = version
        if damage:
            damaged[name] = damage
    return packages, damaged


def _metadata_folders(site: Path) -> Iterator[tuple[Path, str, str]]:
    for folder in sorted(site.glob("*.dist-info")):
        found = METADATA_FOLDER.match(folder.name)
        if found:
            yield folder, re.sub(r"[-_.]+", "-", found["name"]).lower(), found["version"]


def _damage(folder: Path) -> str | None:
    for needed in NEEDED:
        if not (folder / needed).is_file():
            return f"{needed} is missing"
    for file in importlib.metadata.PathDistribution(folder).files or []:
        if file.suffix == ".pyc":
            continue
        try:
            length = folder.parent.joinpath(file).stat().st_size
        except OSError:
            return f"{file} is missing"
        if file.size is not None and length != file.size:
            return f"{file} has {length} bytes instead of {file.size}"
    return None


def sweep(site: Path) -> None:
    """Remove what a killed pip left, so that the next one installs those packages anew.

    That is: folders set aside (~orch), metadata without a name or a list of files (pip would
    refuse to replace those), and metadata of two versions of one package.
    """
    folders = list(_metadata_folders(site))
    times = Counter(name for _, name, _ in folders)
    leftovers = [folder for folder, name, _ in folders if times[name] > 1]
    for folder, _, _ in folders:
        if not all((folder / needed).is_file() for needed in ("METADATA", "RECORD")):
            leftovers.append(folder)
    leftovers += site.glob("~*")
    for leftover in leftovers:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def try_imports(modules: list[str]) -> dict[str, str]:
    """Import each module; {module: error} for those that fail, for whatever reason."""
    errors = {}
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001 - a damaged package can raise anything
            errors[module] = f"{type(error).__name__}: {error}"
    return errors


def main(result_file: str, modules: list[str]) -> None:
    """Look, and write the result."""
    packages, damaged = read_packages(Path(sysconfig.get_path("purelib")))
    result = {
        "packages": packages,
        "damaged": damaged,
        "imports": try_imports(modules),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        version = getattr(torch, "version", None)
        result["torch"] = {
            "version": str(torch.__version__),
            "cuda": getattr(version, "cuda", None),
            "xpu": getattr(version, "xpu", None),
        }
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
