"""Look at a data set before training: what is there, what is wrong with it, and how to mend it.

    facts = inspect_dataset(settings, report, control)

First headers and captions are read, in a moment, and reported as `Facts` with `complete` false;
then every picture is opened, in threads, for duplicates, damage and thumbnails. Nothing is changed.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from scripts.core.errors import SettingError
from scripts.core.events import Control, Facts, Report, Stage
from scripts.core.files import CACHE_FOLDER, replace_atomically, sha256_of_file
from scripts.dataset.buckets import Size
from scripts.dataset.dataset import DEFAULT_RESOLUTION, Dataset, Picture
from scripts.dataset.folder_search import FolderSearch
from scripts.dataset.near_duplicates import Look, groups_that_look_alike, look_of
from scripts.dataset.pictures import UnreadablePicture, open_picture, readable_endings, to_rgb
from scripts.dataset.summary import tags_of
from scripts.dataset.trigger_word import propose_trigger_word
from scripts.settings.train import TrainSettings

THUMBNAIL = 128  # pixels of the longer side
THUMBNAIL_FOLDER = CACHE_FOLDER / "thumbnails"
MOST_TAGS = 60
MUCH_ENLARGED = 1.5  # a picture scaled up more than this is blurred
AT_ONCE = 64  # pictures between two looks at a request to stop


@dataclass(frozen=True)
class Content:
    """What opening a picture told. `look` is None when it is damaged, and `damage` says how."""

    digest: str = ""
    look: Look | None = None
    damage: str = ""


def inspect_dataset(
    settings: TrainSettings,
    report: Report,
    control: Control,
    default_resolution: Size = DEFAULT_RESOLUTION,
    thumbnails: Path | None = None,
    headers_only: bool = False,
) -> dict[str, Any]:
    """All facts, also reported twice on the way: without and with what needs opened pictures.

    `thumbnails`: the folder to write them to, None for none; `headers_only`: open no picture, as
    when only repeats were changed. Raises SettingError when the folder
    cannot be used at all (its choices, if any, are reported before), and Cancelled.
    """
    try:
        dataset = Dataset.from_settings(settings, report, default_resolution)
    except SettingError as error:
        report(Facts({"complete": False, "problem": str(error), "setting": error.setting,
                      "choices": _choices(settings)}))  # fmt: skip
        raise
    facts = _facts_of_headers(dataset, thumbnails)
    report(Facts({**facts, "complete": False}))
    if headers_only:
        return facts
    contents = _open_all(dataset.every, thumbnails, report, control)
    facts |= _facts_of_contents(dataset.every, contents)
    facts["complete"] = True
    report(Facts(facts))
    return facts


def _choices(settings: TrainSettings) -> list[str]:
    """The folders that may have been meant, when the chosen one holds several data sets."""
    root = settings.train_data_dir
    if root is None or not root.is_dir():
        return []
    root = Path(os.path.abspath(root))
    search = FolderSearch(root, {}, (), "train_data_dir", readable_endings())
    return [str(path) for path in search.deeper_roots()]


def _facts_of_headers(dataset: Dataset, thumbnails: Path | None) -> dict[str, Any]:
    trained = [picture for picture in dataset.every if not picture.subset.is_reg]
    tags: Counter[str] = Counter()
    for counts in _tags_by_picture(trained):
        tags.update(counts)
    folder_words = [subset.folder.class_tokens for part in dataset.parts
                    for subset in part.subsets if not subset.is_reg]  # fmt: skip
    written = [picture.caption for picture in trained if picture.caption_state == "present"]
    trigger = propose_trigger_word(written, folder_words)
    return {
        **dataset.plan(),
        "pictures": [_picture_facts(picture, thumbnails) for picture in dataset.every],
        "captions": dict(Counter(picture.caption_state for picture in trained)),
        "tags": tags.most_common(MOST_TAGS),
        "trigger_word": None if trigger is None else trigger.__dict__,
        "sizes": _sizes(trained),
        "tiny": [str(picture.path) for picture in dataset.every
                 if _enlargement(picture) > MUCH_ENLARGED],
    }  # fmt: skip


def _tags_by_picture(pictures: Iterable[Picture]) -> Iterable[set[str]]:
    return (set(tags_of(picture.caption)) for picture in pictures
            if picture.caption_state == "present")  # fmt: skip


def _picture_facts(picture: Picture, thumbnails: Path | None) -> dict[str, Any]:
    facts = {
        "path": str(picture.path),
        "folder": picture.subset.folder.path.name,
        "size": list(picture.size),
        "bucket": list(picture.bucket),
        "caption": picture.caption,
        "caption_state": picture.caption_state,
        "is_reg": picture.subset.is_reg,
    }
    if thumbnails is not None:
        facts["thumbnail"] = str(thumbnail_place(picture.path, thumbnails))
    return facts


def _sizes(pictures: Sequence[Picture]) -> dict[str, Any]:
    by_area = sorted((picture.size for picture in pictures), key=lambda size: size[0] * size[1])
    return {
        "smallest": list(by_area[0]),
        "median": list(by_area[len(by_area) // 2]),
        "largest": list(by_area[-1]),
    }


def _enlargement(picture: Picture) -> float:
    """How many times longer the picture's sides become, to fill its bucket."""
    return picture.resized[0] / picture.size[0]


