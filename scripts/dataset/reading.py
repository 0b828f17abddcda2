"""Read what the folders hold: picture headers, captions, masks; and tell what is odd about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from scripts.core.errors import SettingError
from scripts.core.events import Report, Stage
from scripts.dataset.buckets import Size
from scripts.dataset.captions import (
    EMPTY,
    MISSING,
    USUAL_ENDINGS,
    CaptionFile,
    find_caption_file,
    read_caption,
)
from scripts.dataset.folders import list_folder
from scripts.dataset.pictures import UnreadablePicture, read_header, readable_endings
from scripts.dataset.subsets import Layout, Part, Subset

MOST_NAMED = 12


@dataclass(frozen=True, eq=False)
class ReadPicture:
    """A picture whose header and caption were read; `dataset.Picture` tells the fields."""

    path: Path
    size: Size
    subset: Subset
    part: int
    caption: str
    caption_state: str
    mask: Path | None
    mask_from_alpha: bool
    bucket: Size
    resized: Size
    ratio_error: float


@dataclass
class ReadLayout:
    """The usable pictures of a layout in order, and what to tell about the rest."""

    pictures: list[ReadPicture] = field(default_factory=list)
    guesses: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    too_small: list[Path] = field(default_factory=list)
    encodings: dict[str, list[str]] = field(default_factory=dict)
    without_mask: list[str] = field(default_factory=list)
    odd_masks: list[str] = field(default_factory=list)


def read_layout(layout: Layout, report: Report | None = None) -> ReadLayout:
    """Read all pictures of all parts.

    Raises SettingError when no training picture can be used.
    """
    read = ReadLayout()
    total = sum(len(s.folder.pictures) for part in layout.parts for s in part.subsets)
    for number, part in enumerate(layout.parts):
        sizes = part.sizes()
        for subset in part.subsets:
            _read_subset(read, subset, number, part, sizes)
            if report:
                done = len(read.pictures) + len(read.unreadable)
                report(Stage("Reading the pictures", min(done, total), total))
    _tell(read, layout)
    if not any(not picture.subset.is_reg for picture in read.pictures):
        why = " ".join(read.warnings).rstrip(".") or "the folders are empty"
        name = "dataset_config" if layout.from_file else "train_data_dir"
        raise SettingError(name, f"No picture can be used: {why}. Replace them, or choose another "
                           "folder.")  # fmt: skip
    return read


def _read_subset(
    read: ReadLayout, subset: Subset, number: int, part: Part, sizes: list[Size]
) -> None:
    ending = _caption_ending(read, subset)
    masks = _mask_files(subset)
    every_line = subset.captions.enable_wildcard
    states: Counter[str] = Counter()
    for path in subset.folder.pictures:
        try:
            header = read_header(path)
        except UnreadablePicture as error:
            read.unreadable[path] = str(error)
            continue
        choice = part.choose(header.size, sizes)
        if not choice.usable:
            read.too_small.append(path)
            continue
        files = subset.folder.files[path.parent]
        caption = _read_caption(read, path, files, ending, subset.folder.class_tokens, every_line)
        states[caption.state] += 1
        mask = masks.get(path.stem.lower())
        from_alpha = subset.masked and not masks and header.has_alpha
        if mask is not None:
            _check_mask_shape(read, mask, header.size)
        elif subset.masked and not from_alpha and not subset.is_reg:
            read.without_mask.append(path.name)
        read.pictures.append(
            ReadPicture(
                path=path,
                size=header.size,
                subset=subset,
                part=number,
                caption=caption.text,
                caption_state=caption.state,
                mask=mask,
                mask_from_alpha=from_alpha,
                bucket=choice.bucket,
                resized=choice.resized,
                ratio_error=choice.ratio_error,
            )
        )
    _tell_captions(read, subset, states, ending)


def _caption_ending(read: ReadLayout, subset: Subset) -> str:
    """The ending of the caption files: as set, or the usual one that all files really have."""
    wanted = subset.caption_extension
    folder = subset.folder

    def any_with(ending: str) -> bool:
        return any(
            find_caption_file(path, ending, folder.files[path.parent]) for path in folder.pictures
        )

    if any_with(wanted):
        return wanted
    for other in USUAL_ENDINGS:
        if other != wanted and any_with(other):
            read.guesses.append(
                f"No caption in {folder.path.name} ends with {wanted}, but there are some with "
                f"{other}: these are used."
            )
            return other
    return wanted


def _read_caption(
    read: ReadLayout, path: Path, files, ending: str, words: str, every_line: bool
) -> CaptionFile:
    try:
        caption = read_caption(find_caption_file(path, ending, files), words, every_line)
    except OSError as error:
        read.warnings.append(f"The caption of {path.name} cannot be read ({error.strerror}); it "
                             "is trained with the name of its folder.")  # fmt: skip
        return CaptionFile(words, MISSING)
    if caption.path and caption.encoding != "utf-8":
        read.encodings.setdefault(caption.encoding, []).append(caption.path.name)
    return caption


def _mask_files(subset: Subset) -> dict[str, Path]:
    """The mask pictures by lower-case name without ending. Raises SettingError."""
    folder = subset.conditioning_data_dir
    if not subset.masked or folder is None:
        return {}
    if not folder.is_dir():
        raise SettingError("conditioning_data_dir", f"There is no folder {folder} with masks. "
                           "Choose it again.")  # fmt: skip
    found: dict[str, Path] = {}
    for place in (
        folder,
        folder / subset.folder.path.name,
    ):  # beside each other, or as the pictures
        if place.is_dir():
            listing = list_folder(place, readable_endings())
            found |= {path.stem.lower(): path for path in listing.pictures}
    if not found:
        raise SettingError("conditioning_data_dir", f"There are no mask pictures in {folder}. "
                           "Choose the folder that holds them.")  # fmt: skip
    return found


def _check_mask_shape(read: ReadLayout, mask: Path, size: Size) -> None:
    """Note a mask whose shape is another than its picture's (more than 2 % off)."""
    try:
        width, height = read_header(mask).size
    except UnreadablePicture:
        return  # told when it is opened
    if abs(width * size[1] / (height * size[0]) - 1) > 0.02:
        read.odd_masks.append(mask.name)


