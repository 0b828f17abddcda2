"""Read names and shapes from a .ckpt, .pt or .bin file without torch and without running it.

Such a file is a pickle, and a pickle can hold calls of any program code. Here nothing of that can
happen: every name in the pickle that is known and harmless gives a stand-in without any effect,
and any other name makes the file refused. Both the zip format of torch and its older plain one
are read; the numbers of the tensors are not.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from scripts.core.errors import SuiteError

PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
OLD_FORMAT_MAGIC = 0x1950A86A20F9469CFC6C  # the first number in torch's plain format
LARGEST_PICKLE = 200_000_000  # bytes, without the tensors

# Left behind by training programs; each gives a stand-in that does nothing.
HARMLESS = (
    "pytorch_lightning.", "lightning.", "lightning_fabric.", "numpy.", "omegaconf.", "typing.",
    "argparse.Namespace", "pathlib.", "collections.", "torchmetrics.", "torch.",
)  # fmt: skip
PLAIN_TYPES = {
    f"{module}.{kind.__name__}": kind
    for module in ("builtins", "__builtin__")
    for kind in (set, frozenset, dict, list, tuple, int, float, str, bool, complex, bytearray)
} | {"collections.OrderedDict": OrderedDict}


@dataclass(frozen=True)
class PickleHeader:
    """What a pickled file holds: shapes by name, found under the keys `inside`.

    `foreign` are the names of stand-ins that torch has to be told of; `is_zip` tells the format.
    """

    shapes: Mapping[str, tuple[int, ...]]
    inside: tuple[str, ...]
    foreign: tuple[str, ...]
    is_zip: bool


def is_pickle(path: Path) -> bool:
    """Whether the file begins like a file of torch, whatever its ending says."""
    with path.open("rb") as file:
        start = file.read(4)
    return start[:2] in PICKLE_STARTS or start == b"PK\x03\x04"


def read_pickle_header(path: Path) -> PickleHeader:
    """The names and shapes in a file of torch.

    Raises SuiteError when the file cannot be read, is cut off, is none of torch, or holds names
    of program code.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            reader = _read_zip(file) if is_zip else _read_plain(file)
            content = reader.load()
    except OSError as error:
        raise SuiteError(f"The file {path} cannot be read: {error.strerror or error}.") from error
    except _CodeInFile as error:
        raise SuiteError(
            f"{path.name} holds program code ({error}), not only weights. Nothing of it was run. "
            "Do not use this file; choose a .safetensors file from a source that you trust."
        ) from error
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, KeyError, ValueError, TypeError,
            AttributeError, IndexError, ImportError, MemoryError, RecursionError,
            NotImplementedError) as error:  # fmt: skip
        raise SuiteError(
            f"{path.name} is not a readable model file: it is cut off, broken, or another kind "
            "of file with the wrong ending. Download it again."
        ) from error
    inside, tensors = _state_dict(content)
    shapes = {str(name): value.shape for name, value in tensors.items()}
    return PickleHeader(shapes, inside, tuple(sorted(reader.foreign)), is_zip)


def _state_dict(content: Any) -> tuple[tuple[str, ...], dict[str, StandInTensor]]:
    for key in ("state_dict", "model", "module", "params_ema", "params"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            return (key,), _tensors(content[key])
    return (), _tensors(content if isinstance(content, dict) else {})


def _tensors(content: dict) -> dict[str, StandInTensor]:
    return {key: value for key, value in content.items() if isinstance(value, StandInTensor)}


def _read_zip(file: BinaryIO) -> _Reader:
    archive = zipfile.ZipFile(file)
    for entry in archive.infolist():
        if entry.filename.endswith("/data.pkl") or entry.filename == "data.pkl":
            if entry.file_size > LARGEST_PICKLE:
                raise ValueError("the pickle is too large")
            return _Reader(io.BytesIO(archive.read(entry)))
    raise KeyError("data.pkl")


def _read_plain(file: BinaryIO) -> _Reader:
    if _Reader(file).load() != OLD_FORMAT_MAGIC:
        raise ValueError("not a file of torch")
    _Reader(file).load()  # version of the format
    _Reader(file).load()  # sizes of C types on the machine that wrote it
    return _Reader(file)


class _CodeInFile(Exception):
    """The pickle names something that is neither a tensor nor harmless."""


@dataclass(frozen=True)
class StandInTensor:
    """A tensor of which only the shape is known."""

    shape: tuple[int, ...]


class Inert:
    """Takes the place of any harmless object; whatever is done with it, nothing happens."""

    def __init__(self, *arguments: object, **named: object) -> None:
        del arguments, named

    def __setstate__(self, state: object) -> None:
        del state

    def __setitem__(self, key: object, value: object) -> None:
        del key, value

    def append(self, value: object) -> None:
        """Do nothing."""

    def extend(self, values: object) -> None:
        """Do nothing."""


def _rebuild_tensor(storage: object, offset: int, size: tuple, *rest: object) -> StandInTensor:
    del storage, offset, rest
    return StandInTensor(tuple(int(length) for length in size))


def _rebuild_parameter(data: object, *rest: object) -> object:
    del rest
    return data


REBUILD = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor,  # of fp8
    "torch._utils._rebuild_parameter": _rebuild_parameter,
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows stand-ins and plain types, and nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.foreign: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in REBUILD:
            return REBUILD[full]
        if full in PLAIN_TYPES:
            return PLAIN_TYPES[full]
        if full == "_codecs.encode":  # how protocol 2 writes bytes
            return Inert
        if full.startswith(HARMLESS):
            if module.partition(".")[0] != "torch":
                self.foreign.add(full)
            return Inert
        raise _CodeInFile(full)

    def persistent_load(self, identity: object) -> Inert:
        del identity
        return Inert()
