"""Serves built repositories as an HTTP proxy would, so that apt sees the vendors' hosts and no packet leaves here."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from typing_extensions import override


class Server:
    """A proxy on this machine that knows only what it was given; anything else is 404."""

    def __init__(self) -> None:
        files: dict[str, Path] = {}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = files.get(self.path.replace("%3a", "%253a"), files.get(self.path))
                body = path.read_bytes() if path else b""
                self.send_response(200 if path else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            @override
            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the log would be test output."""

        self.files = files
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
