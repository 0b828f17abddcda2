"""The verbs of `python -m easy_scripts`, one entry each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from easy_scripts.install import command as setup_command
from easy_scripts.install import doctor
from easy_scripts.install.make_environment import Wishes
from easy_scripts.launcher.bug_log import tell_bug
from easy_scripts.launcher.clicked import clicked, true_arguments
from easy_scripts.launcher.handover import open_window, run_module
from easy_scripts.launcher.judge import Judgement, State, judge
from easy_scripts.launcher.project import Project, dated_version
from scripts.core.errors import SuiteError
from scripts.core.exit_codes import BUG, DONE, MENDABLE, STOPPED

HELP_FLAGS = ("-h", "--help")
# pytest-xdist: one process more than there are cores, as tests of windows wait much, but no more
# than the memory of a PC is enough for.
SIDE_BY_SIDE = ("-n", str(min(4, (os.cpu_count() or 1) + 1)), "--dist", "loadfile")


@dataclass(frozen=True)
class Verb:
    """One verb: its name, one sentence about it, and what runs it (arguments -> exit code)."""

    name: str
    summary: str
    run: Callable[[Sequence[str]], int]


def practice(arguments: Sequence[str]) -> int:
    """Bake the practice LoRA."""
    return run_in_environment("practice", "scripts.practice", arguments)


def queue(arguments: Sequence[str]) -> int:
    """List and run several trainings."""
    return run_in_environment("queue", "easy_scripts.queue", arguments)


def inspect(arguments: Sequence[str]) -> int:
    """Say what a LoRA file is."""
    return run_in_environment("inspect", "scripts.inspect_lora", arguments)


def window_or_command(verb: str, command: str, arguments: Sequence[str]) -> int:
    """The window of the verb, filled with the files given; with any flag, its command."""
    arguments = true_arguments(arguments, os.environ)
    if any(word.startswith("-") for word in arguments):
        return run_in_environment(verb, command, arguments)
    return run_in_environment(verb, "easy_scripts.window", [verb, *arguments], window=True)


def test(arguments: Sequence[str]) -> int:
    """Run the tests; they are found from the project folder, so they run there."""
    if any(flag in arguments for flag in HELP_FLAGS):
        print(
            "python -m easy_scripts test [PYTEST ARGUMENTS]\n\n"
            "Installs what the tests need and runs them all with pytest, but for those that take "
            'minutes;\nto run those too: python -m easy_scripts test -m ""\n'
            "Paths are those in the project folder: python -m easy_scripts test tests/dataset\n"
            "Several processes share the work, four at most; -n 0 runs them in one."
        )
        return 0
    if not (Project().root / "tests").is_dir():
        raise SuiteError(
            "There is no folder tests here: the zip and the installer leave it out. To run the "
            "tests, get Easy LoRA's source code."
        )
    if not any(word.startswith(("-n", "-p", "--version")) or "::" in word for word in arguments):
        arguments = [*SIDE_BY_SIDE, *arguments]
    return run_in_environment("test", "pytest", arguments, extra="test", in_project=True)


VERBS = {
    verb.name: verb
    for verb in (
        Verb("setup", "make the private environment, or put it in order", setup_command.main),
        Verb("doctor", "look at everything, say what is wrong; --mend mends it", doctor.main),
        Verb("practice", "bake the practice LoRA: the proof that everything works", practice),
        Verb("train", "train a LoRA: opens a window; with flags, such as --config, in this console",
             partial(window_or_command, "train", "scripts.train")),
        Verb("queue", "train one config after another: queue add FILE, queue run", queue),
        Verb("resize", "make LoRAs smaller: opens a window; with flags, in this console",
             partial(window_or_command, "resize", "scripts.resize_lora")),
        Verb("merge", "merge LoRAs: opens a window; with flags, in this console",
             partial(window_or_command, "merge", "scripts.merge_lora")),
        Verb("extract", "a LoRA from two models: opens a window; with flags, in this console",
             partial(window_or_command, "extract", "scripts.extract_lora")),
        Verb("inspect", "say what a LoRA file is, or edit its metadata: inspect FILE", inspect),
        Verb("test", "install what the tests need and run them", test),
    )
}  # fmt: skip


def run(arguments: Sequence[str]) -> int:
    """Run the verb that the command line names; the exit code."""
    for stream in (sys.stdout, sys.stderr):  # a name with a letter that the console lacks
        stream.reconfigure(errors="replace")
    try:
        return _run(list(arguments))
    except SuiteError as error:
        sys.stderr.write(f"{error}\n")
        return MENDABLE
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return STOPPED
    except Exception:  # noqa: BLE001 - the one place where a bug of ours ends up
        sys.stderr.write(f"{tell_bug(Project().logs)}\n")
        return BUG


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in HELP_FLAGS:
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(f"Easy LoRA {dated_version()}")
        return 0
    verb = VERBS.get(arguments[0])
    if verb is None:
        names = ", ".join(VERBS)
        raise SuiteError(f'There is no verb "{arguments[0]}". The verbs are: {names}.')
    return verb.run(arguments[1:])


def usage() -> str:
    """What `--help` prints."""
    lines = [f"  {verb.name:10}{verb.summary}" for verb in VERBS.values()]
    return "\n".join(
        [
            f"Easy LoRA {dated_version()}: turns a folder of pictures into a LoRA file.",
            "",
            "python -m easy_scripts VERB [ARGUMENTS]",
            "",
            *lines,
            "",
            "python -m easy_scripts VERB --help tells more; --version prints the version.",
            "A verb with a window opens it when no flag is given; files given are filled in.",
        ]
    )


def run_in_environment(
    verb: str,
    module: str,
    arguments: Sequence[str],
    extra: str | None = None,
    in_project: bool = False,
    window: bool = False,
) -> int:
    """Run a module in the private environment, after making or mending that where needed.

    extra: a lock file of packages needed on top; in_project: run it in the project folder
    instead of the user's current one; window: it opens a window and, after a double-click, needs
    no console. Returns the module's exit code, or set-up's.
    """
    project = Project()
    window_alone = window and sys.platform == "win32" and clicked(os.environ)
    if window_alone:
        print("Opening Easy LoRA...", flush=True)
    judgement = judge(project, extra)
    if not judgement.whole:
        if any(flag in arguments for flag in HELP_FLAGS):
            print(_help_before_setup(verb, judgement))
            return 0
        code = _set_up(project, judgement, extra, window)
        if code != DONE:
            return code
        judgement = judge(project, extra)
    if window_alone:
        return open_window(project, module, arguments, judgement.stamp)
    folder = project.root if in_project else None
    return run_module(project, module, arguments, judgement.stamp, folder)


def _set_up(project: Project, judgement: Judgement, extra: str | None, window: bool) -> int:
    """Make or mend the environment: a tool with a window offers it in set-up's. The exit code."""
    if window:
        code = setup_command.window_if_clicked(project, [], judgement.sentence)
        if code is not None:
            return code
    missing = judgement.state is State.MISSING
    doing = "Setting it up now; this is needed once." if missing else "Mending that now."
    print(f"{judgement.sentence} {doing}", flush=True)
    return setup_command.ensure_environment(project, Wishes(extra=extra))


def _help_before_setup(verb: str, judgement: Judgement) -> str:
    return (
        f"python -m easy_scripts {verb} [ARGUMENTS]: {VERBS[verb].summary}.\n"
        f"{judgement.sentence} Run: python -m easy_scripts setup\n"
        f"Then python -m easy_scripts {verb} --help lists all arguments."
    )
