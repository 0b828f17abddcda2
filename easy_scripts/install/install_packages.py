"""The steps that put packages into the private environment, each with its progress."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from easy_scripts.install.failures import explain_failure
from easy_scripts.install.fetch_wheel import BrokenDownload, Wanted, fetch_wheel, wanted_wheel
from easy_scripts.install.inspect_environment import sweep
from easy_scripts.install.kinds import Kind, build_in_words, ordinary_build
from easy_scripts.install.package_source import SECONDS, Reachable, reachable_at_last
from easy_scripts.install.packages import Findings, inspect
from easy_scripts.install.pip_steps import RAW_PROGRESS, Workshop, pip_install
from easy_scripts.install.skeleton import site_packages
from easy_scripts.launcher.judge import read_pyvenv_cfg
from scripts.core.errors import SuiteError
from scripts.core.events import Note, Report, Stage

NO_TORCH = "PyTorch could not be installed"
UNPACKING = "Installing collected packages: "  # what pip says when all has come
DOWNLOADING = re.compile(r"Downloading (?:\S*/)?(?P<name>[A-Za-z0-9_.]+)-\S+ \(")
MEGABYTE = 1_000_000
WORTH_SHOWING = 5 * MEGABYTE


class DownloadProgress:
    """Turns pip's progress lines into events: megabytes of the larger files, then unpacking."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._name = "packages"
        self._last = -1

    def __call__(self, line: str) -> None:
        """Take one line of pip's output."""
        started = DOWNLOADING.search(line)
        if started:
            self._name, self._last = started["name"], -1
        elif line.startswith(UNPACKING):
            names = line.removeprefix(UNPACKING).split(", ")
            what = names[0] if len(names) == 1 else f"{len(names)} packages"
            self._report(Stage(f"Unpacking {what}"))
        found = RAW_PROGRESS.match(line)
        if not found:
            return
        done, total = int(found[1]), int(found[2])
        if total < WORTH_SHOWING or done // MEGABYTE == self._last:
            return
        self._last = done // MEGABYTE
        self._report(Stage(f"Downloading {self._name}, MB", self._last, total // MEGABYTE))


@dataclass
class PackageInstaller:
    """Brings an environment to what the locks want.

    wanted: {package: version} of all locks together; locks: their names, the kind's among them;
    reachable: whether an address of PyTorch's own index answers in time; fetch: the wheel of torch
    from there, see `fetch_wheel`.
    """

    workshop: Workshop
    kind: Kind
    locks: Sequence[str]
    wanted: dict[str, str]
    report: Report
    reachable: Reachable
    fetch: Callable[[Wanted, Path, Report], Path | None] = fetch_wheel
    _own_index: bool | None = None

    def install(self, imports: Sequence[str]) -> Findings:
        """Install what is missing, wrong or damaged until nothing is; returns the last look.

        Raises SuiteError.
        """
        sweep(site_packages(self.workshop.project))
        findings = inspect(self.workshop, self.wanted)
        if "pip" in findings.to_install or "pip" in findings.to_replace:
            self.report(Stage("Bringing the installer up to date"))
            path = self.workshop.project.locks / "pip.txt"
            pip_install(self.workshop, ["-r", str(path)], "The installer could not be renewed")
        if "torch" in findings.to_install:
            self._install_torch([])
        self._install_the_rest()
        self._replace_damaged()
        findings = self._check(imports)
        return self._mend_build(findings, imports)

    def _check(self, imports: Sequence[str]) -> Findings:
        self.report(Stage("Checking that everything works"))
        findings = inspect(self.workshop, self.wanted, imports)
        if findings.shortcoming:
            raise SuiteError(
                f"{findings.shortcoming} Start set-up again; if it stays so, the log tells more: "
                f"{self.workshop.log_path}"
            )
        return findings

    def _install_torch(self, options: list[str]) -> None:
        """Install torch: this kind's build from PyTorch's own index. Where that does not answer,
        from the ordinary source if what it has will do, else as far as pip knows a way.
        """
        version, doing, wheel = self.wanted["torch"], NO_TORCH, None
        source = ["--extra-index-url", self.kind.index]
        constraints = ["common.txt", *self.kind.constraints]
        if self._own_index_answers():
            wheel = self._fetch_torch(version)
        elif self._ordinary_will_do:
            source = []
            version = version.split("+")[0]
            constraints = ["common.txt", "cuda13-linux.txt"]  # what its Linux wheel is built for
            self.report(
                Note(
                    "PyTorch's own package index cannot be reached from here, so PyTorch comes "
                    "from the ordinary package source, in the same version."
                )
            )
        else:  # a proxy or a mirror may stand in pip's settings
            source.append("--retries=1")
            host = urlsplit(self.kind.index).netloc
            doing = f"PyTorch for {self.kind.title} could not be fetched from {host}"
        self.report(Stage(f"Installing PyTorch {version}"))
        for name in constraints:
            options = [*options, "-c", str(self.workshop.project.locks / name)]
        what = str(wheel) if wheel else f"torch=={version}"
        self._pip([*source, what, *options], doing)
        if wheel:
            wheel.unlink()

    def _fetch_torch(self, version: str) -> Path | None:
        """The wheel, the largest file of all, so that half of it need not be fetched again."""
        environment = read_pyvenv_cfg(self.workshop.project.environment)
        wanted = wanted_wheel("torch", version, self.kind.index, environment["version"])
        try:
            return self.fetch(wanted, self.workshop.project.downloads, self.report)
        except BrokenDownload as error:
            self.workshop.write(str(error))
            sentence = explain_failure(["Connection broken: "], 1, NO_TORCH)
            raise SuiteError(f"{sentence} Log: {self.workshop.log_path}") from error

    @property
    def _ordinary_will_do(self) -> bool:
        """Whether the ordinary source's torch does; the processor can work with any build."""
        return self.kind.name in ("cpu", ordinary_build(sys.platform))

    def _own_index_answers(self) -> bool:
        if self._own_index is None:
            address = f"{self.kind.index}/torch/"
            if self._ordinary_will_do:
                self._own_index = self.reachable(address, SECONDS)
            else:
                self.report(Stage("Looking for PyTorch's own package index"))
                self._own_index = reachable_at_last(self.reachable, address)
        return self._own_index

    def _install_the_rest(self) -> None:
        findings = inspect(self.workshop, self.wanted)
        missing = [name for name in findings.to_install if name != "torch"]
        if not missing:
            return
        self.report(Stage(f"Installing the other packages ({len(missing)})"))
        files = ["common.txt", *(f"{lock}.txt" for lock in self.locks if lock != self.kind.name)]
        arguments = []
        for name in files:
            arguments += ["-r", str(self.workshop.project.locks / name)]
        self._pip([*arguments, *self._torch_pin(findings)], "The packages could not be installed")

    def _replace_damaged(self) -> None:
        findings = inspect(self.workshop, self.wanted)
        damaged = [name for name in findings.to_replace if name != "torch"]
        if damaged:
            self.report(Stage(f"Replacing damaged packages: {', '.join(damaged)}"))
            self.replace(damaged)
        if "torch" in findings.to_replace:
            self._install_torch(["--force-reinstall", "--no-deps"])

    def replace(self, names: Sequence[str]) -> None:
        """Install the wanted versions of some packages over what is there. Raises SuiteError."""
        pins = [f"{name}=={self.wanted[name]}" for name in names]
        self._pip(
            [*pins, "--force-reinstall", "--no-deps"], "Damaged packages could not be replaced"
        )

    def _mend_build(self, findings: Findings, imports: Sequence[str]) -> Findings:
        """See that the build of torch that arrived is the one that was chosen: one for another
        card would train on the processor without a word. Raises SuiteError.
        """
        if not findings.torch or self.kind.is_build(findings.torch):
            return findings
        if self._own_index_answers() or not self._ordinary_will_do:
            self._install_torch(["--force-reinstall", "--no-deps"])
            self._install_the_rest()
            findings = self._check(imports)
        elif self.kind.name == "cpu":
            return findings
        if not self.kind.is_build(findings.torch):
            raise SuiteError(f"{self._wrong_build(findings)} Log: {self.workshop.log_path}")
        return findings

    def _wrong_build(self, findings: Findings) -> str:
        return (
            f"PyTorch arrived in its build for {build_in_words(findings.torch)}; the one for "
            f"{self.kind.title} was wanted. Run set-up again when PyTorch's own package index can "
            "be reached."
        )

    def _torch_pin(self, findings: Findings) -> list[str]:
        """The constraint that keeps every later pip call from swapping torch."""
        path = self.workshop.project.workspace / "torch.txt"
        path.write_text(f"torch=={findings.packages['torch']}\n", encoding="utf-8")
        return ["-c", str(path)]

    def _pip(self, arguments: Sequence[str], doing: str) -> None:
        progress = DownloadProgress(self.report)
        pip_install(self.workshop, ["--progress-bar=raw", *arguments], doing, progress)
