"""What a model file says of itself, whatever its format: names, shapes, metadata.

Standard library only, and nothing in the file is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import SuiteError
from scripts.core.safetensors_header import LARGEST_HEADER, read_header
from scripts.models.pickle_header import is_pickle, read_pickle_header

# How files begin that are often saved or chosen in place of a model.
NOT_MODELS = (
    (b"<", "a web page saved under the name of a model: the download asked for a login or failed"),
    (b"version https://git-lfs", "only a pointer of Git LFS: the model itself was not downloaded"),
    (b"GGUF", "a GGUF file, which cannot be used here"),
    (b"{", "a text file"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"RIFF", "a picture"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
)


@dataclass(frozen=True)
class FileHead:
    """The shapes of the tensors by name, and the free strings (safetensors only).

    `layout` is "single_file" for safetensors and "ckpt" for files of torch.
    """

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    layout: str


def read_head(path: Path) -> FileHead:
    """The head of a .safetensors, .ckpt, .pt or .bin file; the content decides, not the ending.

    Raises SuiteError when it is missing, broken, cut off, no model file, or holds program code.
    """
    try:
        if path.is_dir():
            raise SuiteError(f"{path} is a folder. Choose a file in it.")
        if not path.is_file():
            raise SuiteError(f"There is no file {path}. Choose it again.")
        with path.open("rb") as file:
            start = file.read(64)
        pickled = not _is_safetensors(start) and is_pickle(path)
    except OSError as error:
        raise SuiteError(f"The file {path} cannot be read: {error.strerror or error}.") from error
    for beginning, what in () if _is_safetensors(start) else NOT_MODELS:
        if start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(beginning):
            raise SuiteError(f"{path.name} is no model but {what}. Download or choose it again.")
    if pickled:
        return FileHead(read_pickle_header(path).shapes, {}, "ckpt")
    header = read_header(path)
    shapes = {name: info.shape for name, info in header.tensors.items()}
    return FileHead(shapes, header.metadata, "single_file")


def _is_safetensors(start: bytes) -> bool:
    """Whether a file begins with the length of a header and the header: any first byte is
    possible then, that of a web page too."""
    return int.from_bytes(start[:8], "little") <= LARGEST_HEADER and start[8:9] == b"{"
