"""What a double-click on a .bat file, or files dropped onto it, brought along.

Windows puts a dropped file's name between quotes only when it has a space. cmd then takes an "&",
a "^" or a "%" in the name for its own, and the arguments arrive cut or changed. But the command
line of cmd still holds them all; the .bat file passes it on in EASY_LORA_LINE.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

CLICKED, LINE = "EASY_LORA_CLICKED", "EASY_LORA_LINE"
WORD = re.compile(r'"([^"]*)"|(\S+)')


def clicked(environment: Mapping[str, str]) -> bool:
    """Whether a double-click or a drop started us: nobody sees what is printed for long."""
    return bool(environment.get(CLICKED))


def true_arguments(arguments: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """The dropped files as they are really named; `arguments` themselves without a drop.

    The command line reads: C:\\...\\cmd.exe /c ""C:\\Easy LoRA\\NAME.bat" C:\\a&b "C:\\c d""
    """
    _, found, rest = environment.get(LINE, "").partition(f'{environment.get(CLICKED)}"')
    if not clicked(environment) or not found:
        return list(arguments)
    rest = rest.rstrip().removesuffix('"')  # the quote that closes the one behind /c
    return [quoted or plain for quoted, plain in WORD.findall(rest)]
