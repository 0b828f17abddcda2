"""The colours of all windows, in the system's light or dark (or EASY_LORA_THEME=light|dark)."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Colours:
    """The colours that canvases and labels of ours use, as "#rrggbb"."""

    background: str
    side: str
    card: str
    line: str
    text: str
    muted: str
    accent: str
    on_accent: str
    error: str
    good: str
    warning: str


LIGHT = Colours("#fafafa", "#f0f0f0", "#ffffff", "#dcdcdc", "#1c1c1c", "#616161", "#005fb8",
                "#ffffff", "#c42b1c", "#0f7b0f", "#8a5100")  # fmt: skip
DARK = Colours("#1c1c1c", "#242424", "#2a2a2a", "#3d3d3d", "#fafafa", "#b4b4b4", "#57c8ff",
               "#000000", "#ff99a4", "#6ccb5f", "#f5c04a")  # fmt: skip


def system_is_dark() -> bool:
    """Whether the system's windows are dark; light where that cannot be known."""
    asked = os.environ.get("EASY_LORA_THEME")
    if asked in ("light", "dark"):
        return asked == "dark"
    if sys.platform == "win32":
        import winreg

        place = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
        with suppress(OSError), winreg.OpenKey(winreg.HKEY_CURRENT_USER, place) as key:
            return winreg.QueryValueEx(key, "AppsUseLightTheme")[0] == 0
        return False
    return "dark" in os.environ.get("GTK_THEME", "").lower()
