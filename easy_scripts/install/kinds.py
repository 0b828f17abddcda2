"""The kinds of machine that set-up knows, and which one a machine is.

A kind is a build of PyTorch: its lock file, its place in PyTorch's own package index, and what it
costs in disk and download. `choose_kind` is a pure function, so that it can be tested for cards
and drivers that nobody here has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TORCH_INDEX = "https://download.pytorch.org/whl/"


@dataclass(frozen=True)
class Kind:
    """One build of PyTorch.

    cuda: the CUDA version it is built for, as `torch.version.cuda` tells it; None for the CPU.
    download_gb, disk_gb: about what set-up fetches and what it takes on the disk;
    constraints: lock files that pin what this build brings along.
    """

    name: str
    title: str
    cuda: str | None
    download_gb: float
    disk_gb: float
    constraints: tuple[str, ...] = ()

    @property
    def index(self) -> str:
        """The address of the package index that has this build."""
        return TORCH_INDEX + self.name


KINDS = {
    kind.name: kind
    for kind in (
        Kind("cpu", "the processor (no graphics card)", None, 0.5, 2.0),
        Kind("cu126", "NVIDIA cards, CUDA 12.6", "12.6", 3.0, 8.0),
        Kind("cu128", "NVIDIA cards, CUDA 12.8", "12.8", 3.5, 9.0),
        Kind("cu130", "NVIDIA cards, CUDA 13.0", "13.0", 3.0, 8.0, ("cuda13-linux.txt",)),
    )
}


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA card: its name, compute capability such as (8, 6) and memory in MiB."""

    name: str
    capability: tuple[int, int] | None = None
    memory_mib: int | None = None


@dataclass(frozen=True)
class Choice:
    """The name of the kind that fits, and the reason in one sentence."""

    kind: str
    reason: str


def choose_kind(
    platform: str,
    gpus: Sequence[Gpu],
    driver_cuda: tuple[int, int] | None,
    python: tuple[int, int],
) -> Choice:
    """Which build of PyTorch fits a machine.

    platform: as in `sys.platform`; gpus: the NVIDIA cards; driver_cuda: the newest CUDA version
    that the driver serves, None when unknown; python: major and minor version, which does not
    decide anything as long as every build exists for every Python that we accept.
    """
    if platform == "darwin":
        return Choice("cpu", "This is a Mac: there is one PyTorch for it.")
    if not gpus:
        return Choice(
            "cpu", "No NVIDIA graphics card was found: training will run on the processor, slowly."
        )
    card = gpus[0].name
    if driver_cuda is None:
        return Choice("cu126", f"{card} was found, but not how new its driver is: CUDA 12.6 fits.")
    driver = f"{driver_cuda[0]}.{driver_cuda[1]}"
    if driver_cuda >= (13, 0):
        return Choice("cu130", f"{card} was found, and its driver knows CUDA {driver}.")
    return Choice("cu126", f"{card} was found; its driver knows CUDA {driver}, older than 13.")
