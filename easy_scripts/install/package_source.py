"""PyTorch's own package index: can it be reached from here, quickly? And reading from it."""

from __future__ import annotations

import http.client
import logging
import os
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable

from easy_scripts.install.skeleton import site_packages
from easy_scripts.launcher.project import Project

SECONDS = 3.0
PATIENCE = (3.0, 10.0, 30.0)  # seconds of the tries where nothing else will do
PAUSE = 2.0  # seconds between them
CERTIFICATES_OF_PIP = "pip/_vendor/certifi/cacert.pem"
Reachable = Callable[[str, float], bool]
LOG = logging.getLogger(__name__)  # why no answer came; set-up keeps that in its log
LOG.setLevel(logging.INFO)


def index_reachable(address: str, seconds: float = SECONDS) -> bool:
    """Whether `address` answers within `seconds`, name look-up and redirects included."""
    answers: list[bool] = []
    asker = threading.Thread(target=lambda: answers.append(_answers(address, seconds)), daemon=True)
    asker.start()
    asker.join(seconds)
    if not answers:
        LOG.info("%s did not answer in %g s", address, seconds)
    return bool(answers) and answers[0]


def reachable_at_last(reachable: Reachable, address: str) -> bool:
    """Whether `address` answers one of several ever longer questions by `reachable`."""
    for number, seconds in enumerate(PATIENCE):
        if number:
            time.sleep(PAUSE)
        if reachable(address, seconds):
            return True
    return False


def _answers(address: str, seconds: float) -> bool:
    try:
        with open_address(address, seconds) as answer:
            return answer.status == 200
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError is an OSError
        LOG.info("%s: %s", address, error)
        return False


def open_address(address: str, seconds: float, start: int = 0) -> http.client.HTTPResponse:
    """The answer of `address`, to be closed; from byte `start` on if the server can do that (its
    status is 206 then).

    Raises OSError (URLError among them), ValueError for an address that is none,
    http.client.HTTPException.
    """
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=_certificates())
    ]
    proxy = os.environ.get("PIP_PROXY")
    if proxy:
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(address, headers=headers)
    return urllib.request.build_opener(*handlers).open(request, timeout=seconds)


def _certificates() -> ssl.SSLContext:
    context = ssl.create_default_context()
    own = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
    # Windows fills its list only when its own programs ask for a certificate, so pip brings one
    for path in (own, site_packages(Project()) / CERTIFICATES_OF_PIP):
        if path and os.path.isfile(path):
            context.load_verify_locations(path)
    return context
