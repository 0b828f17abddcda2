"""Pack Easy LoRA for people: the portable zip, which is also what the installer unpacks.

    python -m easy_scripts.install.pack dist/EasyLoRA.zip
Tests, benchmarks and everything that a user makes stay out.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from easy_scripts.launcher.project import project_date
from scripts.core.files import PROJECT_FOLDER, replace_atomically

FOLDERS = ("easy_scripts", "scripts", "docs")
FILES = ("*.bat", "README.md", "LICENSE", "THIRD_PARTY_NOTICES.md", "pyproject.toml")
LEFT_OUT = {"__pycache__"}


def packed_files(root: Path) -> Iterator[Path]:
    """What belongs into the zip, sorted."""
    found = [path for pattern in FILES for path in root.glob(pattern)]
    for folder in FOLDERS:
        found += [path for path in (root / folder).rglob("*") if path.is_file()]
    return (path for path in sorted(found) if not LEFT_OUT & set(path.parts))


def write_zip(target: Path, root: Path = PROJECT_FOLDER) -> list[str]:
    """Write the zip; the names in it. Raises SuiteError when it cannot be written.

    All files bear the day of the version, so the same files always make the same zip.
    """
    names = []
    year, month, day = (int(part) for part in project_date(root).split("-"))
    with replace_atomically(target) as temporary, zipfile.ZipFile(temporary, "w") as packed:
        for path in packed_files(root):
            names.append(path.relative_to(root).as_posix())
            entry = zipfile.ZipInfo(names[-1], (year, month, day, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, path.read_bytes())
    return names


if __name__ == "__main__":
    print(f"{len(write_zip(Path(sys.argv[1])))} files in {sys.argv[1]}")
