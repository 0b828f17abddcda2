"""The last act of set-up: the practice bake on the chosen device, and one line that says it all."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from easy_scripts.install.failures import HANGING
from easy_scripts.install.lines import SILENCE, Lines
from easy_scripts.launcher.handover import module_command, run_child, work_environment
from easy_scripts.launcher.judge import read_json
from easy_scripts.launcher.project import Project, write_json
from scripts.core.events import Problem, Report, Stage, Step, event_from_dict

BAKING = "Practice bake (its pictures are in output/practice)"
ASK = "What it said stands above. Run: python -m easy_scripts doctor"
ASK_IN_WINDOW = 'Press "What is wrong?" to find out why.'  # the button of set-up's window
PROVEN = ("torch", "device", "lock")  # what of the stamp a passed bake speaks for


@dataclass(frozen=True)
class Proof:
    """The exit code of the practice bake, and how long it took; seconds None: not baked."""

    code: int = 0
    seconds: float | None = None


def bake(project: Project, stamp: dict, report: Report | None = None) -> Proof:
    """Bake the practice LoRA, unless it was done before with the same PyTorch and device.

    report: told how far it is, for a window; without it, the bake writes into the console itself.
    """
    done = read_json(project.proof)
    facts = {name: stamp.get(name) for name in PROVEN}
    if done.get("of") == facts:
        return Proof(0, done.get("seconds"))
    started = time.monotonic()
    environment = work_environment(os.environ, stamp)
    if report:
        command = module_command(project, "scripts.practice", ["--events"])
        code = _bake_for_window(command, environment, project.root, report)
    else:
        command = module_command(project, "scripts.practice", [])
        code = run_child(command, environment, project.root)
    seconds = time.monotonic() - started
    if code == 0:
        write_json(project.proof, {"of": facts, "seconds": seconds})
    return Proof(code, seconds)


def _bake_for_window(
    command: list[str], environment: dict[str, str], folder: Path, report: Report
) -> int:
    """Run the bake, pass on its steps and problems; its exit code. When we are asked to stop, so is
    the bake, by the end of its stdin. When it hangs, it is ended.
    """
    with subprocess.Popen(
        command, env=environment, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        lines = Lines(process.stdout, SILENCE)
        try:
            try:
                for line in lines:
                    _pass_on(line, report)
            except KeyboardInterrupt:
                process.stdin.close()
                for _ in lines:  # it saves, and tells of that
                    pass
        except TimeoutError:
            process.kill()
            report(Problem(f"The practice bake failed: {HANGING}"))
        return process.wait()


def _pass_on(line: bytes, report: Report) -> None:
    try:
        event = event_from_dict(json.loads(line))
    except (ValueError, KeyError, TypeError):  # no event
        return
    if isinstance(event, Step):
        report(Stage(BAKING, event.done, event.total))
    elif isinstance(event, Problem):
        report(event)


def ready_line(stamp: dict, proof: Proof, in_window: bool = False) -> str:
    """What set-up ends with: "Ready: NVIDIA GeForce RTX 3060 12 GB, 8-bit optimisers yes, ..."."""
    eight_bit = stamp.get("eight_bit") or {}
    if eight_bit.get("works"):
        optimisers = "8-bit optimisers yes"
    else:
        reason = eight_bit.get("reason") or "not for this system"
        optimisers = f"8-bit optimisers no ({reason})"
    facts = f"{stamp.get('device') or 'the processor'}, {optimisers}"
    if proof.code:
        told = f"Set up: {facts}. But the practice bake failed."
        return f"{told} {ASK_IN_WINDOW if in_window else ASK}"
    if proof.seconds is None:
        return f"Ready: {facts}, practice bake left out."
    return f"Ready: {facts}, practice bake {proof.seconds:.0f} s."
