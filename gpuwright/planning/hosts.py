"""Facts of hosts that are asked now, over the connection that a deploy would use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from gpuwright.connection import connect
from gpuwright.connectors.recording import Recording
from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.inventory import HostEntry
from gpuwright.planning.targets import Target
from gpuwright.probing import probe
from gpuwright.unattended import never_prompt_without_a_terminal

JOBS = 8
LOCAL = "@local"


def ask_all(entries: Sequence[HostEntry]) -> Iterator[Target]:
    """A Target for each host, in order; several are asked at the same time.

    This machine itself is asked from the main thread: pyinfra's connector for it starts processes through gevent, which
    no other thread may wait for.
    """
    here = {entry.name: ask(entry) for entry in entries if entry.name.startswith(LOCAL)}
    with ThreadPoolExecutor(max_workers=JOBS) as pool:
        others = pool.map(ask, [entry for entry in entries if entry.name not in here])
        for entry in entries:
            yield here[entry.name] if entry.name in here else next(others)


def ask(entry: HostEntry) -> Target:
    """The host's facts, or why they could not be read."""
    never_prompt_without_a_terminal()
    try:
        return Target(entry.name, _facts(entry), entry.data, source=entry.source)
    except GpuwrightError as error:
        return Target(entry.name, None, entry.data, error.refusals)


def _facts(entry: HostEntry) -> HostFacts:
    if entry.name.startswith("@replay/"):
        return Recording.read(str(entry.data["replay_recording"])).facts
    with connect(entry) as connection:
        return probe(connection)
