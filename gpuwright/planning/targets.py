"""What `facts`, `plan` and `explain` are asked about: recorded facts, machines, inventories and hosts.

pyinfra is imported only where a host has to be asked: recorded facts are planned in a second without it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts

MACHINE = "machine.toml"
FACTS = "facts.json"


@dataclass(frozen=True)
class Target:
    """A host, with its facts or the reasons why they could not be read; `data` may hold secrets.

    `source` is the inventory or the facts file that it comes from: what is recorded of models lies beside it.
    """

    host: str
    facts: HostFacts | None
    data: Mapping[str, object] = field(default_factory=dict, repr=False)
    refusals: tuple[Refusal, ...] = ()
    source: Path | None = None


def read(arguments: Sequence[str], inventory: Path | None, limit: tuple[str, ...]) -> Iterator[Target]:
    """The hosts behind `arguments`, in order: a facts file, a machine's directory, an inventory, or a host's name.

    What cannot be read is a Target with refusals. typer.BadParameter for a `limit` that an inventory does not have.
    """
    for argument in arguments:
        path = Path(argument)
        try:
            if not argument.strip():
                raise _unusable(argument)
            if path.is_dir():
                yield _machine(path)
            elif path.suffix == ".json":
                yield _file(path)
            elif path.suffix == ".py":
                yield from _inventory(path, limit)
            elif path.exists() or ("/" in argument and not argument.startswith("@")):
                raise _unusable(argument)
            else:
                yield _named(argument, inventory)
        except GpuwrightError as error:
            yield Target(argument, None, {}, error.refusals)
        except OSError as error:  # a directory that is closed, a name that is too long
            observed = f"cannot be looked at ({error.strerror or error})"
            refusal = Refusal(f"target {argument[:80]}", observed, "a path to read", "Check the path.")
            yield Target(argument[:80], None, {}, (refusal,))


def settings_beside(path: Path) -> dict[str, object]:
    """The settings of the machine.toml beside a facts file; none where there is none."""
    machine = path.parent / MACHINE
    if not machine.is_file():
        return {}
    try:
        about = tomllib.loads(machine.read_text(encoding="utf-8"))
    except OSError as error:
        observed = f"cannot be read ({error.strerror or error})"
        raise GpuwrightError.of(str(machine), observed, "a file to read", "Correct it.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GpuwrightError.of(str(machine), f"is no TOML ({error})", "TOML", "Correct it.") from error
    settings = about.get("settings", {})
    if not isinstance(settings, dict):
        raise GpuwrightError.of(str(machine), "settings is no table", "[settings]", "Correct it.")
    return settings


def _unusable(argument: str) -> GpuwrightError:
    if not argument.strip():
        return GpuwrightError.of("target", "is empty", "a file, a directory or a host's name", "Name one.")
    observed = "is neither" if Path(argument).exists() else "there is no such file"
    required = "facts (.json), an inventory (.py), or a machine's directory"
    return GpuwrightError.of(f"target {argument}", observed, required, "Check the path.")


def _machine(directory: Path) -> Target:
    facts = directory / FACTS
    if not facts.is_file():
        raise GpuwrightError.of(
            f"directory {directory}",
            f"has no {FACTS}",
            f"a machine's directory: {FACTS}, and {MACHINE} for its settings",
            f"`gpuwright facts HOST --json > {facts}` makes one.",
        )
    return _file(facts)


def _file(path: Path) -> Target:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise GpuwrightError.of(
            f"facts {path}", error.strerror or str(error), "a file to read", "Check the path."
        ) from error
    try:
        facts = HostFacts.from_json(text)
    except GpuwrightError as error:
        (refusal,) = error.refusals
        other = _other_file(text)
        observed, required = (other, "a facts file") if other else (refusal.observed, refusal.required)
        # No redirection into `path`: it may be a file that has nothing to do with facts.
        remedy = "`gpuwright facts HOST --json` prints one for one host."
        raise GpuwrightError.of(f"facts {path}", observed, required, remedy) from error
    return Target(_label(path), facts, settings_beside(path), source=path)


def _other_file(text: bytes) -> str:
    """Which of our other JSON files it is, "" where it is none of them."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if isinstance(content, dict) and "answers" in content:
        return f"is a recording; its facts are in {FACTS} beside it"
    if isinstance(content, dict) and "hosts" in content:
        return "is what a command said of hosts, not the facts of one"
    return ""


def _label(path: Path) -> str:
    """A machine's directory names it; its other facts (facts_after.json) add their own name."""
    directory = path.absolute().parent.name
    return directory if path.name == FACTS else f"{directory}/{path.stem}"


def _inventory(path: Path, limit: tuple[str, ...]) -> Iterator[Target]:
    from gpuwright.inventory import load
    from gpuwright.planning.hosts import ask_all
    from gpuwright.selection import chosen

    loaded = load(path)
    yield from ask_all([loaded.host(name) for name in chosen(loaded, limit)])


def _named(name: str, inventory: Path | None) -> Target:
    from gpuwright.inventory import find_host
    from gpuwright.planning.hosts import ask

    return ask(find_host(name, inventory))
