"""Stopping a running training from outside: the step is finished, all is saved, it says where."""

import json
import os
import signal
import subprocess
import sys

import pytest

from scripts.core.files import PROJECT_FOLDER
from scripts.core.safetensors_header import read_header

pytestmark = pytest.mark.slow


@pytest.fixture
def running(tiny_sd15, pictures, tmp_path):
    """A training in a process of its own that would go on for hours; past its first step."""
    words = {
        "pretrained_model_name_or_path": tiny_sd15, "train_data_dir": pictures,
        "output_dir": tmp_path / "out", "resolution": 64, "min_bucket_reso": 64,
        "network_dim": 2, "optimizer_type": "AdamW", "max_train_steps": 100_000,
    }  # fmt: skip
    command = [sys.executable, "-m", "scripts.train", "--events"]
    command += [word for name, value in words.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=PROJECT_FOLDER, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    next(events(process, "step"))
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()


def events(process, kind):
    """The events of one kind, as they come."""
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == kind:
            yield event


def ended(process):
    """The exit code and the last note."""
    notes = [event["text"] for event in events(process, "note")]
    errors = process.stderr.read()
    assert "Traceback" not in errors, errors
    assert notes, (process.wait(timeout=60), errors)
    return process.wait(timeout=60), notes[-1]


def stop_by_request(process):
    process.stdin.write("stop\n")
    process.stdin.flush()


def stop_by_closing_the_window(process):
    process.stdin.close()


def stop_by_ctrl_c(process):
    process.send_signal(signal.SIGINT)


@pytest.mark.parametrize("stop", [stop_by_request, stop_by_closing_the_window, stop_by_ctrl_c])
def test_the_training_stops_and_says_where_it_saved(running, stop, tmp_path):
    stop(running)
    code, note = ended(running)
    assert code == 2
    states = list((tmp_path / "out").glob("last-step*-state"))
    loras = list((tmp_path / "out").glob("last-step*.safetensors"))
    assert len(states) == len(loras) == 1
    assert str(states[0]) in note and str(loras[0]) in note


def test_a_stop_after_the_round_goes_on_to_its_end(running, tmp_path):
    """Four pictures, one a step: a round has four steps or a multiple."""
    running.stdin.write("stop_after_epoch\n")
    running.stdin.flush()
    code, note = ended(running)
    assert code == 2
    (lora,) = (tmp_path / "out").glob("last-step*.safetensors")
    told = read_header(lora).metadata
    batches = int(told["ss_num_batches_per_epoch"])
    assert batches > 1 and int(told["ss_steps"]) == int(told["ss_epoch"]) * batches
    assert str(lora) in note and lora.with_name(f"{lora.stem}-state").is_dir()


def test_saving_and_previews_on_request_while_it_goes_on(running):
    running.stdin.write("save\n")
    running.stdin.flush()
    saved = events(running, "saved")
    assert {next(saved)["what"], next(saved)["what"]} == {"lora", "state"}
    assert next(events(running, "step"))["done"] > 1
    stop_by_request(running)
    assert ended(running)[0] == 2
