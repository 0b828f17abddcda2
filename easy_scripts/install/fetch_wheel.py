"""Fetch a wheel from PyTorch's own index, going on where an earlier set-up stopped.

pip takes up a download that breaks off, but forgets half a file when it ends. torch for NVIDIA
cards has some 3 GB, which nobody wants to begin anew on a slow connection, so it is fetched here:

    path = fetch_wheel(wanted_wheel("torch", "2.13.0+cu130", index, "3.12"), folder, report)
"""

from __future__ import annotations

import http.client
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urldefrag, urljoin

from easy_scripts.install.package_source import LOG, open_address
from scripts.core.events import Note, Report, Stage
from scripts.core.files import sha256_of_file

SECONDS = 30.0  # without a byte, until a connection counts as broken
PIECE = 1 << 20  # bytes
MEGABYTE = 1_000_000
TRIES = 8  # in a row that bring nothing
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds between two tries
PARTIAL, NOTHING_LEFT = 206, 416  # statuses: from the byte asked for on; there is none behind it


class BrokenDownload(Exception):
    """The download broke off again and again, or came damaged; what is good of it was kept."""


@dataclass(frozen=True)
class Wanted:
    """A wheel: its package, the page that lists it, and how its file's name begins and ends."""

    package: str
    page: str
    begins: str
    ends: str

    def is_named(self, name: str) -> bool:
        """Whether a file's name is that of this wheel."""
        return name.startswith(self.begins) and name.endswith(self.ends)


def wanted_wheel(package: str, version: str, index: str, python: str) -> Wanted:
    """The wheel of a package with compiled code, for this system and a Python such as "3.12.4"."""
    tag = "cp" + "".join(python.split(".")[:2])
    machine = "win_amd64" if sys.platform == "win32" else platform.machine()
    begins = f"{package}-{version}-{tag}-{tag}-"
    return Wanted(package, f"{index}/{package}/", begins, f"{machine}.whl")


def fetch_wheel(wanted: Wanted, folder: Path, report: Report) -> Path | None:
    """The wheel in `folder`, whole and checked; None when the index does not list it.

    What stands of it in `folder` already is not fetched again. Raises BrokenDownload; OSError when
    the disk is full or cannot be written to.
    """
    found = _find(wanted)
    if found is None:
        return None
    address, digest = found
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / unquote(address.rsplit("/", 1)[-1])
    part = path.with_name(path.name + ".part")
    for _ in range(2):  # a second time only if it came damaged
        if not path.exists():
            _Download(address, part, wanted.package, report).run()
            part.replace(path)
        if digest in (None, sha256_of_file(path)):
            return path
        path.unlink()
    raise BrokenDownload(f"{path.name} is not the file that the index speaks of")


def _find(wanted: Wanted) -> tuple[str, str | None] | None:
    """The wheel's address and SHA-256 from the index; None when it is not there or unreadable."""
    try:
        with open_address(wanted.page, SECONDS) as answer:
            page, text = answer.url, answer.read().decode("utf-8", errors="replace")
    except (OSError, ValueError, http.client.HTTPException) as error:  # pip may know another way
        LOG.info("%s: %s", wanted.page, error)
        return None
    links = _Links()
    links.feed(text)
    for link in links.found:
        address, fragment = urldefrag(urljoin(page, link))
        if wanted.is_named(unquote(address.rsplit("/", 1)[-1])):
            kind, _, digest = fragment.partition("=")
            return address, digest if kind == "sha256" else None
    return None


class _Links(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Take a link's target."""
        if tag == "a":
            self.found += [value for name, value in attributes if name == "href" and value]


class _Download:
    """Brings the file `part` to its end, over as many connections as it takes."""

    def __init__(self, address: str, part: Path, name: str, report: Report) -> None:
        self._address, self._part, self._name, self._report = address, part, name, report
        self._told = -1

    def run(self) -> None:
        """Fetch what is missing. Raises BrokenDownload when nothing comes any more, OSError."""
        in_vain = 0
        while True:
            had = self._have()
            try:
                if self._take(had):
                    return
            except BrokenDownload:
                if in_vain == TRIES:
                    raise
            in_vain = 0 if self._have() > had else in_vain + 1
            if in_vain == 1:
                self._report(Note("The connection broke off; it is tried again."))
            time.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2**in_vain))

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _take(self, start: int) -> bool:
        """Append what one connection brings; whether the file has come to its end.

        Raises BrokenDownload for an error of the connection, OSError for one of the disk.
        """
        answer = self._open(start)
        if answer is None:
            return True
        with answer:
            if answer.status != PARTIAL:  # the server can only begin anew
                start = 0
            total = start + int(answer.headers.get("Content-Length") or 0)  # 0: not told
            with self._part.open("ab" if start else "wb") as file:
                while piece := self._read(answer):
                    file.write(piece)
                    start += len(piece)
                    self._tell(start, total)
        return start >= total

    def _open(self, start: int) -> http.client.HTTPResponse | None:
        """The connection; None when there is nothing behind byte `start`."""
        with _broken_connections():
            try:
                return open_address(self._address, SECONDS, start=start)
            except HTTPError as error:
                if error.code == NOTHING_LEFT and start:
                    return None
                raise

    @staticmethod
    def _read(answer: http.client.HTTPResponse) -> bytes:
        with _broken_connections():
            return answer.read(PIECE)

    def _tell(self, done: int, total: int) -> None:
        if done // MEGABYTE != self._told and done <= total:
            self._told = done // MEGABYTE
            name = f"Downloading {self._name}, MB"
            self._report(Stage(name, self._told, max(1, total // MEGABYTE)))


@contextmanager
def _broken_connections() -> Iterator[None]:
    """Tell errors of the connection from those of the disk."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise BrokenDownload(str(error)) from error
