"""The learning rate schedules against the rates that sd-scripts used at every step."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.core.errors import SettingError
from scripts.settings.train import SCHEDULERS, TrainSettings
from scripts.training.schedules import FORMULAS, learning_rates, read_schedule

CASES = json.loads((Path(__file__).parents[1] / "data" / "schedules.json").read_text("utf-8"))
REFUSED_THERE = [case for case in CASES if "error" in case]


def settings_of(case):
    names = (
        "lr_scheduler",
        "lr_warmup_steps",
        "lr_decay_steps",
        "lr_scheduler_num_cycles",
        "lr_scheduler_power",
        "lr_scheduler_timescale",
        "lr_scheduler_min_lr_ratio",
    )
    return TrainSettings(learning_rate=case["base_lr"], **{name: case[name] for name in names})


def label(case):
    return "-".join(
        str(case[name])
        for name in (
            "lr_scheduler",
            "lr_warmup_steps",
            "lr_decay_steps",
            "lr_scheduler_num_cycles",
            "lr_scheduler_power",
            "lr_scheduler_timescale",
        )
    )


def test_the_reference_has_all_cases():
    assert len(CASES) == 45
    assert len(REFUSED_THERE) == 8
    assert set(FORMULAS) == set(SCHEDULERS) == {case["lr_scheduler"] for case in CASES}


@pytest.mark.parametrize("case", [case for case in CASES if "lr" in case], ids=label)
def test_rates_are_those_of_the_reference(case):
    settings = settings_of(case)
    rates = learning_rates(
        settings,
        case["max_train_steps"],
        {"unet": case["base_lr"], "text encoder": case["base_lr"] / 2},
    )
    assert rates["unet"] == pytest.approx(case["lr"], rel=1e-12, abs=1e-20)
    assert rates["text encoder"] == pytest.approx(
        [rate / 2 for rate in case["lr"]], rel=1e-12, abs=1e-20
    )


@pytest.mark.parametrize("warmup", [10, 0.1])
def test_constant_with_a_warm_up_is_constant_with_warmup_and_says_so(warmup):
    settings = TrainSettings(lr_scheduler="constant", lr_warmup_steps=warmup)
    schedule, notes = read_schedule(settings, 100)
    named, none = read_schedule(replace(settings, lr_scheduler="constant_with_warmup"), 100)
    factors = [schedule.multiplier(step) for step in range(100)]
    assert factors == [named.multiplier(step) for step in range(100)]
    assert factors[:3] == pytest.approx([0, 0.1, 0.2]) and factors[10:] == [1.0] * 90
    assert "constant_with_warmup" in notes[0] and not none


def test_piecewise_constant_needs_its_rules():
    with pytest.raises(SettingError, match="needs the steps") as caught:
        read_schedule(TrainSettings(lr_scheduler="piecewise_constant"), 100)
    assert caught.value.setting == "lr_scheduler"


def test_piecewise_constant_follows_diffusers():
    torch = pytest.importorskip("torch")
    from diffusers.optimization import get_piecewise_constant_schedule

    rules = "1:10,0.1:20,0.01:35,0.005"
    settings = TrainSettings(
        lr_scheduler="piecewise_constant",
        learning_rate=1e-3,
        lr_scheduler_args={"step_rules": rules},
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    theirs = get_piecewise_constant_schedule(optimizer, rules)
    expected = []
    for _ in range(50):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert learning_rates(settings, 50, {"unet": 1e-3})["unet"] == expected


@pytest.mark.parametrize("rules", ["1:10", "x", "1:ten,0.1", "1:10:3,1", ","])
def test_unreadable_step_rules_are_shown(rules):
    settings = TrainSettings(
        lr_scheduler="piecewise_constant", lr_scheduler_args={"step_rules": rules}
    )
    with pytest.raises(SettingError) as caught:
        read_schedule(settings, 100)
    assert rules in str(caught.value) and "step_rules=1:100" in str(caught.value)


def test_rates_of_every_so_many_steps():
    settings = TrainSettings(lr_scheduler="linear")
    rates = learning_rates(settings, 10, {"unet": 1e-3}, every=4)
    assert rates["unet"] == pytest.approx([1e-3 * (1 - step / 10) for step in (0, 4, 8)])


def test_an_unknown_argument_names_the_known_ones():
    settings = TrainSettings(lr_scheduler="polynomial", lr_scheduler_args={"powr": "2"})
    with pytest.raises(SettingError, match="no argument called powr"):
        read_schedule(settings, 100)
    settings = TrainSettings(lr_scheduler="linear", lr_scheduler_args={"power": "2"})
    with pytest.raises(SettingError, match="It has none"):
        read_schedule(settings, 100)


def test_arguments_are_numbers():
    settings = TrainSettings(lr_scheduler="polynomial", lr_scheduler_args={"power": "two"})
    with pytest.raises(SettingError, match='power is "two"'):
        read_schedule(settings, 100)


@pytest.mark.parametrize(
    ("argument", "value", "setting"),
    [
        ("power", "2", {"lr_scheduler_power": 2.0}),
        ("lr_end", "1e-7", {}),
    ],
)
def test_arguments_of_the_polynomial_schedule(argument, value, setting):
    by_argument = TrainSettings(lr_scheduler="polynomial", lr_scheduler_args={argument: value})
    by_setting = TrainSettings(lr_scheduler="polynomial", **setting)
    assert learning_rates(by_argument, 30, {"a": 1.0}) == learning_rates(by_setting, 30, {"a": 1.0})


def test_min_lr_is_a_rate_and_min_lr_rate_a_share():
    common = {"lr_scheduler": "cosine_with_min_lr", "learning_rate": 2e-4}
    absolute = TrainSettings(lr_scheduler_args={"min_lr": "2e-5"}, **common)
    share = TrainSettings(lr_scheduler_args={"min_lr_rate": 0.1}, **common)
    assert read_schedule(absolute, 40)[0].multiplier(40) == pytest.approx(0.1)
    assert read_schedule(share, 40)[0].multiplier(40) == pytest.approx(0.1)


def test_polynomial_refuses_a_rate_below_its_end():
    settings = TrainSettings(lr_scheduler="polynomial", learning_rate=1e-8)
    with pytest.raises(SettingError, match="Take a higher rate") as caught:
        read_schedule(settings, 100)
    assert caught.value.setting == "learning_rate"


def test_polynomial_with_only_the_groups_own_rates():
    settings = TrainSettings(
        lr_scheduler="polynomial", learning_rate=0.0, unet_lr=1e-4, text_encoder_lr=5e-5
    )
    assert read_schedule(settings, 100)[0].end_ratio == pytest.approx(1e-3)


def test_notes_tell_of_what_does_nothing():
    assert "never reached" in read_schedule(TrainSettings(lr_warmup_steps=50), 50)[1][0]
    wsd = TrainSettings(lr_scheduler="warmup_stable_decay")
    assert "lr_decay_steps is 0" in read_schedule(wsd, 50)[1][0]
    adafactor = TrainSettings(lr_scheduler="adafactor", lr_warmup_steps=5)
    schedule, notes = read_schedule(adafactor, 50)
    assert "no warm-up" in notes[0] and schedule.multiplier(0) == 1.0


def test_unknown_schedule():
    with pytest.raises(SettingError, match='no schedule called "cosin"'):
        read_schedule(TrainSettings(lr_scheduler="cosin"), 10)
