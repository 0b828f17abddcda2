"""PyTorch's own package index: can it be reached from here, quickly? And reading from it."""

from __future__ import annotations

import http.client
import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable

SECONDS = 3.0
PATIENCE = (3.0, 10.0, 30.0)  # seconds of the tries where nothing else will do
PAUSE = 2.0  # seconds between them
Reachable = Callable[[str, float], bool]


def index_reachable(address: str, seconds: float = SECONDS, proxy: str | None = None) -> bool:
    """Whether `address` answers within `seconds`, name look-up and redirects included.

    proxy: the proxy from pip's settings, for machines where only pip knows it.
    """
    answers: list[bool] = []
    asker = threading.Thread(
        target=lambda: answers.append(_answers(address, seconds, proxy)), daemon=True
    )
    asker.start()
    asker.join(seconds)
    return bool(answers) and answers[0]


def reachable_at_last(reachable: Reachable, address: str) -> bool:
    """Whether `address` answers one of several ever longer questions by `reachable`."""
    for number, seconds in enumerate(PATIENCE):
        if number:
            time.sleep(PAUSE)
        if reachable(address, seconds):
            return True
    return False


def _answers(address: str, seconds: float, proxy: str | None) -> bool:
    try:
        with open_address(address, seconds, proxy) as answer:
            return answer.status == 200
    except (OSError, ValueError, http.client.HTTPException):  # URLError is an OSError
        return False


def open_address(
    address: str, seconds: float, proxy: str | None = None, start: int = 0
) -> http.client.HTTPResponse:
    """The answer of `address`, to be closed; from byte `start` on if the server can do that (its
    status is 206 then).

    proxy: in place of the system's and of pip's own variable. Raises OSError (URLError among
    them), ValueError for an address that is none, http.client.HTTPException.
    """
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=_certificates())
    ]
    proxy = proxy or os.environ.get("PIP_PROXY")
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(address, headers=headers)
    return urllib.request.build_opener(*handlers).open(request, timeout=seconds)


def _certificates() -> ssl.SSLContext:
    context = ssl.create_default_context()
    own = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    if own and os.path.isfile(own):
        context.load_verify_locations(own)
    return context
