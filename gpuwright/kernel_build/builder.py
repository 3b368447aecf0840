"""The builder: a container of a release's sandbox image that does not outlive the command that made it."""

from __future__ import annotations

import io
import posixpath
import signal
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container

from gpuwright.errors import GpuwrightError
from gpuwright.paths import state_dir
from gpuwright.sandbox import base_image, engine, mirrors, state
from gpuwright.sandbox.recipe import RELEASES, recipe

LABEL = "gpuwright.kernel-build"
SECRETS = "/run/secrets-of-build"  # in memory: keys are never written to the engine's disk
CPU_SHARES = 512  # half of a container's usual weight: a build is nobody's hurry
LONGEST_SILENCE_S = 6 * 3600
KEPT_LINES = 400

Progress = Callable[[str], None]


class Builder:
    """A root shell in a container, and its files."""

    def __init__(self, client: docker.DockerClient, container: Container, base: str) -> None:
        self._client = client
        self._container = container
        self._base = base

    def run(
        self, step: str, script: str, *, each: Progress | None = None, remedy: str = "", **environment: str
    ) -> str:
        """Run a script of sh; its output. `each` gets every line as it comes. GpuwrightError with its last words.

        Values arrive as variables of the environment, by their names in capitals.
        """
        api = self._client.api
        variables = {name.upper(): value for name, value in environment.items()}
        try:
            call = api.exec_create(self._container.id, ["sh", "-euc", script], environment=variables)["Id"]
            said = _lines(api.exec_start(call, stream=True), each)
            code = int(api.exec_inspect(call)["ExitCode"] or 0)
        except DockerException as error:
            raise self._failed(step, f"the engine ended it: {error}", remedy) from error
        if code != 0:
            raise self._failed(step, f"exit code {code}: {_last_words(said)}", remedy)
        return "\n".join(said)

    def read(self, path: str) -> bytes:
        """The content of a file."""
        with self._archive(path) as archive:
            member = archive.next()
            stream = archive.extractfile(member) if member else None
            return stream.read() if stream else b""

    def write(self, path: str, content: bytes) -> None:
        """Make a file of root's; its folder must be there."""
        member = tarfile.TarInfo(posixpath.basename(path))
        member.size = len(content)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(member, io.BytesIO(content))
        self._container.put_archive(posixpath.dirname(path), buffer.getvalue())

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file to this machine: beside it first, then renamed."""
        beside = target.with_name(f".{target.name}.part")
        try:
            with self._archive(path) as archive, beside.open("wb") as out:
                member = archive.next()
                stream = archive.extractfile(member) if member else None
                while stream and (piece := stream.read(1 << 20)):
                    out.write(piece)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)

    @contextmanager
    def _archive(self, path: str) -> Iterator[tarfile.TarFile]:
        try:
            pieces, _ = self._container.get_archive(path)
            with tarfile.open(fileobj=_Stream(pieces), mode="r|") as archive:
                yield archive
        except DockerException as error:
            raise self._failed(f"reading {path}", str(error), "") from error

    def _failed(self, step: str, observed: str, remedy: str) -> GpuwrightError:
        again = "Correct it and run again; the builder is gone, nothing was changed."
        return GpuwrightError.of(f"{self._base} builder, {step}", observed, "exit code 0", remedy or again)


@contextmanager
def builder(base: str, suite: str, progress: Progress) -> Iterator[Builder]:
    """A builder of a release ("debian13") with `suite`, where it is given, in its apt sources; it goes in the end.

    Its first process reads from this one: where this one dies in whatever way, the engine ends and removes it.
    """
    signal.signal(signal.SIGTERM, _terminated)
    client = engine.connect(timeout_s=LONGEST_SILENCE_S)
    found = mirrors.from_machine()
    wanted = recipe(base, found, mirrors.apt_options())
    sources = _sources(found, base, suite)
    with state.locked(state_dir()):
        if not base_image.exists(client, wanted):
            progress(f"building a {base} base image from packages (once, about a minute)")
        image = base_image.ensure(client, wanted, state_dir() / "cache")
    progress(f"starting a {base} builder")
    api = client.api
    host = api.create_host_config(
        auto_remove=True, cpu_shares=CPU_SHARES, tmpfs={SECRETS: "mode=700,size=1m"}
    )
    made = api.create_container(image, ["cat"], stdin_open=True, labels={LABEL: base}, host_config=host)["Id"]
    lifeline = None
    try:
        lifeline = api.attach_socket(made, params={"stdin": 1, "stream": 1})
        api.start(made)
        tools = Builder(client, client.containers.get(made), base)
        if sources:
            tools.write("/etc/apt/sources.list.d/kernel-build.sources", sources.encode())
        yield tools
    finally:
        _remove(client, made)
        if lifeline is not None:
            lifeline.close()


def _sources(found: mirrors.Mirrors, base: str, suite: str) -> str:
    """A suite beyond the release's own as apt wants it; "" for none."""
    if not suite:
        return ""
    main = found.sources(RELEASES[base])
    if not main:
        raise GpuwrightError.of(
            "apt's sources of this machine",
            "name no Debian archive",
            f"one: the builder gets {suite} from there",
            "Add it to /etc/apt/sources.list.d/.",
        )
    return mirrors.render_deb822([replace(main[0], suite=suite)])


def _remove(client: docker.DockerClient, container: str) -> None:
    """Remove the container; one that is going already is as good."""
    try:
        client.api.remove_container(container, force=True, v=True)
    except NotFound:
        return
    except APIError as error:
        if "already in progress" not in str(error.explanation):
            raise


def _terminated(signal_number: int, _frame: FrameType | None) -> None:
    """Leave through exceptions, so that the builder goes."""
    sys.exit(128 + signal_number)


def _lines(pieces: Iterator[bytes], each: Progress | None) -> list[str]:
    """What was said, by lines; of what somebody listens to only the end is kept."""
    said: list[str] = []
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            text = line.decode(errors="replace").rstrip("\r")
            said.append(text)
            if each is not None:
                each(text)
        if each is not None:
            del said[:-KEPT_LINES]
    return [*said, rest.decode(errors="replace")] if rest else said


def _last_words(said: list[str]) -> str:
    """The lines that say what was wrong, or the last ones."""
    errors = [line for line in said if "rror: " in line or line.startswith("E: ") or " *** " in line]
    return " | ".join(line.strip() for line in (errors[:6] or said[-6:]))[:1200]


class _Stream(io.RawIOBase):
    """The engine's pieces of an archive as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        taken, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return taken
