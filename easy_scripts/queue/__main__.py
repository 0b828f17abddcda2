"""The queue without a window: python -m easy_scripts queue add|list|run|...

add FILE_OR_FOLDER ...   configs of any tool, or folders of them
list [--json]            what is there, with numbers for the other operations
run [--events]           bake what waits; Ctrl+C saves and stops the one in hand
remove, duplicate, hold, let_go, again NUMBER ...
move NUMBER TO           (counted from 1)
pause, go_on             let no further bake begin; let the queue go on
clear                    take out what is done
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from easy_scripts.launcher.bug_log import tell_bug
from easy_scripts.queue.runner import run_queue
from easy_scripts.queue.store import (
    DONE,
    FAILED,
    QUEUE_FOLDER,
    RUNNING,
    Bake,
    QueueStore,
    configs_in,
)
from scripts.core import exit_codes
from scripts.core.channel import event_lines, listen
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Done, Event, Facts, Note, Problem, Step
from scripts.core.files import LOG_FOLDER
from scripts.core.signals import stop_by_signal
from scripts.settings.import_config import Imported
from scripts.settings.import_draft import Fate

ON_NUMBERS = ("remove", "duplicate", "hold", "let_go", "again")
BUG_LOG = "train-queue"  # the window of the training opens the newest train-*.log


def main(argv: Sequence[str] | None = None, store: QueueStore | None = None) -> int:
    """Read the command line, do it, and return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(argv)
    try:
        return _do(options, store or QueueStore(options.folder or QUEUE_FOLDER))
    except SuiteError as error:
        sys.stderr.write(f"{error}\n")
        return exit_codes.MENDABLE
    except Exception:  # noqa: BLE001 - the one place where a bug of ours ends up
        sys.stderr.write(f"{tell_bug(LOG_FOLDER, BUG_LOG)}\n")
        return exit_codes.BUG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m easy_scripts queue", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="OPERATION")
    verbs.add_parser("add").add_argument("files", nargs="+", type=Path)
    verbs.add_parser("list").add_argument("--json", action="store_true")
    for name in ON_NUMBERS:
        verbs.add_parser(name).add_argument("numbers", nargs="+", type=int)
    move = verbs.add_parser("move")
    move.add_argument("number", type=int)
    move.add_argument("to", type=int)
    verbs.add_parser("run").add_argument("--events", action="store_true",
                                         help="write events as JSON lines")  # fmt: skip
    for name in ("pause", "go_on", "clear"):
        verbs.add_parser(name)
    for verb in verbs.choices.values():
        verb.add_argument("--folder", type=Path, help="where the queue lies, if not in the project")
    return parser


def _do(options: argparse.Namespace, store: QueueStore) -> int:
    if options.verb == "run":  # takes up what was cut off, and tells a window what is wrong
        return _run_for_a_window(store) if options.events else _run(store)
    store.take_up_what_was_cut_off()
    if options.verb == "add":
        return _add(options.files, store)
    if options.verb == "list":
        return _list(store, options.json)
    if options.verb == "move":
        store.move(_ids(store, [options.number])[0], options.to - 1)
    elif options.verb in ("pause", "go_on"):
        store.pause(options.verb == "pause")
    elif options.verb == "clear":
        print(f"Taken out: {store.clear()}.")
        return exit_codes.DONE
    else:
        for bake_id in _ids(store, options.numbers):
            getattr(store, options.verb)(bake_id)
    return _list(store, False)


def _add(paths: Sequence[Path], store: QueueStore) -> int:
    """Add all that can be; one that cannot is told and does not keep out the others."""
    code = exit_codes.DONE
    for path in paths:
        for config in configs_in(path):
            try:
                imported = store.add_file(config)
            except SuiteError as error:
                sys.stderr.write(f"{config}: {error}\n")
                code = exit_codes.MENDABLE
                continue
            print(f"Added {config.name}. {_worth_knowing(imported)}")
    return code


def _worth_knowing(imported: Imported) -> str:
    unknown = [entry.key for entry in imported.of(Fate.UNKNOWN)]
    lost = f" Not known here: {', '.join(unknown)}." if unknown else ""
    paths = [f"{imported.values[name]} ({name})" for name in imported.missing]
    gone = f" Not on this computer: {', '.join(paths)}." if paths else ""
    return imported.summary() + lost + gone


def _list(store: QueueStore, as_json: bool) -> int:
    queue = store.read()
    if as_json:
        print(json.dumps(dataclasses.asdict(queue), indent=2))
        return exit_codes.DONE
    if not queue.bakes:
        print("The queue is empty. Add a config: python -m easy_scripts queue add run.json")
    for number, bake in enumerate(queue.bakes, start=1):
        print(f"{number:3}. {_line(bake)}")
    if queue.paused:
        print("The queue is paused: go_on lets it go on.")
    return exit_codes.DONE


def _line(bake: Bake) -> str:
    took = "" if bake.seconds is None else f" after {bake.seconds:.0f} s"
    more = bake.error or bake.result or ""
    return f"{bake.name}: {bake.state}{took if bake.finished else ''}" + (
        f". {more}" if more else ""
    )


def _ids(store: QueueStore, numbers: Sequence[int]) -> list[str]:
    bakes = store.read().bakes
    for number in numbers:
        if not 1 <= number <= len(bakes):
            raise SuiteError(f"There is no number {number} in the queue; it has {len(bakes)}. "
                             "Look at: python -m easy_scripts queue list")  # fmt: skip
    return [bakes[number - 1].id for number in numbers]


def _run(store: QueueStore) -> int:
    control = Control()

    def asked() -> None:
        print("Stopping: the bake in hand saves first; the rest stays in the queue.", flush=True)

    ran: list[Bake] = []

    def watch(bake: Bake, event: Event | None) -> None:
        if event is None:
            print(_line(bake), flush=True)
            if bake.state != RUNNING:
                ran.append(bake)
        elif isinstance(event, Step):
            print(
                f"  {event.done}/{event.total} steps, loss {event.loss:.4f}", end="\r", flush=True
            )

    with stop_by_signal(control, asked):
        run_queue(store, watch, control)
    if control.stop_asked:
        return exit_codes.STOPPED
    print(f"Bakes that ran: {len(ran)}, of them done: {sum(b.state == DONE for b in ran)}.")
    return exit_codes.MENDABLE if any(bake.state == FAILED for bake in ran) else exit_codes.DONE


def _run_for_a_window(store: QueueStore) -> int:
    """Run with events as JSON lines: those of the bakes, and facts of which begins and which ended.
    What is wrong with a bake stands in its report and ends no other."""
    control = Control()
    with event_lines(control) as report:
        listen(control, sys.stdin)
        results: list[str | None] = [None]

        def watch(bake: Bake, event: Event | None) -> None:
            if event is None and bake.state == RUNNING:
                report(Facts({"begins": bake.name}))
            elif event is None:
                results.append(bake.result)
                report(Facts({"ended": bake.id}))
                report(Note(f"{bake.name}: {bake.error or bake.state}"))
            elif not isinstance(event, Done | Problem):
                report(event)

        try:
            run_queue(store, watch, control)
        except SuiteError as error:
            report(Problem(str(error)))
            return exit_codes.MENDABLE
        except Exception:  # noqa: BLE001 - as in `main`, and the window shows it
            report(Problem(tell_bug(LOG_FOLDER, BUG_LOG)))
            return exit_codes.BUG
        if control.stop_asked:
            return exit_codes.STOPPED
        report(Done(results[-1]))
        return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(main())