def _tell_captions(read: ReadLayout, subset: Subset, states: Counter[str], ending: str) -> None:
    folder = subset.folder
    count, missing = sum(states.values()), states[MISSING]
    words = f'"{folder.class_tokens}"' if folder.class_tokens else "no words at all"
    if missing and missing == count and not subset.is_reg:
        read.warnings.append(
            f"There are no captions in {folder.path.name}: every picture is trained with the name "
            f"of the folder, {words}, as caption. For better results write captions into {ending} "
            "files of the same name."
        )
    elif missing and not subset.is_reg:
        read.warnings.append(
            f"Without a caption file in {folder.path.name}: {missing} of {count} pictures. The "
            f"name of the folder, {words}, is their caption."
        )
    if states[EMPTY]:
        read.warnings.append(
            f"Empty caption files in {folder.path.name}: {states[EMPTY]}. These pictures are "
            "trained without words."
        )


def _tell(read: ReadLayout, layout: Layout) -> None:
    if read.unreadable:
        named = [f"{path.name}: {why}" for path, why in read.unreadable.items()]
        read.warnings.append(f"Left out because they cannot be opened: {_some(named, '; ')}.")
    if read.too_small:
        named = [path.name for path in read.too_small]
        read.warnings.append(
            f"Left out because they are too small and bucket_no_upscale is on: {_some(named)}."
        )
    for encoding, names in read.encodings.items():
        read.notes.append(f"Read as {encoding}, not UTF-8: {_some(names)}.")
    if read.without_mask:
        read.warnings.append(f"Without a mask, and so trained whole: {_some(read.without_mask)}.")
    if read.odd_masks:
        read.warnings.append(
            f"These masks have another shape than their pictures and are stretched over them: "
            f"{_some(read.odd_masks)}."
        )
    if layout.parts and any(s.color_aug for part in layout.parts for s in part.subsets):
        read.notes.append("Varying colours turns the latent cache off: the training is slower.")
    for part in layout.parts:
        _tell_regularisation(read, part)


def _tell_regularisation(read: ReadLayout, part: Part) -> None:
    wanted = sum(len(s.folder.pictures) * s.folder.repeats for s in part.subsets if not s.is_reg)
    there = sum(len(s.folder.pictures) * s.folder.repeats for s in part.subsets if s.is_reg)
    if there > wanted:
        read.warnings.append(
            f"There are {there} regularisation pictures for {wanted} training pictures (repeats "
            "counted): only as many are used. Raise the repeats of the training folders to use "
            "all."
        )


def _some(names: list[str], joint: str = ", ") -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return joint.join(names[:MOST_NAMED]) + more
