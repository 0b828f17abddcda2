"""A package source on this computer whose downloads break off in the middle."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

from scripts.core.files import sha256_of_file


@contextmanager
def breaking_index(folder: Path, breaks: int, ranges: bool = True) -> Iterator[tuple[str, Counter]]:
    """Serve the wheels in `folder`; each download breaks off `breaks` times, then goes through.

    ranges: whether the server can begin in the middle of a file. Gives the address for pip and how
    often each wheel was asked for, under NAME; how many of its bytes were sent, under "sent NAME".
    The page that PyTorch has as whl/KIND/torch/ lies beside: ADDRESS/../whl/KIND/torch/.
    """
    asked: Counter = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            parts = unquote(self.path).strip("/").split("/")
            if parts[0] == "files":
                self._send(folder / parts[1])
            else:
                self._list(parts[-1])

        def _list(self, name):
            wheels = [
                path for path in folder.glob("*.whl")
                if path.name.split("-")[0].lower() == name.replace("-", "_")
            ]  # fmt: skip
            page = "<br/>\n".join(
                f'<a href="/files/{quote(path.name)}#sha256={sha256_of_file(path)}">{path.name}</a>'
                for path in wheels
            ).encode()
            self.send_response(200 if wheels else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def _send(self, wheel):
            data = wheel.read_bytes()
            asked[wheel.name] += 1
            wished = self.headers.get("Range") if ranges else None
            start = int((wished or "bytes=0-")[6:].split("-")[0])
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if wished else 200)
            if wished:
                span = f"bytes {start}-{len(data) - 1}/{len(data)}"
                self.send_header("Content-Range", span)
            self.send_header("Accept-Ranges", "bytes" if ranges else "none")
            self.send_header("ETag", f'"{len(data)}"')
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            rest = data[start:]
            broken = asked[wheel.name] <= breaks
            sent = rest[: len(rest) // 2] if broken else rest
            asked[f"sent {wheel.name}"] += len(sent)  # before the other side has all of it
            try:
                self.wfile.write(sent)
            except OSError:
                asked[f"sent {wheel.name}"] -= len(sent)
                raise
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
