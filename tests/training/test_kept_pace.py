"""A training notes how fast it was, for the wizard's estimate of the next one."""

from scripts.settings.calibration import read


def test_a_finished_training_keeps_its_pace(run_training, tmp_path, monkeypatch):
    from scripts.training import progress

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_REPORTS", 0)
    run_training(max_train_steps=8)
    (pace,) = read(tmp_path / "cache" / "calibration.json")
    assert (pace.family, pace.resolution, pace.batch, pace.dim) == ("sd1", 64, 2, 2)
    assert pace.device.startswith("CPU") and 0 < pace.seconds_per_step < 10


def test_a_few_steps_are_no_measure(run_training, tmp_path):
    run_training(max_train_steps=3)
    assert read(tmp_path / "cache" / "calibration.json") == []
