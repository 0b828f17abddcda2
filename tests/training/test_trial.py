"""A trial: ten real steps around random latents, the search for the largest batch, the pace."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
import torch
from watched_training import TINY_SDXL, draw_pictures, plan_for, settings_for

from scripts.core.errors import Cancelled, SettingError, SuiteError
from scripts.core.events import Control
from scripts.dataset.random_latents import RandomLatents
from scripts.settings.calibration import Pace, read, record
from scripts.training import start, trial, trial_steps
from scripts.training.batch_search import (
    FITS,
    OUT_OF_MEMORY,
    SIZES,
    TOO_FULL,
    TOO_SLOW,
    largest_fitting,
    sizes_to_try,
    try_sizes,
)
from scripts.training.captions import Captions
from scripts.training.card_memory import card_memory
from scripts.training.trial import in_words, run_trial

GB = 10**9
UNET_ONLY = {"network_train_unet_only": True}


# --- the search: made-up cards ------------------------------------------------------------------


def card(total=12 * GB, base=3 * GB, each=1 * GB, seconds=1.0, spill=1.0, slow_from=None):
    """What a step takes on a card with so many bytes: base + each · batch of them, and
    `seconds` a picture; above the total the memory runs out, or a step takes `spill` times as
    long; from the batch `slow_from` on it does so anyway."""

    def attempt(batch):
        needed = base + each * batch
        over = needed > total
        if over and spill == 1.0:
            return None
        slow = over or (slow_from is not None and batch >= slow_from)
        return seconds * batch * (max(spill, 20.0) if slow else 1.0), needed

    return attempt


@pytest.mark.parametrize(
    ("attempt", "largest", "last"),
    [
        (card(total=100 * GB), 32, (32, FITS)),
        (card(total=12 * GB), 8, (12, OUT_OF_MEMORY)),
        (card(total=3 * GB), 0, (1, OUT_OF_MEMORY)),
        (card(total=8 * GB, spill=30.0), 4, (6, TOO_SLOW)),
        (card(slow_from=3), 2, (3, TOO_SLOW)),
        (card(total=100 * GB, each=0), 32, (32, FITS)),
        (lambda batch: (0.5 + 0.1 * batch, None), 32, (32, FITS)),
    ],
    ids=["fits all", "out of memory at 12", "at 1", "spills at 6", "slows at 3", "no growth",
         "no bytes known"],
)  # fmt: skip
def test_the_search_ends_at_the_first_size_that_does_not_fit(attempt, largest, last):
    tried = try_sizes(attempt, SIZES, safe_bytes=1000 * GB)
    assert [one.batch for one in tried] == [size for size in SIZES if size <= last[0]]
    assert all(one.verdict == FITS for one in tried[:-1])
    assert (tried[-1].batch, tried[-1].verdict) == last
    assert largest_fitting(tried) == largest


@pytest.mark.parametrize("safe", [3.5, 4, 6.5, 7, 30])
def test_what_is_above_the_safe_share_does_not_fit(safe):
    tried = try_sizes(card(total=1000 * GB), SIZES, int(safe * GB))
    largest = max((size for size in SIZES if 3 + size <= safe), default=0)
    assert largest_fitting(tried) == largest
    assert tried[-1].verdict == (FITS if largest == 32 else TOO_FULL)
    assert all(one.seconds_per_picture == 1 for one in tried)
    assert [one.memory_bytes for one in tried] == [(3 + one.batch) * GB for one in tried]


def test_a_larger_batch_may_be_faster_for_each_picture_but_not_twice_as_slow():
    times = {1: 4.0, 2: 5.0, 3: 6.0, 4: 15.9}  # 4, 2.5, 2 and 3.975 seconds a picture
    assert largest_fitting(try_sizes(lambda n: (times[n], 1), (1, 2, 3, 4), 2)) == 4
    times[4] = 16.1
    assert largest_fitting(try_sizes(lambda n: (times[n], 1), (1, 2, 3, 4), 2)) == 3


def test_sizes_are_those_that_a_bucket_can_fill_and_the_one_that_is_set():
    assert sizes_to_try(1000) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]
    assert sizes_to_try(7, 2) == [1, 2, 3, 4, 6]
    assert sizes_to_try(7, 5) == [1, 2, 3, 4, 5, 6]
    assert sizes_to_try(2, 40) == [1, 2, 40]


# --- whole trials -------------------------------------------------------------------------------


@pytest.fixture
def tried(tmp_path, monkeypatch):
    """A function: a trial of a training on a tiny model; its facts, with its events in `.events`.

    The cache lies in tmp_path / "cache", the pictures in tmp_path / "pictures"."""
    monkeypatch.setattr(trial, "CACHE_FOLDER", tmp_path / "cache")
    draw_pictures(tmp_path / "pictures" / "2_cat")

    def run(control=None, **values):
        run.events.clear()
        return run_trial(settings_for(tmp_path, **values), run.events.append, control or Control())

    run.events = []
    return run


@pytest.fixture
def runs(monkeypatch):
    """The runs that trials build, and for each step taken the number of pictures and batches."""
    seen = SimpleNamespace(runs=[], steps=[])
    build_run, take_step = trial_steps.build_run, trial_steps.take_step

    def build(*arguments, **options):
        seen.runs.append(build_run(*arguments, **options))
        return seen.runs[-1]

    def take(run, group, *more):
        seen.steps.append([len(batch.examples) for batch in group])
        return take_step(run, group, *more)

    monkeypatch.setattr(trial_steps, "build_run", build)
    monkeypatch.setattr(trial_steps, "take_step", take)
    return seen


@pytest.mark.parametrize(
    "values",
    [
        {},
        pytest.param(
            {"pretrained_model_name_or_path": TINY_SDXL, **UNET_ONLY}, marks=pytest.mark.slow
        ),
        {"gradient_accumulation_steps": 2, "gradient_checkpointing": True, **UNET_ONLY},
        pytest.param({"cache_latents": False, **UNET_ONLY}, marks=pytest.mark.slow),
    ],
    ids=["sd1", "sdxl", "accumulated", "not cached"],
)
def test_a_trial_takes_eleven_steps_and_leaves_nothing_but_the_pace(tried, runs, tmp_path, values):
    facts = tried(max_train_epochs=6, **values)
    batches = values.get("gradient_accumulation_steps", 1)
    assert runs.steps == [[2] * batches] * 11
    assert facts["steps"] == math.ceil(4 / batches) * 6
    assert facts["seconds"] == facts["seconds_per_step"] * facts["steps"]
    assert facts["seconds_per_picture"] == facts["seconds_per_step"] / (2 * batches)
    assert facts["memory_bytes"] is None and facts["largest_batch"] is None
    assert [one["batch"] for one in facts["tried"]] == [2]
    assert "a larger batch gains nothing" in facts["note"]
    assert not (tmp_path / "out").exists()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["calibration.json"]
    (pace,) = read(tmp_path / "cache" / "calibration.json")
    assert pace.seconds_per_step == facts["seconds_per_step"] and pace.batch == 2 * batches
    ups = [tensor for name, tensor in runs.runs[0].network.state_dict_for_file().items()
           if "lora_up" in name]  # fmt: skip
    assert any(up.abs().max() > 0 for up in ups), "the steps changed the weights"


def test_what_is_reported_can_be_shown_by_a_window_and_in_a_terminal(tried):
    facts = tried(max_train_steps=10)
    stages = [event for event in tried.events if event.kind == "stage"]
    steps = [(event.done, event.total) for event in stages if event.name == trial_steps.TRYING]
    assert sorted(set(steps)) == [(done, 10) for done in range(11)]
    assert {event.kind for event in tried.events} == {"stage", "facts"}
    last = tried.events[-1]
    assert json.loads(json.dumps(last.as_dict()))["facts"] == facts
    assert last.text.startswith("A step takes 0.") and "all 10 steps about" in last.text


@pytest.mark.slow
def test_the_pace_has_the_key_of_a_finished_training(tried, tmp_path, monkeypatch):
    from scripts.training import progress

    monkeypatch.setattr(start, "CACHE_FOLDER", tmp_path / "cache")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_REPORTS", 0)
    values = {"gradient_accumulation_steps": 2, "max_train_steps": 7, **UNET_ONLY}
    start.train(settings_for(tmp_path, **values), lambda event: None, Control())
    (trained,) = read(tmp_path / "cache" / "calibration.json")
    facts = tried(**values)
    (pace,) = read(tmp_path / "cache" / "calibration.json")
    assert pace.key == trained.key and pace.seconds_per_step == facts["seconds_per_step"]


def test_what_does_not_belong_to_the_steps_is_ignored(tried, runs, tmp_path):
    gone = tmp_path / "gone"
    tried(resume=gone, sample_prompts=gone, sample_at_first=True, logging_dir=tmp_path / "logs",
          save_every_n_steps=1, save_state=True)  # fmt: skip
    assert runs.runs[0].previews is None
    assert not (tmp_path / "out").exists() and not (tmp_path / "logs").exists()


def test_only_captions_that_are_used_are_encoded_and_the_encoders_leave(
    tried, runs, tmp_path, monkeypatch
):
    monkeypatch.setattr(trial_steps, "sizes_to_try", lambda pictures, batch: [batch])
    tried(**UNET_ONLY)
    captions = runs.runs[0].captions
    assert captions.encoder is None and len(captions._table) == 2
    known = {path.read_text() for path in (tmp_path / "pictures").rglob("*.txt")}
    assert set(captions._table) < known


def test_encoders_stay_where_the_trainings_would(tried, runs, monkeypatch):
    """Whether all captions fit into the table is judged by all of them."""
    real = Captions.__init__

    def small(self, encoder, device, largest_table):
        one = encoder.encode(["a cat"]).nbytes
        real(self, encoder, device, 3 * one)  # of four captions

    monkeypatch.setattr(Captions, "__init__", small)
    monkeypatch.setattr(trial_steps, "sizes_to_try", lambda pictures, batch: [batch])
    tried(**UNET_ONLY)
    assert runs.runs[0].captions.encoder is not None


def test_a_stop_is_heard_between_steps(tried, runs):
    control = Control()
    taken = trial_steps.take_step

    def take(*arguments):
        if len(runs.steps) == 3:
            control.stop()
        return taken(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial_steps, "take_step", take)
        with pytest.raises(Cancelled):
            tried(control)
    assert len(runs.steps) == 4


def test_several_processes_are_refused(tried, monkeypatch):
    accelerator = SimpleNamespace(num_processes=2, device=torch.device("cpu"))
    monkeypatch.setattr(trial, "make_accelerator", lambda formats: accelerator)
    with pytest.raises(SuiteError, match="one process"):
        tried()


# --- what the steps are made of -----------------------------------------------------------------


def test_the_sample_is_the_most_costly_bucket_with_real_captions(tmp_path):
    draw_pictures(tmp_path / "pictures" / "1_cat", 3, (64, 192))
    draw_pictures(tmp_path / "pictures" / "5_dog", 2, (160, 160))
    plan = plan_for(tmp_path, resolution=128, max_bucket_reso=256)
    areas = {width * height for width, height, _ in plan.dataset.buckets()}
    sample = trial_steps.Sample.of(plan)
    assert len(areas) == 2 and math.prod(sample.bucket) == max(areas)
    assert sample.batch == 2 and sample.pictures == 3
    (batch,) = sample.group(5, 1)
    assert len(batch.examples) == 5 and batch.bucket == sample.bucket
    assert sample.captions <= {picture.caption for picture in plan.dataset.pictures}


@pytest.mark.parametrize("masked", [False, True])
def test_random_latents_have_the_shape_of_real_ones(tmp_path, masked):
    draw_pictures(tmp_path / "pictures" / "1_cat", 4, (128, 64))
    values = {"resolution": (128, 64)}
    if masked:
        draw_pictures(tmp_path / "masks", 4, (128, 64))
        values |= {"masked_loss": True, "conditioning_data_dir": tmp_path / "masks"}
    plan = plan_for(tmp_path, **values)
    latents = RandomLatents(plan.dataset, 0.18215)
    tensors = latents.fetch(plan.batches(1)[0])
    assert tensors.mean.shape == tensors.std.shape == (2, 4, 8, 16)
    assert 0.8 < (tensors.mean * 0.18215).std() < 1.2, "about 1, as the VAE's are when scaled"
    assert (tensors.mask is not None) is masked
    assert not masked or tensors.mask.shape == (2, 1, 8, 16)
    assert tensors.original_hw.tolist() == [[64, 128]] * 2 == tensors.target_hw.tolist()
    assert not latents.needs_vae


# --- a made-up graphics card --------------------------------------------------------------------


class MadeUpCard:
    """12 GB; a step needs 3 GB and `each` for every picture. It keeps its own clock."""

    total = 12 * GB

    def __init__(self, each=1 * GB, seconds=0.5, errors=True):
        self.each, self.seconds, self.errors = each, seconds, errors
        self.now, self.reserved, self.first = 0.0, 0, True
        self.confinements = 0

    def take_step(self, run, group, *more):
        pictures = max(len(batch.examples) for batch in group)
        needed = 3 * GB + self.each * pictures
        if needed > self.total and self.errors:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.reserved = max(self.reserved, needed)
        first, self.first = self.first, False  # warms up
        self.now += self.seconds * pictures * len(group) * (50 if first else 1)

    def free_unused(self):
        self.reserved, self.first = 0, True

    def most_reserved(self):
        return self.reserved

    def available(self):
        return self.total

    def wait(self):
        pass

    def confined(self):
        from contextlib import nullcontext

        self.confinements += 1
        return nullcontext()


@pytest.fixture
def on_card(tried, tmp_path, monkeypatch):
    """A function: a trial on a made-up card, with twenty pictures."""
    draw_pictures(tmp_path / "pictures" / "2_dog", 20)

    def run(made_up, **values):
        monkeypatch.setattr(trial_steps, "card_memory", lambda device: made_up)
        monkeypatch.setattr(trial_steps, "take_step", made_up.take_step)
        monkeypatch.setattr(trial_steps, "time", SimpleNamespace(perf_counter=lambda: made_up.now))
        return tried(**{**UNET_ONLY, "max_train_epochs": 1, **values})

    return run


def test_on_a_card_the_largest_batch_is_found_and_all_paces_are_kept(on_card, tmp_path):
    card = MadeUpCard()
    facts = on_card(card)
    assert (facts["seconds_per_step"], facts["seconds_per_picture"]) == (1.0, 0.5)
    assert facts["memory_bytes"] == 5 * GB
    assert facts["steps"] == 24 and facts["seconds"] == 24.0  # 24 pictures twice, by two
    verdicts = [(one["batch"], one["verdict"]) for one in facts["tried"]]
    assert verdicts == [(1, FITS), (2, FITS), (3, FITS), (4, FITS), (6, FITS), (8, TOO_FULL)]
    assert facts["largest_batch"] == 6, "3 + 8 GB are more than nine tenths of 12 GB"
    assert card.confinements == 1
    paces = {pace.batch: pace for pace in read(tmp_path / "cache" / "calibration.json")}
    assert {batch: pace.seconds_per_step for batch, pace in paces.items()} == {
        1: 0.5, 2: 1.0, 3: 1.5, 4: 2.0, 6: 3.0,
    }  # fmt: skip
    assert all(pace.memory_bytes == (3 + batch) * GB for batch, pace in paces.items())


def test_a_batch_is_never_larger_than_the_fullest_bucket(on_card):
    facts = on_card(MadeUpCard(each=0))
    assert facts["largest_batch"] == 24
    assert [one["batch"] for one in facts["tried"]] == [1, 2, 3, 4, 6, 8, 12, 16, 24]


def test_several_batches_in_a_step_are_told_as_one_step(on_card, tmp_path):
    facts = on_card(MadeUpCard(), gradient_accumulation_steps=2)
    assert (facts["seconds_per_step"], facts["seconds_per_picture"]) == (2.0, 0.5)
    fitting = [one for one in facts["tried"] if one["verdict"] == FITS]
    assert {one["seconds_per_picture"] for one in fitting} == {0.5}
    assert facts["largest_batch"] == 6
    paces = read(tmp_path / "cache" / "calibration.json")
    assert {(pace.batch, pace.seconds_per_step) for pace in paces} == {
        (2, 1.0), (4, 2.0), (6, 3.0), (8, 4.0), (12, 6.0),
    }  # fmt: skip


def test_what_a_bake_has_measured_stays_but_for_the_batch_that_was_tried(on_card, tmp_path):
    place = tmp_path / "cache" / "calibration.json"
    on_card(MadeUpCard())
    for pace in read(place):
        record(Pace(**{**pace.__dict__, "seconds_per_step": 9.0}), place)
    on_card(MadeUpCard())
    paces = {pace.batch: pace.seconds_per_step for pace in read(place)}
    assert paces == {1: 9.0, 2: 1.0, 3: 9.0, 4: 9.0, 6: 9.0}


def test_too_large_a_batch_says_what_fits(on_card, tried, tmp_path):
    with pytest.raises(SettingError, match=r"with 12 pictures at once\. Lower .* to 6\.") as error:
        on_card(MadeUpCard(), train_batch_size=12)
    assert error.value.setting == "train_batch_size"
    facts = tried.events[-1].facts
    assert facts["seconds_per_step"] is None and facts["largest_batch"] == 6
    assert not (tmp_path / "cache").exists()
    with pytest.raises(SuiteError, match="gradient_checkpointing"):
        on_card(MadeUpCard(each=10 * GB), train_batch_size=1)


def test_a_batch_that_spills_without_an_error_is_measured_as_it_is(on_card):
    facts = on_card(MadeUpCard(errors=False), train_batch_size=16)
    assert facts["seconds_per_step"] == 8.0 and facts["memory_bytes"] == 19 * GB
    assert facts["largest_batch"] == 6
    assert facts["tried"][-1]["batch"] == 8, "what lies above is not tried again"


def test_the_limit_of_memory_names_the_card(monkeypatch):
    """A single process is on "cuda", which torch takes for a limit only with its number."""
    limits = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (3 * GB, 8 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 1 * GB)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction",
                        lambda share, device: limits.append((share, device)))  # fmt: skip
    with card_memory(torch.device("cuda")).confined():
        assert limits == [(0.5, torch.device("cuda", 1))]
    assert limits[1:] == [(1.0, torch.device("cuda", 1))]


def test_the_words_for_a_terminal():
    facts = {"seconds_per_step": 2.13, "memory_bytes": 7_100_000_000, "steps": 1900, "note": None,
             "seconds": 4047.0, "largest_batch": 4}  # fmt: skip
    assert in_words(facts) == ("A step takes 2.1 s and 7.1 GB, all 1,900 steps about 1 h 7 min. "
                               "Up to 4 pictures at once fit.")  # fmt: skip
    assert in_words({**facts, "largest_batch": 1}).endswith("Up to 1 picture at once fits.")
    assert in_words({**facts, "largest_batch": 0}).endswith("Not even one picture at a time fits.")
