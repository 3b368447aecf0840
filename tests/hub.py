"""A model hub in miniature: the requests that gpuwright makes of one, with every request kept."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import unquote


@dataclass
class Hub:
    """Repositories as {name: {path: content}}; `.gguf` are LFS. `seen`: (path, authorization)."""

    repositories: dict[str, dict[str, bytes]]
    commit: str = "c0ffee" + "0" * 34
    url: str = ""
    seen: list[tuple[str, str | None]] = field(default_factory=list)

    def info(self, repo: str) -> bytes:
        """The answer to /api/models/<repo>/revision/<revision>?blobs=true."""
        siblings: list[dict[str, object]] = []
        for path, content in self.repositories[repo].items():
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            row: dict[str, object] = {"rfilename": path, "size": len(content), "blobId": git}
            if path.endswith(".gguf"):
                sha256 = hashlib.sha256(content).hexdigest()
                row["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
            siblings.append(row)
        return json.dumps({"id": repo, "sha": self.commit, "siblings": siblings, "tags": []}).encode()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        hub = cast("_Server", self.server).hub
        hub.seen.append((self.path, self.headers.get("Authorization")))
        parts = unquote(self.path.partition("?")[0]).strip("/").split("/")
        body = None
        if parts[:2] == ["api", "models"] and parts[4:] == ["revision", "main"]:
            body = hub.info("/".join(parts[2:4])) if "/".join(parts[2:4]) in hub.repositories else None
        elif parts[2:4] == ["resolve", hub.commit]:
            body = hub.repositories.get("/".join(parts[:2]), {}).get("/".join(parts[4:]))
        wanted = re.fullmatch(r"bytes=0-([0-9]+)", self.headers.get("Range", ""))
        if body is not None and wanted:
            body = body[: int(wanted[1]) + 1]
        self.send_response(404 if body is None else 206 if wanted else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: `seen` has it."""


class _Server(ThreadingHTTPServer):
    hub: Hub


@contextmanager
def hub_server(repositories: dict[str, dict[str, bytes]], address: str = "127.0.0.1") -> Iterator[Hub]:
    """Serve `repositories` on a free port of `address`."""
    hub = Hub(repositories)
    with _Server((address, 0), _Handler) as server:
        server.hub = hub
        hub.url = f"http://{address}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()
