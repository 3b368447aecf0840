"""`gpuwright record`: a host becomes a directory that can be planned, and replayed, without it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

from pyinfra.api.host import Host

from gpuwright.connectors.recording import Recording
from gpuwright.connectors.tape import Tape
from gpuwright.drift.mask import secrets_of
from gpuwright.drift.plan_run import plan_run
from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.inventory import HostEntry, find_host
from gpuwright.operations.files import FileText
from gpuwright.planning.planned import declared
from gpuwright.planning.targets import MACHINE, settings_beside
from gpuwright.stamp import PATH as STAMP


def record(
    name: str, directory: Path, inventory: Path | None, after: bool
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write a machine's files; gives their paths, and why a dry run would not get through where it would not.

    A machine.toml and facts that are there already stay. The settings are those of the machine.toml, or the host's
    own where there is none yet.
    """
    entry = find_host(name, inventory)
    machine = directory / MACHINE
    settings = settings_beside(machine) if machine.is_file() else declared(entry.data)
    recording, reasons = ask(with_settings(entry, settings), deployed=after)
    directory.mkdir(parents=True, exist_ok=True)
    suffix = "_after" if after else ""
    facts = directory / f"facts{suffix}.json"
    written = [directory / f"recording{suffix}.json"]
    written[0].write_text(recording.to_json(), encoding="utf-8")
    if not facts.exists():
        facts.write_text(recording.facts.to_json(), encoding="utf-8")
        written.append(facts)
    if not machine.exists():
        machine.write_text(_about(settings), encoding="utf-8")
        written.append(machine)
    return tuple(written), reasons


def ask(
    entry: HostEntry, facts: HostFacts | None = None, deployed: bool = False
) -> tuple[Recording, tuple[str, ...]]:
    """What a dry run asks of a host and its answers, and why it ended early where it did.

    With `facts` the host answers as if it were that machine. GpuwrightError where its facts cannot be read.
    """
    tape = Tape(facts, secrets_of(entry.data))

    def listen(host: Host) -> None:
        tape.listen(host)
        if deployed:
            # A dry run asks for it only once a newer catalogue or release has changed the plan's digest.
            host.get_fact(FileText, path=STAMP)

    drift = plan_run(entry, listen)
    if tape.recording is None:
        raise GpuwrightError.of(
            f"host {entry.name}", "; ".join(drift.reasons), "a host that can be read", "See the reason."
        )
    return tape.recording, drift.reasons


def with_settings(entry: HostEntry, settings: Mapping[str, object]) -> HostEntry:
    """The host, reached as before, with `settings` in the place of its own."""
    own = declared(entry.data)
    kept = {key: value for key, value in entry.data.items() if key not in own}
    return replace(entry, data={**kept, **settings})


def _about(settings: Mapping[str, object]) -> str:
    """machine.toml: JSON's scalars and lists are TOML's, and inline tables take the rest."""
    lines = [
        'provenance = "recorded"',
        f'source = "gpuwright record, {date.today().isoformat()}"',
        "",
        "[settings]",
        *(f"{key} = {_toml(value)}" for key, value in sorted(settings.items())),
    ]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
