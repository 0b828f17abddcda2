"""Say what a LoRA file is: `python -m scripts.inspect_lora FILE`.

`--json` prints the facts as one JSON object, `--events` as JSON lines for a window. `--spectrum`
adds what the LoRA would keep at smaller sizes, with other settings of a resize if they are given.
`--set KEY=VALUE` changes its metadata.
"""

from __future__ import annotations

import os
import sys
from argparse import SUPPRESS, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.command import refuse_command, run_command
from scripts.core.errors import SettingError, SuiteError
from scripts.core.events import Control, Facts, Note, Report, Saved
from scripts.core.files import as_safetensors
from scripts.core.flags import FlagParser
from scripts.settings.resize import read_resize_settings
from scripts.tool_command import ONE_THREAD

PARTS = {"text_encoder": "text encoder", "unet_linear": "U-Net", "unet_conv": "U-Net, 1x1",
         "unet_conv_3x3": "U-Net, 3x3"}  # fmt: skip
RESIZED_LIKE = ("new_conv_rank", "dynamic_method", "dynamic_param", "save_precision")


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, look at the file, and return the exit code."""
    parser = FlagParser(prog="python -m scripts.inspect_lora", description=__doc__)
    parser.add_argument("model", type=Path, help="a LoRA file")
    parser.add_argument("--spectrum", action="store_true",
                        help="also tell what smaller sizes would keep")  # fmt: skip
    for name in RESIZED_LIKE:
        parser.add_argument(f"--{name}", metavar=name.upper(), default=SUPPRESS,
                            help="with --spectrum: as for scripts.resize_lora")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the facts as JSON")
    parser.add_argument("--set", nargs="+", action="extend", metavar="KEY=VALUE",
                        help="change entries of the metadata; KEY= removes one")  # fmt: skip
    parser.add_argument("--save_to", type=Path, metavar="FILE", help="with --set: the new file; "
                        "not given: the same file, beside a copy NAME.bak.safetensors")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true",
                        help="with --save_to: replace an older file")  # fmt: skip
    parser.add_argument("--events", action="store_true", help="write events as JSON lines")
    words = sys.argv[1:] if argv is None else argv
    try:
        options = parser.parse_args(words)
        given = {name: value for name, value in vars(options).items() if name in RESIZED_LIKE}
        like, _ = read_resize_settings({"model": [options.model], "new_rank": 1, **given})
    except SuiteError as error:
        return refuse_command("inspect_lora", error, words)

    def work(report: Report, control: Control) -> None:
        for variable in ONE_THREAD:
            os.environ.setdefault(variable, "1")
        if options.save_to is not None and options.set is None:
            raise SettingError("save_to", "Nothing is to be changed, so nothing is saved. Give "
                               "--set KEY=VALUE too, or leave --save_to out.")  # fmt: skip
        if options.set is not None:
            options.model = _edited(options.model, options, report)
        from scripts.lora.inspect import facts_of  # NumPy: only when really looking
        from scripts.lora.modules import open_lora

        with open_lora(options.model) as lora:
            facts = facts_of(lora)
            if options.spectrum:
                from scripts.lora.ranks import Size
                from scripts.lora.resize_jobs import result_dtype
                from scripts.lora.spectrum import spectrum

                param = like.dynamic_param[0] if like.dynamic_param else None
                size = Size(1, like.new_conv_rank, like.dynamic_method, param)
                dtype = result_dtype(lora, like.save_precision)
                facts["spectrum"] = spectrum(lora, report, control, size, dtype)
        report(Facts(facts, None if options.json else _in_words(facts)))

    return run_command("inspect_lora", work, options.events)


def _edited(path: Path, options: Namespace, report: Report) -> Path:
    """The path of the file with other metadata."""
    from scripts.lora.edit_metadata import edit_metadata, read_changes
    from scripts.lora.modules import open_lora

    changes = read_changes(options.set)
    with open_lora(path):  # refuses what is no LoRA
        pass
    target = None if options.save_to is None else as_safetensors(options.save_to)
    path, backup = edit_metadata(path, changes, target, options.overwrite)
    if options.json:  # the facts say what was saved, and nothing but them is printed
        return path
    report(Saved(str(path)))
    if backup is not None:
        report(Note(f"The file as it was is kept as {backup.name}."))
    return path


def _in_words(facts: dict[str, Any]) -> str:
    """The facts for a terminal."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts["network_types"].items())
    lines = [
        f"{Path(facts['path']).name}: {facts['family_title'] or 'of an unknown kind'}, "
        f"{facts['size_bytes'] / 1e6:.1f} MB, {facts['dtype']}, names of {facts['naming']}",
        f"  layers: {kinds}",
    ]
    for part, dims in facts["dims"].items():
        alphas = ", ".join(facts["alphas"][part])
        lines.append(f"  {PARTS[part]}: {facts['modules'][part]} layers, dim {', '.join(dims)}, "
                     f"alpha {alphas}")  # fmt: skip
    for title, key in (("trigger words", "trigger_words"), ("frequent tags", "tags")):
        if facts[key]:
            tags = ", ".join(f"{tag} ({count})" for tag, count in facts[key])
            lines.append(f"  {title}: {tags}")
    lines += [f"  {sentence}" for sentence in facts["training"]]
    if facts["hashes"]:
        words = ", ".join(f"{name} {'right' if found['ok'] else 'not right'}"
                          for name, found in facts["hashes"].items())  # fmt: skip
        lines.append(f"  hashes: {words}")
    if spectrum := facts.get("spectrum"):
        rows = zip(spectrum["ranks"], spectrum["kept"], spectrum["bytes"], strict=True)
        lines += [f"  at dim {rank}: keeps {kept:.1%}, {size / 1e6:.1f} MB"
                  for rank, kept, size in rows]  # fmt: skip
    return "\n".join([*lines, *(f"  ! {sentence}" for sentence in facts["problems"])])


if __name__ == "__main__":
    sys.exit(main())