def _open_all(
    pictures: Sequence[Picture], thumbnails: Path | None, report: Report, control: Control
) -> list[Content]:
    """What each picture holds; in threads, as Pillow decodes outside of Python's lock."""
    contents: list[Content] = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for begin in range(0, len(pictures), AT_ONCE):
            control.check()
            report(Stage("Looking at the pictures", begin, len(pictures)))
            some = [picture.path for picture in pictures[begin : begin + AT_ONCE]]
            contents += pool.map(lambda path: open_one(path, thumbnails), some)
    report(Stage("Looking at the pictures", len(pictures), len(pictures)))
    return contents


def open_one(path: Path, thumbnails: Path | None = None) -> Content:
    """Open one picture: its digest and look, and its thumbnail unless it lies there already."""
    try:
        small = _small_copy(path)
        digest = sha256_of_file(path)
    except UnreadablePicture as error:
        return Content(damage=str(error))
    except OSError as error:
        return Content(damage=f"it cannot be read ({error.strerror})")
    if thumbnails is not None:
        place = thumbnail_place(path, thumbnails)
        if not place.exists():
            picture = small.copy()
            picture.thumbnail((THUMBNAIL, THUMBNAIL))
            with replace_atomically(place) as temporary:
                picture.save(temporary, "PNG")
    return Content(digest, look_of(small))


def _small_copy(path: Path) -> Image.Image:
    """The picture as upright RGB, a JPEG no larger than needed: decoding it smaller is faster.

    Raises UnreadablePicture with the reason.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))[0]
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError,
            Image.DecompressionBombError):  # fmt: skip
        return open_picture(path)[0]  # which knows how to say what is wrong


def thumbnail_place(path: Path, folder: Path = THUMBNAIL_FOLDER) -> Path:
    """Where the thumbnail of a picture lies, or will lie; another one after it was changed."""
    try:
        state = path.stat()
        key = f"{os.path.abspath(path)}|{state.st_size}|{state.st_mtime_ns}"
    except OSError:
        key = os.path.abspath(path)
    return folder / f"{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}.png"


def _facts_of_contents(pictures: Sequence[Picture], contents: Sequence[Content]) -> dict[str, Any]:
    """Damage, exact duplicates and near ones (of which each group counts exact ones once)."""
    same: dict[str, list[int]] = defaultdict(list)
    for index, content in enumerate(contents):
        if content.look is not None:
            same[content.digest].append(index)
    firsts = [indices[0] for indices in same.values()]
    alike = groups_that_look_alike([contents[index].look for index in firsts])

    def paths(indices: Iterable[int]) -> list[str]:
        return [str(pictures[index].path) for index in indices]

    return {
        "broken": {str(picture.path): content.damage
                   for picture, content in zip(pictures, contents, strict=True) if content.damage},
        "duplicates": [paths(indices) for indices in same.values() if len(indices) > 1],
        "near_duplicates": [paths(firsts[place] for place in group) for group in alike],
    }  # fmt: skip


def in_words(facts: dict[str, Any]) -> str:
    """The facts as a person at a terminal reads them."""
    folders = [f"{entry['name']}: {entry['pictures']} pictures x {entry['repeats']}"
               for entry in facts["folders"]]  # fmt: skip
    smallest, largest = ("x".join(map(str, facts["sizes"][key])) for key in ("smallest", "largest"))
    lines = [*folders, f"Sizes: {smallest} to {largest}"]
    lines.append("Captions: " + ", ".join(f"{n} {state}" for state, n in facts["captions"].items()))
    if facts["trigger_word"]:
        word = facts["trigger_word"]
        lines.append(f"Trigger word: {word['word']} (from the {word['found_in']})")
    lines.append("Tags: " + ", ".join(f"{tag} {count}" for tag, count in facts["tags"][:20]))
    lines.append("Buckets: " + ", ".join(f"{entry['width']}x{entry['height']} {entry['count']}"
                                         for entry in facts["buckets"]))  # fmt: skip
    for path, damage in facts.get("broken", {}).items():
        lines.append(f"Damaged: {path}: {damage}")
    lines += [f"Small, and will be blurred: {path}" for path in facts["tiny"]]
    lines += [f"The same picture: {', '.join(group)}" for group in facts.get("duplicates", [])]
    lines += [f"They look alike: {', '.join(group)}" for group in facts.get("near_duplicates", [])]
    lines += [*facts["guesses"], *facts["warnings"], *facts["notes"]]
    lines += [f"To mend it: {mend['text']}" for mend in facts["mends"]]
    return "\n".join(lines)
