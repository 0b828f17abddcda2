"""Whole trainings on the tiny model: the file, saves, resume, stop, what ends badly."""

import json
import math
from pathlib import Path

import pytest
import torch

from scripts.core.errors import Cancelled, SettingError, SettingErrors, SuiteError
from scripts.core.events import Control


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def differs(one, other):
    return any(not torch.equal(one[key], other[key]) for key in one)


def test_a_training_ends_with_a_lora_and_true_figures(run_training):
    trained = run_training()
    state, metadata = trained.state(), trained.metadata()
    assert len(state) == 792  # 264 modules: 72 text encoder, 192 U-Net; alpha, down, up each
    assert any(state[key].abs().max() > 0 for key in state if "lora_up" in key)
    assert metadata["ss_steps"] == "3" and metadata["ss_epoch"] == "1"
    assert metadata["ss_num_train_images"] == "8" and metadata["ss_network_dim"] == "2"
    steps = trained.of("step")
    assert [steps[0].total, steps[-1].done] == [3, 3]
    assert all(math.isfinite(step.loss) for step in steps)
    assert trained.of("done")[0].path == str(trained.path)


def test_the_same_seed_gives_the_same_lora_and_another_does_not(run_training):
    first = run_training(output_name="a").state()
    assert same(first, run_training(output_name="b").state())
    assert differs(first, run_training(output_name="c", seed=43).state())


def test_an_earlier_result_is_never_written_over(run_training):
    first = run_training()
    before = first.path.read_bytes()
    second = run_training(seed=7)
    assert second.path.name == "last-2.safetensors"
    assert first.path.read_bytes() == before
    assert "last-2" in second.notes()


@pytest.mark.parametrize(
    "where", [3, *(pytest.param(where, marks=pytest.mark.slow) for where in (4, 5))]
)
def test_resuming_is_exact_in_mid_epoch_at_its_end_and_behind_it(run_training, where):
    """4 steps an epoch; everything random is on: dropout, shuffle, crop, noise offset, flips."""
    settings = {
        "max_train_epochs": 2, "network_dropout": 0.3, "rank_dropout": 0.2, "module_dropout": 0.2,
        "shuffle_caption": True, "caption_dropout_rate": 0.3, "flip_aug": True,
        "random_crop": True, "noise_offset": 0.1, "ip_noise_gamma": 0.1, "lr_warmup_steps": 2,
        "save_state": True,
    }  # fmt: skip
    unbroken = run_training(**settings, save_every_n_steps=where, output_name="whole")
    state = unbroken.path.parent / f"whole-step{where:08d}-state"
    resumed = run_training(**settings, output_name="resumed", resume=state)
    assert same(unbroken.state(), resumed.state())
    assert resumed.metadata()["ss_steps"] == "8"


@pytest.mark.slow
def test_accumulated_gradients_resume_exactly_too(run_training):
    settings = {"max_train_epochs": 2, "gradient_accumulation_steps": 3, "save_state": True,
                "save_every_n_epochs": 1, "optimizer_type": "AdamW8bit"}  # fmt: skip
    unbroken = run_training(**settings, output_name="whole")
    state = unbroken.path.parent / "whole-000001-state"
    resumed = run_training(**settings, output_name="resumed", resume=state)
    assert same(unbroken.state(), resumed.state())


def test_stop_saves_and_says_where_and_resume_goes_on(run_training, monkeypatch):
    from scripts.training import loop

    unbroken = run_training(max_train_steps=5, output_name="whole")
    control, original, taken = Control(), loop.take_step, []

    def take_step(*arguments):
        taken.append(1)
        if len(taken) == 2:
            control.stop()
        return original(*arguments)

    monkeypatch.setattr(loop, "take_step", take_step)
    with pytest.raises(Cancelled) as stopped:
        run_training(control, max_train_steps=5, output_name="stopped")
    assert "step 2 of 5" in str(stopped.value)
    folder = unbroken.path.parent
    state = folder / "stopped-step00000002-state"
    assert str(state) in str(stopped.value)
    assert (folder / "stopped-step00000002.safetensors").exists()
    resumed = run_training(max_train_steps=5, output_name="stopped", resume=state)
    assert resumed.path.name == "stopped.safetensors"
    assert same(unbroken.state(), resumed.state())


