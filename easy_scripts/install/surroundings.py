"""What around Easy LoRA can stand in its way: variables, memory, Tk, the driver's settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from easy_scripts.install.kinds import Graphics
from easy_scripts.install.place_checks import Finding

if sys.platform == "win32":
    import ctypes

LITTLE_MEMORY = 12 * 2**30  # bytes: loading an SDXL model takes about as much

# Variables that guides for other programs leave behind, and what they do. The launcher keeps
# those of Python and bitsandbytes away from the work; the others are the user's own choice.
VARIABLES: tuple[tuple[str, str, bool], ...] = (
    ("PYTHONHOME", "sends Python to another installation", False),
    ("PYTHONPATH", "mixes packages of other programs in", False),
    ("BNB_CUDA_VERSION", "tells bitsandbytes to use a certain library", False),
    ("PIP_TARGET", "puts packages into another folder", False),
    ("CONDA_PREFIX", "comes from an Anaconda environment", False),
    ("CUDA_VISIBLE_DEVICES", "hides graphics cards from every program", True),
    ("HSA_OVERRIDE_GFX_VERSION", "is for AMD cards on Linux", True),
)


def variables(environment: Mapping[str, str]) -> list[Finding]:
    """Variables that change how Python, pip, CUDA and bitsandbytes behave."""
    found = []
    for name, effect, matters in VARIABLES:
        if name not in environment:
            continue
        if matters:
            remedy = "If you did not mean that, remove it from the environment variables."
        else:
            remedy = "Easy LoRA does not pass it on; nothing needs to be done."
        cause = f"The environment variable {name} is set; it {effect}."
        found.append(Finding("variables", cause, remedy, problem=False))
    return found


def memory(total: int | None) -> list[Finding]:
    """Whether the computer's own memory (bytes; None: unknown) is enough for large models."""
    if total is None or total >= LITTLE_MEMORY:
        return []
    return [
        Finding(
            "memory",
            f"The computer has {total / 2**30:.0f} GB of memory; loading an SDXL model takes more.",
            "Close other programs while you train, or train on models of the SD 1.5 kind.",
            problem=False,
        )
    ]


def total_memory() -> int | None:
    """The computer's memory in bytes; None when it cannot be told."""
    if sys.platform == "win32":

        class Status(ctypes.Structure):
            """MEMORYSTATUSEX of the Windows API."""

            _fields_ = [
                ("length", ctypes.c_ulong), ("load", ctypes.c_ulong),
                ("total", ctypes.c_ulonglong), ("others", ctypes.c_ulonglong * 6),
            ]  # fmt: skip

        status = Status()
        status.length = ctypes.sizeof(Status)
        found = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return status.total if found else None
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            return int(file.readline().split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None


def windows_possible(environment: Mapping[str, str], platform: str) -> list[Finding]:
    """Whether Tk can open a window."""
    if platform.startswith("linux") and not environment.get("DISPLAY"):
        return [
            Finding(
                "windows",
                "There is no screen here, so no windows can be opened.",
                "Use the commands: python -m easy_scripts VERB --help.",
                problem=False,
            )
        ]
    try:
        import tkinter  # not at the top: Debian has Pythons without it, and everything else works

        tkinter.Tk().destroy()
    except (ImportError, RuntimeError) as error:  # TclError is a RuntimeError
        return [
            Finding(
                "windows",
                f"Python's windows (Tk) do not work: {error}.",
                "Run set-up with a Python that has Tk; setup.bat finds or fetches one.",
            )
        ]
    return []


def spilling(found: Graphics, platform: str) -> list[Finding]:
    """NVIDIA's driver for Windows moves what does not fit into the card to the slow main memory."""
    if platform != "win32" or not any(gpu.vendor == "nvidia" for gpu in found.gpus):
        return []
    return [
        Finding(
            "driver",
            "When the card's memory is full, NVIDIA's driver may go on in the computer's memory, "
            "ten to a hundred times slower and without a message.",
            "In the NVIDIA Control Panel, under Manage 3D settings, set CUDA - Sysmem Fallback "
            'Policy to "Prefer No Sysmem Fallback".',
            problem=False,
        )
    ]
