"""Find the picture folders under the folder that the user chose, and forgive common mistakes.

sd-scripts wants `<repeats>_<name>` folders directly under the root and skips everything else in
silence. Here the usual mistakes (one level too deep or too high, pictures loose in the root, no
number, a blank in place of the underscore, nested folders) are understood, used, and told as a
guess; what is left out is told as a warning with a mend. A mend is a value for the setting
`folder_repeats` and moves or renames nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from scripts.core.declare import read_int
from scripts.core.errors import SettingError
from scripts.dataset.folders import (
    USUAL_PICTURES,
    Folder,
    FolderScan,
    Listing,
    has_number_below_one,
    list_folder,
    read_folder_name,
    read_misspelt_name,
)

DEEPEST = 3  # levels below the chosen folder that are searched
MANY_REPEATS = 200
NOT_FOR_TRAINING = frozenset({
    "log", "logs", "output", "outputs", "sample", "samples", "mask", "masks", "reg", "regs",
    "regularisation", "regularization", "reg_img", "reg_imgs", "reg_images", "class_images",
})  # fmt: skip
PREVIEWS = frozenset({"sample", "samples"})  # where trainings put their previews


def find_folders(
    root: Path,
    repeats: Mapping[str, int] | None = None,
    leave_out: Iterable[Path] = (),
    setting: str = "train_data_dir",
    endings: frozenset[str] = USUAL_PICTURES,
) -> FolderScan:
    """The picture folders under `root`.

    Args:
        repeats: the setting folder_repeats: folder name or path ("." is the root itself) to
            repeats; it wins over the names, and 0 leaves a folder out.
        leave_out: folders that are something else (masks, regularisation pictures, output).
        setting: the setting that named `root`, for errors.
        endings: the picture formats that can be read, as lower-case endings.

    Raises SettingError when there is no such folder, no picture in it, or no telling which of
    several folders is meant.
    """
    root = Path(os.path.abspath(root))
    if root.is_file():
        raise SettingError(setting, f"{root} is a file. Choose the folder that holds the pictures.")
    if not root.is_dir():
        raise SettingError(setting, f"There is no folder {root}. Choose it again.")
    outside = [path for path in leave_out if _key(path) != _key(root)]
    return FolderSearch(root, repeats or {}, outside, setting, endings).run()


class FolderSearch:
    """One search under `root`; `find_folders` is the way in."""

    def __init__(
        self,
        root: Path,
        repeats: Mapping[str, int],
        leave_out: Iterable[Path],
        setting: str,
        endings: frozenset[str],
    ) -> None:
        self.root = root
        self.setting = setting
        self.endings = endings
        self.repeats = {_key(name): _read_repeats(name, n) for name, n in repeats.items()}
        self.leave_out = {_key(path) for path in leave_out}
        self.scan = FolderScan()
        self.listings: dict[Path, Listing] = {}
        self.used_keys: set[str] = set()

    def look(self, path: Path) -> Listing:
        if path not in self.listings:
            listing = list_folder(path, self.endings)
            kept = tuple(s for s in listing.subfolders if _key(s) not in self.leave_out)
            self.listings[path] = Listing(
                path, listing.pictures, kept, listing.strangers, listing.files
            )
        return self.listings[path]

    def relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path != self.root else "."

    def asked_repeats(self, path: Path) -> int | None:
        """The repeats that folder_repeats gives this folder, by name, relative or full path."""
        for key in (_key(path), _key(self.relative(path)), _key(path.name)):
            if key in self.repeats:
                self.used_keys.add(key)
                return self.repeats[key]
        return None

    def below(self, path: Path, depth: int = DEEPEST) -> list[Listing]:
        """The folder and those below it that hold pictures and are not in folder_repeats."""
        listing = self.look(path)
        asked = self.asked_repeats(path) is not None
        found = [listing] if listing.pictures and not asked else []
        if depth > 0:
            for subfolder in listing.subfolders:
                found += self.below(subfolder, depth - 1)
        return found

    def has_pictures(self, path: Path, depth: int = DEEPEST) -> bool:
        """Whether there is any picture in the folder or below it."""
        listing = self.look(path)
        return bool(listing.pictures) or (
            depth > 0 and any(self.has_pictures(deeper, depth - 1) for deeper in listing.subfolders)
        )

    def add(self, path: Path, repeats: int, class_tokens: str) -> None:
        """Use a folder; pictures in nested folders count only when it has none of its own."""
        own = self.look(path)
        listings = [own] if own.pictures else self.below(path)
        listings = [item for item in listings if not self.not_for_training(item.path)] or listings
        if not own.pictures:
            where = _names(listing.path for listing in listings)
            self.scan.guesses.append(
                f"The pictures of {path.name} lie deeper, in {where}: they are used as part of "
                f"{path.name}."
            )
        else:
            nested = [item for subfolder in own.subfolders for item in self.below(subfolder)]
            self.tell_left_out(nested, f"lies inside {path.name}")
        if repeats > MANY_REPEATS:
            self.scan.warnings.append(
                f"{path.name} repeats each picture {repeats} times an epoch. If the number is a "
                "year or a count, give the folder its repeats in folder_repeats."
            )
        self.scan.folders.append(
            Folder(
                path,
                repeats,
                class_tokens,
                tuple(picture for listing in listings for picture in listing.pictures),
                {listing.path: listing.files for listing in listings},
            )
        )

    def tell_left_out(self, listings: list[Listing], why: str) -> None:
        """Warn of pictures that are left out; those that may belong to the data get a mend."""
        for listing in listings:
            count = len(listing.pictures)
            own = listing.path == self.root
            where = "the chosen folder itself" if own else f'"{listing.path.name}"'
            reason = self.not_for_training(listing.path)
            text = f"{_count(count, 'picture')} in {where} left out: it {reason or why}."
            self.scan.warnings.append(text)
            if not reason:
                self.scan.mends.append(
                    {"text": text, "folder_repeats": {self.relative(listing.path): 1}}
                )

    def not_for_training(self, path: Path) -> str:
        """Why a folder is not meant to be trained on, as its name or one above it says, or ""."""
        names = {part.lower() for part in path.relative_to(self.root).parts}
        if names & PREVIEWS:
            return "looks like previews of earlier trainings"
        other = bool(names & NOT_FOR_TRAINING)
        return "has the name of something that is not trained on" if other else ""

    def numbered(self, path: Path) -> list[tuple[Path, int, str, bool]]:
        """Subfolders with pictures whose names tell their repeats: (path, n, class, misspelt)."""
        found = []
        for subfolder in self.look(path).subfolders:
            misspelt = read_misspelt_name(subfolder.name)
            named = misspelt or read_folder_name(subfolder.name)
            if named and self.asked_repeats(subfolder) is None and self.below(subfolder):
                found.append((subfolder, *named, bool(misspelt)))
        return found

    def add_asked(self, path: Path, depth: int = DEEPEST) -> None:
        """Use every folder that folder_repeats names."""
        listing = self.look(path)
        named = read_folder_name(path.name) or read_misspelt_name(path.name)
        words = named[1] if named else path.name
        repeats = self.asked_repeats(path)
        if repeats and path == self.root:
            self.add_alone(path, repeats, words)
        elif repeats and (listing.pictures or self.below(path)):
            self.add(path, repeats, words)
        if depth > 0:
            for subfolder in listing.subfolders:
                self.add_asked(subfolder, depth - 1)

    def add_numbered(self, path: Path) -> bool:
        found = self.numbered(path)
        for subfolder, repeats, words, misspelt in found:
            if misspelt:
                self.scan.guesses.append(
                    f'"{subfolder.name}" was read as {repeats}_{words}: {repeats} repeats. An '
                    "underscore belongs after the number."
                )
            self.add(subfolder, repeats, words)
        return bool(found)

    def plain(self, path: Path) -> list[Path]:
        """Subfolders with pictures whose names tell nothing (a number below 1 included)."""
        taken = {subfolder for subfolder, *_ in self.numbered(path)}
        return [
            subfolder
            for subfolder in self.look(path).subfolders
            if subfolder not in taken
            and self.asked_repeats(subfolder) is None
            and self.below(subfolder)
        ]

    def add_plain(self, path: Path) -> bool:
        """Use folders without a number, and pictures loose in `path`, with 1 repeat."""
        loose = self.look(path).pictures and self.asked_repeats(path) is None
        plain = self.plain(path)
        wanted = [p for p in plain if p.name.lower() not in NOT_FOR_TRAINING]
        above_zero = [p for p in wanted if not has_number_below_one(p.name)]
        if loose:
            self.scan.guesses.append(
                f"The pictures lie directly in {path.name}, not in a folder such as "
                f"10_{path.name} inside it: they are used as one folder with 1 repeat."
            )
            self.add_alone(path, 1, path.name)
        use = above_zero or ([] if loose else wanted)
        for subfolder in use:
            name = subfolder.name
            reason = "is below 1" if has_number_below_one(name) else "is missing"
            self.scan.guesses.append(
                f"The number of repeats {reason} in the folder name {name}: 1 is used. To repeat "
                f"its pictures, name it like 10_{name}."
            )
            self.add(subfolder, 1, name.partition("_")[2] if has_number_below_one(name) else name)
        for subfolder in plain:
            if subfolder not in use and (loose or use):
                self.tell_left_out(self.below(subfolder), "has a number below 1")
        return bool(loose or use)

    def add_alone(self, path: Path, repeats: int, words: str) -> None:
        """Use the pictures directly in `path`, whatever lies in its subfolders."""
        listing = self.look(path)
        self.scan.folders.append(
            Folder(path, repeats, words, listing.pictures, {path: listing.files})
        )

    def tell_rest(self, path: Path) -> None:
        """Warn of pictures beside the numbered folders of `path`."""
        if self.look(path).pictures and self.asked_repeats(path) is None:
            self.tell_left_out([self.look(path)], "lies beside the numbered folders")
        for subfolder in self.plain(path):
            below = has_number_below_one(subfolder.name)
            why = "has a number below 1" if below else "has no number of repeats in its name"
            self.tell_left_out(self.below(subfolder), why)
        for subfolder in self.look(path).subfolders:
            if read_folder_name(subfolder.name) and not self.has_pictures(subfolder):
                self.scan.warnings.append(f"There are no pictures in {subfolder.name}.")

    def run(self) -> FolderScan:
        """Try the ways a folder can be meant, from the one sd-scripts knows to the loosest."""
        root = self.root
        self.add_asked(root)
        loose = self.look(root).pictures and self.asked_repeats(root) is None
        if self.add_numbered(root):
            self.tell_rest(root)
        elif loose and (named := read_folder_name(root.name)):
            self.scan.guesses.append(
                f"{root.name} is itself a picture folder, one level too deep: it is used alone, "
                f"with {named[0]} repeats. Choose the folder above it to use its neighbours too."
            )
            self.add_alone(root, *named)
        elif deeper := self.deeper_roots():
            self.use_deeper(deeper)
        elif not self.add_plain(root) and not self.scan.folders:
            self.tell_nothing()
        self.tell_strangers()
        self.scan.unmatched = set(self.repeats) - self.used_keys
        return self.scan

    def deeper_roots(self) -> list[Path]:
        """The folders, as near to the root as possible, that hold numbered folders."""
        level = list(self.look(self.root).subfolders)
        for _ in range(DEEPEST - 1):
            found = [path for path in level if self.numbered(path)]
            if found:
                return found
            level = [deeper for path in level for deeper in self.look(path).subfolders]
        return []

    def use_deeper(self, found: list[Path]) -> None:
        if len(found) > 1:
            found = [p for p in found if p.name.lower() not in NOT_FOR_TRAINING] or found
        if len(found) > 1:
            message = (
                f"{self.root} lies one level too high: there are picture folders in "
                f"{_names(found)}. Choose one of these."
            )
            raise SettingError(self.setting, message)
        self.scan.guesses.append(
            f"{self.root.name} lies a level too high: the picture folders are in "
            f"{self.relative(found[0])}, which is used."
        )
        self.add_numbered(found[0])
        self.tell_rest(found[0])
        if self.look(self.root).pictures:
            self.tell_left_out([self.look(self.root)], "lies beside the picture folders")

    def tell_nothing(self) -> None:
        listing = self.look(self.root)
        seen = [f"{_count(len(listing.subfolders), 'folder')} ({_names(listing.subfolders)})"]
        if not listing.subfolders:
            seen = []
        if listing.files:
            seen.append(f"{_count(len(listing.files), 'file')} ({_names(listing.files.values())})")
        what = " and ".join(seen) or "nothing at all"
        message = (
            f"There are no pictures in {self.root}: it holds {what}. Choose the folder with your "
            "pictures (jpg, png, webp or bmp)."
        )
        raise SettingError(self.setting, message)

    def tell_strangers(self) -> None:
        used = {path for folder in self.scan.folders for path in folder.files}
        strangers = [s for path in sorted(used) for s in self.look(path).strangers]
        if strangers:
            self.scan.warnings.append(
                f"{_count(len(strangers), 'picture')} left out, in a format that is not read here "
                f"({_names(strangers)}). Save them as jpg or png."
            )


def _key(path: Path | str) -> str:
    text = str(path).replace("\\", "/").rstrip("/") or "/"
    return os.path.normcase(text).replace("\\", "/")


def _read_repeats(name: str, value: object) -> int:
    try:
        repeats = read_int(value)
    except ValueError as error:
        raise SettingError("folder_repeats", f"{name}: {error}") from error
    if repeats < 0:
        raise SettingError("folder_repeats", f"{name}: {repeats} repeats are not possible. Write "
                           "1 or more, or 0 to leave the folder out.")  # fmt: skip
    return repeats


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _names(paths: Iterable[Path], most: int = 3) -> str:
    names = [Path(path).name for path in paths]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
