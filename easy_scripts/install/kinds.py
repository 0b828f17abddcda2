"""The kinds of machine that set-up knows, and which one a machine is.

A kind is a build of PyTorch: its lock file, its place in PyTorch's own package index, and what it
costs in disk and download. `choose_kind` is a pure function over the tables below, so that it can
be tested for cards and drivers that nobody here has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from easy_scripts.launcher.python_version import refuse_python

TORCH_INDEX = "https://download.pytorch.org/whl/"
Version = tuple[int, int]


@dataclass(frozen=True)
class Kind:
    """One build of PyTorch.

    cuda: the CUDA version it is built for, as `torch.version.cuda` tells it; None for the others;
    xpu: whether it is the build for Intel's cards;
    download_gb, disk_gb: about what set-up fetches and what it takes on the disk;
    constraints: lock files that pin what this build brings along.
    """

    name: str
    title: str
    cuda: str | None
    download_gb: float
    disk_gb: float
    constraints: tuple[str, ...] = ()
    xpu: bool = False

    @property
    def index(self) -> str:
        """The address of the package index that has this build."""
        return TORCH_INDEX + self.name

    def is_build(self, torch: dict[str, str | None]) -> bool:
        """Whether an installed torch, described as in `Findings.torch`, is this build."""
        return torch["cuda"] == self.cuda and bool(torch.get("xpu")) == self.xpu


KINDS = {
    kind.name: kind
    for kind in (
        Kind("cpu", "the processor (no graphics card)", None, 0.5, 2.0),
        Kind("cu126", "NVIDIA cards, CUDA 12.6", "12.6", 3.0, 8.0),
        Kind("cu130", "NVIDIA cards, CUDA 13.0", "13.0", 3.0, 8.0, ("cuda13-linux.txt",)),
        Kind("xpu", "Intel Arc graphics", None, 2.5, 7.0, xpu=True),
    )
}


def build_in_words(torch: dict[str, str | None]) -> str:
    """What an installed torch, described as in `Findings.torch`, was built for."""
    other = "Intel graphics" if torch.get("xpu") else "the processor only"
    return f"CUDA {torch['cuda']}" if torch.get("cuda") else other


def ordinary_build(platform: str) -> str:
    """The kind that the ordinary package source has: its wheels for Linux are for CUDA 13."""
    return "cu130" if platform == "linux" else "cpu"


@dataclass(frozen=True)
class NvidiaBuild:
    """What a build for NVIDIA cards runs on.

    oldest, newest: the compute capabilities that it holds code for; driver_cuda: the oldest CUDA
    version that the driver may know (any driver of the same or a later major version serves
    it); driver: what such a driver is called, on Windows and elsewhere.
    """

    kind: str
    oldest: Version
    newest: Version
    driver_cuda: Version
    driver: dict[str, str]


# From PyTorch's release notes for 2.13 (RELEASE.md, CUDA Support Matrix) and the table of minor
# version compatibility in NVIDIA's CUDA Toolkit Release Notes. The newest build comes first.
NVIDIA_BUILDS = (
    NvidiaBuild("cu130", (7, 5), (12, 1), (13, 0), {"win32": "580", "linux": "580"}),
    NvidiaBuild("cu126", (5, 0), (9, 0), (12, 0), {"win32": "528.33", "linux": "525.60"}),
)
INTEL_WITH_XPU = re.compile(r"\bArc\b|Data Center GPU Max", re.IGNORECASE)
NOT_USED = "But the processor was asked for, and set-up remembers that."
SLOWLY = "training will run on the processor, hours where a graphics card takes minutes."


@dataclass(frozen=True)
class Gpu:
    """One card: its name, compute capability such as (8, 6), memory in MiB, and maker.

    capability: of NVIDIA cards only; vendor: "nvidia", "intel" or "amd".
    """

    name: str
    capability: Version | None = None
    memory_mib: int | None = None
    vendor: str = "nvidia"


@dataclass(frozen=True)
class Graphics:
    """The cards of a machine, and the newest CUDA version that NVIDIA's driver serves."""

    gpus: tuple[Gpu, ...] = ()
    driver_cuda: Version | None = None


@dataclass(frozen=True)
class Choice:
    """The name of the kind that fits, and the reason in a sentence.

    kind None: nothing fits until something is changed; the reason then says what.
    """

    kind: str | None
    reason: str


