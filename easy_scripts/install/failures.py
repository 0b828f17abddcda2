"""From what pip wrote to one sentence: what went wrong and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

RUN_AGAIN = "Then start again: set-up goes on where it stopped."

HANGING = (
    "nothing came of it any more, so it was ended. The driver of the graphics card may be hanging: "
    f"restart the computer. {RUN_AGAIN}"
)

# Older pips, such as the one that Python brings along, take a download that broke off for whole.
BROKEN_DOWNLOAD = (
    r"DO NOT MATCH THE HASHES|has invalid metadata|is not a valid wheel|BadZipFile"
    r"|Wheel '\S+' located at .* is invalid|IncompleteRead|incomplete-download"
    r"|Connection broken:|ConnectionReset|ReadTimeout"
)

# The first pattern that is found decides, so the particular ones come before the general ones.
FAILURES: tuple[tuple[str, str], ...] = (
    (
        r"No space left on device|Errno 28\b|WinError 112\b|not enough space on the disk"
        r"|Disk quota exceeded",
        f"The disk is full. Make room on the drive that Easy LoRA lies on. {RUN_AGAIN}",
    ),
    (
        r"WinError 225\b|contains a virus or potentially unwanted",
        "A virus scanner blocked a file of a package. Add Easy LoRA's folder to its exceptions (in "
        f"Windows Security: Virus & threat protection, Manage settings, Exclusions). {RUN_AGAIN}",
    ),
    (
        r"WinError 206\b|file ?name or extension is too long|File name too long"
        r"|Windows Long Path support|file with length exceeding 255",
        "The folder's path is too long for some of the packages. Move the Easy LoRA folder to a "
        r"short path such as C:\EasyLoRA and start again.",
    ),
    (
        r"WinError 32\b|being used by another process",
        "A file of the environment is in use. Close every training and every window of Easy "
        f"LoRA. {RUN_AGAIN}",
    ),
    (
        r"Permission denied|Access is denied|WinError 5\b|Errno 13\b|Read-only file system",
        "A file could not be written: access was denied. Close every window of Easy LoRA, and see "
        f"that its folder lies in a place of your own. {RUN_AGAIN}",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError",
        "The package source's certificate was not accepted: a virus scanner or a proxy may be "
        f"reading along, or the computer's clock is wrong. Mend that. {RUN_AGAIN}",
    ),
    (
        r"Could not find a suitable TLS CA certificate bundle, invalid path: (?P<what>.+)",
        "pip's settings name a file of certificates that is not there: {what}. Remove cert from "
        f"pip's settings. {RUN_AGAIN}",
    ),
    (
        r"Can not (?:perform|combine) (?:a )?'--user'",
        "pip's settings put packages into the user's own folder. Remove user from pip's settings. "
        f"{RUN_AGAIN}",
    ),
    (
        r"ProxyError|407 Proxy",
        "The proxy did not let the download through. Check the proxy in the system's settings or "
        f"in pip's. {RUN_AGAIN}",
    ),
    (
        BROKEN_DOWNLOAD,
        "A download broke off or was damaged on its way. Start again: set-up goes on where it "
        "stopped.",
    ),
    (
        r"NameResolutionError|name resolution|getaddrinfo failed|nodename nor servname"
        r"|NewConnectionError|ConnectTimeout|Network is unreachable|No route to host"
        r"|Connection refused|Max retries exceeded|RemoteDisconnected",
        f"The package source cannot be reached. Check the connection to the internet. {RUN_AGAIN}",
    ),
    (
        r"No matching distribution found for (?P<what>[^\s(]+)",
        "The package source has no {what} for this computer and this Python. If you use a mirror, "
        "it may lack it; otherwise check the connection to the internet and start again.",
    ),
    (
        r"MemoryError",
        f"The computer ran out of memory. Close other programs. {RUN_AGAIN}",
    ),
)
KILLED = 9


def download_broke_off(output: Sequence[str]) -> bool:
    """Whether pip failed for a download that broke off: worth another try at once."""
    return re.search(BROKEN_DOWNLOAD, "\n".join(output), re.IGNORECASE) is not None


def explain_failure(output: Sequence[str], exit_code: int, doing: str) -> str:
    """One or two sentences for a step that failed.

    output: the last lines that it wrote; doing: what it did, such as "torch could not be
    installed".
    """
    text = "\n".join(output)
    for pattern, sentence in FAILURES:
        found = re.search(pattern, text, re.IGNORECASE)
        if found:
            details = {key: value or "" for key, value in found.groupdict().items()}
            return f"{doing}. " + (sentence.format(**details) if details else sentence)
    if exit_code in (-KILLED, 128 + KILLED):
        return f"{doing}: the system stopped it, perhaps for want of memory. {RUN_AGAIN}"
    last = next((line.strip() for line in reversed(output) if line.strip()), "nothing was said")
    return f"{doing} ({last[:200]}), and set-up does not know why."
