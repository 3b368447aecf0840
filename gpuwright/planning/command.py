"""`gpuwright facts|plan|explain`: read targets, print, and say how it ends."""

from __future__ import annotations

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
from gpuwright.plan import HostPlan
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
        sys.stdout.write(known[0][1].to_json())  # a facts file, as `gpuwright plan` reads it
    elif as_json:
        hosts: list[Json] = [{"host": host, "facts": _plain(facts)} for host, facts in known]
        _print_json({"schema": SCHEMA, "hosts": hosts + [each.to_json() for each in failed]})
    else:
        for host, facts in known:
            Console().print(facts_view.render(host, facts, catalog.load().gpus), highlight=False)
    view.show_refusals(failed, Console(stderr=True))
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
        view.show_plans(hosts, Console())
    return code


def show_difference(
    arguments: Sequence[str], inventory: Path | None, overrides: Mapping[str, object], as_json: bool
) -> int:
    """Print where the plans of two hosts differ; exit code 0: nowhere. typer.BadParameter for any other number."""
    hosts = [planned(each, overrides) for each in targets.read(arguments, inventory, ())]
    if len(hosts) != 2:
        raise typer.BadParameter(f"compares two hosts, not {len(hosts)}", param_hint="--diff")
    (first, first_plan), (second, second_plan) = (_must(host) for host in hosts)
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
        Console().print(view.differences(first, second, found), highlight=False)
    else:
        Console().print(f"{first} and {second} get the same plan.", highlight=False, markup=False)
    return code


def show_reasons(
    target: str, path: str, inventory: Path | None, overrides: Mapping[str, object], as_json: bool
) -> int:
    """Print every value of a host's plan at and below `path`, with its reason and source."""
    hosts = [planned(each, overrides) for each in targets.read([target], inventory, ())]
    if len(hosts) != 1:
        raise typer.BadParameter(f"{target} has {len(hosts)} hosts: name one of them", param_hint="TARGET")
    host, plan = _must(hosts[0])
    leaves = explained(plan, catalog.load(), path)
    if as_json:
        _print_json(
            {
                "schema": SCHEMA,
                "host": host,
                "digest": plan.digest,
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
    else:
        Console().print(view.explanation(leaves), highlight=False, soft_wrap=True)
    return PLANNED


def _must(host: Planned) -> tuple[str, HostPlan]:
    """The plan of a host that cannot be done without. GpuwrightError with the refusals of one that has none."""
    if host.plan is None:
        raise GpuwrightError(*host.refusals)
    return host.host, host.plan


def _plain(facts: HostFacts) -> Json:
    plain: Json = json.loads(facts.to_json())
    return plain


def _print_json(value: Mapping[str, Json]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n")
