"""What the tests of single settings share: trainings that are watched."""

from __future__ import annotations

from pathlib import Path

import pytest
from watched_training import Watched, draw_pictures, plan_for, watch_training

REMEMBERED = 16  # trainings, of some 10 MB each


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A folder with pictures/1_cat: four pictures of 64 x 64 with captions."""
    folder = tmp_path_factory.mktemp("settings")
    draw_pictures(folder / "pictures" / "1_cat")
    return folder


@pytest.fixture(scope="session")
def watch(folder):
    """A function: train with the given settings. What was trained lately is not trained again."""
    done: dict[str, Watched] = {}

    def run(**values) -> Watched:
        key = repr(sorted(values.items()))
        trained = done.pop(key, None) or watch_training(folder, **values)
        done[key] = trained  # the last of them again
        if len(done) > REMEMBERED:
            del done[next(iter(done))]
        return trained

    return run


@pytest.fixture(scope="session")
def plan(folder):
    """A function: the plan of a training with the given settings."""

    def make(**values):
        return plan_for(folder, **values)

    return make
