"""The hashes by which UIs know the base model, worked out beside the training.

Gigabytes are read for them: that happens in a thread, once for each file, and the result is kept
in the cache folder until the file's size or time changes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.core.errors import SuiteError
from scripts.core.files import CACHE_FOLDER, sha256_of_file, write_text

if TYPE_CHECKING:
    from scripts.models.recognise import BaseModel

SHORT_WINDOW = (0x100000, 0x10000)  # offset and length that A1111's old short hash covers


@dataclass(frozen=True)
class FileHashes:
    """The name of a model file, its old short hash and its SHA-256; None where there is none."""

    name: str
    short: str | None
    sha256: str | None


class BaseHashes:
    """The hashes of the base model and of another VAE, being worked out in the background."""

    def __init__(self, model: Path, vae: Path | None, cache: Path) -> None:
        self._found: dict[str, FileHashes] = {}
        self._thread = threading.Thread(
            target=self._work, args=(model, vae, cache), name="base model hash", daemon=True
        )
        self._thread.start()

    @classmethod
    def begin(cls, base: BaseModel, vae: Path | None = None) -> BaseHashes:
        """Start hashing the files of a training; returns at once."""
        return cls(base.path, vae, CACHE_FOLDER / "hashes.json")

    def _work(self, model: Path, vae: Path | None, cache: Path) -> None:
        self._found["model"] = hash_model(model, cache)
        if vae is not None:
            self._found["vae"] = hash_model(vae, cache)

    def model(self) -> FileHashes:
        """The base model's hashes; waits until they are there."""
        self._thread.join()
        return self._found["model"]

    def vae(self) -> FileHashes | None:
        """The hashes of the other VAE, None without one; waits until they are there."""
        self._thread.join()
        return self._found.get("vae")


def hash_model(path: Path, cache: Path) -> FileHashes:
    """The hashes of a model file, from the cache when it is unchanged. Folders have none."""
    if not path.is_file():
        return FileHashes(path.name, None, None)
    try:
        facts = path.stat()
        key = f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
        known = _read_cache(cache)
        if key not in known:
            known[key] = sha256_of_file(path)
            _write_cache(cache, known)
        return FileHashes(path.name, short_hash(path), known[key])
    except OSError:  # the file went away: the LoRA is worth more than the base model's hash
        return FileHashes(path.name, None, None)


def short_hash(path: Path) -> str:
    """A1111's old short hash: the first 8 digits of the SHA-256 of 64 KiB from 1 MiB on."""
    offset, length = SHORT_WINDOW
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.sha256(file.read(length)).hexdigest()[:8]


def _read_cache(cache: Path) -> dict[str, str]:
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or broken: it is only a cache
        return {}
    return known if isinstance(known, dict) else {}


def _write_cache(cache: Path, known: dict[str, str]) -> None:
    try:
        write_text(cache, json.dumps(known, indent=1))
    except SuiteError:  # no room for the cache: it is hashed anew the next time
        return
