"""Which graphics cards this machine has: NVIDIA's own tool first, then what Windows knows.

On Windows the cards that have a driver stand in the registry. That is how Intel's and AMD's are
found, and how an NVIDIA card is noticed whose nvidia-smi is missing or hangs. A card that was taken
out stays there too, so Windows is asked which ones the PC still has.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

from easy_scripts.install import nvidia
from easy_scripts.install.card_names import capability_of
from easy_scripts.install.kinds import Gpu, Graphics, Version

if sys.platform == "win32":
    import winreg

DISPLAY_CLASS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"
DEVICES = r"SYSTEM\CurrentControlSet\Enum"
PRESENT_OF_CLASS = 0x100 | 0x200  # CM_GETIDLIST_FILTER_PRESENT, CM_GETIDLIST_FILTER_CLASS
MEMORY = "HardwareInformation.qwMemorySize"
VENDORS = (("VEN_10DE", "nvidia"), ("VEN_8086", "intel"), ("VEN_1002", "amd"))
# Driver numbers from which a driver knows a CUDA version (CUDA Toolkit Release Notes, table
# "CUDA Toolkit and Corresponding Driver Versions"); older ones are of no use.
DRIVERS: tuple[tuple[float, Version], ...] = ((580.0, (13, 0)), (528.33, (12, 0)), (0.0, (11, 0)))
Adapters = Callable[[], Iterable[Mapping[str, object]]]


def detect(ask: nvidia.Ask | None = None, adapters: Adapters | None = None) -> Graphics:
    """The cards of this machine; none when nothing can be found out."""
    found = nvidia.detect(ask)
    others = [_card(adapter) for adapter in (adapters or windows_adapters)()]
    cards = tuple(card for card, _ in others if card)
    if found.gpus:
        rest = tuple(card for card in cards if card.vendor != "nvidia")
        return Graphics(found.gpus + rest, found.driver_cuda)
    drivers = [driver for card, driver in others if card and card.vendor == "nvidia" and driver]
    return Graphics(cards, max(drivers, default=None))


def _card(adapter: Mapping[str, object]) -> tuple[Gpu | None, Version | None]:
    """The card that a registry entry speaks of, and the CUDA version that its driver knows."""
    name = str(adapter.get("DriverDesc", ""))
    device = str(adapter.get("MatchingDeviceId", "")).upper()
    vendor = next((vendor for mark, vendor in VENDORS if mark in device), None)
    if not name or vendor is None:
        return None, None
    memory = adapter.get(MEMORY)
    mib = memory >> 20 if isinstance(memory, int) else None
    if vendor != "nvidia":
        return Gpu(name, None, mib, vendor), None
    driver_cuda = cuda_of_driver(str(adapter.get("DriverVersion", "")))
    return Gpu(name, capability_of(name), mib), driver_cuda


def cuda_of_driver(version: str) -> Version | None:
    """The CUDA version that an NVIDIA driver knows, from Windows' number for it.

    Windows writes driver 536.23 as 31.0.15.3623: the last five digits are NVIDIA's number.
    """
    digits = re.sub(r"\D", "", version)[-5:]
    if len(digits) < 5:
        return None
    number = int(digits) / 100
    return next(cuda for oldest, cuda in DRIVERS if number >= oldest)


def windows_adapters() -> Iterator[dict[str, object]]:
    """The registry's entries about the graphics cards in this PC; none on other systems."""
    if sys.platform != "win32":
        return
    present = entries_of(present_devices())
    with suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, DISPLAY_CLASS) as group:
        for number in range(winreg.QueryInfoKey(group)[0]):
            name = winreg.EnumKey(group, number)
            if present and name not in present:
                continue
            values = {}
            with suppress(OSError), winreg.OpenKey(group, name) as entry:
                for value in ("DriverDesc", "MatchingDeviceId", "DriverVersion", MEMORY):
                    with suppress(OSError):
                        values[value] = winreg.QueryValueEx(entry, value)[0]
            yield values


def entries_of(devices: Iterable[str]) -> set[str]:
    """The names of the registry's entries for the drivers of these devices, such as "0001"."""
    names = set()
    for device in devices:
        path = rf"{DEVICES}\{device}"
        with suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
            names.add(winreg.QueryValueEx(key, "Driver")[0].rpartition("\\")[2])
    return names


def present_devices() -> list[str]:
    """The graphics cards that are in this PC, as Windows names them; empty when it cannot tell."""
    manager, size = ctypes.WinDLL("cfgmgr32"), ctypes.c_ulong()
    group = DISPLAY_CLASS.rpartition("\\")[2]
    if manager.CM_Get_Device_ID_List_SizeW(ctypes.byref(size), group, PRESENT_OF_CLASS):
        return []
    names = ctypes.create_unicode_buffer(size.value)
    if manager.CM_Get_Device_ID_ListW(group, names, size, PRESENT_OF_CLASS):
        return []
    return [name for name in names[:].split("\0") if name]
