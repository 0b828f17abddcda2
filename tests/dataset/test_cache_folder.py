"""Several runs share one cache folder: none takes away what another one needs."""

import threading
from pathlib import Path

import numpy as np
import pytest
from picture_files import draw_picture

from scripts.core import file_lock
from scripts.core.errors import SuiteError
from scripts.core.events import Control, Note
from scripts.dataset import cache_folder
from scripts.dataset.cache_folder import RunFolder, remove_leftovers, usable_cache_folder
from scripts.dataset.dataset import Batch, Dataset, Example
from scripts.dataset.latents import prepare_latents


def silent(event):
    """Nobody listens."""


@pytest.fixture
def prepare(tmp_path, vae, make_settings):
    """Prepare the kept latents of the pictures in a folder of tmp_path."""
    sources = []

    def run(folder, report=silent, cache=tmp_path / "cache", **options):
        changes = options.pop("changes", {"cache_latents_to_disk": True})
        settings = make_settings(train_data_dir=tmp_path / folder, **changes)
        dataset = Dataset.from_settings(settings)
        sources.append(
            prepare_latents(dataset, vae, "vae", settings, cache, report, Control(), **options)
        )
        return sources[-1]

    yield run
    for source in sources:
        source.close()


def draw(tmp_path, folder, greens):
    return [
        draw_picture(tmp_path / folder / f"1_a/{green}.png", colour=(0, green, 0))
        for green in greens
    ]


def check(source):
    """Every picture has its own latents: the file name tells its green."""
    for picture in source.dataset.pictures:
        batch = Batch(picture.bucket, (Example(picture, "", False, 0, 1.0),), 0)
        green = source.fetch(batch).mean[0, 1]
        np.testing.assert_allclose(green, int(picture.path.stem) / 127.5 - 1, atol=1e-5)


def row_files(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache/latents").glob("*.latents"))


@pytest.mark.parametrize("system", ["POSIX", "Windows"])
def test_another_run_may_compact_the_cache_that_a_run_reads(
    tmp_path, prepare, vae, monkeypatch, system
):
    others = draw(tmp_path, "others", [10, 20])
    draw(tmp_path, "data", [30, 40])
    draw(tmp_path, "more", [50])
    prepare("others").close()
    source = prepare("data")  # it has not fetched anything yet
    (before,) = row_files(tmp_path)
    for path in others:
        path.unlink()
    unlink = Path.unlink

    def unlink_as_on_windows(path, missing_ok=False):
        if path.suffix == ".latents":
            raise PermissionError(13, "used by another process")
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        if system == "Windows":
            patch.setattr(Path, "unlink", unlink_as_on_windows)
        other = prepare("more")
    assert (before in row_files(tmp_path)) == (system == "Windows")
    assert len(row_files(tmp_path)) == (2 if system == "Windows" else 1)
    check(source)
    check(other)
    source.close()
    again = prepare("data")
    assert vae.encoded == 5 and len(row_files(tmp_path)) == 1
    check(again)


def test_no_run_compacts_between_the_main_process_and_the_others(tmp_path, prepare, vae):
    others = draw(tmp_path, "others", [10, 20, 30])
    draw(tmp_path, "data", [40])
    draw(tmp_path, "more", [50])
    prepare("others").close()
    for path in others:
        path.unlink()
    barrier = threading.Barrier(2, timeout=20)
    neighbour_waits = threading.Event()
    sources = {}

    def neighbour():
        sources["more"] = prepare(
            "more", report=lambda e: neighbour_waits.set() if isinstance(e, Note) else None
        )

    neighbours = threading.Thread(target=neighbour)

    def wait_and_let_the_neighbour_try():
        barrier.wait()
        if not neighbours.ident:  # the cache is built, this process has not read it
            neighbours.start()
            assert neighbour_waits.wait(20)

    main = threading.Thread(target=lambda: sources.update(main=prepare("data", wait=barrier.wait)))
    main.start()
    sources["second"] = prepare("data", is_main=False, wait=wait_and_let_the_neighbour_try)
    main.join()
    neighbours.join()
    assert vae.encoded == 5
    for name in ("main", "second", "more"):
        check(sources[name])


def test_the_folder_of_a_run_that_just_begins_is_not_taken_for_a_leftover(tmp_path, monkeypatch):
    try_lock = file_lock.try_lock
    begun = []

    def neighbour_comes_first(handle):
        if Path(handle.name).name == "alive.lock" and not begun:
            begun.append(
                threading.Thread(target=remove_leftovers, args=(tmp_path, silent, Control()))
            )
            begun[0].start()
            begun[0].join(1)
        return try_lock(handle)

    monkeypatch.setattr(cache_folder, "try_lock", neighbour_comes_first)
    folder = RunFolder(tmp_path, "1", True, silent, Control())
    begun[0].join()
    assert folder.path.is_dir()
    remove_leftovers(tmp_path, silent, Control())
    assert folder.path.is_dir()
    folder.close()
    assert not folder.path.exists()


@pytest.mark.parametrize("changes", [{}, {"cache_latents_to_disk": True}, {"cache_latents": False}])
def test_every_kind_of_run_removes_what_crashed_ones_left(tmp_path, prepare, changes):
    draw(tmp_path, "data", [30])
    for name in ("run_early", "run_late"):
        (tmp_path / "cache" / name).mkdir(parents=True)
    (tmp_path / "cache/run_late/alive.lock").touch()
    (tmp_path / "cache/run_late/8x8x8-1.latents").touch()
    living = RunFolder(tmp_path / "cache", "living", True, silent, Control())
    prepare("data", changes=changes).close()
    assert [path.name for path in (tmp_path / "cache").glob("run_*")] == ["run_living"]
    living.close()


@pytest.mark.parametrize("changes", [{}, {"cache_latents_to_disk": True}])
@pytest.mark.parametrize("reason", ["a file is in the way", "no locks"])
def test_a_cache_that_cannot_be_written_lies_in_the_temporary_folder(
    tmp_path, prepare, monkeypatch, changes, reason
):
    monkeypatch.setattr(cache_folder.tempfile, "gettempdir", lambda: str(tmp_path / "system"))
    draw(tmp_path, "data", [30])
    cache = tmp_path / "project/cache"
    if reason == "no locks":
        try_lock = file_lock.try_lock

        def no_locks_there(handle):
            if cache in Path(handle.name).parents:
                raise OSError(95, "Operation not supported")
            return try_lock(handle)

        monkeypatch.setattr(cache_folder, "try_lock", no_locks_there)
    else:  # as root, no right is ever missing: a file stands for a folder that is read only
        cache.parent.touch()
    told = []
    source = prepare("data", report=told.append, cache=cache, changes=changes)
    check(source)
    (instead,) = (tmp_path / "system").iterdir()
    notes = [event.text for event in told if isinstance(event, Note)]
    assert notes == [f"{cache} cannot be written to: the encoded pictures lie in {instead}."]
    assert len(list(instead.rglob("*.latents"))) == 1
    source.close()
    kept = 1 if changes else 0
    assert len(list(instead.rglob("*.latents"))) == kept


def test_no_place_at_all_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(cache_folder.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with pytest.raises(SuiteError, match=r"neither to .* nor to .*turn cache_latents off"):
        usable_cache_folder(tmp_path / "file/cache", silent)