def test_a_state_of_another_training_is_refused_by_name(run_training):
    first = run_training(save_state=True, max_train_steps=2)
    state = first.path.with_name("last-state")
    with pytest.raises(SettingError, match="train_batch_size was 2 and is 1"):
        run_training(resume=state, train_batch_size=1, max_train_steps=4)
    with pytest.raises(SettingError, match="finished"):
        run_training(resume=state, max_train_steps=2)
    (state / "state.pt").write_bytes(b"broken")
    with pytest.raises(SettingError, match="broken or incomplete"):
        run_training(resume=state, max_train_steps=4)


def names(folder):
    return sorted(path.name for path in folder.glob("*"))


@pytest.mark.slow
def test_saves_by_epoch_and_step_and_what_is_kept(run_training):
    folder = run_training(max_train_epochs=3, save_every_n_epochs=1).path.parent
    assert names(folder) == ["last-000001.safetensors", "last-000002.safetensors",
                             "last.safetensors"]  # fmt: skip
    run_training(output_name="steps", max_train_steps=9, save_every_n_steps=2,
                 save_last_n_steps=4, save_state=True)  # fmt: skip
    assert names(folder)[3:] == [
        "steps-state", "steps-step00000006-state", "steps-step00000006.safetensors",
        "steps-step00000008-state", "steps-step00000008.safetensors", "steps.safetensors",
    ]  # fmt: skip
    run_training(output_name="few", max_train_epochs=4, save_every_n_epochs=1,
                 save_last_n_epochs=1)  # fmt: skip
    assert [name for name in names(folder) if "few" in name] == [
        "few-000003.safetensors", "few.safetensors",
    ]  # fmt: skip
    run_training(output_name="ratio", max_train_epochs=4, save_n_epoch_ratio=2)
    assert [name for name in names(folder) if "ratio" in name] == [
        "ratio-000002.safetensors", "ratio.safetensors",
    ]  # fmt: skip


def test_files_saved_on_the_way_tell_their_own_step(run_training):
    from scripts.core.safetensors_header import read_header

    folder = run_training(max_train_epochs=2, save_every_n_epochs=1).path.parent
    metadata = read_header(folder / "last-000001.safetensors").metadata
    assert (metadata["ss_epoch"], metadata["ss_steps"]) == ("1", "4")


def test_a_loss_that_is_no_number_ends_the_training_without_a_file(run_training, tmp_path):
    with pytest.raises(SuiteError, match="loss became"):
        run_training(learning_rate=1e30, max_train_steps=20, max_grad_norm=0)
    assert not (tmp_path / "out" / "last.safetensors").exists()


def test_a_full_disk_while_saving_is_one_sentence(run_training, monkeypatch, tmp_path):
    import errno

    from scripts.lora import file as lora_file

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lora_file, "write_safetensors", full)
    with pytest.raises(SuiteError, match="disk is full"):
        run_training()
    assert names(tmp_path / "out") == []


def test_the_plan_is_what_happens(run_training, tiny_sd15, pictures, tmp_path):
    import subprocess
    import sys

    from scripts.core.files import PROJECT_FOLDER

    config = tmp_path / "run.json"
    config.write_text(
        json.dumps(
            {
                "pretrained_model_name_or_path": str(tiny_sd15), "train_data_dir": str(pictures),
                "output_dir": str(tmp_path / "out"), "resolution": 64, "network_dim": 2,
                "min_bucket_reso": 64, "train_batch_size": 3, "max_train_epochs": 2,
                "optimizer_type": "AdamW", "lr_warmup_steps": 2, "text_encoder_lr": 5e-5,
            }
        )
    )  # fmt: skip
    probe = ("import sys, runpy; sys.argv[0] = 'train'; "
             "from scripts.train import main; code = main(sys.argv[1:]); "
             "assert 'torch' not in sys.modules; sys.exit(code)")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", probe, "--config", str(config), "--plan"],
        capture_output=True, text=True, cwd=PROJECT_FOLDER,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["base_model"]["family"] == "sd1"
    assert (plan["batches_per_epoch"], plan["epochs"], plan["steps"]) == (3, 2, 6)
    # cosine after two warm-up steps: 0, 1/2, then (1 + cos(pi * k / 4)) / 2
    factors = [0, 0.5, *[(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]]
    assert plan["learning_rates"]["unet"] == pytest.approx([1e-4 * factor for factor in factors])
    assert plan["learning_rates"]["text_encoder"] == pytest.approx([5e-5 * f for f in factors])
    trained = run_training(train_batch_size=3, max_train_epochs=2, max_train_steps=1600)
    assert trained.of("step")[-1].done == plan["steps"]


def test_all_missing_paths_are_named_at_once(run_training, tmp_path):
    with pytest.raises(SettingErrors) as caught:
        run_training(vae=tmp_path / "no.pt", reg_data_dir=tmp_path / "no", resume=tmp_path / "x")
    assert {error.setting for error in caught.value.errors} == {"vae", "reg_data_dir", "resume"}


def test_captions_that_are_too_long_are_named(run_training, pictures):
    (pictures / "2_cat" / "001.txt").write_text("cat " * 100)  # "cat" is one token
    notes = run_training(max_train_steps=1).notes()
    assert "longer than max_token_length, 75 tokens: 1, such as" in notes and "has 100)" in notes
    assert "001.png" in notes
    assert "longer than" not in run_training(max_train_steps=1, max_token_length=150).notes()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."),
              RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")]
)  # fmt: skip
def test_too_little_memory_is_one_sentence(run_training, monkeypatch, error):
    from scripts.training import loop

    def run_out(*_arguments):
        raise error

    monkeypatch.setattr(loop, "denoising_loss", lambda *_a, **_k: run_out())
    with pytest.raises(SuiteError, match="ran out of memory"):
        run_training()


