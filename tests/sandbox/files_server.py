"""A TLS file server with bad habits of a test's choice: it cuts, dawdles, or announces nonsense."""

from __future__ import annotations

import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

import trustme

_BLOCK_BYTES = 256 * 1024


@dataclass
class Served:
    """A file and its habits: the first answer is `cut` half-way or `slow`; `bare` ranges
    come without Content-Range; `announce` is a false size in bytes.
    """

    content: bytes
    cut: bool = False
    slow: bool = False
    bare: bool = False
    announce: int | None = None


@dataclass
class Files:
    """What is served, by path, and what was asked: (method, path, Range or None), all headers of it, and
    from which address.
    """

    served: dict[str, Served] = field(default_factory=dict)
    log: list[tuple[str, str, str | None]] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)
    clients: list[tuple[str, str]] = field(default_factory=list)  # (path, address)
    url: str = ""

    def gets(self, path: str) -> list[str | None]:
        """The Range headers of the GET requests for `path`, in order."""
        return [wanted for method, asked, wanted in self.log if (method, asked) == ("GET", path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        files = cast("_Server", self.server).files
        # Nothing here has a date: apt, which wants the rest of the very file that it began, gets all of this one.
        wanted = None if "If-Range" in self.headers else self.headers.get("Range")
        files.log.append((self.command, self.path, wanted))
        files.headers += self.headers.items()
        files.clients.append((self.path, self.client_address[0]))
        if self.path.startswith("/v2/") and "Authorization" not in self.headers:
            self.send_response(401)  # a container registry asks before it says anything
            self.send_header("WWW-Authenticate", 'Basic realm="lab"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        served = files.served.get(self.path)
        if served is None:
            self.send_error(404)
            return
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        start = int(match[1]) if match else 0
        if start >= len(served.content) and match:
            self.send_error(416)
            return
        content = served.content[start:]
        self.send_response(206 if match else 200)
        if match and not served.bare:
            total = len(served.content)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(served.announce or len(content)))
        self.end_headers()
        if body:
            self._send(served, content, first=len(files.gets(self.path)) == 1)

    def _send(self, served: Served, content: bytes, first: bool) -> None:
        if first and served.cut:
            content = content[: len(content) // 2]
            self.close_connection = True
        for begin in range(0, len(content), _BLOCK_BYTES):
            self.wfile.write(content[begin : begin + _BLOCK_BYTES])
            time.sleep(0.2 if first and served.slow else 0)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: `log` has it."""


class _Server(ThreadingHTTPServer):
    files: Files

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what several tests are about."""


@contextmanager
def https_files(address: str, authority: trustme.CA) -> Iterator[Files]:
    """Serve on a free port of `address`, with a certificate of `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(address).configure_cert(context)
    files = Files()
    with _Server((address, 0), _Handler) as server:
        server.files = files
        files.url = f"https://{address}:{server.server_address[1]}"
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield files
        server.shutdown()
