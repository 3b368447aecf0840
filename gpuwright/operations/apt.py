"""apt for packages that change only together: simulated, downloaded, then installed; its failures are named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations.root_shell import Answer, Shell

# Downloaded packages stay: sources drop old versions, and a rollback needs them. Two versions of each.
STORE = "/var/lib/gpuwright/packages"
_PRUNE = 'cd "$1" && ls -t | awk -F _ \'/[.]deb$/ && ++count[$1] > 2\' | while read -r name; do rm -f "$name"; done'

# "Inst nvidia-smi [550.1] (550.2 Debian:13.7/stable [amd64]) []", "Remv name [version]"
_INST = re.compile(r"^Inst (?P<name>\S+) (?:\[(?P<old>[^\]]+)\] )?\((?P<new>\S+) ")
_REMV = re.compile(r"^Remv (?P<name>\S+)")

_OPTIONS = """
timeout=$1 suite=$2 downgrades=$3 store=$4; shift 4
mkdir -p "$store/partial" || exit
set -- -o Dir::Cache::archives="$store/" -o DPkg::Lock::Timeout="$timeout" \\
    --yes --no-install-recommends --allow-change-held-packages --ignore-hold -o Dpkg::Options::=--force-confold "$@"
if [ -n "$suite" ]; then set -- --target-release "$suite" "$@"; fi
if [ "$downgrades" = yes ]; then set -- --allow-downgrades "$@"; fi
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
"""
_SIMULATE = f'{_OPTIONS} apt-get -q --simulate install "$@"'
_DOWNLOAD = f'{_OPTIONS} apt-get -q --download-only install "$@"'
# In a session of its own, writing to a file: a cut connection must not end dpkg in the middle of a package. What takes
# minutes shows where it is; all of it is in the log, for whoever has to explain a failure.
_INSTALL = f"""{_OPTIONS}
log=$store/last.log
: >"$log" || exit
setsid sh -c 'apt-get -q install "$@"; echo "gpuwright: exit $?"' sh "$@" >"$log" 2>&1 </dev/null &
tail -n +1 -f --pid=$! "$log" |
    grep --line-buffered -E '^(Setting up|Loading new|Building|Removing|Purging|update-initramfs|Error|E:|dpkg: error)'
