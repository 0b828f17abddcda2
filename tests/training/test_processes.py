"""Several processes: half the steps an epoch, one file, one progress."""

import json
import os
import subprocess
import sys

import pytest
import torch
from picture_folders import draw_pictures
from safetensors.torch import load_file

from scripts.core.files import PROJECT_FOLDER
from scripts.core.safetensors_header import read_header

pytestmark = pytest.mark.slow

BOTH = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1", "--cpu",
        "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "scripts.train"]  # fmt: skip


def launch(words, config, folder):
    config_path = folder / "run.json"
    config_path.write_text(json.dumps(config))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    stdin, open_end = os.pipe()  # its end would mean that the window died
    try:
        done = subprocess.run(
            [sys.executable, *words, "--config", str(config_path), "--events"],
            capture_output=True, text=True, cwd=PROJECT_FOLDER, env=environment, timeout=300,
            stdin=stdin,
        )  # fmt: skip
    finally:
        os.close(stdin)
        os.close(open_end)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]


@pytest.fixture
def config(tiny_sd15, tmp_path):
    root = tmp_path / "pictures"
    draw_pictures(root / "1_cat", [(64, 64)] * 7, [f"a cat {number}" for number in range(7)])
    return {
        "pretrained_model_name_or_path": str(tiny_sd15), "train_data_dir": str(root),
        "output_dir": str(tmp_path / "out"), "resolution": 64, "min_bucket_reso": 64,
        "network_dim": 2, "max_train_epochs": 2, "optimizer_type": "AdamW",
        "save_precision": "float", "save_state": True,
    }  # fmt: skip


def test_two_processes_make_half_the_steps_and_one_file(config, tmp_path):
    events = launch(BOTH, config, tmp_path)
    steps = [event for event in events if event["event"] == "step"]
    assert steps[-1]["done"] == steps[-1]["total"] == 8  # 7 batches: 4 a process, two epochs
    done = [event for event in events if event["event"] == "done"]
    assert len(done) == 1
    saved = [event["path"] for event in events if event["event"] == "saved"]
    assert sorted(os.path.basename(path) for path in saved) == ["last-state", "last.safetensors"]
    metadata = read_header(done[0]["path"]).metadata
    assert metadata["ss_steps"] == "8" and metadata["ss_total_batch_size"] == "2"
    assert any(tensor.abs().max() > 0 for key, tensor in load_file(done[0]["path"]).items()
               if "lora_up" in key)  # fmt: skip


def test_two_processes_step_by_the_mean_of_their_gradients(config, tmp_path, monkeypatch):
    """With plain gradient descent a step of both ends half-way between the steps of each alone."""
    from scripts.core.events import Control
    from scripts.settings.train import read_train_settings
    from scripts.training import loop, start

    config |= {"optimizer_type": "torch.optim.SGD", "learning_rate": 1.0, "max_grad_norm": 0.0,
               "lr_scheduler": "constant", "max_train_steps": 1, "save_state": False}  # fmt: skip
    del config["max_train_epochs"]
    monkeypatch.setattr(start, "CACHE_FOLDER", tmp_path / "cache")
    seed_batch = loop.seed_batch

    def alone(rank):
        monkeypatch.setattr(
            loop, "steps_of_epoch", lambda run, epoch: [[run.plan.batches(epoch)[rank]]]
        )
        monkeypatch.setattr(
            loop, "seed_batch", lambda seed, epoch, number, _: seed_batch(seed, epoch, number, rank)
        )
        settings, _ = read_train_settings({**config, "output_name": f"rank{rank}"})
        return load_file(start.train(settings, lambda event: None, Control()))

    first, second = alone(0), alone(1)
    launch(BOTH, {**config, "output_name": "both"}, tmp_path)
    both = load_file(tmp_path / "out" / "both.safetensors")
    ups = [key for key in both if key.endswith("lora_up.weight")]
    assert any((first[key] - second[key]).norm() > 0.1 * first[key].norm() for key in ups)
    for key in ups:
        torch.testing.assert_close(both[key], (first[key] + second[key]) / 2, rtol=1e-3, atol=1e-7)


def test_the_number_is_found_in_accelerates_command_line(monkeypatch, tmp_path):
    from scripts.training.cpu_processes import missing_processes, processes_in

    script = ["-m", "scripts.train", "--config", "run.json", "--num_processes", "9"]
    assert processes_in(["python", "accelerate", "launch", "--num_processes", "2", *script]) == 2
    words = ["python", "-m", "accelerate.commands.launch", "--cpu", "--num-processes=3", *script]
    assert processes_in(words) == 3
    assert processes_in(["accelerate-launch", "--num_processes", "1", *script]) == 0
    assert processes_in(["bash", "-c", "anything"]) == 0
    assert missing_processes({}) == 0
    connected = {"ACCELERATE_USE_CPU": "True", "MASTER_PORT": "1", "WORLD_SIZE": "2"}
    assert missing_processes(connected) == 0


def test_a_mistake_is_told_once_and_ends_both(config, tmp_path):
    config["network_dim"] = 0
    with pytest.raises(AssertionError) as caught:
        launch(BOTH, config, tmp_path)
    assert str(caught.value).count("out of range") == 1
