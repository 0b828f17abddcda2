"""The TensorBoard log, read back with TensorBoard's own reader."""

import sys

import pytest
from tensorboard.backend.event_processing import event_accumulator

from scripts.core.events import Note
from scripts.training import metrics_log
from scripts.training.metrics_log import open_metrics_log


def no_report(event):
    raise AssertionError(f"nothing should have been reported: {event}")


def curves(folder):
    """{name: [(step, value), ...]} of the only run in `folder`."""
    (run,) = folder.iterdir()
    reader = event_accumulator.EventAccumulator(str(run))
    reader.Reload()
    return {
        name: [(event.step, pytest.approx(event.value)) for event in reader.Scalars(name)]
        for name in reader.Tags()["scalars"]
    }


def test_curves_can_be_read_back(tmp_path):
    with open_metrics_log(tmp_path, "my lora", no_report) as metrics:
        metrics.step(1, 0.5, 0.5, {"unet": 1e-4, "text_encoder": 5e-5})
        metrics.step(2, 0.25, 0.375, {"unet": 2e-4, "text_encoder": 1e-4})
        metrics.epoch(1, 0.375)
    assert curves(tmp_path) == {
        "loss/current": [(1, 0.5), (2, 0.25)],
        "loss/average": [(1, 0.5), (2, 0.375)],
        "lr/unet": [(1, 1e-4), (2, 2e-4)],
        "lr/text_encoder": [(1, 5e-5), (2, 1e-4)],
        "loss/epoch_average": [(1, 0.375)],
    }


def test_each_training_gets_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics_log.time, "strftime", lambda form: "20260102030405")
    for value in (1.0, 2.0):
        with open_metrics_log(tmp_path, "name", no_report) as metrics:
            metrics.step(1, value, value, {})
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [
        "name-20260102030405",
        "name-20260102030405-2",
    ]


def test_without_a_folder_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_metrics_log(None, "name", no_report) as metrics:
        metrics.step(1, 0.5, 0.5, {"unet": 1e-4})
        metrics.epoch(1, 0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_told_and_the_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    told = []
    with open_metrics_log(tmp_path, "name", told.append) as metrics:
        metrics.step(1, 0.5, 0.5, {})
    assert told == [
        Note("There is no TensorBoard log, because the package tensorboard is not installed. "
             "Run setup again to add it.")
    ]  # fmt: skip


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    told = []
    with open_metrics_log(tmp_path / "file", "name", told.append) as metrics:
        metrics.step(1, 0.5, 0.5, {})
    (note,) = told
    assert note.text.startswith("There is no TensorBoard log. ")


def test_a_full_disk_ends_the_log_not_the_training(tmp_path, monkeypatch):
    told = []
    metrics = open_metrics_log(tmp_path, "name", told.append)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics._writer, "add_scalar", full)
    metrics.step(1, 0.5, 0.5, {"unet": 1e-4})
    metrics.step(2, 0.5, 0.5, {"unet": 1e-4})
    metrics.close()
    (note,) = told
    assert "The disk is full" in note.text
