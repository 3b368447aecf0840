"""A throw-away host that builds modules with dkms: what Debian's archive offers it, and what a build comes to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from docker.errors import DockerException
from docker.models.containers import Container

from bench.dkms_rows import Result, Row
from gpuwright.errors import GpuwrightError
from gpuwright.sandbox import engine, hosts, mirrors, state
from gpuwright.sandbox.recipe import RELEASES

BIN = Path(sys.executable).parent
ARCH = "amd64"
COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
# A build that no compiler ended: the machine did, and the row has no result.
MACHINE = re.compile(r"No space left on device|Killed|Cannot allocate memory|Segmentation fault")
ERROR = re.compile(r"\berror: |^ERROR: modpost: |\bundefined!$")
LONGEST_BUILD_S = 3600

SOURCES = """
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
printf '%s' "$SOURCES" > /etc/apt/sources.list.d/dkms.sources
apt-get -q update
"""
# No package of modules is installed: its postinst would build for every kernel with headers, and apt's other wishes
# (firmware of the very version, a desktop's) have no part in a build. Headers come while dkms has no module, so
# that their hook builds nothing either.
PREPARE = """
export DEBIAN_FRONTEND=noninteractive
rm -rf /var/lib/dkms/nvidia-* /usr/src/nvidia-* /lib/modules/*/updates /root/dkms
case $KERNEL_SUITE in *-backports) from="-t $KERNEL_SUITE" ;; *) from= ;; esac
apt-get -q install -y --no-install-recommends dkms
apt-get -q install -y --no-install-recommends $from "$HEADERS=$HEADERS_VERSION"
mkdir /root/dkms
cd /root/dkms
apt-get -q -o APT::Sandbox::User=root download "$PACKAGE=$VERSION"
dpkg-deb -x ./*.deb .
cp -a usr/src/. /usr/src/
conf=$(echo usr/src/*/dkms.conf)
module=$(sed -n 's/^PACKAGE_NAME="\\(.*\\)"$/\\1/p' "$conf")/$(sed -n 's/^PACKAGE_VERSION="\\(.*\\)"$/\\1/p' "$conf")
dkms add "$module"
printf 'module %s\\n' "$module"
"""
BUILD = 'dkms build "$MODULE" -k "$KERNEL"'
LOG = """
cat "/var/lib/dkms/$MODULE/$KERNEL/$(uname -m)/log/make.log" 2>/dev/null || cat "/var/lib/dkms/$MODULE/build/make.log"
"""
# One line for each installed module: its file, vermagic's first word, version and signer.
INSTALLED = """
dkms install "$MODULE" -k "$KERNEL"
for file in /lib/modules/"$KERNEL"/updates/dkms/*.ko*; do
    printf '%s|%s|%s|%s\\n' "${file##*/}" "$(modinfo -F vermagic "$file" | cut -d' ' -f1)" \\
        "$(modinfo -F version "$file")" "$(modinfo -F signer "$file")"