def choose_kind(
    platform: str, gpus: Sequence[Gpu], driver_cuda: Version | None, python: Version
) -> Choice:
    """Which build of PyTorch fits a machine.

    platform: as in `sys.platform`; gpus: the cards of all makers; driver_cuda: the newest CUDA
    version that NVIDIA's driver serves, None when unknown; python: major and minor version
    (every build exists for every Python that we accept).
    """
    refusal = refuse_python(python, 64)
    if refusal:
        return Choice(None, refusal)
    if platform == "darwin":
        return Choice("cpu", "This is a Mac: there is one PyTorch for it.")
    choices: list[tuple[int, Choice]] = []
    for vendor, choose in CHOOSERS.items():
        cards = sorted((gpu for gpu in gpus if gpu.vendor == vendor), key=_memory, reverse=True)
        if cards:
            choices.append((_memory(cards[0]), choose(platform, cards, driver_cuda)))
    for _, choice in choices:
        if choice.kind != "cpu":
            return choice
    if choices:  # of the largest card one wants to know why it is not used
        return max(choices, key=lambda pair: pair[0])[1]
    return Choice("cpu", f"No NVIDIA or Intel Arc graphics card was found: {SLOWLY}")


def _memory(gpu: Gpu) -> int:
    return gpu.memory_mib or 0


def _choose_for_nvidia(platform: str, gpus: Sequence[Gpu], driver_cuda: Version | None) -> Choice:
    usable = [gpu for gpu in gpus if any(_has_code_for(build, gpu) for build in NVIDIA_BUILDS)]
    # CUDA counts the fastest card as the first; the newest is the best guess for that
    card = max(usable or gpus, key=lambda gpu: (gpu.capability or (0, 0), _memory(gpu)))
    if not usable:
        return _no_code_for(card)
    builds = [build for build in NVIDIA_BUILDS if _has_code_for(build, card)]
    if driver_cuda is None:
        build = builds[-1]
        return Choice(
            build.kind,
            f"{card.name} was found, but not how new its driver is: {KINDS[build.kind].title} is "
            f"taken. It needs driver {_driver(build, platform)} or later.",
        )
    known = f"{driver_cuda[0]}.{driver_cuda[1]}"
    for build in builds:
        if driver_cuda >= build.driver_cuda:
            return Choice(build.kind, f"{card.name} was found, and its driver knows CUDA {known}.")
    return Choice(
        None,
        f"{card.name} was found, but its driver knows CUDA {known} only. Install NVIDIA's driver "
        f"{_driver(builds[-1], platform)} or later, then start again.",
    )


def _has_code_for(build: NvidiaBuild, card: Gpu) -> bool:
    return card.capability is None or build.oldest <= card.capability <= build.newest


def _driver(build: NvidiaBuild, platform: str) -> str:
    return build.driver.get(platform, build.driver["linux"])


def _no_code_for(card: Gpu) -> Choice:
    if card.capability and card.capability < NVIDIA_BUILDS[-1].oldest:
        return Choice("cpu", f"{card.name} is too old for today's PyTorch: {SLOWLY}")
    return Choice(
        "cpu",
        f"{card.name} is newer than this version of Easy LoRA knows, so a newer one is needed to "
        f"use it. Until then, {SLOWLY}",
    )


def _choose_for_intel(_platform: str, gpus: Sequence[Gpu], _driver_cuda: object) -> Choice:
    for card in gpus:
        if INTEL_WITH_XPU.search(card.name):
            return Choice("xpu", f"{card.name} was found.")
    return Choice("cpu", f"{gpus[0].name} cannot be used by PyTorch: {SLOWLY}")


def _choose_for_amd(platform: str, gpus: Sequence[Gpu], _driver_cuda: object) -> Choice:
    if platform == "win32":
        missing = "PyTorch publishes no build for AMD cards on Windows"
    else:
        missing = "Easy LoRA does not set up PyTorch's build for AMD cards"
    return Choice("cpu", f"{gpus[0].name} was found, but {missing}: {SLOWLY}")


# Each gets the cards of its maker, the largest first. The first maker of whom there is a card that
# can be used decides.
CHOOSERS: dict[str, Callable[[str, Sequence[Gpu], Version | None], Choice]] = {
    "nvidia": _choose_for_nvidia,
    "amd": _choose_for_amd,
    "intel": _choose_for_intel,
}
