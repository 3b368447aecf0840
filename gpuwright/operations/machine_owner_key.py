"""The key that dkms signs modules with, where the firmware checks signatures: staged here, confirmed at the console."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from typing_extensions import override

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations import dkms
from gpuwright.operations.kernel_modules import Loaded
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import failed, fields, script, show
from gpuwright.plan.stack_model import ModuleSet

_STATE = (
    dkms.SIGNING_KEY
    + """
printf '%s\\t%s\\n' "$(key_state)" "$certificate"
"""
)
# $1: a password for the console. One that was staged before stays: somebody may have it on paper.
_STAGE = (
    dkms.SIGNING_KEY
    + """
set -eu
umask 077
if [ ! -e "$key" ] || [ ! -e "$certificate" ]; then
    mkdir -p -m 0755 "${key%/*}"
    if [ "$key" = /var/lib/shim-signed/mok/MOK.priv ]; then
        rm -f "$certificate"
        SHIM_NOTRIGGER=y update-secureboot-policy --new-key
    else
        openssl req -new -x509 -nodes -days 36500 -subj '/CN=DKMS module signing key' -newkey rsa:2048 \\
            -keyout "$key.new" -outform DER -out "$certificate.new" 2>/dev/null
        chmod 0644 "$certificate.new"
        mv "$certificate.new" "$certificate"
        mv "$key.new" "$key"
    fi
fi
kept=/var/lib/gpuwright/mok-password
mkdir -p -m 0755 "${kept%/*}"
if [ "$(key_state)" = staged ] && [ -s "$kept" ]; then exec cat "$kept"; fi
printf '%s\\n%s\\n' "$1" "$1" | mokutil --import "$certificate" >/dev/null
printf '%s\\n' "$1" >"$kept.new"
mv "$kept.new" "$kept"
cat "$kept"
"""
)


@dataclass(frozen=True)
class KeyState:
    """`state` is enrolled, staged, unknown (to the firmware), missing, or unreadable; `certificate` its file."""

    state: str
    certificate: str


class SigningKey(FactBase[KeyState]):
    """Whether the firmware knows the certificate of the key that dkms signs with, or will sign with."""

    @override
    def command(self) -> StringCommand:
        return script(_STATE)

    @override
    @staticmethod
    def default() -> KeyState:
        return KeyState("unreadable", "")

    @override
    def process(self, output: list[str]) -> KeyState:
        ((state, certificate),) = fields(output, 2)
        return KeyState(state, certificate)


@operation()
def enrolled(modules: tuple[ModuleSet, ...]) -> Generator[PyinfraCommand]:
    """
    Have dkms's key known to a firmware that checks signatures: ask for it, and stop until somebody has confirmed it.

    + modules: those that dkms builds; where one is loaded, its signature was accepted
    """
    for each in modules:
        if not each.secure_boot or each.delivery != "dkms":
            continue
        # The kernel's own amdgpu has no version, dkms's modules have.
        if version := host.get_fact(Loaded, names=(each.name,)).get(each.name):
            host.noop(f"{each.name} {version} is loaded: its signature is accepted")
            continue
        there = host.get_fact(SigningKey)
        if there.state == "enrolled":
            host.noop(f"{there.certificate} is enrolled")
            continue
        show(
            f"{there.certificate}: {there.state}; the firmware is asked to enrol it, which somebody confirms"
        )
        yield FunctionCommand(_stage, (each, there.certificate), {})


def _stage(state: State, host: Host, each: ModuleSet, certificate: str) -> bool:
    """Always fails: nothing that is built now would load."""
    shell = RootShell(host)
    try:
        # Digits: MokManager knows no keyboard but the American one.
        answer = shell.run(_STAGE, f"{secrets.randbelow(10**8):08d}")
        if not answer.ok:
            raise GpuwrightError.of(
                "Secure Boot",
                f"the firmware could not be asked to enrol {certificate}: {answer.last}",
                "mokutil --import, through a shim",
                "Run it on the host by hand, or switch Secure Boot off in the firmware; then run again.",
            )
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return failed(state, host, (_at_the_console(each, certificate, answer.lines[-1]),))


def _at_the_console(each: ModuleSet, certificate: str, password: str) -> Refusal:
    return Refusal(
        "pending: enrol dkms's key",
        f"Secure Boot is on, and the firmware does not know {certificate}, which signs {each.module} on this host; its "
        "enrolment is staged (mokutil --import), and no driver was touched",
        "somebody at the console who confirms it once",
        "Reboot with the console open; within 10 seconds of the blue screen (Perform MOK management) press a key, then "
        f"Enroll MOK, Continue, Yes, password {password}, Reboot. Then run again.",
    )
