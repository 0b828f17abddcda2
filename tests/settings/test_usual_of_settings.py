"""What is declared as usual: of every number, with what goes wrong, and true to our own advice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.core.declare import declarations
from scripts.settings.advice_tables import EFFORT_RULES, KIND_RULES, PRESETS
from scripts.settings.document import COMMANDS
from scripts.settings.train import TrainSettings

RANGES = json.loads((Path(__file__).parents[1] / "data" / "advice_ranges.json").read_text())
TRAIN = declarations(TrainSettings)
LONGEST = 110  # letters
ALL = [
    pytest.param(entry, declared, id=f"{module.rpartition('.')[2]}-{name}")
    for module, _, settings_class in COMMANDS
    for declared in [declarations(settings_class)]
    for name, entry in declared.items()
]
NUMBERS = [given for given in ALL if given.values[0].kind in (int, float)]
ADVISED = [given for given in ALL if any((given.values[0].usual, given.values[0].beware))]


def default_of(declared):
    return lambda name: declared[name].default


@pytest.mark.parametrize(("entry", "declared"), NUMBERS)
def test_every_number_has_a_usual_range_and_what_goes_wrong_outside_it(entry, declared):
    assert entry.usual is not None
    for low, high in filter(
        None, [(entry.usual.low, entry.usual.high), *entry.usual.by[1].values()]
    ):
        if low is None:
            continue
        times_one = entry.usual.times is None
        if entry.low is None or (low > entry.low and times_one):
            assert entry.below, "values below are allowed, and nothing is said of them"
        if entry.high is None or high < entry.high:
            assert entry.above, "values above are allowed, and nothing is said of them"
        assert entry.low is None or low >= entry.low
        assert entry.high is None or high <= entry.high


@pytest.mark.parametrize(("entry", "declared"), ADVISED)
def test_the_default_is_usual_and_other_settings_are_named_rightly(entry, declared):
    if entry.usual is None:
        return
    assert entry.usual.side(entry.default, default_of(declared)) is None
    other, ranges = entry.usual.by
    assert not ranges or set(ranges) <= set(declared[other].choices or declared[other].suggestions)
    assert entry.usual.times is None or declared[entry.usual.times].kind is int


@pytest.mark.parametrize(("entry", "declared"), ADVISED)
def test_advice_is_short_whole_sentences_that_the_help_does_not_say(entry, declared):
    texts = [text for text in (entry.below, entry.above, entry.beware) if text]
    assert texts or entry.usual
    for text in texts:
        assert text.endswith(".") and len(text) <= LONGEST and text == " ".join(text.split())
        assert text not in entry.help


def test_most_settings_of_a_training_say_what_goes_wrong():
    silent = {name for name, e in TRAIN.items() if not (e.below or e.above or e.beware)}
    assert silent == {
        "dataset_config", "lr_scheduler_args", "sdpa", "output_dir", "logging_dir",
        "sample_at_first", "sample_sampler", "metadata_title", "metadata_description",
        "metadata_license", "metadata_tags", "tag_occurrence_txt_file",
        "sort_tag_occurrence_alphabetically",
    }  # fmt: skip


def test_usual_ranges_hold_the_published_ones():
    checked = set()
    for rule in RANGES["rules"]:
        entry = TRAIN.get(rule["setting"])
        if entry is None or entry.usual is None:
            continue
        low, high = entry.usual.ends(default_of(TRAIN))
        assert low <= rule["low"] and rule["high"] <= high, rule["setting"]
        checked.add(entry.name)
    assert {"network_dim", "unet_lr", "text_encoder_lr", "min_snr_gamma"} <= checked


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_what_the_wizard_advises_is_usual(preset):
    values = {name: entry.default for name, entry in TRAIN.items()} | preset.values
    for name, value in preset.values.items():
        usual = TRAIN[name].usual
        assert usual is None or usual.side(value, values.get) is None, name
    for rule in KIND_RULES.values():
        assert TRAIN["network_dim"].usual.side([rule.dim, rule.dim_sdxl], values.get) is None
    for rule in EFFORT_RULES.values():
        assert TRAIN["max_train_epochs"].usual.side(rule.epochs, values.get) is None
        assert TRAIN["train_batch_size"].usual.side(rule.batch, values.get) is None


def test_the_rates_of_an_optimiser_are_judged_by_its_own_range():
    rate = TRAIN["learning_rate"].usual
    for optimiser, value, side in (
        ("AdamW8bit", 1.0, "above"), ("Prodigy", 1.0, None), ("Prodigy", 1e-4, "below"),
        ("Lion", 3e-4, "above"), ("Lion", 2e-5, None), ("SGDNesterov", 0.1, None),
    ):  # fmt: skip
        assert rate.side(value, {"optimizer_type": optimiser}.get) == side, (optimiser, value)
