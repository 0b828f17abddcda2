"""A training that breaks goes back once to where it was good, at half the rate, and then stops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from watched_training import draw_pictures, settings_for

from scripts.core.errors import SuiteError
from scripts.core.events import Control
from scripts.lora.file import load_lora
from scripts.training import loop, progress, start
from scripts.training.rescue import EXPLODED, WINDOW, Broken, LossWatch

# --- noticing ------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_noticed_at_once(loss):
    watch = LossWatch()
    watch.see(0.1)
    with pytest.raises(Broken, match=f"became {loss}"):
        watch.see(loss)


def test_an_exploding_loss_is_noticed_when_its_mean_is_above_the_limit():
    """From 0.1 to 1 at once: the mean of the last 50 is 0.1 + n · 0.9 / 50 after n of them, above
    3 · 0.1 from n = 12 on."""
    assert (WINDOW, EXPLODED) == (50, 3.0)
    watch = LossWatch()
    for _ in range(200):
        watch.see(0.1)
    for _ in range(11):
        watch.see(1.0)
    with pytest.raises(Broken, match=r"rose from 0\.1 to 0\.3"):
        watch.see(1.0)


def test_losses_as_they_are_do_not_alarm():
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        watch = LossWatch()
        for scale in torch.linspace(0.14, 0.1, 600):
            # of batch 1: exponential, so that single losses are ten times the mean now and then
            watch.see(float(scale * torch.empty(1).exponential_(generator=generator)))


# --- going back ----------------------------------------------------------------------------


def broken_at(monkeypatch, steps, value=math.nan):
    """Let the loss of these steps, counted over the whole run, be `value`."""
    take_step, taken = loop.take_step, []

    def take(*arguments):
        taken.append(1)
        loss = take_step(*arguments)
        return loss * 0 + value if len(taken) in steps else loss

    monkeypatch.setattr(loop, "take_step", take)
    return taken


@pytest.fixture
def train(tmp_path, monkeypatch):
    """A function that trains six steps in three epochs: (path, events)."""
    draw_pictures(tmp_path / "pictures" / "1_cat")
    monkeypatch.setattr(start, "CACHE_FOLDER", tmp_path / "cache")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_REPORTS", 0.0)

    def run(control=None, **values):
        events = []
        given = {"max_train_epochs": 3, "optimizer_type": "SGD", "learning_rate": 0.5, **values}
        given.setdefault("output_dir", tmp_path / "out")
        settings = replace(settings_for(tmp_path, **given))
        return start.train(settings, events.append, control or Control()), events

    return run


def rates(events):
    return [(event.done, event.learning_rates["unet"]) for event in events if event.kind == "step"]


def warnings(events):
    return [event.text for event in events if event.kind == "note" and event.warning]


def test_it_goes_back_to_the_last_save_with_half_the_rate(train, monkeypatch, tmp_path):
    taken = broken_at(monkeypatch, {4})
    path, events = train(save_every_n_epochs=1)
    assert len(taken) == 2 + 2 + 4, "the broken step, and those from the end of epoch 1 on again"
    assert rates(events) == [(1, 0.5), (2, 0.5), (3, 0.5),
                             (3, 0.25), (4, 0.25), (5, 0.25), (6, 0.25)]  # fmt: skip
    (warning,) = warnings(events)
    assert warning.startswith("Near step 4 the loss became nan. Going back to step 2, ")
    assert "pictures-000001.safetensors" not in warning and "-000001.safetensors" in warning
    assert path.is_file()


def test_what_follows_is_what_a_training_from_there_gives(train, monkeypatch, tmp_path):
    """SGD has no memory: going on from the saved file at half the rate is the same training."""
    broken_at(monkeypatch, {3})
    path, _ = train(save_every_n_epochs=1, output_name="broken")
    monkeypatch.undo()
    monkeypatch.setattr(start, "CACHE_FOLDER", tmp_path / "cache2")
    first = tmp_path / "out" / "broken-000001.safetensors"
    found, began = load_lora(path)[0], load_lora(first)[0]
    assert any(not torch.equal(found[key], began[key]) for key in found)
    # The same steps by hand: epochs 2 and 3 of the same data and noise, from the file.
    seen = {}
    run_loop = start.run_loop

    def from_the_file(run):
        run.network.load_file_state(began)
        run.begin_optimizer_anew(0.5, run.position)
        seen["path"] = loop.go_through(run, replace(run.position, epoch=1, step=2, epoch_done=True))
        return seen["path"]

    monkeypatch.setattr(start, "run_loop", from_the_file)
    other, _ = train(output_name="by-hand")
    monkeypatch.setattr(start, "run_loop", run_loop)
    expected = load_lora(other)[0]
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_without_a_save_it_begins_anew_with_the_same_first_weights(train, monkeypatch):
    broken_at(monkeypatch, {2})
    path, events = train(learning_rate=1.0, output_name="broken")
    assert "Going back to the start" in warnings(events)[0]
    monkeypatch.undo()
    plain, _ = train(learning_rate=0.5, output_name="plain")
    found, expected = load_lora(path)[0], load_lora(plain)[0]
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_the_second_time_it_stops_with_advice(train, monkeypatch, tmp_path):
    broken_at(monkeypatch, {3, 5})
    with pytest.raises(SuiteError, match="became nan again, at half the learning rate too") as told:
        train(save_every_n_epochs=1)
    assert "Use a lower learning rate" in str(told.value)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert any(name.endswith("-000001.safetensors") for name in names), "the good one stays"


def test_weights_that_are_no_numbers_are_never_saved(train, monkeypatch):
    """The loss of the step that broke them was still fine."""
    take_step, taken = loop.take_step, []

    def take(run, *arguments):
        taken.append(1)
        loss = take_step(run, *arguments)
        if len(taken) == 4:
            run.parameters[0].data.fill_(math.nan)
        return loss

    monkeypatch.setattr(loop, "take_step", take)
    path, events = train(save_every_n_epochs=1)
    assert "the weights became values that are no numbers" in warnings(events)[0]
    assert all(torch.isfinite(tensor).all() for tensor in load_lora(path)[0].values())


def test_a_state_keeps_the_halved_rate(train, monkeypatch, tmp_path):
    broken_at(monkeypatch, {1})
    train(save_state=True, max_train_epochs=2, output_name="first")
    monkeypatch.undo()
    (state,) = (tmp_path / "out").glob("first-state")
    _, events = train(resume=state, output_name="second", max_train_epochs=3)
    assert {rate for _, rate in rates(events)} == {0.25}
