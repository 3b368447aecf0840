"""CDI specifications: made anew where they are no longer true of the host, and no stale copy beside them."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from typing_extensions import override

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations.cdi_host import SCRIPT, CdiHost, read
from gpuwright.operations.cdi_stale import beside, not_ready, stale, unit_amiss
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import failed, failure, script, show, would_change
from gpuwright.plan.stack_model import CdiSpec

_ENABLE = 'systemctl unmask --quiet "$1" && systemctl daemon-reload && systemctl enable --quiet "$1"'
_PREPARE = """
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
command=$1; shift
for node; do [ -c "$node" ] || exec sh -c "$command" 2>&1; done
"""
# A start that systemd skips for a condition ends well; whether a specification came of it is looked at afterwards.
_START = """
systemctl daemon-reload
systemctl reset-failed "$1" 2>/dev/null
began=$(date '+%F %T')
systemctl start "$1" >/dev/null 2>&1
journalctl --unit "$1" --since "$began" --lines 10 --no-pager --output cat
"""
_GENERATE = 'PATH=$PATH:/usr/local/bin; mkdir -p "${2%/*}" && sh -c "$1" 2>&1'


class CdiState(FactBase[CdiHost]):
    """The specifications on a host, and what they must be true of, as far as one vendor goes."""

    @override
    def command(self, vendor: str, module: str, tool: str, service: str) -> StringCommand:
        return script(f'{SCRIPT}\ncdi "$@"', vendor, module, tool, service)

    @override
    def process(self, output: list[str]) -> CdiHost:
        return read(output)


@operation()
def fresh(specs: tuple[CdiSpec, ...]) -> Generator[PyinfraCommand]:
    """
    Have each specification true of the host, now and after the next boot.

    + specs: where the driver is not loaded, or another version than the one on the disk, the step is pending
    """
    for spec in specs:
        if would_change(("kernel", spec.vendor, spec.toolkit)):
            show(f"{spec.path}: made anew")
            yield FunctionCommand(_make, (spec,), {})
            continue
        there = _state(spec)
        if reason := not_ready(spec, there):
            yield failure(_pending(spec, reason))
            return
        reasons = stale(spec, there, spec.path)
        if amiss := unit_amiss(spec, there):
            show(f"{spec.service}: {amiss} -> enabled")
        if reasons:
            show(f"{spec.path}: {'; '.join(reasons)} -> made anew")
        if amiss or reasons:
            yield FunctionCommand(_make, (spec,), {})
        else:
            host.noop(f"{spec.path} is true of the host")


@operation()
def alone(specs: tuple[CdiSpec, ...]) -> Generator[PyinfraCommand]:
    """
    Remove stale copies that the same tool wrote elsewhere; what somebody wrote by hand is named and stays.

    + specs: each with the places of its copies
    """
    for spec in specs:
        for other in beside(spec, _state(spec)):
            if other.what == "stale":
                show(f"{other.path}: a stale copy of {spec.path} ({other.why}) -> removed")
                yield script('rm -f "$1"', other.path)
            elif other.what == "clashes":
                yield failure(
                    Refusal(
                        f"CDI specification {other.path}",
                        f"it {other.why}, beside {spec.path}",
                        f"one specification of {spec.kind} in a directory: engines take neither of two",
                        "Move it away, or give its devices other names; it was not touched.",
                    )
                )
                return
            else:
                host.noop(f"{other.path} {other.why}: left as it is")


def _state(spec: CdiSpec) -> CdiHost:
    there: CdiHost = host.get_fact(
        CdiState, vendor=spec.vendor, module=spec.module, tool=spec.tool, service=spec.service
    )
    return there


def _make(state: State, host: Host, spec: CdiSpec) -> bool:
    """Nodes first: what is not there while it is made is not in it."""
    shell = RootShell(host)
    try:
        there = _state(spec)
        if reason := not_ready(spec, there):
            raise GpuwrightError(_pending(spec, reason))
        if unit_amiss(spec, there) and not (answer := shell.run(_ENABLE, spec.service)).ok:
            raise GpuwrightError.of(
                spec.service, answer.last, "a unit that starts at boot", "systemctl cat says what it is."
            )
        if not stale(spec, there, spec.path):
            return True
        if spec.prepare:
            shell.run(_PREPARE, " || ".join(spec.prepare), *spec.nodes)
        words = (_START, spec.service) if spec.service else (_GENERATE, spec.generate, spec.path)
        answer = shell.run(*words)
        if reasons := stale(spec, _state(spec), spec.path):
            raise GpuwrightError(_not_made(spec, reasons, answer.last))
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True


def _pending(spec: CdiSpec, observed: str) -> Refusal:
    return Refusal(
        f"pending: CDI specification {spec.path}",
        observed,
        "the driver loaded, in the version that lies on the disk: the specification is made from it",
        "Reboot the host, then run again. Where the driver does not load after that either: journalctl -k -b.",
    )


def _not_made(spec: CdiSpec, reasons: tuple[str, ...], said: str) -> Refusal:
    look = f"Run `{spec.generate}` by hand"
    if spec.service:
        look = (
            f"Read `journalctl -u {spec.service}`, and `systemctl cat {spec.service}`, whose environment file may "
            "send it elsewhere"
        )
    return Refusal(
        f"CDI specification {spec.path}",
        f"{'; '.join(reasons)}, although it was made anew just now ({said})",
        "a specification that is true of the host",
        f"{look}; then run again.",
    )
