"""Make the private environment, or put it in order.

One way through for all cases: look what is there, install what is missing, wrong or damaged, look
again, try the imports in a fresh process, and only then write the stamp. So set-up can be killed
at any point and goes on where it stopped, and a second run with nothing to do needs no network.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from easy_scripts.install import graphics, package_source
from easy_scripts.install.bitsandbytes_patch import EightBit, patch, take_step, verdict
from easy_scripts.install.failures import explain_failure
from easy_scripts.install.fetch_wheel import Wanted, fetch_wheel
from easy_scripts.install.install_packages import PackageInstaller
from easy_scripts.install.kinds import KINDS, NOT_USED, Choice, Graphics, Kind, choose_kind
from easy_scripts.install.lockfiles import lock_hash
from easy_scripts.install.package_source import Reachable, index_reachable
from easy_scripts.install.packages import Findings, inspect, wanted_versions
from easy_scripts.install.pip_steps import Workshop
from easy_scripts.install.place_checks import check_place
from easy_scripts.install.running import running_from
from easy_scripts.install.setup_lock import setup_lock
from easy_scripts.install.skeleton import make_skeleton, refuse_a_file, site_packages
from easy_scripts.launcher.judge import judge, read_json, read_pyvenv_cfg, this_machine
from easy_scripts.launcher.project import Project, dated_version, write_json
from scripts.core.errors import SuiteError
from scripts.core.events import Done, Note, Report, Stage
from scripts.core.machine import NO_EIGHT_BIT

IMPORTS = (
    "torch",
    "numpy",
    "PIL.Image",
    "safetensors.torch",
    "tokenizers",
    "huggingface_hub",
    "accelerate",
    "transformers",
    "diffusers",
    "pytorch_optimizer",
)
SPARE_GB = 0.5  # what has to stay free beside the packages
AUTO = "auto"
CHECK_LOG = "check.txt"  # of the last look that changed nothing; the doctor reads *.log


class NothingFits(SuiteError):
    """No build for the graphics card fits the machine as it is; the one for the processor does."""


@dataclass(frozen=True)
class Wishes:
    """What an environment is wanted for, and how the world is asked (tests ask another world).

    kind: the name of a kind, "auto", or None for what was asked for last time;
    extra: a lock file needed on top, such as "test"; imports: modules that must be importable.
    """

    kind: str | None = None
    extra: str | None = None
    imports: Sequence[str] = IMPORTS
    reachable: Reachable = index_reachable
    fetch: Callable[[Wanted, Path, Report], Path | None] = fetch_wheel
    detect: Callable[[], Graphics] = graphics.detect


def make_environment(project: Project, wishes: Wishes, report: Report) -> None:
    """Make or mend the environment of `project` until it is whole.

    Raises SuiteError (one sentence with a remedy) when that cannot be done now; what was done
    stays and is used next time.
    """
    started = time.monotonic()
    with _workshop(project) as workshop:
        _make(workshop, wishes, report)
    report(Done(str(project.environment), time.monotonic() - started))


def check_environment(project: Project, wishes: Wishes, report: Report) -> str | None:
    """Look at everything and change nothing: one sentence about what is wrong, None if nothing is.

    Raises SuiteError when it cannot be told.
    """
    judgement = judge(project, wishes.extra)
    if not judgement.whole:
        return judgement.sentence
    stamp = judgement.stamp
    with _workshop(project, CHECK_LOG) as workshop:
        report(Stage("Checking that everything works"))
        locks = ["pip", stamp["kind"], *stamp["extras"]]
        wanted = wanted_versions(project.locks, locks, stamp["python"])
        return inspect(workshop, wanted, wishes.imports).shortcoming


@contextmanager
def _workshop(project: Project, log_name: str | None = None) -> Iterator[Workshop]:
    """What every step needs. Errors of the system become a sentence, a SuiteError.

    log_name: a log that is written over, in place of a new one.
    """
    with setup_lock(project.logs) as lock:
        path = project.logs / (log_name or f"setup-{time.strftime('%Y%m%d-%H%M%S')}.log")
        shutil.rmtree(project.workspace, ignore_errors=True)
        try:
            mode = "w" if log_name else "a"
            with path.open(mode, encoding="utf-8", errors="replace") as log, _told_to(log):
                try:
                    yield Workshop(project, log, path, lock)
                except BaseException:
                    traceback.print_exc(file=log)
                    raise
        except OSError as error:  # a full disk, a file in use: from anywhere but pip
            sentence = explain_failure([str(error)], 1, "Set-up could not go on")
            raise SuiteError(sentence) from error
        shutil.rmtree(project.workspace, ignore_errors=True)


@contextmanager
def _told_to(log: TextIO) -> Iterator[None]:
    """Write into the log why a package source gave no answer."""
    handler = logging.StreamHandler(log)
    package_source.LOG.addHandler(handler)
    try:
        yield
    finally:
        package_source.LOG.removeHandler(handler)


def _make(workshop: Workshop, wishes: Wishes, report: Report) -> None:
    project = workshop.project
    refuse_a_file(project.environment)
    asked, choice = decide_kind(project, wishes)
    kind = KINDS[choice.kind]
    extras = _extras(project, wishes)
    machine = f"Python {sys.version}, {this_machine()}"
    workshop.write(f"Easy LoRA {dated_version()}, kind {kind.name} ({asked}), {machine}")
    refuse_while_at_work(project)
    for oddity in refuse_bad_place(project, kind):
        report(Note(oddity))
    report(Note(_in_words(project, choice)))
    project.stamp.unlink(missing_ok=True)
    report(Stage("Preparing the private environment"))
    note = make_skeleton(workshop, {"asked": asked, "kind": kind.name, "extras": extras})
    if note:
        report(Note(note))
    python = read_pyvenv_cfg(project.environment)["version"]
    locks = ["pip", kind.name, *extras]
    wanted = wanted_versions(project.locks, locks, python)
    installer = PackageInstaller(
        workshop, kind, locks, wanted, report, wishes.reachable, wishes.fetch
    )
    findings = installer.install(wishes.imports)
    eight_bit = prepare_eight_bit(workshop, installer, report)
    write_stamp(project, asked, kind, extras, findings, eight_bit)
    shutil.rmtree(project.downloads, ignore_errors=True)


def prepare_eight_bit(
    workshop: Workshop, installer: PackageInstaller, report: Report
) -> EightBit | None:
    """Mend and prove the 8-bit optimisers; None when this environment is not to have them."""
    if "bitsandbytes" not in installer.wanted:
        return None
    eight_bit = patch(workshop, lambda: installer.replace(["bitsandbytes"]), report)
    if not eight_bit.works:
        report(
            Note(f"8-bit optimisers cannot be used here ({eight_bit.reason}): AdamW takes over.")
        )
    return eight_bit


def decide_kind(project: Project, wishes: Wishes) -> tuple[str, Choice]:
    """What was asked for ("auto" or a kind) and the kind that follows, with its reason.

    Raises NothingFits when its card cannot be used as it is.
    """
    asked = wishes.kind or read_json(project.plan).get("asked", AUTO)
    if asked in KINDS:
        return asked, Choice(asked, f'The kind "{asked}" was asked for.')
    choice = _choose(wishes)
    if choice.kind is None:
        raise NothingFits(choice.reason)
    return AUTO, choice


def _choose(wishes: Wishes) -> Choice:
    found = wishes.detect()
    return choose_kind(sys.platform, found.gpus, found.driver_cuda, sys.version_info[:2])


def unused_card(project: Project, wishes: Wishes) -> str:
    """Which card could be used (again), where the processor was asked for; "" if there is none."""
    if read_json(project.plan).get("asked") != "cpu":
        return ""
    choice = _choose(wishes)
    return "" if choice.kind in (None, "cpu") else f"{choice.reason} {NOT_USED}"


def describe_plan(project: Project, wishes: Wishes) -> str:
    """What set-up would do here and what is odd about the folder, for people; nothing is changed.

    Raises SuiteError when it could not be done.
    """
    _, choice = decide_kind(project, wishes)
    oddities = refuse_bad_place(project, KINDS[choice.kind])
    return "\n\n".join([_in_words(project, choice), *oddities])


def _in_words(project: Project, choice: Choice) -> str:
    kind = KINDS[choice.kind]
    words = f"{choice.reason} PyTorch for {kind.title} is used."
    if begun(project):
        return f"{words} What is there already is checked and put in order."
    return f"{words} About {kind.download_gb:g} GB to download, {kind.disk_gb:g} GB on the disk."


def _extras(project: Project, wishes: Wishes) -> list[str]:
    """The extra locks: those of before, and the one wanted now."""
    before = read_json(project.plan).get("extras", [])
    names = {*before, *([wishes.extra] if wishes.extra else [])}
    return sorted(name for name in names if lock_hash(project.locks, name))


def begun(project: Project) -> bool:
    """Whether the largest package is already there: then little is left to fetch."""
    return any(site_packages(project).glob("torch/version.py"))


def _gigabytes_there(project: Project) -> float:
    """What an earlier set-up has fetched and unpacked: it needs no room a second time."""
    sizes = 0
    for place in (project.downloads, project.environment):
        for folder, _, names in os.walk(place):
            for name in names:
                with suppress(OSError):  # gone in this moment
                    sizes += os.lstat(os.path.join(folder, name)).st_size
    return sizes / 1e9


def look_at_eight_bit(project: Project, stamp: dict) -> EightBit:
    """Whether the 8-bit optimisers work in a whole environment; nothing is changed."""
    environment = stamp.get("environment", {})
    with _workshop(project, CHECK_LOG) as workshop:
        return verdict(take_step(workshop, environment), environment)


def refuse_bad_place(project: Project, kind: Kind) -> list[str]:
    """What is odd about the folder; raises SuiteError when set-up cannot be done there."""
    there = kind.disk_gb if begun(project) else _gigabytes_there(project)
    found = check_place(project.root, SPARE_GB + max(0, kind.disk_gb - there))
    for finding in found:
        if finding.problem:
            raise SuiteError(finding.sentence)
    return [finding.sentence for finding in found]


def refuse_while_at_work(project: Project) -> None:
    """Raise SuiteError while a program of the environment is running."""
    running = running_from(project.environment)
    if running:
        raise SuiteError(
            f"Easy LoRA is at work in this folder (process {running[0]}). Wait until the training "
            "has ended, close every window of Easy LoRA, then start set-up again."
        )


def write_stamp(
    project: Project,
    asked: str,
    kind: Kind,
    extras: Sequence[str],
    findings: Findings,
    eight_bit: EightBit | None,
) -> None:
    """Write down that the environment is whole, and what it is made of: the last act."""
    settings = read_pyvenv_cfg(project.environment)
    content = {
        "asked": asked,
        "kind": kind.name,
        "lock": lock_hash(project.locks, kind.name),
        "extras": {name: lock_hash(project.locks, name) for name in extras},
        "python": settings["version"],
        "base": settings["home"],
        "folder": str(project.root),
        "machine": this_machine(),
        "torch": findings.torch,
        "device": eight_bit.device if eight_bit else None,
        "environment": _variables(eight_bit),
        "eight_bit": {"works": eight_bit.works, "reason": eight_bit.reason} if eight_bit else {},
    }
    write_json(project.stamp, content)


def _variables(eight_bit: EightBit | None) -> dict[str, str]:
    """What the work is started with, see `handover.work_environment`."""
    if eight_bit is None:
        return {}
    return eight_bit.environment if eight_bit.works else {NO_EIGHT_BIT: eight_bit.reason}
