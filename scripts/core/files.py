"""Reading and writing files so that nothing of the user's is lost.

Output is written beside its place and renamed onto it: a crash or a full disk leaves either
the old file or the new one, never half of one.
"""

from __future__ import annotations

import errno
import hashlib
import locale
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from scripts.core.errors import SettingError, SuiteError

FORBIDDEN_IN_NAMES = '<>:"/\\|?*'  # what Windows refuses in a file name, the strictest system
RESERVED_NAMES = {"CON", "PRN", "AUX", "NUL"} | {
    f"{port}{number}" for port in ("COM", "LPT") for number in range(1, 10)
}
PROJECT_FOLDER = Path(__file__).resolve().parents[2]
UNSAFE_ENDINGS = (".ckpt", ".pt", ".pth", ".bin")  # of files that can hold code
WEIGHT_ENDINGS = (".safetensors", *UNSAFE_ENDINGS)  # of LoRAs in a folder
CACHE_FOLDER = PROJECT_FOLDER / "cache"
OUTPUT_FOLDER = PROJECT_FOLDER / "output"
LOG_FOLDER = PROJECT_FOLDER / "logs"
TRIES = 5  # within half a second
T = TypeVar("T")


@contextmanager
def replace_atomically(path: Path | str) -> Iterator[Path]:
    """Give a path beside `path` to write to; when the block ends well, rename it onto `path`.

    When the block fails, what was written is removed and an older file at `path` stays as it was.

    Raises SuiteError when the disk is full or the place cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:60]}.{uuid.uuid4().hex[:8]}.part")
    made: list[Path] = []
    try:
        made = make_folders(path.parent)
        yield temporary
        _flush_to_disk(temporary)
        patiently(lambda: os.replace(temporary, path))
        made = []
    except OSError as error:
        raise SuiteError(explain_os_error(error, path)) from error
    finally:
        with suppress(OSError):  # what kept the file from being written may keep it from going
            temporary.unlink(missing_ok=True)
        remove_folders(made)


def make_folders(folder: Path) -> list[Path]:
    """Make the folder and those above it; the ones that were missing, outermost first.

    Raises OSError; what was made is removed again then.
    """
    missing = [one for one in (folder, *folder.parents) if not os.path.isdir(one)][::-1]
    made: list[Path] = []
    try:
        for one in missing:
            one.mkdir(exist_ok=True)
            made.append(one)
    except OSError:
        remove_folders(made)
        raise
    return made


def remove_folders(made: list[Path]) -> None:
    """Remove the folders that `make_folders` made, as far as they are empty."""
    with suppress(OSError):
        for folder in reversed(made):
            folder.rmdir()


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def patiently(work: Callable[[], T]) -> T:
    """Do what Windows refuses for the moment in which another program has the file: replacing a
    file that is read, and reading one that is replaced. Raises OSError."""
    for attempt in range(1, TRIES):
        with suppress(PermissionError):
            return work()
        time.sleep(0.05 * attempt)
    return work()


def explain_os_error(error: OSError, path: Path) -> str:
    """One sentence for a failed write to `path`: what happened and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full: {path.name} could not be saved in {path.parent}. "
            "Make room there and start again; nothing that was saved before is lost."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"{path} cannot be written: access is denied. Choose another folder, or close the "
            "program that has the file open."
        )
    return f"{path} cannot be written ({error.strerror or error}). Choose another folder."


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 with the line ends of the text, atomically."""
    with replace_atomically(path) as temporary:
        temporary.write_bytes(text.encode("utf-8"))


def read_text(path: Path) -> tuple[str, str]:
    """The text of a file that a person wrote, and the name of the encoding it turned out to be.

    UTF-8 with or without byte-order mark, UTF-16 with one, else the system's code page
    (cp1252 when that is UTF-8 itself; bytes that it does not know become "�").
    """
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), "utf-16"
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        system = locale.getpreferredencoding(False)
        encoding = "cp1252" if system.lower().replace("-", "") in ("utf8", "ascii") else system
        return data.decode(encoding, errors="replace"), encoding


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of all bytes of the file, in hexadecimal, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def check_output_name(name: str, setting: str = "output_name") -> None:
    """Refuse a file name that some system cannot hold. Raises SettingError."""
    if any(0xD800 <= ord(letter) < 0xE000 for letter in name):  # halves of undecodable bytes
        raise SettingError(setting, "The name holds letters that this terminal did not pass on "
                           "rightly. Write it into a config file in place of a flag.")  # fmt: skip
    wrong = sorted({letter for letter in name if letter in FORBIDDEN_IN_NAMES or ord(letter) < 32})
    if wrong:
        shown = " ".join(wrong)
        raise SettingError(setting, f'The name "{name}" holds {shown}, which a file name cannot '
                           "hold. Use letters, digits, spaces, - and _.")  # fmt: skip
    if not name.strip() or name != name.strip() or name.endswith("."):
        raise SettingError(setting, f'The name "{name}" is empty, or begins or ends with a space '
                           "or a dot. Give it another name.")  # fmt: skip
    if name.split(".")[0].upper() in RESERVED_NAMES:
        raise SettingError(setting, f'"{name}" is a name that Windows keeps for itself. '
                           "Give it another name.")  # fmt: skip
    if len(name.encode("utf-8")) > 200:
        raise SettingError(setting, f"The name is too long ({len(name)} letters). Shorten it.")


def check_output_folder(folder: Path, setting: str = "output_dir", keep: bool = True) -> None:
    """Make the folder if it is missing and see that a file can be written there; without `keep`,
    leave nothing behind.

    Raises SettingError when it is a file, or cannot be made or written to.
    """
    if os.path.isfile(folder):  # False, no error, where access is denied
        raise SettingError(setting, f"{folder} is a file, not a folder. Choose a folder.")
    probe = folder / f".easy_lora_{uuid.uuid4().hex[:8]}"
    made: list[Path] = []
    try:
        made = make_folders(folder)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise SettingError(
            setting, f"The folder {folder} cannot be written to ({reason}). Choose another one."
        ) from error
    finally:
        if not keep:
            remove_folders(made)


def check_output_file(
    path: Path, inputs: Iterable[Path], overwrite: bool = False, setting: str = "save_to"
) -> None:
    """See that a result can be saved at `path` without harm to what is there.

    Raises SettingError when it is one of `inputs` (even if it may be written over), is there
    already, is a folder, or has a name or a place that cannot be written.
    """
    check_output_name(path.name, setting)
    if os.path.isdir(path):
        raise SettingError(setting, f"{path} is a folder. Write the name of the new file too.")
    if os.path.exists(path):
        if any(os.path.exists(given) and path.samefile(given) for given in inputs):
            raise SettingError(setting, f"{path.name} is one of the files that are read. Save "
                               "under another name.")  # fmt: skip
        if not overwrite:
            raise SettingError(setting, f"There is a file {path} already. Choose another name, or "
                               "set overwrite to replace it.")  # fmt: skip
    check_output_folder(path.parent, setting, keep=False)


def as_safetensors(path: Path, setting: str = "save_to") -> Path:
    """`path` with the ending .safetensors, which may be left out; a folder stays as it is.

    Raises SettingError for the ending of a kind of file that can hold harmful code, and for a disk
    or network place alone.
    """
    ending = path.suffix.lower()
    if ending in UNSAFE_ENDINGS:
        raise SettingError(setting, f"{path.name} would be an unsafe kind of file. Write the "
                           "ending .safetensors.")  # fmt: skip
    if ending == ".safetensors" or os.path.isdir(path):
        return path
    if not path.name:
        raise SettingError(setting, f"{path} names no file. Write the file's name behind it.")
    return path.with_name(path.name + ".safetensors")


def check_free_space(folder: Path, needed: int, setting: str = "save_to") -> None:
    """See that `needed` bytes fit on the disk of `folder`. Raises SettingError."""
    there = next((one for one in (folder, *folder.parents) if os.path.isdir(one)), folder)
    try:
        free = shutil.disk_usage(there).free
    except OSError:  # some network disks do not tell; a full disk is then seen while writing
        return
    if needed > free:
        raise SettingError(setting, f"The result needs {_size_text(needed)}, and the disk of "
                           f"{folder} has {_size_text(free)} left. Make room there, or choose "
                           "another disk.")  # fmt: skip


def _size_text(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
