"""A pytest plugin: where CI=true, a skipped test fails the run unless allowed_skips.txt names it.

At home a skip is a piece of information; in CI a test that skips itself because something is
missing would look as if it had passed. tests/conftest.py loads it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


class SkipGuard:
    """Collects the skips of a run and fails the run for those that are not allowed."""

    def __init__(self, allowed: list[str]) -> None:
        self._allowed = allowed
        self._unexpected: list[str] = []

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped:
            return
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else "expected failure"
        skip = f"{report.nodeid}: {why}"
        if not any(skip.startswith(allowed) for allowed in self._allowed):
            self._unexpected.append(skip)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at one phase of one test."""
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Look at one collected file: it may skip itself as a whole."""
        self._note(report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run."""
        if self._unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which, above pytest's closing line."""
        if self._unexpected:
            terminalreporter.section("skipped without leave (tests/allowed_skips.txt)")
            for skip in self._unexpected:
                terminalreporter.line(skip)


def pytest_configure(config: pytest.Config) -> None:
    """Set the guard, in CI only."""
    if os.environ.get("CI") != "true":
        return
    lines = (line.strip() for line in ALLOWED.read_text(encoding="utf-8").splitlines())
    allowed = [line for line in lines if line and not line.startswith("#")]
    config.pluginmanager.register(SkipGuard(allowed), "allowed-skips")
