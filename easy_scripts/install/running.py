"""Which programs of the private environment are running: nothing may be replaced under them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

SNAPSHOT_OF_PROCESSES = 0x2
QUERY_LIMITED = 0x1000
LONGEST_PATH = 32768

# (number, number of the parent, program) of each process
Process = tuple[int, int, str]


def running_from(environment: Path, processes: list[Process] | None = None) -> list[int]:
    """The processes whose program lies in `environment`, without ourselves and what started us."""
    processes = all_processes() if processes is None else processes
    parents = {number: parent for number, parent, _ in processes}
    ours, number = set(), os.getpid()
    while number and number not in ours:
        ours.add(number)
        number = parents.get(number, 0)
    inside = os.path.normcase(str(environment)) + os.sep
    return [
        number
        for number, _, program in processes
        if number not in ours and os.path.normcase(program).startswith(inside)
    ]


def all_processes() -> list[Process]:
    """The processes of this user that can be seen; none on systems that do not tell."""
    return list(_of_windows() if sys.platform == "win32" else _of_proc())


def _of_proc() -> Iterator[Process]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            # the program's name, in brackets, may hold spaces and brackets itself
            after_name = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            program = (folder / "cmdline").read_bytes().split(b"\0")[0]
            yield int(folder.name), int(after_name[1]), os.fsdecode(program)


def _of_windows() -> Iterator[Process]:
    class Entry(ctypes.Structure):
        """PROCESSENTRY32W of the Windows API."""

        _fields_ = [
            ("dwSize", wintypes.DWORD), ("cntUsage", wintypes.DWORD),
            ("th32ProcessID", wintypes.DWORD), ("th32DefaultHeapID", ctypes.c_size_t),
            ("th32ModuleID", wintypes.DWORD), ("cntThreads", wintypes.DWORD),
            ("th32ParentProcessID", wintypes.DWORD), ("pcPriClassBase", wintypes.LONG),
            ("dwFlags", wintypes.DWORD), ("szExeFile", wintypes.WCHAR * 260),
        ]  # fmt: skip

    kernel = ctypes.WinDLL("kernel32")
    kernel.CreateToolhelp32Snapshot.restype = wintypes.HANDLE
    kernel.OpenProcess.restype = wintypes.HANDLE
    snapshot = wintypes.HANDLE(kernel.CreateToolhelp32Snapshot(SNAPSHOT_OF_PROCESSES, 0))
    entry = Entry()
    entry.dwSize = ctypes.sizeof(Entry)
    more = kernel.Process32FirstW(snapshot, ctypes.byref(entry))
    while more:
        yield entry.th32ProcessID, entry.th32ParentProcessID, _program(kernel, entry)
        more = kernel.Process32NextW(snapshot, ctypes.byref(entry))
    kernel.CloseHandle(snapshot)


def _program(kernel, entry) -> str:
    """The path of a process' program; empty where Windows does not tell."""
    process = wintypes.HANDLE(kernel.OpenProcess(QUERY_LIMITED, False, entry.th32ProcessID))
    if not process:
        return ""
    path = ctypes.create_unicode_buffer(LONGEST_PATH)
    size = wintypes.DWORD(LONGEST_PATH)
    found = kernel.QueryFullProcessImageNameW(process, 0, path, ctypes.byref(size))
    kernel.CloseHandle(process)
    return path.value if found else ""
