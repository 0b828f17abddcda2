"""Events on the wire, requests, and the frame of commands with its exit codes."""

import json
import subprocess
import sys
import textwrap
import threading

import pytest

from scripts.core.errors import Cancelled
from scripts.core.events import EVENT_KINDS, Control, Note, Stage, Step, event_from_dict
from scripts.core.files import PROJECT_FOLDER


def test_every_event_survives_the_wire():
    step = Step(done=3, total=9, epoch=1, loss=0.5, learning_rates={"unet": 1e-4})
    for event in (step, Stage("Loading"), Stage("Encoding", 1, 2), Note("猫 ♂")):
        assert event_from_dict(json.loads(json.dumps(event.as_dict()))) == event
    kinds = {
        "start",
        "plan",
        "facts",
        "stage",
        "step",
        "preview",
        "saved",
        "note",
        "problem",
        "done",
    }
    assert set(EVENT_KINDS) == kinds


def test_requests_are_taken_once_and_stop_stays():
    control = Control()
    control.ask("save")
    assert control.take("save") and not control.take("save")
    control.stop()
    assert control.stop_asked and control.take("stop") and control.stop_asked
    with pytest.raises(Cancelled):
        control.check()
    with pytest.raises(ValueError):
        control.ask("dance")


def test_a_signal_may_ask_while_a_request_is_taken():
    """Its handler runs in the thread that holds the lock: a plain lock would wait for ever."""
    control = Control()
    with control._lock:
        control.stop()
    assert control.stop_asked


def run_work(body, stdin="", events=True):
    """Run a command whose work is `body` in a process; its exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", program_of(body, events)], input=stdin, capture_output=True,
        text=True, cwd=PROJECT_FOLDER, timeout=60, encoding="utf-8",
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def program_of(body, events=True):
    """A program that is a command whose work is `body`."""
    program = textwrap.dedent("""
        import sys, time
        from scripts.command import run_command
        from scripts.core.errors import *
        from scripts.core.events import *
        def work(report, control):
        {body}
        sys.exit(run_command("test", work, events={events}))
    """).replace("{body}", textwrap.indent(textwrap.dedent(body), "    "))
    return program.replace("{events}", str(events))


def test_a_stray_print_cannot_break_the_protocol():
    code, out, err = run_work("""
        import os
        print("stray")
        os.system("echo from a child")
        report(Note("♂"))
        print("stray again")
    """)
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == [{"event": "note", "text": "♂"}]
    assert "stray" in err and "from a child" in err


def test_a_request_and_the_end_of_stdin_arrive():
    wait = """
        for _ in range(1000):
            if control.take("save"): report(Note("saving"))
            control.check()
            time.sleep(0.01)
    """
    code, out, _ = run_work(wait, stdin="save\n")
    assert code == 2  # the end of stdin means that the window died
    assert next(json.loads(line)["text"] for line in out.splitlines()) == "saving"


@pytest.mark.parametrize(
    ("body", "code", "event"),
    [
        ("pass", 0, None),
        ("raise SuiteError('Too large.')", 1, {"event": "problem", "message": "Too large."}),
        ("raise SettingError('seed', 'Bad.')", 1,
         {"event": "problem", "message": "Bad.", "setting": "seed"}),
        ("raise MemoryError", 3, {"event": "problem", "message": "The computer ran out of memory. "
                                  "Close other programs and start again."}),
        ("raise Cancelled('Stopped.')", 2, {"event": "note", "text": "Stopped."}),
    ],
)  # fmt: skip
def test_exit_codes(body, code, event):
    got, out, err = run_work(body, stdin="")
    assert got == code
    assert [json.loads(line) for line in out.splitlines()] == ([event] if event else [])
    assert "Traceback" not in err


def test_a_bug_goes_to_the_log_and_not_to_the_user():
    code, out, err = run_work("1 / 0")
    assert code == 70
    message = json.loads(out)["message"]
    assert "Traceback" not in out + err
    log = message.split("log file ")[1].rstrip(".")
    with open(log, encoding="utf-8") as file:
        assert "ZeroDivisionError" in file.read()


def test_plain_text_for_a_terminal():
    code, out, err = run_work("report(Note('Hello.')); raise SuiteError('No.')", events=False)
    assert (code, out, err) == (1, "Hello.\n", "No.\n")


def test_libraries_and_children_find_an_empty_stdin_while_requests_come():
    """On Windows, who looks at a pipe that a thread reads from waits: NumPy's libraries would."""
    body = """
        import os, subprocess
        child = [sys.executable, "-c", "import sys; print(len(sys.stdin.read()))"]
        told = subprocess.run(child, stdout=subprocess.PIPE, text=True).stdout
        report(Note(f"{os.read(0, 9)} {told.strip()}"))
        while True:
            control.check()
            time.sleep(0.01)
    """
    process = subprocess.Popen([sys.executable, "-c", program_of(body)], cwd=PROJECT_FOLDER,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    watch = threading.Timer(30, process.kill)
    watch.start()
    try:
        assert json.loads(process.stdout.readline()) == {"event": "note", "text": "b'' 0"}
        process.stdin.write(b"stop\n")
        process.stdin.flush()
        assert process.wait(timeout=20) == 2, "the request has come"
    finally:
        watch.cancel()
        process.kill()
        process.communicate()


def test_no_stdin_counts_as_its_end():
    from scripts.core.channel import listen

    control = Control()
    listen(control, None).join(5)
    assert control.stop_asked
