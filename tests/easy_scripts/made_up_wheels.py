"""Small wheels for the set-up tests, made on the spot: nothing is fetched from anywhere."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import zipfile
from pathlib import Path

ANY = "py3-none-any"


def make_wheel(
    folder: Path, name: str, version: str, files: dict[str, str], tag: str = ANY
) -> Path:
    """Write NAME-VERSION-TAG.whl with the given files into `folder`."""
    metadata = f"{name}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content = {
        **{path: text.encode() for path, text in files.items()},
        f"{metadata}/METADATA": about.encode(),
        f"{metadata}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        + f"Tag: {tag}\n".encode(),
    }
    return _write(folder / f"{name}-{version}-{tag}.whl", content, metadata)


def make_torch(
    folder: Path, version: str, cuda: str | None, tag: str = ANY, noise: str = ""
) -> Path:
    """A torch that tells a version and a CUDA version, and does nothing else."""
    files = {
        "torch/__init__.py": f"from torch import version\n__version__ = '{version}'\n",
        "torch/version.py": f"cuda = {cuda!r}\n",
        **({"torch/noise.txt": noise} if noise else {}),
    }
    return make_wheel(folder, "torch", version, files, tag)


def repack_pip(folder: Path) -> str:
    """Pack the pip that runs these tests into a wheel again; returns its version."""
    pip = importlib.metadata.distribution("pip")
    metadata = f"pip-{pip.version}.dist-info"
    left_out = (".pyc", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
    content = {
        str(file): Path(pip.locate_file(file)).read_bytes()
        for file in pip.files or []
        if not str(file).startswith("..") and not str(file).endswith(left_out)
    }
    _write(folder / f"pip-{pip.version}-py3-none-any.whl", content, metadata)
    return pip.version


def _write(path: Path, content: dict[str, bytes], metadata: str) -> Path:
    record = io.StringIO()
    writer = csv.writer(record)
    for name, data in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        writer.writerow([name, f"sha256={digest}", len(data)])
    writer.writerow([f"{metadata}/RECORD", "", ""])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in content.items():
            wheel.writestr(name, data)
        wheel.writestr(f"{metadata}/RECORD", record.getvalue())
    return path
