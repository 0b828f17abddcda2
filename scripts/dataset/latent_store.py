"""Encoded pictures on disk: one file of equal rows for each bucket, and an index of what they are.

A row is a float32 array (channels, height, width). Files only grow; the index, a small JSON file
that is written last and atomically, says which rows count, under keys made of the content that
they came from. A crash leaves rows that nothing points to; the next run writes over them. One
lock lets one run write at a time and is let go by the system even when that run crashes. A run
opens the files that it needs while it holds the lock, and then reads without it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from scripts.core.errors import SuiteError
from scripts.core.events import Control, Report
from scripts.core.file_lock import locked
from scripts.core.files import explain_os_error, replace_atomically, sha256_of_file

INDEX_NAME = "index.json"
LOCK_NAME = "in_use.lock"
INDEX_VERSION = 1
ENDING = ".latents"
KEEP_DAYS = 30
DAY = 86_400
RACY_SECONDS = 2.0  # a file younger than this when looked at may change without its time changing
WORTH_COMPACTING = 0.25

Shape = tuple[int, int, int]


class Closing(Protocol):
    """Something that is closed at the end."""

    def close(self) -> None:
        """End it."""


@dataclass
class Index:
    """What the files hold.

    `files`: file name -> {"shape": [channels, height, width], "rows": n}; `entries`: key ->
    {"file", "row", "picture", "used" (day)}; `known`: path -> [size, mtime, ctime, sha256], to
    hash a picture once; `unreadable`: path -> why it cannot be opened.
    """

    files: dict[str, dict] = field(default_factory=dict)
    entries: dict[str, dict] = field(default_factory=dict)
    known: dict[str, list] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


class LatentStore:
    """The rows in `folder`. Writing belongs inside `with store.writing(...)`.

    `owner`, when given, is closed after the files (it removes the folder of a single run).
    """

    def __init__(self, folder: Path, owner: Closing | None = None) -> None:
        self.folder = folder
        self.owner = owner
        self.index = Index()
        self.maps: dict[str, np.memmap] = {}
        self.used: set[str] = set()
        self._handles: dict[str, BinaryIO] = {}

    # --- the index --------------------------------------------------------------------------

    def load(self) -> None:
        """Read the index and forget entries whose rows are not there; a damaged index is empty."""
        try:
            content = json.loads((self.folder / INDEX_NAME).read_text(encoding="utf-8"))
            if content.pop("version") != INDEX_VERSION:
                raise ValueError("another version")
            self.index = Index(**content)
            self._drop_lost_rows()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.index = Index()

    def _drop_lost_rows(self) -> None:
        for name, facts in list(self.index.files.items()):
            path = self.folder / name
            whole = path.stat().st_size // row_bytes(facts["shape"]) if path.is_file() else 0
            facts["rows"] = min(facts["rows"], whole)
            if whole == 0:
                del self.index.files[name]
        self.index.entries = {
            key: entry
            for key, entry in self.index.entries.items()
            if entry["row"] < self.index.files.get(entry["file"], {"rows": 0})["rows"]
        }

    def save(self) -> None:
        """Write the index, after the rows that it points to are on the disk."""
        for handle in self._handles.values():
            os.fsync(handle.fileno())
        today = int(time.time() // DAY)
        for key in self.used:
            self.index.entries[key]["used"] = today
        text = json.dumps({"version": INDEX_VERSION, **self.index.__dict__}, ensure_ascii=False)
        with replace_atomically(self.folder / INDEX_NAME) as temporary:
            temporary.write_bytes(text.encode("utf-8"))

    def content_hash(self, path: Path) -> str:
        """The SHA-256 of a file; computed anew only when its size or one of its times changed."""
        facts = path.stat()
        stamp = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns]
        known = self.index.known.get(str(path))
        if known and known[:3] == stamp:
            return known[3]
        digest = sha256_of_file(path)
        if time.time() - facts.st_mtime_ns / 1e9 > RACY_SECONDS:
            self.index.known[str(path)] = [*stamp, digest]
        return digest

    # --- rows -------------------------------------------------------------------------------

    @contextmanager
    def writing(self, report: Report, control: Control) -> Iterator[None]:
        """Hold the lock, load the index, and save it at the end, also after a failure."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SuiteError(explain_os_error(error, self.folder)) from error
        with locked(self.folder / LOCK_NAME, report, control):
            self._handles = {}
            self.load()
            try:
                yield
            finally:
                try:
                    self.save()
                finally:
                    for handle in self._handles.values():
                        handle.close()
                    self._handles = {}

    def find(self, key: str, picture: Path) -> bool:
        """Whether there is a row for `key`; it then counts as used, by that picture."""
        entry = self.index.entries.get(key)
        if entry is None:
            return False
        entry["picture"] = str(picture)
        self.used.add(key)
        return True

    def add(self, key: str, picture: Path, row: np.ndarray) -> None:
        """Append a row (channels, height, width). Raises SuiteError when the disk is full."""
        name = self._file_for(row.shape)
        facts = self.index.files[name]
        path = self.folder / name
        try:
            if name not in self._handles:
                self._handles[name] = path.open("r+b" if path.exists() else "w+b", buffering=0)
            handle = self._handles[name]
            handle.seek(facts["rows"] * row_bytes(row.shape))
            rest = memoryview(np.ascontiguousarray(row, dtype=np.float32).tobytes())
            while rest:  # an unbuffered write may take a part only, as on a full disk
                rest = rest[handle.write(rest) :]
        except OSError as error:
            raise SuiteError(explain_os_error(error, path)) from error
        entry = {"file": name, "row": facts["rows"], "picture": str(picture), "used": 0}
        self.index.entries[key] = entry
        facts["rows"] += 1
        self.used.add(key)

    def _file_for(self, shape: Shape) -> str:
        for name, facts in self.index.files.items():
            if tuple(facts["shape"]) == tuple(shape):
                return name
        channels, height, width = shape
        name = self._new_name(f"{width}x{height}x{channels}")
        self.index.files[name] = {"shape": list(shape), "rows": 0}
        return name

    def _new_name(self, stem: str) -> str:
        number = 1
        while (self.folder / f"{stem}-{number}{ENDING}").exists():
            number += 1
        return f"{stem}-{number}{ENDING}"

    def open_files(self, keys: Iterable[str]) -> None:
        """Map the files of these rows into memory, while the lock is held.

        From then on they can be read whatever other runs do: POSIX keeps a mapped file that was
        deleted, Windows refuses to delete it. Raises SuiteError and KeyError.
        """
        for name in {self.index.entries[key]["file"] for key in keys} - self.maps.keys():
            facts = self.index.files[name]
            path = self.folder / name
            try:
                self.maps[name] = np.memmap(
                    path, np.float32, "r", shape=(facts["rows"], *facts["shape"])
                )
            except (OSError, ValueError) as error:
                raise SuiteError(
                    f"The encoded pictures in {path} cannot be read ({error}). Start again."
                ) from error

    def row(self, key: str) -> np.ndarray:
        """The row of `key`, a view of its open file. Raises KeyError when there is none."""
        entry = self.index.entries[key]
        return self.maps[entry["file"]][entry["row"]]

    def close(self) -> None:
        """Let go of the files; a mapping is closed when the last view of it goes."""
        self.maps = {}
        if self.owner:
            self.owner.close()

    # --- keeping it small -------------------------------------------------------------------

    def compact(self) -> None:
        """Rewrite files in which much is stale, inside `writing`.

        Stale is a row that this run does not use and whose picture is gone or has changed, or
        that no run has used for 30 days.
        """
        today = int(time.time() // DAY)
        stale = {
            key
            for key, entry in self.index.entries.items()
            if key not in self.used and self._is_stale(key, entry, today)
        }
        self.index.known = {p: facts for p, facts in self.index.known.items() if os.path.exists(p)}
        for name, facts in list(self.index.files.items()):
            keys = [key for key, entry in self.index.entries.items() if entry["file"] == name]
            live = [key for key in keys if key not in stale]
            if facts["rows"] - len(live) > facts["rows"] * WORTH_COMPACTING:
                self._rewrite(name, facts, live, set(keys) - set(live))
        self._remove_strays()

    def _is_stale(self, key: str, entry: dict, today: int) -> bool:
        known = self.index.known.get(entry["picture"])
        changed = known is not None and not key.startswith(known[3][:16])
        return changed or today - entry["used"] > KEEP_DAYS or not os.path.exists(entry["picture"])

    def _rewrite(self, name: str, facts: dict, live: list[str], dropped: Iterable[str]) -> None:
        handle = self._handles.pop(name, None)
        if handle:
            handle.close()
        new_name = self._new_name(name.rpartition("-")[0])
        size = row_bytes(facts["shape"])
        try:
            with (self.folder / name).open("rb") as old, (self.folder / new_name).open("wb") as new:
                for key in live:
                    old.seek(self.index.entries[key]["row"] * size)
                    new.write(old.read(size))
                new.flush()
                os.fsync(new.fileno())
        except OSError as error:
            raise SuiteError(explain_os_error(error, self.folder / new_name)) from error
        for row, key in enumerate(live):
            self.index.entries[key] |= {"file": new_name, "row": row}
        for key in dropped:
            del self.index.entries[key]
        del self.index.files[name]
        if live:
            self.index.files[new_name] = {"shape": facts["shape"], "rows": len(live)}
        self.save()

    def _remove_strays(self) -> None:
        for path in self.folder.glob(f"*{ENDING}"):
            if path.name not in self.index.files:
                try:
                    path.unlink()
                except OSError:  # another run has it open (Windows): the next one removes it
                    continue


def row_bytes(shape: Iterable[int]) -> int:
    """The bytes of a float32 row."""
    return int(np.prod(list(shape))) * 4
