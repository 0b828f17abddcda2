"""Which LoRAs a resize is to bring to which sizes and where the results go, and doing it.

Everything that can be seen from the headers is checked for all files before the first is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.core.errors import Cancelled, SettingError, SuiteError
from scripts.core.events import Control, Facts, Note, Report, Saved
from scripts.core.files import check_output_file, read_text
from scripts.lora.modules import LoraFile, open_lora
from scripts.lora.number_formats import PRECISIONS
from scripts.lora.ranks import Size
from scripts.lora.resize import ResizedLora, changes_anything, check_size, resize_lora
from scripts.lora.result_metadata import common
from scripts.lora.tensor_files import write_tensors
from scripts.settings.resize import ResizeSettings, dynamic_error
from scripts.settings.several import LORA_ENDINGS

WRITABLE = ("F16", "BF16", "F32")


@dataclass(frozen=True)
class Job:
    """One LoRA, the sizes it is brought to, and the file for each."""

    path: Path
    sizes: tuple[Size, ...]
    outputs: tuple[Path, ...]


@dataclass(frozen=True)
class _Candidate:
    """A LoRA, the sizes that it can be brought to, and why not to the others."""

    path: Path
    sizes: list[Size] = field(default_factory=list)
    refused: dict[Size, SettingError] = field(default_factory=dict)


def resize(settings: ResizeSettings, report: Report, control: Control) -> Path:
    """Do what the settings say; the result, or the folder of several.

    Raises SettingError and SuiteError for what cannot be done, and Cancelled.
    """
    jobs = plan_jobs(settings, report)
    for number, job in enumerate(jobs):
        with open_lora(job.path, "model") as lora:
            try:
                _run(job, lora, settings, report, control)
            except Cancelled as stopped:
                if not number:
                    raise
                raise Cancelled(f"Stopped after {number} of {len(jobs)} LoRAs.") from stopped
    results = [output for job in jobs for output in job.outputs if output.exists()]
    if not results:
        raise SettingError("model", "No LoRA of the folder could be resized. Choose another one.")
    return results[0] if len(results) == 1 else results[0].parent.absolute()


def _run(
    job: Job, lora: LoraFile, settings: ResizeSettings, report: Report, control: Control
) -> None:
    for text in _notes(lora):
        report(Note(text))
    dtype = result_dtype(lora, settings.save_precision)
    try:
        results = resize_lora(lora, job.sizes, dtype, report, control)
    except SuiteError as error:
        if job.path in settings.model:
            raise
        report(Note(f"Left out: {error}"))  # the other LoRAs of the folder can be resized
        return
    for resized, output in zip(results, job.outputs, strict=True):
        control.check()
        write_tensors(output, resized.tensors, resized.metadata)
        report(Saved(str(output)))
        facts = _facts(lora, resized, output)
        report(Facts(facts, _text(facts, resized if settings.verbose else None)))


def result_dtype(lora: LoraFile, save_precision: str | None) -> str:
    """The number format of the result ("F16", "BF16", "F32"): the one wished, else the LoRA's."""
    dtype = PRECISIONS.get(save_precision or "", lora.dtype)
    return dtype if dtype in WRITABLE else "F32" if dtype == "F64" else "F16"


def plan_jobs(settings: ResizeSettings, report: Report) -> list[Job]:
    """The jobs of these settings, checked as far as headers tell: each LoRA at the sizes that it
    can be brought to. Raises SettingError, also for a size that is too large for all."""
    sizes = _sizes(settings)
    found = {one.path: one for one in _files(settings.model, sizes, report)}
    files = list(found)
    if not files:
        raise SettingError("model", "There is no LoRA there that is larger than the size asked "
                           "for. Choose other files.")  # fmt: skip
    for size in sizes:
        if all(size in one.refused for one in found.values()):
            raise found[files[0]].refused[size]
    several = len(files) * len(sizes) > 1
    jobs, taken = [], set()
    for path, one in found.items():
        for error in list(one.refused.values())[:1]:
            report(Note(f"Left out: {error}"))
        outputs = tuple(_output(settings.save_to, path, size, several) for size in one.sizes)
        for output in outputs:
            if output in taken:
                raise SettingError("save_to", f"Two results would get the same name {output.name}. "
                                   "Resize them one after the other, each with a "
                                   "name of its own.")  # fmt: skip
            taken.add(output)
        if outputs:
            jobs.append(Job(path, tuple(one.sizes), outputs))
    for output in sorted(taken):
        check_output_file(output, files, settings.overwrite)
    return jobs


def _files(
    paths: tuple[Path, ...], sizes: tuple[Size, ...], report: Report
) -> Iterator[_Candidate]:
    """The LoRA files; what a folder holds else is told of and left out."""
    for path in paths:
        if not os.path.isdir(path):  # False, no error, where access is denied
            with open_lora(path, "model") as lora:
                yield _candidate(lora, sizes)
            continue
        for file in _content(path):
            if file.suffix.lower() not in LORA_ENDINGS or file.name.startswith("."):
                continue
            try:
                with open_lora(file) as lora:
                    candidate = _candidate(lora, sizes)
                    wanted = any(changes_anything(lora, size) for size in candidate.sizes)
                if not candidate.sizes:
                    raise candidate.refused[sizes[0]]
            except SuiteError as error:
                report(Note(f"Left out: {error}"))
                continue
            if wanted:
                yield candidate
            else:
                report(Note(f"Left out: {file.name} is no larger than that already."))


