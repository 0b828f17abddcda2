"""The steps that put packages into the private environment, each with its progress."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from easy_scripts.install.failures import explain_failure
from easy_scripts.install.fetch_wheel import BrokenDownload, Wanted, fetch_wheel, wanted_wheel
from easy_scripts.install.kinds import Kind
from easy_scripts.install.packages import Findings, inspect
from easy_scripts.install.pip_steps import RAW_PROGRESS, Workshop, pip_install
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
    reachable: whether an address of PyTorch's own index answers; fetch: the wheel of torch from
    there, see `fetch_wheel`.
    """

    workshop: Workshop
    kind: Kind
    locks: Sequence[str]
    wanted: dict[str, str]
    report: Report
    reachable: Callable[[str], bool]
    fetch: Callable[[Wanted, Path, Report], Path | None] = fetch_wheel
    _own_index: bool | None = None

    def install(self, imports: Sequence[str]) -> Findings:
        """Install what is missing, wrong or damaged until nothing is; returns the last look.

        Raises SuiteError.
        """
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
        """Install torch: this kind's build from PyTorch's own index, else the ordinary one."""
        version = self.wanted["torch"]
        constraints = ["common.txt", *self.kind.constraints]
        wheel = None
        if self._own_index_answers():
            source = ["--extra-index-url", self.kind.index]
            wheel = self._fetch_torch(version)
        else:
            source = []
            version = version.split("+")[0]
            constraints = ["common.txt", "cuda13-linux.txt"]  # what its Linux wheel is built for
            self.report(
                Note(
                    "PyTorch's own package index cannot be reached from here, so PyTorch comes "
                    "from the ordinary package source, in the same version."
                )
            )
        self.report(Stage(f"Installing PyTorch {version}"))
        for name in constraints:
            options = [*options, "-c", str(self.workshop.project.locks / name)]
        what = str(wheel) if wheel else f"torch=={version}"
        self._pip([*source, what, *options], NO_TORCH)
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

    def _own_index_answers(self) -> bool:
        if self._own_index is None:
            self._own_index = self.reachable(f"{self.kind.index}/torch/")
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
        """See that the build of torch that arrived is the one that was chosen."""
        if not findings.torch or self.kind.is_build(findings.torch):
            return findings
        if self._own_index_answers():
            self._install_torch(["--force-reinstall", "--no-deps"])
            self._install_the_rest()
            findings = self._check(imports)
            if not self.kind.is_build(findings.torch):
                raise SuiteError(f"{self._wrong_build(findings)} Log: {self.workshop.log_path}")
            return findings
        self.report(Note(self._wrong_build(findings)))
        return findings

    def _wrong_build(self, findings: Findings) -> str:
        cuda = findings.torch["cuda"]
        other = "Intel graphics" if findings.torch.get("xpu") else "the processor only"
        arrived = f"CUDA {cuda}" if cuda else other
        return (
            f"PyTorch arrived in its build for {arrived}; the one for {self.kind.title} was "
            "wanted. Run set-up again when PyTorch's own package index can be reached."
        )

    def _torch_pin(self, findings: Findings) -> list[str]:
        """The constraint that keeps every later pip call from swapping torch."""
        path = self.workshop.project.workspace / "torch.txt"
        path.write_text(f"torch=={findings.packages['torch']}\n", encoding="utf-8")
        return ["-c", str(path)]

    def _pip(self, arguments: Sequence[str], doing: str) -> None:
        progress = DownloadProgress(self.report)
        pip_install(self.workshop, ["--progress-bar=raw", *arguments], doing, progress)
