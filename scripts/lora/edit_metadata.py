"""Change the metadata of a LoRA file: the bytes of its tensors stay as they are, and are streamed.

    edit_metadata(path, {"ss_output_name": "cat", "modelspec.author": None}, target)

None removes an entry. A hash that depends on the metadata is kept true.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.core.errors import SettingError, SuiteError
from scripts.core.files import check_free_space, check_output_file, replace_atomically
from scripts.core.safetensors_header import Header, read_header
from scripts.lora.peft_alpha import PEFT_CONFIG, read_peft_config
from scripts.lora.safetensors_writer import HASHES, hashes_of, of_training, packed_header
from scripts.models.file_head import read_head

PIECE = 1 << 22


def read_changes(words: list[str]) -> dict[str, str | None]:
    """The changes that KEY=VALUE words ask for; KEY= removes. Raises SettingError."""
    changes: dict[str, str | None] = {}
    for word in words:
        if any(0xD800 <= ord(letter) < 0xE000 for letter in word):  # halves of undecodable bytes
            raise SettingError("set", "The entry holds letters that this terminal did not pass on "
                               "rightly. Write it with other letters.")  # fmt: skip
        key, sign, value = word.partition("=")
        if not sign or not key.strip():
            raise SettingError("set", f'"{word}" is no change. Write KEY=VALUE, or KEY= to remove '
                               "the entry.")  # fmt: skip
        if key in HASHES:
            raise SettingError("set", f"{key} follows from the tensors and cannot be set. Leave it "
                               "out.")  # fmt: skip
        changes[key.strip()] = value or None
    return changes


def backup_of(path: Path) -> Path:
    """The place for a copy of the file as it was: NAME.bak.safetensors, or the next free number."""
    number = 1
    while True:
        place = path.with_name(f"{path.stem}.bak{'' if number == 1 else number}{path.suffix}")
        if not place.exists():
            return place
        number += 1


def edit_metadata(
    path: Path, changes: Mapping[str, str | None], target: Path | None, overwrite: bool = False
) -> tuple[Path, Path | None]:
    """Write the file with other metadata to `target`, or in place when None; (file, backup).

    Raises SettingError and SuiteError; nothing is changed then.
    """
    if read_head(path).layout == "ckpt":
        raise SuiteError(f"{path.name} is a file of torch, which holds no metadata. Resize it to "
                         "its own size first; the result can be edited.")  # fmt: skip
    header = read_header(path)
    metadata = {key: value for key, value in header.metadata.items() if key not in changes}
    config = read_peft_config(path, header.metadata)
    if target is not None and config and PEFT_CONFIG not in {**header.metadata, **changes}:
        metadata[PEFT_CONFIG] = json.dumps(config)  # its file, which holds the alphas, stays behind
    metadata |= {key: value for key, value in changes.items() if value is not None}
    metadata |= _true_hashes(path, header, metadata)
    backup = None
    if target is None:
        target = path = path.resolve()  # a link stays one
        backup = backup_of(path)
        check_free_space(path.parent, 2 * header.file_size)
        with replace_atomically(backup) as unfinished, unfinished.open("wb") as file:
            file.writelines(_pieces(path, 0))
    else:
        check_output_file(target, [path], overwrite)
        check_free_space(target.parent, header.file_size)
    with replace_atomically(target) as unfinished:
        _copy_with(path, header, metadata, unfinished)
    return target, backup


def _true_hashes(path: Path, header: Header, metadata: Mapping[str, str]) -> dict[str, str]:
    """Those hashes that the file has, as they must be with the new metadata."""
    present = [key for key in HASHES if key in metadata]
    if not present:
        return {}
    found = file_hashes(path, header, metadata)
    return {key: found[key] for key in present}


def file_hashes(path: Path, header: Header, metadata: Mapping[str, str]) -> dict[str, str]:
    """The hashes (sshs_*) of the file with `metadata`, over the bytes of its tensors as they lie.

    Raises SuiteError when they cannot be read.
    """
    start = len(_header_with(header, of_training(metadata)))
    return hashes_of(_pieces(path, header.data_start), start)


def _copy_with(path: Path, header: Header, metadata: Mapping[str, str], target: Path) -> None:
    """The same tensors at the same places behind a header with `metadata`."""
    with target.open("wb") as file:
        file.write(_header_with(header, metadata))
        file.writelines(_pieces(path, header.data_start))


def _header_with(header: Header, metadata: Mapping[str, str]) -> bytes:
    content: dict = {"__metadata__": dict(metadata)}
    for key, info in header.tensors.items():
        content[key] = {
            "dtype": info.dtype,
            "shape": list(info.shape),
            "data_offsets": [info.begin, info.end],
        }
    return packed_header(content)


def _pieces(path: Path, start: int) -> Iterator[bytes]:
    """The bytes of the file from `start` on. Raises SuiteError when they cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            while piece := file.read(PIECE):
                yield piece
    except OSError as error:
        raise SuiteError(f"The file {path} cannot be read: {error.strerror}.") from error
