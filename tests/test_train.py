"""The command that trains, as typed: command lines of sd-scripts, mistakes, exit codes."""

import json
import subprocess
import sys

import pytest

import scripts.command
from scripts.core.files import PROJECT_FOLDER
from scripts.train import main


@pytest.fixture
def plan(tiny_sd15, pictures, tmp_path, monkeypatch, capfd):
    """Run `--plan` with further words; exit code, the plan if there is one, and the errors."""
    monkeypatch.setattr(scripts.command, "LOG_FOLDER", tmp_path / "logs")

    def plan(*words):
        code = main(
            ["--plan", "--pretrained_model_name_or_path", str(tiny_sd15), "--train_data_dir",
             str(pictures), "--output_dir", str(tmp_path / "out"), "--resolution", "64",
             "--min_bucket_reso", "64", "--max_train_steps", "4", *map(str, words)]
        )  # fmt: skip
        captured = capfd.readouterr()
        return code, json.loads(captured.out) if code == 0 else None, captured.err

    return plan


def test_a_command_line_of_sd_scripts_is_understood(plan, tmp_path):
    code, content, _ = plan(
        "--xformers", "--network_module", "networks.lora", "--network_args", "conv_dim=4",
        "conv_alpha=1", "--persistent_data_loader_workers", "--max_data_loader_n_workers=8",
        "--net_dim", "4", "--cache_text_encoder_outputs",
    )  # fmt: skip
    assert code == 0
    settings = content["settings"]
    assert (settings["network_dim"], settings["conv_dim"], settings["conv_alpha"]) == (4, 4, 1)
    assert "network_module is not needed: the LoRA code is built in." in content["notes"]
    [log] = (tmp_path / "logs").iterdir()
    assert log.name.startswith("plan-"), "not among those of trainings"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--network_dimm", "4", "--seed", "x"], ["Did you mean network_dim?", "seed: "]),
        (["--nonsense"], ["nonsense: There is no setting called nonsense."]),
        (["stray"], ['"stray" belongs to no flag']),
        (["--network_dim"], ["--network_dim: expected one argument"]),
        (["--trial"], ["--trial: not allowed with argument --plan"]),
    ],
)
def test_a_wrong_command_line_is_the_users_error(plan, words, parts):
    code, _, err = plan(*words)
    assert code == 1 and all(part in err for part in parts)
    assert "usage" not in err


@pytest.mark.parametrize("words", [["--nonsense"], ["--network_dim"]])
def test_a_window_gets_a_wrong_command_line_as_a_problem(words):
    done = subprocess.run(
        [sys.executable, "-m", "scripts.train", "--events", *words],
        capture_output=True, text=True, cwd=PROJECT_FOLDER, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["event"] for event in events} == {"problem"}
    assert words[0].strip("-") in " ".join(event["message"] for event in events)


def test_the_plan_of_a_long_training_stays_small(plan):
    code, content, _ = plan("--max_train_steps", 5_000_000, "--lr_scheduler", "linear")
    assert code == 0 and content["steps"] == 5_000_000
    rates, every = content["learning_rates"]["unet"], content["learning_rates_every"]
    assert every == 250 and len(rates) == 20_000
    assert rates[10_000] == pytest.approx(1e-4 * (1 - 10_000 * every / 5_000_000))
    assert plan("--max_train_steps", 10)[1]["learning_rates_every"] == 1


@pytest.mark.parametrize(
    "words",
    [["--optimizer_args", "betas=0.9"], ["--optimizer_args", "weight_decay=abc"],
     ["--optimizer_type", "LBFGS"]],
)  # fmt: skip
def test_the_plan_refuses_what_the_optimiser_would(plan, words):
    code, _, err = plan("--optimizer_type", "AdamW", *words)
    assert code == 1 and words[0].strip("-") in err


def test_a_table_in_a_toml_config_reaches_the_pictures(plan, pictures, tmp_path):
    (pictures / "2_cat").rename(pictures / "4_zyx cat")
    config = tmp_path / "run.toml"
    config.write_text('[folders]\nfolder_repeats = {"4_zyx cat" = 7}\n')
    code, content, err = plan("--config", config)
    assert code == 0, err
    assert content["batches_per_epoch"] == 7 * 4
