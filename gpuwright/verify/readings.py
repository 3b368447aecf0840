"""What was read on a host, typed. A reading that is missing, cut off or malformed is None: never an empty answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeVar

from gpuwright.facts import HostFacts
from gpuwright.models.manifest import FoundFile
from gpuwright.plan.model import Json
from gpuwright.status_probe import pairs

ABSENT = "absent"
_MICROSECONDS = "%a %Y-%m-%d %H:%M:%S.%f %Z"

T = TypeVar("T")
Rows = dict[str, list[str]]


@dataclass(frozen=True)
class FileReading:
    """`kind` is the mode in octal digits, or `absent`, `link`, `other`; `digest` is sha256 in hex.

    `directory` is `root` where only root can write to it, so that nobody else can replace the file.
    """

    kind: str
    owner: str
    digest: str
    directory: str


@dataclass(frozen=True)
class UnitReading:
    """systemd's words for a unit; `began_ns` is when its start began, since the epoch, or None.

    `start` is the id of its present start.
    """

    load: str
    enabled: str
    active: str
    sub: str
    needs_reload: bool
    drop_ins: tuple[str, ...]
    began_ns: int | None
    start: str


@dataclass(frozen=True)
class Account:
    """An account of the host; `locked` when it has no usable password, `groups` are all of its groups."""

    uid: str
    gid: str
    shell: str
    locked: bool
    groups: tuple[str, ...]


@dataclass(frozen=True)
class EnvFileReading:
    """An environment file as the host judged it: how many keys of the right shape, and whether ids and GPUs fit.

    `words` are those by which the container gets its GPUs.
    """

    mode: str
    owner: str
    keys: str
    uid: str
    gid: str
    gpus: str
    words: str


@dataclass(frozen=True)
class Process:
    """A container's first process: capabilities are hexadecimal masks, `space` is its mount namespace."""

    pid: str
    space: str
    effective: str
    bounding: str
    no_new_privileges: str
    user: str


@dataclass(frozen=True)
class Listener:
    """A TCP socket that listens; `programs` are (name, pid), empty where the kernel does not say."""

    address: str
    port: int
    programs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Completion:
    """An answer to a question: the HTTP status, seconds for the whole request, and its JSON.

    The status is `000` where nothing answered, `foreign` where another account's process has the port.
    """

    code: str
    seconds: float
    body: dict[str, Json]


