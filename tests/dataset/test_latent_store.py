"""The store of rows: locks, full disks, rows of several shapes."""

import errno
import threading

import numpy as np
import pytest

from scripts.core import file_lock
from scripts.core.errors import Cancelled, SuiteError
from scripts.core.events import Control
from scripts.core.file_lock import locked
from scripts.dataset.latent_store import LatentStore


def silent(event):
    """Nobody listens."""


def test_a_second_run_waits_for_the_first_and_says_so(tmp_path):
    path = tmp_path / "lock"
    told, entered = [], threading.Event()
    control = Control()

    def second():
        with locked(path, told.append, control):
            entered.set()

    with locked(path, silent, Control()):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(1)
    assert entered.wait(10)
    thread.join()
    assert ["waiting" in event.text for event in told] == [True]


def test_waiting_can_be_stopped(tmp_path):
    control = Control()
    control.stop()
    path = tmp_path / "lock"
    with locked(path, silent, Control()), pytest.raises(Cancelled), locked(path, silent, control):
        pass


def test_rows_of_two_shapes_live_in_two_files(tmp_path):
    draw = np.random.default_rng(0)
    rows = {f"{n}": draw.normal(size=(8 + n % 2, 4, 6)).astype(np.float32) for n in range(6)}
    store = LatentStore(tmp_path / "store")
    with store.writing(silent, Control()):
        for key, row in rows.items():
            store.add(key, tmp_path / "x.png", row)
    assert len(list((tmp_path / "store").glob("*.latents"))) == 2
    again = LatentStore(tmp_path / "store")
    again.load()
    again.open_files(rows)
    for key, row in rows.items():
        np.testing.assert_array_equal(again.row(key), row)
    with pytest.raises(KeyError):
        again.row("unknown")


class FullDisk:
    """Takes one more byte, then nothing."""

    def __init__(self, handle):
        self.handle = handle
        self.left = 1

    def write(self, data):
        if not self.left:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.left = 0
        return self.handle.write(data[:1])

    def __getattr__(self, name):
        return getattr(self.handle, name)


def test_a_full_disk_keeps_the_rows_before_it(tmp_path):
    store = LatentStore(tmp_path / "store")
    row = np.ones((8, 2, 2), dtype=np.float32)
    with pytest.raises(SuiteError, match="disk is full"), store.writing(silent, Control()):
        store.add("first", tmp_path / "x.png", row)
        name = next(iter(store._handles))
        store._handles[name] = FullDisk(store._handles[name])
        store.add("second", tmp_path / "x.png", 2 * row)
    again = LatentStore(tmp_path / "store")
    with again.writing(silent, Control()):
        assert again.find("first", tmp_path / "x.png")
        assert not again.find("second", tmp_path / "x.png")
        again.add("third", tmp_path / "x.png", 3 * row)
        again.open_files(["first", "third"])
    np.testing.assert_array_equal(again.row("first"), row)
    np.testing.assert_array_equal(again.row("third"), 3 * row)


def test_a_store_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    store = LatentStore(tmp_path / "file" / "store")
    with pytest.raises(SuiteError, match="cannot be written"), store.writing(silent, Control()):
        pass


def test_rows_that_vanish_before_they_are_opened_are_one_sentence(tmp_path):
    store = LatentStore(tmp_path / "store")
    with pytest.raises(SuiteError, match="Start again"), store.writing(silent, Control()):
        store.add("key", tmp_path / "x.png", np.ones((8, 2, 2), dtype=np.float32))
        next(store.folder.glob("*.latents")).unlink()
        store.open_files(["key"])


def test_a_drive_without_locks_is_one_sentence(tmp_path, monkeypatch):
    def no_locks(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(file_lock, "try_lock", no_locks)
    with (
        pytest.raises(SuiteError, match="No locks available"),
        locked(tmp_path / "lock", silent, Control()),
    ):
        pass
