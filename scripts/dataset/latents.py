"""The latents of a training: from the cache when pictures are encoded beforehand, else fresh.

What is cached is the mean and the standard deviation of the VAE's posterior, so that every use
draws anew, for each variant (mirrored, random crops) of each picture. Nothing of it ever lies in
the user's picture folder.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from scripts.core.events import Control, Report
from scripts.dataset.cached_latents import CachedLatents, build_cache
from scripts.dataset.dataset import Dataset
from scripts.dataset.encoding import BatchTensors, LatentSource
from scripts.dataset.file_lock import try_lock
from scripts.dataset.fresh_latents import FreshLatents, check_pictures
from scripts.dataset.latent_store import LatentStore
from scripts.settings.train import TrainSettings

__all__ = ["BatchTensors", "LatentSource", "prepare_latents"]

ALIVE_NAME = "alive.lock"


def prepare_latents(
    dataset: Dataset,
    vae,
    vae_key: str,
    settings: TrainSettings,
    folder: Path,
    report: Report,
    control: Control,
    *,
    is_main: bool = True,
    wait: Callable[[], None] = lambda: None,
    run_id: str | None = None,
) -> LatentSource:
    """Encode what is not yet in the cache, or check the pictures when nothing is cached.

    Args:
        vae: a diffusers AutoencoderKL on its device; may be None where `is_main` is False and
            latents are cached.
        vae_key: names the VAE's weights and number format (a hash); part of every cache key.
        folder: the cache folder; with cache_latents_to_disk rows stay there, else in a folder of
            this run inside it, which `close` removes.
        is_main, wait: of several processes one builds, and `wait` is their barrier.
        run_id: the same on all processes of a run; needed for several processes without
            cache_latents_to_disk.

    Raises SuiteError (disk full, VAE gives no numbers, no picture left) and Cancelled.
    """
    if not dataset.caches_latents:
        unreadable = check_pictures(dataset, report, control)
        return FreshLatents(dataset.without(unreadable), vae)
    temporary = None if settings.cache_latents_to_disk else RunFolder(folder, run_id, is_main)
    store = LatentStore(temporary.path if temporary else folder / "latents", temporary)
    source = CachedLatents(dataset, store, vae_key)
    try:
        if is_main:
            with store.writing(report, control):
                build_cache(source, vae, report, control)
                if temporary is None:
                    store.compact()
        wait()
        store.load()
        source.dataset = dataset.without(source.unreadable_pictures())
    except BaseException:
        source.close()
        raise
    return source


class RunFolder:
    """A cache folder of one run, removed at the end of the run.

    While the run lives it holds a lock in it, so that the next run can tell, and remove, what a
    crashed one left behind.
    """

    def __init__(self, folder: Path, run_id: str | None, is_main: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lock: BinaryIO | None = None
        if run_id is None:
            self.path = Path(tempfile.mkdtemp(prefix="run_", dir=folder))
        else:
            self.path = folder / f"run_{run_id}"
            self.path.mkdir(exist_ok=True)
        if is_main:
            self.lock = (self.path / ALIVE_NAME).open("a+b")
            try_lock(self.lock)
            for other in folder.glob("run_*"):
                if other != self.path:
                    _remove_leftover(other)
        self._finish = weakref.finalize(self, _remove_run_folder, self.path, self.lock)

    def close(self) -> None:
        """Remove the folder; happens at the latest when the process ends in an orderly way."""
        self._finish()


def _remove_run_folder(path: Path, lock: BinaryIO | None) -> None:
    if lock is not None:
        lock.close()
        shutil.rmtree(path, ignore_errors=True)


def _remove_leftover(path: Path) -> None:
    """Remove the folder of a crashed run: nobody holds its lock."""
    try:
        with (path / ALIVE_NAME).open("r+b") as lock:
            dead = try_lock(lock)
    except OSError:  # not there: a run that begins right now, or one removed by a neighbour
        dead = False
    if dead:
        shutil.rmtree(path, ignore_errors=True)