@dataclass(frozen=True)
class Readings:
    """All readings of one host; `sections` are the complete ones, `hashed` is false when hashing was left out."""

    facts: HostFacts
    sections: Mapping[str, str]
    hashed: bool = True

    @cached_property
    def packages(self) -> dict[str, str] | None:
        """dpkg's abbreviated status by package name: `ii` is installed, `un` unknown."""
        return self.columns("packages", 2, lambda row: row[0])

    @cached_property
    def files(self) -> dict[str, FileReading] | None:
        """Managed files by path, absent ones too."""
        return self.columns("files", 5, lambda row: FileReading(*row))

    @cached_property
    def units(self) -> dict[str, UnitReading] | None:
        """Units by name."""
        text = self.sections.get("units")
        if text is None:
            return None
        blocks = ("Unit=" + block for block in text.split("\nUnit=")[1:])
        return {block["Unit"]: _unit(block) for block in map(pairs, blocks) if "LoadState" in block}

    @cached_property
    def watches(self) -> dict[tuple[str, str], int | None] | None:
        """When a watched file changed, in ns since the epoch, by unit and path; None for an absent one."""
        rows = self.rows("watches", 3)
        if rows is None:
            return None
        return {(unit, path): int(ns) if ns.isdigit() else None for unit, path, ns in rows}

    @cached_property
    def manager(self) -> dict[str, str] | None:
        """Properties of the running service manager."""
        text = self.sections.get("manager")
        return None if text is None else pairs(text)

    @cached_property
    def clock_synchronised(self) -> str | None:
        """`yes` or `no`, as the kernel's clock says."""
        return self.sections.get("clock", "").strip() or None

    @cached_property
    def accounts(self) -> dict[str, Account | None] | None:
        """Accounts by name; None for one that does not exist."""
        return self.columns("accounts", 4, _account)

    @cached_property
    def env_files(self) -> dict[str, EnvFileReading] | None:
        """Environment files by path."""
        return self.columns("env_files", 8, lambda row: EnvFileReading(*row))

    @cached_property
    def texts(self) -> dict[str, str | None] | None:
        """Whole files by path; None for an absent one."""
        rows = self.rows("texts", 2, maxsplit=1)
        if rows is None:
            return None
        found: dict[str, str | None] = {}
        for path, value in rows:
            if value.startswith("="):
                found[path] = f"{found.get(path) or ''}{value[1:]}\n"
            else:
                found[path] = None if value == ABSENT else ""
        return found

    @cached_property
    def images(self) -> dict[str, str] | None:
        """The id of each image by its reference, or `absent`."""
        return self.columns("images", 2, lambda row: row[0])

    @cached_property
    def containers(self) -> dict[str, dict[str, Json] | None] | None:
        """What the engine says of each container; None for one that does not exist."""
        return self.columns("containers", 2, _container, maxsplit=1)

    @cached_property
    def variables(self) -> dict[tuple[str, str], str] | None:
        """Values of a container's planned variables by container and name, or `absent`."""
        rows = self.rows("variables", 3, maxsplit=2)
        return None if rows is None else {(name, variable): value for name, variable, value in rows}

    @cached_property
    def processes(self) -> dict[str, Process] | None:
        """First processes of the containers that run."""
        return self.columns("processes", 7, lambda row: Process(*row))

    @cached_property
    def listeners(self) -> tuple[Listener, ...] | None:
        """All TCP sockets that listen."""
        text = self.sections.get("listeners")
        if text is None:
            return None
        found = [_listener(line) for line in text.splitlines() if line.strip()]
        return None if None in found else tuple(listener for listener in found if listener is not None)

    @cached_property
    def owners(self) -> dict[str, str] | None:
        """Mount namespaces of listening processes, by pid."""
        return self.columns("owners", 2, lambda row: row[0])

    @cached_property
    def model_files(self) -> dict[str, FoundFile] | None:
        """The files below the models' directories, by path."""
        return self.columns("model_files", 3, lambda row: FoundFile(int(row[0]), int(row[1])))

    @cached_property
    def digests(self) -> dict[str, str] | None:
        """`sha256:` or `git-sha1:` and hex of model files, hashed again; `absent` for one that is gone."""
        return self.columns("digests", 2, lambda row: row[0])

    @cached_property
    def digest_seconds(self) -> float | None:
        """How long hashing took."""
        text = self.sections.get("digest_seconds", "").strip()
        return int(text) / 1e9 if text.isdigit() else None

    @cached_property
    def gpus(self) -> dict[str, str] | None:
        """The kernel driver of each GPU by PCI address, or `none`."""
        return self.columns("gpus", 2, lambda row: row[0])

    @cached_property
    def rungs(self) -> dict[str, tuple[str, str]] | None:
        """How far down a service is, "none" for not at all, and the words that it was started with, by name."""
        return self.columns("rungs", 3, lambda row: (row[0], row[1]))

    def names(self, section: str) -> tuple[str, ...] | None:
        """The lines of a section that is a list of names."""
        text = self.sections.get(section)
        return None if text is None else tuple(line for line in text.splitlines() if line.strip())

    def doors(self, service: str) -> tuple[str, str] | None:
        """HTTP status of a request without a key, and of one with a wrong key; `000` is no answer."""
        # curl ends with an error where nothing answers, so the text is what counts and not its exit code.
        codes = self.names(f"doors:{service}")
        return (codes[0], codes[1]) if codes is not None and len(codes) == 2 else None

    def completion(self, service: str) -> Completion | None:
        """The answer to the question that verify asked."""
        body, _, last = self.sections.get(f"completion:{service}", "").strip().rpartition("\n")
        found = re.fullmatch(r"(\d{3}|foreign) (\d+\.\d+)", last)
        if found is None:
            return None
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = {}
        return Completion(found[1], float(found[2]), parsed if isinstance(parsed, dict) else {})

    def rows(self, section: str, columns: int, maxsplit: int = -1) -> list[list[str]] | None:
        """The rows of a section, each with exactly so many tab-separated columns."""
        text = self.sections.get(section)
        if text is None:
            return None
        rows = [line.split("\t", maxsplit) for line in text.splitlines() if line.strip()]
        return rows if all(len(row) == columns for row in rows) else None

    def columns(
        self, section: str, columns: int, parse: Callable[[list[str]], T], maxsplit: int = -1
    ) -> dict[str, T] | None:
        """The rows of a section by their first column, the others parsed."""
        rows = self.rows(section, columns, maxsplit)
        try:
            return None if rows is None else {row[0]: parse(row[1:]) for row in rows}
        except (ValueError, TypeError, IndexError):
            return None


def _unit(block: Mapping[str, str]) -> UnitReading:
    try:
        began = datetime.strptime(block.get("InactiveExitTimestamp", ""), _MICROSECONDS).replace(tzinfo=UTC)
        # Through timedelta: a float of this size has no room for microseconds.
        since = began - datetime.fromtimestamp(0, UTC)
        began_ns = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    except ValueError:
        began_ns = None
    return UnitReading(
        load=block["LoadState"],
        enabled=block.get("UnitFileState", ""),
        active=block.get("ActiveState", ""),
        sub=block.get("SubState", ""),
        needs_reload=block.get("NeedDaemonReload") != "no",
        drop_ins=tuple(block.get("DropInPaths", "").split()),
        began_ns=began_ns,
        start=block.get("InvocationID", ""),
    )


def _account(row: list[str]) -> Account | None:
    if row[0] == ABSENT:
        return None
    uid, gid, _, shell = row[0].split(":")
    return Account(uid, gid, shell, row[1] in ("L", "LK"), tuple(row[2].split(",")))


def _container(row: list[str]) -> dict[str, Json] | None:
    if row[0] == ABSENT:
        return None
    parsed = json.loads(row[0])
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed


def _listener(line: str) -> Listener | None:
    columns = line.split()
    address, _, port = columns[3].rpartition(":") if len(columns) > 4 else ("", "", "")
    if not port.isdigit():
        return None
    programs = re.findall(r'\("([^"]*)",pid=(\d+)', " ".join(columns[5:]))
    return Listener(address, int(port), tuple(programs))
