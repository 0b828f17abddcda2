"""Which LoRAs a resize is to bring to which sizes and where the results go, and doing it.

Everything that can be seen from the headers is checked for all files before the first is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.core.errors import Cancelled, SettingError, SuiteError
from scripts.core.events import Control, Facts, Note, Report, Saved
from scripts.core.files import (
    WEIGHT_ENDINGS,
    as_safetensors,
    check_output_file,
)
from scripts.lora.modules import LoraFile, open_lora
from scripts.lora.number_formats import PRECISIONS
from scripts.lora.ranks import Size
from scripts.lora.resize import ResizedLora, changes_anything, check_size, resize_lora
from scripts.lora.result_metadata import common
from scripts.lora.size_queue import resize_sizes
from scripts.lora.tensor_files import write_tensors
from scripts.settings.resize import ResizeSettings

WRITABLE = ("F16", "BF16", "F32")


@dataclass(frozen=True)
class Job:
    """One LoRA, the sizes it is brought to, and the file for each."""

    path: Path
    sizes: tuple[Size, ...]
    outputs: tuple[Path, ...]


def resize(settings: ResizeSettings, report: Report, control: Control) -> Path:
    """Do what the settings say; the result, or the folder of several.

    Raises SettingError and SuiteError for what cannot be done, and Cancelled.
    """
    jobs = plan_jobs(settings, report)
    made: list[Path] = []
    try:
        for job in jobs:
            with open_lora(job.path, "model") as lora:
                for output in _run(job, lora, settings, report, control):
                    made.append(output)
    except Cancelled as stopped:
        if not made:
            raise
        wished = sum(len(job.outputs) for job in jobs)
        raise Cancelled(f"Stopped: {len(made)} of {wished} files were made.") from stopped
    if not made:
        raise SettingError("model", "None of the LoRAs could be resized. Choose other files.")
    return made[0] if len(made) == 1 else made[0].parent.absolute()


def _run(
    job: Job, lora: LoraFile, settings: ResizeSettings, report: Report, control: Control
) -> Iterator[Path]:
    """Make the files of a job; each when it is there. One LoRA of several that cannot be resized
    is left out."""
    for text in _notes(lora):
        report(Note(text))
    dtype = result_dtype(lora, settings.save_precision)
    try:
        results = resize_lora(lora, job.sizes, dtype, report, control)
    except SuiteError as error:
        _leave_out(error, settings.model == (job.path,), report)
        return
    for resized, output in zip(results, job.outputs, strict=True):
        control.check()
        write_tensors(output, resized.tensors, resized.metadata)
        report(Saved(str(output)))
        facts = _facts(lora, resized, output)
        report(Facts(facts, _text(facts, resized if settings.verbose else None)))
        yield output


def _leave_out(error: SuiteError, alone: bool, report: Report) -> None:
    """Tell of a LoRA that cannot be resized. Raises SettingError when it is the only one given."""
    if alone:
        raise SettingError("model", str(error)) from error
    report(Note(f"Left out: {error}"))


def result_dtype(lora: LoraFile, save_precision: str | None) -> str:
    """The number format of the result ("F16", "BF16", "F32"): the one wished, else the LoRA's."""
    dtype = PRECISIONS.get(save_precision or "", lora.dtype)
    return dtype if dtype in WRITABLE else "F32" if dtype == "F64" else "F16"


def plan_jobs(settings: ResizeSettings, report: Report) -> list[Job]:
    """The jobs of these settings, checked as far as headers tell. Raises SettingError."""
    sizes = _sizes(settings)
    wanted = dict(_wanted(settings.model, sizes, report))
    if not wanted:
        raise SettingError("model", "None of the LoRAs there can be brought to the size asked "
                           "for. Choose other files, or another size.")  # fmt: skip
    of_folder = any(map(os.path.isdir, settings.model))
    asked = of_folder or len(settings.model) * len(sizes) > 1
    several = of_folder or sum(map(len, wanted.values())) > 1
    in_folder = _in_folder(settings.save_to, asked, several)
    jobs, taken = [], set()
    for path, sizes in wanted.items():
        outputs = tuple(_output(settings.save_to, path, size, in_folder) for size in sizes)
        for output in outputs:
            if output in taken:
                raise SettingError("save_to", f"Two results would get the same name {output.name}. "
                                   "Resize them one after the other, each with a "
                                   "name of its own.")  # fmt: skip
            taken.add(output)
        jobs.append(Job(path, sizes, outputs))
    for output in sorted(taken):
        check_output_file(output, [*settings.model, *wanted], settings.overwrite)
    return jobs