def _candidate(lora: LoraFile, sizes: tuple[Size, ...]) -> _Candidate:
    candidate = _Candidate(lora.path)
    for size in sizes:
        try:
            check_size(lora, size)
        except SettingError as error:
            candidate.refused[size] = error
        else:
            candidate.sizes.append(size)
    return candidate


def _content(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise SettingError("model", f"The folder {folder} cannot be read: "
                           f"{error.strerror or error}.") from error  # fmt: skip


def _sizes(settings: ResizeSettings) -> tuple[Size, ...]:
    if settings.queue is not None:
        return tuple(_queue(settings))
    conv, method = settings.new_conv_rank, settings.dynamic_method
    sizes = [
        Size(rank, conv, method, param)
        for rank in settings.new_rank
        for param in settings.dynamic_param or (None,)
    ]
    return tuple(dict.fromkeys(sizes))


def _queue(settings: ResizeSettings) -> Iterator[Size]:
    """The sizes in a text file: a rank, or a dynamic value and the largest rank, a line."""
    if not settings.queue.is_file():
        raise SettingError("queue", f"There is no file {settings.queue}. Choose it again.")
    text, _ = read_text(settings.queue)
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if words:
            found[_queued(words, line, number, settings)] = None
    if not found:
        raise SettingError("queue", f"{settings.queue.name} names no size. Write one a line, such "
                           "as 32.")  # fmt: skip
    yield from found


def _queued(words: list[str], line: str, number: int, settings: ResizeSettings) -> Size:
    method = settings.dynamic_method
    try:
        rank = int(words[-1])
        param = float(words[0]) if len(words) == 2 else None
        if rank < 1 or len(words) > 2:
            raise ValueError
    except ValueError:
        if not line.replace("\t", " ").isprintable():
            raise SettingError("queue", f"{settings.queue.name} is no text file. Choose a list of "
                               "sizes, one a line.") from None  # fmt: skip
        raise SettingError("queue", f'Line {number} of {settings.queue.name}, "{line.strip()}", is '
                           "no size. Write a dim, such as 32, or the dynamic value and the largest "
                           "dim, such as 0.95 64.") from None  # fmt: skip
    if param is None:
        return Size(rank, settings.new_conv_rank)
    if method is None:
        raise SettingError("dynamic_method", f"Line {number} of {settings.queue.name} has a "
                           "dynamic value. Choose its method too.")  # fmt: skip
    if error := dynamic_error(method, param):
        raise SettingError("queue", f"Line {number} of {settings.queue.name}: {error}")
    return Size(rank, settings.new_conv_rank, method, param)


def _output(save_to: Path | None, path: Path, size: Size, several: bool) -> Path:
    name = f"{path.stem}-{size.title}.safetensors"
    if save_to is None:
        return path.with_name(name)
    is_file = save_to.suffix.lower() in LORA_ENDINGS
    if save_to.is_dir() or (several and not is_file):
        return save_to / name
    if several:
        raise SettingError("save_to", f"Several files are made, and {save_to.name} is one file. "
                           "Give a folder.")  # fmt: skip
    if is_file and save_to.suffix.lower() != ".safetensors":
        raise SettingError("save_to", f"{save_to.name} would be an unsafe kind of file. Write the "
                           "ending .safetensors.")  # fmt: skip
    return save_to if is_file else save_to.with_name(save_to.name + ".safetensors")


def _notes(lora: LoraFile) -> Iterator[str]:
    titles = {"loha": "LoHa", "lokr": "LoKr", "tucker": "Tucker (CP)", "diff": "full matrix"}
    for network_type, title in titles.items():
        if count := lora.network_types.get(network_type):
            yield (f"{lora.path.name}: {count} {title} layers become layers of a plain LoRA, "
                   "through what they do.")  # fmt: skip
    if lora.naming != "kohya":
        yield (f"{lora.path.name} has the names of {lora.naming}; the result has those of kohya, "
               "which all programs read.")  # fmt: skip
    if lora.others:
        yield (f"{lora.path.name} holds {len(lora.others)} tensors that belong to no layer, such "
               f"as {lora.others[0]}; they are kept as they are.")  # fmt: skip


def _facts(lora: LoraFile, resized: ResizedLora, output: Path) -> dict:
    return {
        "path": str(output),
        "before": {
            "size_bytes": lora.size_bytes,
            "dim": common(module.rank for module in lora.modules.values()),
        },
        "after": {
            "size_bytes": output.stat().st_size,
            "dim": common(size.rank for size in resized.sizes.values()),
        },
        "kept": resized.kept.whole,
        "kept_by_block": resized.kept.by_block,
    }


def _text(facts: dict, details: ResizedLora | None) -> str:
    before, after = facts["before"], facts["after"]
    lines = [
        f"dim {before['dim']} -> {after['dim']}, {before['size_bytes'] / 1e6:.1f} MB -> "
        f"{after['size_bytes'] / 1e6:.1f} MB, keeps {facts['kept']:.2%} of the change"
    ]
    if details is not None:
        lines += [f"  {name}: dim {size.rank}, keeps {details.kept_of[name]:.2%}"
                  for name, size in details.sizes.items()]  # fmt: skip
    return "\n".join(lines)