done
"""
TOOLS = """
dpkg-query -W -f '${Version}|' dkms
sed -n 's/^CONFIG_CC_VERSION_TEXT="\\(.*\\)"$/\\1/p' "/lib/modules/$KERNEL/build/.config"
"""


@dataclass(frozen=True)
class Offer:
    """A version of a package and the suite that has it."""

    version: str
    suite: str


@dataclass(frozen=True)
class Host:
    """A sandbox host of a release, with all components and backports in its sources."""

    os: str
    container: Container

    def offers(self, package: str) -> list[Offer]:
        """Versions that the archive has, newest first; none where it has no such package."""
        lines = self._run(f"apt-cache madison {package}").splitlines()
        columns = [[column.strip() for column in line.split("|")] for line in lines if "|" in line]
        return [Offer(version, where.split()[1].split("/")[0]) for _, version, where in columns]

    def named_by(self, metapackage: str, version: str) -> str:
        """The package of headers that a version of a metapackage depends on."""
        shown = self._run(f"apt-cache show {metapackage}={version}")
        found = re.search(rf"^Depends:.*?(linux-headers-\S+-{ARCH}) \(= ", shown, flags=re.MULTILINE)
        if found is None:
            raise self._error(f"apt-cache show {metapackage}={version}", shown[-300:], "the headers' package")
        return found[1]

    def build(self, row: Row, logs: Path | None) -> Result:
        """Build and, where that succeeds, install the modules.

        Raises GpuwrightError where the machine or the archive ended it, and not the compiler.
        """
        asked = {"package", "version", "headers", "headers_version", "kernel_suite", "kernel"}
        environment = {name.upper(): value for name, value in row.model_dump(include=asked).items()}
        environment["MODULE"] = self._run(PREPARE, environment).split("\nmodule ")[-1].strip()
        began = time.monotonic()
        code, said = self._try(BUILD, environment)
        seconds = round(time.monotonic() - began, 1)
        log = self._run(LOG, environment)
        if logs is not None:
            (logs / f"{row.package}_{row.version}_{row.kernel}.log").write_text(log, encoding="utf-8")
        errors = first_errors(log)
        if code != 0 and (MACHINE.search(log) or not errors):
            raise self._error(f"dkms build of {row}", f"{code}: {(log or said)[-600:]}", "a compiler's word")
        modules, signer = self._installed(row, environment) if code == 0 else ((), "")
        dkms, compiler = self._run(TOOLS, environment).strip().split("|")
        return Result(
            **dict(zip(("os", "package", "version", "kernel"), row.key, strict=True)),
            at=now(),
            builds=code == 0,
            seconds=seconds,
            errors=errors if code != 0 else (),
            last_line=last_line(log),
            modules=modules,
            signer=signer,
            dkms=dkms,
            compiler=compiler,
        )

    def _installed(self, row: Row, environment: dict[str, str]) -> tuple[tuple[str, ...], str]:
        """Names of the installed modules and who signed them; GpuwrightError where they are not the row's."""
        lines = [line.split("|") for line in self._run(INSTALLED, environment).splitlines() if "|" in line]
        signers = {signer for *_, signer in lines}
        upstream = re.split("[-+~]", row.version)[0]
        if not lines or len(signers) != 1 or any(line[1:3] != [row.kernel, upstream] for line in lines):
            raise self._error(
                f"modules of {row}", str(lines), "modules of that version and kernel, with one signer"
            )
        return tuple(name for name, *_ in lines), signers.pop()

    def _run(self, script: str, environment: dict[str, str] | None = None) -> str:
        code, said = self._try(script, environment or {})
        if code != 0:
            raise self._error(
                script.strip().splitlines()[-1], f"{code}: {said.strip()[-600:]}", "exit code 0"
            )
        return said

    def _try(self, script: str, environment: dict[str, str]) -> tuple[int, str]:
        """Exit code, and what it said on both channels."""
        try:
            done = self.container.exec_run(["sh", "-euc", script], environment=environment)
        except DockerException as error:
            raise self._error("its container", str(error), "one that runs") from error
        said = done.output.decode(errors="replace") if isinstance(done.output, bytes) else ""
        return done.exit_code or 0, said

    def _error(self, subject: str, observed: str, required: str) -> GpuwrightError:
        return GpuwrightError.of(
            f"{self.os}: {subject}",
            observed,
            required,
            "Run again; where the archive moved on, predict first.",
        )


@contextmanager
def builders(releases: Sequence[str]) -> Iterator[dict[str, Host]]:
    """A new host for each release ("debian 13"); they go in the end, however that comes."""
    with TemporaryDirectory(prefix="gpuwright-dkms-") as name:
        directory = Path(name)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            wanted = [word for release in releases for word in ("--os", release.replace(" ", ""))]
            _sandbox(directory, "up", "--hosts", str(len(releases)), *wanted)
            client = engine.connect(timeout_s=LONGEST_BUILD_S)
            made: dict[str, Host] = {}
            for release, record in zip(releases, state.load(directory).hosts, strict=True):
                container = hosts.require(client, state.label(directory), record.name)
                hosts.execute(container, ["sh", "-euc", SOURCES], {"SOURCES": _sources(record.os)})
                made[release] = Host(release, container)
            yield made
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave the hosts behind
            _sandbox(directory, "down")
            signal.signal(signal.SIGINT, signal.default_int_handler)


def first_errors(log: str, most: int = 5) -> tuple[str, ...]:
    """The first different errors of compiler and linker in a make.log, without the build directory's path."""
    found = [line.strip() for line in log.splitlines() if ERROR.search(line)]
    return tuple(dict.fromkeys(re.sub(r"^/var/lib/dkms/\S+?/build/", "", line) for line in found))[:most]


def last_line(log: str) -> str:
    """What make said last; dkms's own lines after it are dates and durations."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = [line for line in lines if not re.match(r"#|-+$|\w{3} \w{3} +\d+ ", line)]
    return said[-1] if said else ""


def now() -> str:
    """The time as files have it: UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _sources(os_name: str) -> str:
    suite = RELEASES[os_name]
    found = mirrors.from_machine()
    if found.archive is None or found.security is None:
        raise GpuwrightError.of(
            "apt's sources of this machine",
            "name no Debian archive, or no security archive",
            "both: the hosts get their packages from there",
            "Add them to /etc/apt/sources.list.d/.",
        )
    main = found.sources(suite)
    backports = replace(main[0], suite=f"{suite}-backports")
    return mirrors.render_deb822(replace(each, components=COMPONENTS) for each in (*main, backports))


def _sandbox(directory: Path, *words: str) -> None:
    environment = {**os.environ, "GPUWRIGHT_STATE_DIR": str(directory)}
    command = [str(BIN / "gpuwright"), "sandbox", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GpuwrightError.of(
            f"gpuwright sandbox {words[0]}", done.stderr.strip()[-400:], "exit code 0", "Run it by hand."
        )
