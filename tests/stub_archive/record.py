"""Writes what Debian's archive says of the GPU stack: `python -m tests.stub_archive.record bookworm trixie`.

Asks the mirrors that this machine is configured for, through an apt with its own directory; nothing is installed.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from gpuwright.sandbox import mirrors
from tests.stub_archive.stanza import RELATIONS, Stanza, parse, render

DATA = Path(__file__).parent / "data"
COMPONENTS = "main contrib non-free non-free-firmware"
DRIVER = ("nvidia-smi", "libcuda1", "nvidia-persistenced")

# What is installed together to find out what else belongs to it: what a plan may name of Debian's own packages.
ASKED: dict[str, tuple[tuple[str, ...], ...]] = {
    "bookworm": (
        ("nvidia-kernel-dkms", *DRIVER),
        ("--target-release=bookworm", "nvidia-open-kernel-dkms", *DRIVER),
        ("linux-image-amd64", "linux-headers-amd64"),
        ("--target-release=bookworm", "linux-image-amd64", "linux-headers-amd64"),
        ("linux-image-amd64/bookworm-backports", "linux-headers-amd64/bookworm-backports"),
        (
            "firmware-amd-graphics",
            "linux-source-6.1",
            "linux-config-6.1",
            "infiniband-diags",
            "rocminfo",
            "dkms",
        ),
    ),
    "trixie": (
        ("nvidia-kernel-dkms", *DRIVER),
        ("nvidia-open-kernel-dkms", *DRIVER),
        ("linux-image-amd64", "linux-headers-amd64"),
        ("--target-release=trixie", "linux-image-amd64", "linux-headers-amd64"),
        ("firmware-amd-graphics", "infiniband-diags", "rocminfo", "dkms"),
        (
            "autoconf",
            "automake",
            "initramfs-tools",
            "python3-yaml",
            "python3-setuptools",
            "sudo",
            "libseccomp2",
            "libc6-dev",
        ),
    ),
}
ASKED["bookworm"] += ASKED["trixie"][-1:]
# Names whose relations matter; the others of their closure are what a host has already.
KEPT = re.compile(
    r"nvidia|libcuda|libnv|linux-(image|headers|kbuild|config|source|compiler|binary|base|modules)|firmware-|dkms|"
    r"infiniband-diags|rocminfo|libhsa|.*glx"
)


def record(release: str) -> None:
    """Writes RELEASE.deb822, and RELEASE.base.deb822 for the packages around, whose own relations are cut off."""
    with tempfile.TemporaryDirectory() as folder:
        apt = _Apt(Path(folder), release)
        names: set[str] = set()
        for asked in ASKED[release]:
            names |= apt.closure(asked)
        stanzas = apt.stanzas(tuple(sorted(names)))
    today = datetime.date.today().isoformat()
    kept = [stanza for stanza in stanzas if KEPT.match(stanza.name)]
    base: dict[str, Stanza] = {}
    for stanza in stanzas:
        if not KEPT.match(stanza.name) and "backports" not in stanza.fields["Stub-Suite"]:
            fields = {k: v for k, v in stanza.fields.items() if k not in RELATIONS or k == "Provides"}
            base.setdefault(stanza.name, Stanza({k: v for k, v in fields.items() if k != "Stub-Suite"}))
    head = f"# Debian archive, {release} with its updates, security and backports, amd64, {today}: apt-cache show.\n"
    (DATA / f"{release}.deb822").write_text(
        f"{head}# Written by python -m tests.stub_archive.record.\n\n" + render(kept)
    )
    (DATA / f"{release}.base.deb822").write_text(
        f"{head}# Installed on every stub host; relations other than Provides are cut off.\n\n"
        + render(base.values())
    )


class _Apt:
    """An apt with its own directory, for one Debian release."""

    def __init__(self, root: Path, release: str) -> None:
        self._options = [f"-oDir={root}", f"-oDir::State::status={root}/status", "-oAPT::Architecture=amd64"]
        for folder in (
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
        ):
            (root / folder).mkdir(parents=True)
        (root / "status").touch()
        there = mirrors.from_machine()
        places = [(there.archive, suite) for suite in (release, f"{release}-updates", f"{release}-backports")]
        places.append((there.security, f"{release}-security"))
        (root / "etc/apt/sources.list").write_text(
            "".join(
                f"deb [signed-by={mirrors.KEYRING}] {uri} {suite} {COMPONENTS}\n" for uri, suite in places
            )
        )
        extra = [f"-o{name}={value}" for name, value in mirrors.apt_options().items()]
        self._run("apt-get", "-qq", "-oAcquire::Languages=none", *extra, "update")

    def closure(self, asked: tuple[str, ...]) -> set[str]:
        """The names of all that comes to an empty host with these."""
        text = self._run("apt-get", "-s", "--no-install-recommends", "install", *asked)
        return set(re.findall(r"^Inst (\S+)", text, flags=re.MULTILINE))

    def stanzas(self, names: tuple[str, ...]) -> list[Stanza]:
        """All versions of packages, each with the suite and component that has it."""
        where: dict[tuple[str, str], str] = {}
        for line in self._run("apt-cache", "madison", *names).splitlines():
            name, version, place = (part.strip() for part in line.split("|"))
            where.setdefault((name, version), place.split()[1])
        found = []
        for stanza in parse(self._run("apt-cache", "show", *names)):
            fields = {key: value for key, value in stanza.fields.items() if key in _FIELDS}
            suite = where.get((stanza.name, stanza.version))
            if suite is not None:
                found.append(Stanza({**fields, "Stub-Record": "recorded", "Stub-Suite": suite}))
        return found

    def _run(self, *command: str) -> str:
        program, *rest = command
        return subprocess.run(
            [program, *self._options, *rest], capture_output=True, text=True, check=True
        ).stdout


_FIELDS = ("Package", "Source", "Version", "Architecture", "Multi-Arch", "Essential", *RELATIONS)

if __name__ == "__main__":
    for each in sys.argv[1:]:
        record(each)
