"""The three-second question whether PyTorch's own index answers, asked of local servers."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import time
from pathlib import Path

import pip
import pytest

from easy_scripts.install import package_source
from easy_scripts.install.package_source import SECONDS, index_reachable, reachable_at_last


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            self.send_response(200 if "/whl/" in self.path else 403)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        running.address = f"http://127.0.0.1:{running.server_address[1]}"
        yield running
        running.shutdown()


def test_an_index_that_answers(server):
    assert index_reachable(f"{server.address}/whl/cpu/torch/")


def test_an_index_that_refuses(server, caplog):
    assert not index_reachable(f"{server.address}/forbidden")
    assert "/forbidden: HTTP Error 403" in caplog.text


def test_pips_proxy_is_used(server, monkeypatch):
    assert not index_reachable("http://index.invalid/whl/")
    monkeypatch.setenv("PIP_PROXY", server.address)
    assert index_reachable("http://index.invalid/whl/")
    assert server.asked == ["http://index.invalid/whl/"]


def test_the_certificates_of_pip_are_trusted_beside_those_of_the_system(monkeypatch):
    """On a new Windows, hardly any stands in its list yet."""
    monkeypatch.delenv("PIP_CERT", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(package_source.ssl, "create_default_context", lambda: bare)
    monkeypatch.setattr(package_source, "site_packages", lambda _: Path(pip.__file__).parents[1])
    assert len(package_source._certificates().get_ca_certs()) > 50


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert not index_reachable(f"http://127.0.0.1:{port}/")


def test_a_server_that_never_answers_costs_three_seconds():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        assert not index_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        taken = time.monotonic() - started
    assert SECONDS == 3.0
    assert 2.5 < taken < 6


def test_a_slow_index_is_given_time_and_several_tries(monkeypatch):
    waits, asked = [], []
    monkeypatch.setattr(package_source.time, "sleep", waits.append)

    def answers_in(needed):
        def ask(address, seconds):
            asked.append(seconds)
            return seconds >= needed

        return ask

    assert reachable_at_last(answers_in(20), "https://a/") and asked == [3, 10, 30]
    assert waits == [2, 2]
    assert reachable_at_last(answers_in(1), "https://a/") and len(asked) == 4
    assert not reachable_at_last(answers_in(60), "https://a/") and len(asked) == 7


def test_an_address_that_is_none():
    assert not index_reachable("no address")
