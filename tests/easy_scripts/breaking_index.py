"""A package source on this computer whose downloads break off in the middle."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def breaking_index(folder: Path, breaks: int) -> Iterator[tuple[str, Counter]]:
    """Serve the wheels in `folder`; each download breaks off `breaks` times, then goes through.

    Gives the address for pip and how often each wheel was asked for.
    """
    asked: Counter = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = self.path.strip("/").split("/")
            if parts[0] == "simple":
                self._list(parts[1])
            else:
                self._send(folder / parts[-1].split("#")[0])

        def _list(self, name):
            wheels = [
                path.name for path in folder.glob("*.whl")
                if path.name.split("-")[0].lower() == name.replace("-", "_")
            ]  # fmt: skip
            page = "".join(f'<a href="/files/{wheel}">{wheel}</a>' for wheel in wheels).encode()
            self.send_response(200 if wheels else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def _send(self, wheel):
            data = wheel.read_bytes()
            asked[wheel.name] += 1
            start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            self.send_response(206 if "Range" in self.headers else 200)
            if "Range" in self.headers:
                span = f"bytes {start}-{len(data) - 1}/{len(data)}"
                self.send_header("Content-Range", span)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", f'"{len(data)}"')
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            rest = data[start:]
            broken = asked[wheel.name] <= breaks
            self.wfile.write(rest[: len(rest) // 2] if broken else rest)
            self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/simple/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