tail -n 1 "$log" | grep -qx 'gpuwright: exit 0'
"""

_HEAL = """
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
[ -n "$(dpkg --audit)" ] || exit 0
if said=$(dpkg --force-confold --configure -a 2>&1); then exit 0; fi
printf '%s\\n' "$said"
marker=/etc/dkms/no-autoinstall
case $said in *dkms*) ;; *) exit 1 ;; esac
[ -d /etc/dkms ] && [ ! -e "$marker" ] || exit 1
trap 'rm -f "$marker"' EXIT
echo '# by gpuwright, while it repairs dpkg' >"$marker"
dpkg --force-confold --configure -a 2>&1 && apt-get -q --yes --fix-broken --no-remove install 2>&1
"""

# (words of apt's, what they mean, what to do)
_MEANINGS = (
    (
        r"Hash Sum mismatch|File has unexpected size",
        "what was downloaded is not what its index promises",
        "A mirror in the middle of its update, or a proxy that changes files: wait an hour, or use another mirror.",
    ),
    (
        r"EXPKEYSIG|is expired|Valid-Until|invalid since",
        "the repository's signature or its key has expired",
        "Ask whoever runs the repository for a new one, and check the host's clock; nothing unsigned is installed.",
    ),
    (
        r"NO_PUBKEY|BADSIG|is not signed|couldn't be verified|could not be verified|not signed|sqv returned an error",
        "the repository is not signed by the key that is trusted for it",
        "Do not install from it before its owner has confirmed the key.",
    ),
    (
        r"No space left on device",
        "a file system is full",
        "Free space (df -h /boot /var; old kernels: apt-get autoremove --purge), then run again.",
    ),
    (
        r"Could not connect|Unable to connect|Failed to fetch|Temporary failure resolving|Could not resolve|"
        r"Connection (refused|timed out|failed)|Network is unreachable|40[34] +Not Found|50\\d ",
        "a package source does not answer",
        "Check the host's way to it, or set base_apt_mirror or base_proxy; run again.",
    ),
    (
        r"Version '.*' for '.*' was not found|Release '.*' for '.*' was not found|Unable to locate package|"
        r"has no installation candidate",
        "no source has the package, or not in this version",
        "Correct the sources; or, for a version of the lock file that is gone, choose a new one: gpuwright lock HOST "
        "--update.",
    ),
    (
        r"held broken packages|unmet dependencies|Held packages were changed|conflicts|Unable to correct problems",
        "the packages do not go together with what is installed or held",
        "Look at apt-mark showhold and apt-cache policy of the named packages; then run again.",
    ),
)


@dataclass(frozen=True)
class Simulation:
    """What apt would do: `installs` are (name, version now or "", version then), `removes` are names."""

    installs: tuple[tuple[str, str, str], ...]
    removes: tuple[str, ...]

    @property
    def new(self) -> tuple[str, ...]:
        """Names that are not installed now."""
        return tuple(name for name, old, _ in self.installs if not old)

    @property
    def exact(self) -> tuple[str, ...]:
        """What to ask for so that exactly this is done."""
        return tuple(f"{name}={version}" for name, _, version in self.installs)


@dataclass(frozen=True)
class Apt:
    """apt on a host, asked for one set of packages."""

    shell: Shell
    timeout_s: int
    suite: str = ""
    downgrades: bool = False

    def heal(self) -> Answer:
        """Configure what an interrupted run left unpacked; apt refuses to go on before that.

        A module that does not build for a kernel stops that kernel's packages for ever: dkms is told to stay out of it,
        as its own marker says, and whoever needs the module for that kernel then builds it, and says why it cannot.
        """
        return self.shell.run(_HEAL)

    def update(self) -> None:
        """Read the indexes anew. Raises GpuwrightError where a source does not answer or is not to be trusted.

        Without the option apt takes old indexes for new ones, and says so in a warning only (apt.conf(5)).
        """
        answer = self.shell.run(
            'LC_ALL=C apt-get -o DPkg::Lock::Timeout="$1" -o APT::Update::Error-Mode=any -q update 2>&1',
            str(self.timeout_s),
        )
        if not answer.ok:
            raise GpuwrightError(explained("apt-get update", answer, "indexes of all sources"))

    def simulate(self, names: Iterable[str]) -> Simulation:
        """What installing would do. Raises GpuwrightError where apt finds no way."""
        answer = self._apt(_SIMULATE, names)
        if not answer.ok:
            raise GpuwrightError(explained("apt", answer, "packages that can be installed together"))
        return parse_simulation(answer.lines)

    def download(self, names: Iterable[str]) -> None:
        """Fetch all of it before anything is changed. Raises GpuwrightError where something cannot be had."""
        answer = self._apt(_DOWNLOAD, names)
        if not answer.ok:
            raise GpuwrightError(explained("apt", answer, "all packages downloaded and checked"))

    def install(self, names: Iterable[str]) -> Answer:
        """Install; what went wrong is the caller's to explain."""
        answer = self._apt(_INSTALL, names, live=True)
        if answer.ok:
            self.shell.run(_PRUNE, STORE)
            return answer
        log = self.shell.run('cat "$1/last.log"', STORE)
        return Answer(False, log.lines, log.said or answer.said)

    def _apt(self, text: str, names: Iterable[str], *, live: bool = False) -> Answer:
        downgrades = "yes" if self.downgrades else "no"
        return self.shell.run(
            f"{text.rstrip()} 2>&1", str(self.timeout_s), self.suite, downgrades, STORE, *names, live=live
        )


def parse_simulation(lines: Iterable[str]) -> Simulation:
    """The simulation that `apt-get --simulate` printed."""
    installs: dict[str, tuple[str, str, str]] = {}
    removes: list[str] = []
    for line in lines:
        if found := _INST.match(line):
            installs[found["name"]] = (found["name"], found["old"] or "", found["new"])
        elif found := _REMV.match(line):
            removes.append(found["name"])
    return Simulation(tuple(installs.values()), tuple(removes))


def explained(subject: str, answer: Answer, required: str) -> Refusal:
    """Why apt failed, in its own words and in ours."""
    text = "\n".join(answer.said)
    words = [line for line in answer.said if re.match(r"(E|W|Err|dpkg|gpgv|update-initramfs)[: ]", line)]
    for pattern, meaning, remedy in _MEANINGS:
        if re.search(pattern, text):
            said = next((line for line in answer.said if re.search(pattern, line)), answer.last)
            return Refusal(subject, f"{meaning} ({said.strip()[:300]})", required, remedy)
    last = "; ".join(words[-3:]) or answer.last
    return Refusal(subject, last[:600], required, "Repair what apt names, then run again.")
