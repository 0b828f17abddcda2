"""The last act of set-up: the practice bake on the chosen device, and one line that says it all."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from easy_scripts.launcher.handover import module_command, run_child, work_environment
from easy_scripts.launcher.judge import read_json
from easy_scripts.launcher.project import Project, write_json

PROVEN = ("torch", "device", "lock")  # what of the stamp a passed bake speaks for


@dataclass(frozen=True)
class Proof:
    """The exit code of the practice bake, and how long it took; seconds None: not baked."""

    code: int = 0
    seconds: float | None = None


def bake(project: Project, stamp: dict) -> Proof:
    """Bake the practice LoRA, unless it was done before with the same PyTorch and device."""
    done = read_json(project.proof)
    facts = {name: stamp.get(name) for name in PROVEN}
    if done.get("of") == facts:
        return Proof(0, done.get("seconds"))
    started = time.monotonic()
    command = module_command(project, "scripts.practice", [])
    code = run_child(command, work_environment(os.environ, stamp), project.root)
    seconds = time.monotonic() - started
    if code == 0:
        write_json(project.proof, {"of": facts, "seconds": seconds})
    return Proof(code, seconds)


def ready_line(stamp: dict, proof: Proof) -> str:
    """What set-up ends with: "Ready: NVIDIA GeForce RTX 3060 12 GB, 8-bit optimisers yes, ..."."""
    eight_bit = stamp.get("eight_bit") or {}
    if eight_bit.get("works"):
        optimisers = "8-bit optimisers yes"
    else:
        reason = eight_bit.get("reason") or "not for this system"
        optimisers = f"8-bit optimisers no ({reason})"
    facts = f"{stamp.get('device') or 'the processor'}, {optimisers}"
    if proof.code:
        return (
            f"Set up: {facts}. But the practice bake failed, see above. Run: "
            "python -m easy_scripts doctor"
        )
    if proof.seconds is None:
        return f"Ready: {facts}, practice bake left out."
    return f"Ready: {facts}, practice bake {proof.seconds:.0f} s."
