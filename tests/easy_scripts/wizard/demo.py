"""A wizard with a settings class of its own, and the command that it runs, for the tests.

As a program it is that command: `mode` in its config says how it ends.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.core.declare import build, setting
from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Done, Note, Saved, Stage

MODES = ("quick", "long", "deaf", "bug", "problem", "wrong_strength", "saves")


@dataclass(frozen=True)
class DemoSettings:
    """One setting of every kind."""

    # fmt: off
    source: Path | None = setting(
        None, label="Model", page="First", path="file", help="The file to work on.")
    place: Path | None = setting(
        None, label="Folder", page="First", path="folder", help="The folder for the result.")
    size: int = setting(
        32, label="Size", page="First", low=1, high=64, help="The size, 1 to 64.", usual=(4, 48),
        below="It is hard to see.", above="It fills the disk.", beware="It cannot be undone.")
    strength: float | None = setting(
        None, label="Strength", page="First", low=0, high=1, help="How strong it is.")
    title: str | None = setting(None, label="Title", page="First", help="What it is called.")
    mode: str = setting("quick", label="Mode", page="First", choices=MODES, help="How it ends.")
    twice: bool = setting(False, label="Twice", page="First", help="Do it twice.")
    again: int = setting(
        2, label="How often", page="First", help="How often.", shown_when=("twice", [True]))
    inner: int = setting(
        3, label="Inner", page="First", low=0, high=9, advanced=True, help="An advanced one.")
    last: str = setting("end", label="Last", page="Second", help="On the second page.")
    # fmt: on


def read_demo(values):
    """The settings; a title must not be longer than the size."""

    def check(settings):
        if settings.title and len(settings.title) > settings.size:
            return [SettingError("title", "The title is longer than the size. Shorten it.")]
        return []

    return build(DemoSettings, values, check)


def make_plan():
    """The demo wizard."""
    from easy_scripts.wizard.page import Page, SettingsPage
    from easy_scripts.wizard.window import Plan
    from easy_scripts.wizard.work_page import WorkPage

    class First(SettingsPage):
        name = "size"
        settings = ("source", "place", "size", "strength", "title", "mode", "twice", "again",
                    "inner")  # fmt: skip

    class Second(SettingsPage):
        name = "save"
        settings = ("last",)
        next_text = "frame.start"

    class Run(WorkPage):
        module = "tests.easy_scripts.wizard.demo"

    class End(Page):
        name = "result"
        next_text = None
        cancel_text = "frame.close"

        def build(self, body):
            pass

    return Plan("resize", DemoSettings, (First, Second, Run, End), read=read_demo)


def work(mode, report, control):
    """Some steps, then an end of the kind asked for."""
    if mode == "problem":
        raise SettingError("size", "The size 32 is too large for this file. Choose a smaller one.")
    if mode == "wrong_strength":
        raise SuiteError("The disk is full. Make room there and start again.")
    if mode == "bug":
        raise RuntimeError("a bug")
    total = 300 if mode in ("long", "deaf", "saves") else 5
    report(Note("The demo has begun."))
    if mode == "saves":
        report(Saved("first.safetensors"))
    print("a line for nobody")
    for step in range(total):
        report(Stage("Kneading", step, total))
        time.sleep(0.03)
        if mode != "deaf":
            control.check()
    report(Saved("demo.safetensors"))
    report(Done("demo.safetensors", 1.0))


def main():
    """The command: --config FILE --events."""
    from scripts.command import run_command

    config = json.loads(Path(sys.argv[sys.argv.index("--config") + 1]).read_text(encoding="utf-8"))
    return run_command(
        "demo", lambda report, control: work(config.get("mode", "quick"), report, control), True
    )


if __name__ == "__main__":
    sys.exit(main())
