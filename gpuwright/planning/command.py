"""`gpuwright facts|plan|explain`: read targets, print, and say how it ends."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.console import Console

from gpuwright import catalog
from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.facts.redact import redacted
from gpuwright.plan.model import Json
from gpuwright.planning import facts_view, targets, view
from gpuwright.planning.compare import compare
from gpuwright.planning.explained import explained
from gpuwright.planning.planned import Planned, planned

SCHEMA = 1
PLANNED = 0
REFUSED = 1
DIFFERS = 2


def show_facts(
    arguments: Sequence[str], inventory: Path | None, limit: tuple[str, ...], raw: bool, as_json: bool
) -> int:
    """Print the facts of hosts, without serial numbers and addresses of hardware unless `raw`."""
    read = list(targets.read(arguments, inventory, limit))
    known = [(each.host, each.facts if raw else redacted(each.facts)) for each in read if each.facts]
    failed = [Planned(each.host, None, None, each.refusals) for each in read if each.facts is None]
    if as_json and len(read) == 1 and known:
        _write(known[0][1].to_json())  # a facts file, as `gpuwright plan` reads it
    elif as_json:
        hosts: list[Json] = [{"host": host, "facts": _plain(facts)} for host, facts in known]
        _print_json({"schema": SCHEMA, "hosts": hosts + [each.to_json() for each in failed]})
    else:
        for host, facts in known:
            _console().print(facts_view.render(host, facts, catalog.load().gpus), highlight=False)
    view.show_refusals(failed, _console(stderr=True))
    return REFUSED if failed else PLANNED


def show_plans(
    arguments: Sequence[str],
    inventory: Path | None,
    limit: tuple[str, ...],
    overrides: Mapping[str, object],
    as_json: bool,
) -> int:
    """Print the plan of each host, or all reasons why it has none."""
    hosts = [planned(each, overrides) for each in targets.read(arguments, inventory, limit)]
    code = REFUSED if any(host.plan is None for host in hosts) else PLANNED
    if as_json:
        _print_json({"schema": SCHEMA, "hosts": [host.to_json() for host in hosts], "exit_code": code})
    else:
        view.show_plans(hosts, _console())
    return code


def show_difference(
    arguments: Sequence[str],
    inventory: Path | None,
    limit: tuple[str, ...],
    overrides: Mapping[str, object],
    as_json: bool,
) -> int:
    """Print where the plans of two hosts differ; exit code 0: nowhere. typer.BadParameter for any other number."""
    hosts = [planned(each, overrides) for each in targets.read(arguments, inventory, limit)]
    if len(hosts) != 2:
        raise typer.BadParameter(f"compares two hosts, not {len(hosts)}", param_hint="--diff")
    first, second = (host.host for host in hosts)
    plans = [host.plan for host in hosts if host.plan is not None]
    if len(plans) < len(hosts):
        return _refused(hosts, as_json)
    first_plan, second_plan = plans
    found = compare(first_plan, second_plan)
    code = DIFFERS if found else PLANNED
    if as_json:
        sides: list[Json] = [
            {"host": first, "digest": first_plan.digest},
            {"host": second, "digest": second_plan.digest},
        ]
        _print_json(
            {
                "schema": SCHEMA,
                "hosts": sides,
                "differences": [each.to_json() for each in found],
                "exit_code": code,
            }
        )
    elif found:
        _console().print(view.differences(first, second, found), highlight=False)
    else:
        _console().print(
            f"{first} and {second} get the same plan.", highlight=False, markup=False, soft_wrap=True
        )
    return code


def show_reasons(
    target: str, path: str, inventory: Path | None, overrides: Mapping[str, object], as_json: bool
) -> int:
    """Print every value of a host's plan at and below `path`, with its reason and source."""
    hosts = [planned(each, overrides) for each in targets.read([target], inventory, ())]
    if len(hosts) != 1:
        raise typer.BadParameter(f"{target} has {len(hosts)} hosts: name one of them", param_hint="TARGET")
    (host,) = hosts
    if host.plan is None:
        return _refused(hosts, as_json)
    try:
        leaves = explained(host.plan, catalog.load(), path)
    except GpuwrightError as error:
        return _refused([Planned(host.host, host.facts, None, error.refusals)], as_json)
    if as_json:
        _print_json(
            {
                "schema": SCHEMA,
                "host": host.host,
                "digest": host.plan.digest,
                "leaves": [
                    {
                        "path": leaf.path,
                        "value": leaf.value,
                        "reason": leaf.reason,
                        "source": leaf.source,
                        "memory": leaf.memory,
                    }
                    for leaf in leaves
                ],
            }
        )
    elif leaves:
        _console().print(view.explanation(leaves), highlight=False, soft_wrap=True)
    else:
        _console().print(
            f"{path} is empty: nothing of it is planned for {host.host}.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return PLANNED


def _refused(hosts: Sequence[Planned], as_json: bool) -> int:
    """Why there is nothing to compare or to explain, for each host that has no plan."""
    listed = [host for host in hosts if host.plan is None]
    if as_json:
        _print_json({"schema": SCHEMA, "hosts": [host.to_json() for host in listed], "exit_code": REFUSED})
    else:
        view.show_refusals(listed, _console(stderr=True))
    return REFUSED


def _plain(facts: HostFacts) -> Json:
    plain: Json = json.loads(facts.to_json())
    return plain


def _print_json(value: Mapping[str, Json]) -> None:
    _write(json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n")


def _write(text: str) -> None:
    """JSON is UTF-8, whatever the terminal's locale is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def _console(stderr: bool = False) -> Console:
    """A question mark for what the terminal's locale cannot show."""
    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")
    return Console(stderr=stderr)
