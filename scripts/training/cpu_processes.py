"""Start all the processes that `accelerate launch --num_processes N --cpu` was asked for.

accelerate 1.15 starts one process on a CPU, whatever the number, unless MPI is installed; it only
leaves MASTER_PORT behind. The one that it starts finds the number in accelerate's own command line
and starts N processes in its place. With graphics cards accelerate starts them itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import psutil

SECONDS_TO_END = 60  # for the other processes, when one has ended


def missing_processes(environment: Mapping[str, str] = os.environ) -> int:
    """How many CPU processes were asked for in place of this one; 0 if it is as it should be."""
    several_on_cpu = (
        environment.get("ACCELERATE_USE_CPU") == "True"
        and "MASTER_PORT" in environment
        and "WORLD_SIZE" not in environment
    )
    if not several_on_cpu:
        return 0
    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return 0
    return processes_in(words)


def processes_in(words: Sequence[str]) -> int:
    """The number of processes in accelerate's command line; 0 if it names none above 1."""
    from accelerate.commands.config.config_args import default_config_file, load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    places = [place for place, word in enumerate(words) if word.endswith(("launch", "launch.py"))]
    if not places:
        return 0
    arguments, _ = launch_command_parser().parse_known_args(list(words[places[0] + 1 :]))
    number = arguments.num_processes
    if number is None and (arguments.config_file or os.path.isfile(default_config_file)):
        number = load_config_from_file(arguments.config_file).num_processes
    return number if number is not None and number > 1 else 0


def run_processes(number: int, module: str, arguments: Sequence[str]) -> int:
    """Run `python -m module arguments` in so many connected processes; the first one's exit code.

    The first process has this one's stdin. When one of them fails the others are ended.
    """
    shared = {**os.environ, "WORLD_SIZE": str(number), "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": str(_free_port()), "LOCAL_WORLD_SIZE": str(number)}  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=None if rank == 0 else subprocess.DEVNULL,
        )
        for rank in range(number)
    ]

    def pass_on(number: int, _frame: object) -> None:
        for process in processes:
            process.send_signal(number)

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        return _wait(processes)
    except KeyboardInterrupt:  # they have been told too, and finish their step
        return _wait(processes)
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in processes:
            process.kill()


def _wait(processes: Sequence[subprocess.Popen]) -> int:
    while all(process.poll() is None for process in processes):
        time.sleep(0.2)
    ended = [process.poll() for process in processes]
    if any(ended):  # one failed: the others would wait for it for ever
        _give_time([process for process in processes if process.poll() is None], 5)
        codes = [process.poll() for process in processes]
        return codes[0] if codes[0] is not None else next(code for code in ended if code)
    _give_time(processes, SECONDS_TO_END)
    codes = [process.poll() for process in processes]
    return next((code for code in codes if code), 0 if None not in codes else 1)


def _give_time(processes: Sequence[subprocess.Popen], seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
