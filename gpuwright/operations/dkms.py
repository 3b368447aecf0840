"""dkms: whether modules would build, asked where nothing of the host changes, and why they do not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations.root_shell import Shell

# Where dkms installs (dkms(8), DEST_MODULE_LOCATION): depmod prefers it to the kernel's own modules.
INSTALLED = "/updates/"
# Packages that a build needs of a kernel or a driver; images, modules and firmware are large and not among them.
NEEDED = re.compile(
    r"linux-(headers|kbuild|compiler)-|linux-.*-headers-|(gcc|cpp|binutils|libgcc)-|lib(cc1|isl|mpc|mpfr|gcc).*|.*-dkms"
)
_ERROR = re.compile(r"(: (fatal )?error: |^ERROR: modpost: |: undefined reference to |\*\*\* .*\. +Stop\.)")

# Sets $key and $certificate as dkms(8) chooses them: framework.conf's, else Ubuntu's of shim-signed, else its own.
# `key_state` says what the firmware knows of it. mokutil's words are for people; its exit codes differ by version.
SIGNING_KEY = """
mok_signing_key= mok_certificate=
for file in /etc/dkms/framework.conf /etc/dkms/framework.conf.d/*.conf; do
    if [ -r "$file" ]; then . "$file"; fi
done
key=${mok_signing_key:-/var/lib/dkms/mok.key} certificate=${mok_certificate:-/var/lib/dkms/mok.pub}
if [ -z "$mok_signing_key" ] && grep -q '^ID=ubuntu$' /etc/os-release; then
    key=/var/lib/shim-signed/mok/MOK.priv certificate=/var/lib/shim-signed/mok/MOK.der
fi
key_state() {
    if [ ! -e "$certificate" ]; then echo missing; return; fi
    case $(LC_ALL=C mokutil --test-key "$certificate" 2>&1) in
    *'is already enrolled'*) echo enrolled ;;
    *'already in the enrollment request'*) echo staged ;;
    *'is not enrolled'*) echo unknown ;;
    *) echo unreadable ;;
    esac
}
"""
# make.log of every module that is not built for a kernel, newest first.
_LOGS = """
for log in $(ls -t /var/lib/dkms/*/*/build/make.log 2>/dev/null); do
    echo "gpuwright: log $log"; cat "$log"
done
"""


@dataclass(frozen=True)
class BuildFailure:
    """Why a module did not build: the first error of compiler or linker, and what it is known to mean ("" if not)."""

    module: str
    error: str
    meaning: str

    def refusal(self, required: str, remedy: str) -> Refusal:
        """As the host's user reads it."""
        meaning = f"; known cause: {self.meaning}" if self.meaning else ""
        return Refusal("dkms", f"{self.module}: {self.error}{meaning}", required, remedy)


def try_build(
    shell: Shell,
    packages: Iterable[str],
    kernels: Iterable[str],
    known: tuple[tuple[str, str], ...],
    *,
    new: bool = False,
) -> BuildFailure | None:
    """Build for `kernels` as if `packages` (name=version) were installed; None where all modules build.

    `new`: the modules that `packages` bring are tried, else those that dkms has. Raises GpuwrightError where nobody
    could try.
    """
    trial = files("gpuwright.operations").joinpath("dkms_trial.sh").read_text()
    which = "new" if new else "installed"
    answer = shell.run('unshare --mount sh -c "$@" 2>&1', trial, "sh", which, " ".join(kernels), *packages)
    if answer.ok:
        return None
    failed = next((line for line in reversed(answer.said) if "does not build for" in line), "")
    if not failed:
        raise GpuwrightError.of(
            "dkms",
            f"the modules could not be tried: {'; '.join(answer.said[-3:])[:400]}",
            "a trial build, before anything is installed",
            "Repair what it says, then run again; nothing was changed.",
        )
    return failure(failed.removeprefix("gpuwright: "), answer.said, known)


def failed_build(shell: Shell, known: tuple[tuple[str, str], ...]) -> BuildFailure | None:
    """Why the last build failed, from the log that dkms leaves then; None where it left none."""
    said = shell.run(_LOGS).said
    if not said:
        return None
    name = re.sub(r".*/dkms/([^/]+/[^/]+)/build/make.log$", r"\1", said[0])
    return failure(f"{name} does not build", said, known)


def failure(module: str, log: Iterable[str], known: tuple[tuple[str, str], ...]) -> BuildFailure:
    """The first error in a log, without the build directory's path."""
    errors = [line.strip() for line in log if _ERROR.search(line)]
    first = re.sub(r"^/var/(lib|tmp)/\S+?/build/", "", errors[0]) if errors else "the log names no error"
    meaning = next((m for pattern, m in known if any(re.search(pattern, e) for e in errors)), "")
    return BuildFailure(module, first[:300], meaning)
