"""What a sandbox consists of, in one JSON file that the inventory reads too."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from gpuwright.errors import GpuwrightError

SCHEMA = 1
CONTAINER, VM = "container", "vm"


@dataclass(frozen=True)
class HostRecord:
    """How to reach one sandbox host. `os` is a key of `recipe.RELEASES`; no password means NOPASSWD.

    `machine` is what it is made of: all hosts of one sandbox are containers, or all are VMs.
    """

    name: str
    address: str
    port: int
    user: str
    key: str
    known_hosts: str
    os: str
    sudo_password: str | None = None
    machine: str = CONTAINER


@dataclass(frozen=True)
class State:
    """Hosts in the order they were made, and ids of images built on this machine by purpose."""

    hosts: tuple[HostRecord, ...] = ()
    images: dict[str, str] = field(default_factory=dict)

    def host(self, name: str) -> HostRecord:
        """The record called `name`; GpuwrightError names those that exist."""
        for record in self.hosts:
            if record.name == name:
                return record
        known = ", ".join(record.name for record in self.hosts) or "none"
        raise GpuwrightError.of(
            f"sandbox host {name}", f"unknown (there is: {known})", "a host of this sandbox", "See `list`."
        )

    def with_image(self, purpose: str, image_id: str) -> State:
        """A copy that knows one more image."""
        return replace(self, images={**self.images, purpose: image_id})


def state_file(directory: Path) -> Path:
    """Where the state of the sandbox in `directory` lies."""
    return directory / "sandbox.json"


def label(directory: Path) -> str:
    """Ten characters that tell this state directory's containers and volumes from another's."""
    return hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:10]


def load(directory: Path) -> State:
    """The state, empty when there is none; GpuwrightError when the file is not one of ours."""
    path = state_file(directory)
    try:
        document = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']}")
        hosts = tuple(HostRecord(**entry) for entry in document["hosts"])
        return State(hosts, {str(key): str(value) for key, value in document["images"].items()})
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GpuwrightError.of(
            f"sandbox state {path}",
            f"cannot be read ({type(error).__name__}: {error})",
            f"JSON of schema {SCHEMA}",
            "Run `gpuwright sandbox down`: it finds the hosts by their labels, not by this file.",
        ) from error


def save(directory: Path, state: State) -> None:
    """Write the state beside and rename, readable by its owner only: it may hold a sudo password."""
    document = {"schema": SCHEMA, "hosts": [asdict(host) for host in state.hosts], "images": state.images}
    write_private(state_file(directory), json.dumps(document, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one command at a time change the sandbox of `directory`; a second waits for the first."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "sandbox.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
