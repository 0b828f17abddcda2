"""The latents of a training: from the cache when pictures are encoded beforehand, else fresh.

What is cached is the mean and the standard deviation of the VAE's posterior, so that every use
draws anew, for each variant (mirrored, random crops) of each picture. Nothing of it ever lies in
the user's picture folder.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from scripts.core.events import Control, Report
from scripts.dataset.cache_folder import RunFolder, remove_leftovers, usable_cache_folder
from scripts.dataset.cached_latents import CachedLatents, build_cache
from scripts.dataset.dataset import Dataset
from scripts.dataset.encoding import BatchTensors, LatentSource
from scripts.dataset.fresh_latents import FreshLatents, check_pictures
from scripts.dataset.latent_store import LatentStore
from scripts.settings.train import TrainSettings

__all__ = ["BatchTensors", "LatentSource", "prepare_latents"]


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
            this run inside it, which `close` removes. A folder of the system is used, and told,
            when it cannot be written to.
        is_main, wait: of several processes one builds, and `wait` is their barrier.
        run_id: the same on all processes of a run; needed for several processes without
            cache_latents_to_disk.

    Raises SuiteError (disk full, VAE gives no numbers, no picture left) and Cancelled.
    """
    if dataset.caches_latents:
        folder = usable_cache_folder(folder, report if is_main else lambda event: None)
    if is_main:
        remove_leftovers(folder, report, control)
    if not dataset.caches_latents:
        unreadable = check_pictures(dataset, report, control)
        return FreshLatents(dataset.without(unreadable), vae)
    owner = None
    if not settings.cache_latents_to_disk:
        owner = RunFolder(folder, run_id, is_main, report, control)
    store = LatentStore(owner.path if owner else folder / "latents", owner)
    source = CachedLatents(dataset, store, vae_key)
    try:
        # The lock is held until every process has opened its files: before that, another run
        # could move their rows to other files.
        with store.writing(report, control) if is_main else nullcontext():
            if is_main:
                build_cache(source, vae, report, control)
                if owner is None:
                    store.compact()
                store.save()
            wait()
            if not is_main:
                store.load()
            unreadable = source.open_files()
            wait()
        source.dataset = dataset.without(unreadable)
    except BaseException:
        source.close()
        raise
    return source