@pytest.mark.slow
def test_a_changed_rate_counts_when_resuming_and_is_said(run_training):
    settings = {"lr_scheduler": "constant", "max_train_steps": 4, "optimizer_args": "betas=0.8,0.9"}
    first = run_training(**settings, save_state=True, save_every_n_steps=2)
    state = first.path.parent / "last-step00000002-state"
    resumed = run_training(**settings, resume=state, output_name="again", learning_rate=5e-3)
    assert "Going on from step 2 of 4." in resumed.notes()
    assert "learning_rate from 0.01 to 0.005" in resumed.notes()
    assert resumed.of("step")[-1].learning_rates["unet"] == 5e-3
    unchanged = run_training(**settings, resume=state, output_name="same")
    assert "Changed" not in unchanged.notes() and same(first.state(), unchanged.state())


def test_a_full_disk_while_saving_the_state(run_training, monkeypatch, tmp_path):
    from scripts.training import checkpoints

    original = checkpoints.write_torch
    monkeypatch.setattr(
        checkpoints, "write_torch", lambda path, state: original(Path("/dev/full"), state)
    )
    with pytest.raises(SuiteError, match="disk is full"):
        run_training(save_state=True)
    assert names(tmp_path / "out") == ["last.safetensors"]


def test_two_trainings_at_once_take_two_names(tmp_path):
    from dataclasses import replace

    import psutil

    from scripts.settings.train import TrainSettings
    from scripts.training.saving import free_output_name, output_name_held

    settings = TrainSettings(output_dir=tmp_path, output_name="cat")
    runs = psutil.Process().parent()
    (tmp_path / ".cat.in-use").write_text(f"{runs.pid} {runs.create_time():.0f}")
    assert free_output_name(settings) == "cat-2"
    with output_name_held(settings) as name:
        assert name == "cat-2" and (tmp_path / ".cat-2.in-use").exists()
    assert names(tmp_path) == [".cat.in-use"]
    # of a training that crashed, whose number is nobody's now, or another program's
    for crashed in ("999999999 5", f"{runs.pid} 5", "", "nonsense"):
        (tmp_path / ".cat.in-use").write_text(crashed)
        with output_name_held(settings) as name:
            assert name == "cat"
        assert names(tmp_path) == []
    (tmp_path / "CAT-000001.safetensors").write_text("an earlier save, as Windows sees it")
    assert free_output_name(settings) == "cat-2"
    for state, name in (("Cat-000001-state", "cat"), ("cat-step00000012-state", "cat"),
                        ("cat-state", "cat"), ("dog-000001-state", "cat-2"),
                        ("cat-2-state", "cat-2"), ("catty-state", "cat-2")):  # fmt: skip
        resumed = replace(settings, resume=tmp_path / state)
        assert free_output_name(resumed) == name, state


def test_a_stop_at_the_last_step_finds_it_finished(run_training, monkeypatch):
    """There is nothing left to go on with: the LoRA is saved as the result."""
    from scripts.training import loop

    control, original = Control(), loop.take_step

    def stopped(*arguments):
        control.stop()
        return original(*arguments)

    monkeypatch.setattr(loop, "take_step", stopped)
    trained = run_training(control=control, max_train_steps=1)
    assert trained.path.name == "last.safetensors" and trained.path.exists()