def _wanted(
    paths: Sequence[Path], sizes: tuple[Size, ...], report: Report
) -> Iterator[tuple[Path, tuple[Size, ...]]]:
    """The LoRA files with the sizes that each can be brought to; what is left out is told of.

    Raises SettingError when one thing alone is asked for, and it cannot be done.
    """
    single = len(paths) * len(sizes) == 1
    for path in paths:
        if not os.path.isdir(path):  # False, no error, where access is denied
            with open_lora(path, "model") as lora:
                try:
                    possible = sizes if single else _possible(lora, sizes, report)
                    for size in possible:
                        check_size(lora, size)
                except SettingError:
                    raise
                except SuiteError as error:
                    possible = ()
                    _leave_out(error, len(paths) == 1, report)
            if possible:
                yield path, possible
            continue
        for file in _content(path):
            if file.suffix.lower() not in WEIGHT_ENDINGS or file.name.startswith("."):
                continue
            try:
                with open_lora(file) as lora:
                    possible = _possible(lora, sizes, report)
                    changed = any(changes_anything(lora, size) for size in possible)
            except SuiteError as error:
                report(Note(f"Left out: {error}"))
                continue
            if changed:
                yield file, possible
            elif possible:
                report(Note(f"Left out: {file.name} is no larger than that already."))


def _possible(lora: LoraFile, sizes: Sequence[Size], report: Report) -> tuple[Size, ...]:
    """Those sizes that are no larger than the LoRA. Raises SuiteError when it cannot be resized."""
    possible = []
    for size in sizes:
        try:
            check_size(lora, size)
            possible.append(size)
        except SettingError as error:
            report(Note(f"Left out: {error}"))
    return tuple(possible)


def _content(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise SettingError("model", f"The folder {folder} cannot be read: "
                           f"{error.strerror or error}.") from error  # fmt: skip


def _sizes(settings: ResizeSettings) -> tuple[Size, ...]:
    if settings.queue is not None:
        return resize_sizes(settings)
    conv, method = settings.new_conv_rank, settings.dynamic_method
    sizes = [
        Size(rank, conv, method, param)
        for rank in settings.new_rank
        for param in settings.dynamic_param or (None,)
    ]
    return tuple(dict.fromkeys(sizes))


def _in_folder(save_to: Path | None, asked_for_several: bool, several: bool) -> bool:
    """Whether `save_to` is a folder for the results: also where but one of several asked for can be
    made. Raises SettingError when it is a file, and several are made."""
    if save_to is None or os.path.isdir(save_to):
        return save_to is not None
    if save_to.suffix.lower() not in WEIGHT_ENDINGS:
        return asked_for_several
    if several:
        raise SettingError("save_to", f"Several files are made, and {save_to.name} is one file. "
                           "Give a folder.")  # fmt: skip
    return False


def _output(save_to: Path | None, path: Path, size: Size, in_folder: bool) -> Path:
    name = f"{path.stem}-{size.title}.safetensors"
    if save_to is None:
        return path.with_name(name)
    return save_to / name if in_folder else as_safetensors(save_to)


def _notes(lora: LoraFile) -> Iterator[str]:
    titles = {"loha": "LoHa", "lokr": "LoKr", "tucker": "Tucker (CP)", "diff": "full matrix"}
    for network_type, title in titles.items():
        if count := lora.network_types.get(network_type):
            yield (f"{lora.path.name}: what is {title} becomes a plain LoRA of the same effect "
                   f"(layers: {count}).")  # fmt: skip
    if lora.naming != "kohya":
        yield (f"{lora.path.name} has the names of {lora.naming}; the result has those of kohya, "
               "which all programs read.")  # fmt: skip
    if lora.others:
        yield (f"{lora.path.name} holds what belongs to no layer, such as {lora.others[0]}: it is "
               "kept as it is.")  # fmt: skip


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
