"""The distribution's source and configuration in a builder: installed, unpacked, named."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build import needs
from gpuwright.kernel_build.builder import Builder, Progress
from gpuwright.kernel_build.wanted import Wanted

TREE = "/build/linux"

_ROOM = """
mkdir -p /build
df -Pk /build | awk 'NR == 2 { print $4 }'
awk '/^MemAvailable:/ { print $2 }' /proc/meminfo
nproc
"""
_UPDATE = "export DEBIAN_FRONTEND=noninteractive; apt-get -q update"
_OFFERED = "apt-cache madison $PACKAGES; echo; apt-cache search --names-only '^linux-source-[0-9]' | sort -V"
_INSTALL = """
export DEBIAN_FRONTEND=noninteractive
apt-get -q install -y --no-install-recommends $PACKAGES
"""
# A package's tar holds one directory; where nothing is compiled only what Kconfig reads of it is unpacked.
_UNPACK = """
mkdir -p "$TREE"
set -f
tar -xf /usr/src/"$SOURCE".tar.xz -C "$TREE" --strip-components=1 --wildcards $PATTERNS
cd "$TREE"
make -s kernelversion
dpkg-query -W -f '${Version}\\n' "$SOURCE"
dpkg --print-architecture
"""
_CONFIG = 'xz -dc "/usr/src/$CONFIG/config.${ARCH}_none_$ARCH.xz"'


@dataclass(frozen=True)
class Source:
    """What was unpacked. `shipped` is the distribution's own configuration of the standard kernel."""

    package: str
    version: str  # of the package: 6.12.117-1
    kernel: str  # 6.12.117
    arch: str  # as dpkg names it
    shipped: str


def check_room(builder: Builder, kind: str, jobs: int | None) -> int:
    """How many jobs there will be (all processors where nobody said). GpuwrightError where there is no room."""
    disk, memory, processors = builder.run("looking for room", _ROOM).split()
    wanted = jobs or int(processors)
    needs.load().check(kind, wanted, int(disk), int(memory))
    return wanted


def unpack(
    builder: Builder, wanted: Wanted, purposes: tuple[str, ...], whole: bool, progress: Progress
) -> Source:
    """Install source and tools, and unpack the tree: all of it, or what Kconfig reads.

    GpuwrightError where the archive has the source no more.
    """
    table = needs.load()
    source, config = wanted.row.packages
    progress("reading the archive's lists")
    builder.run("apt-get update", _UPDATE, remedy="Test this machine's mirrors with `apt-get update`.")
    _offered(builder, wanted)
    progress(f"installing {source} and tools (250 MB)")
    packages = " ".join((source, config, *table.packages(*purposes)))
    builder.run("apt-get install", _INSTALL, packages=packages)
    progress(f"unpacking {source}")
    patterns = "*" if whole else " ".join(table.patterns())
    said = builder.run("unpacking", _UNPACK, tree=TREE, source=source, patterns=patterns)
    kernel, version, arch = said.splitlines()[-3:]
    shipped = builder.run("reading the configuration", _CONFIG, config=config, arch=arch)
    return Source(source, version, kernel, arch, shipped)


def _offered(builder: Builder, wanted: Wanted) -> None:
    """A source that left the archive, said before apt does."""
    said = builder.run("apt-cache", _OFFERED, packages=" ".join(wanted.row.packages))
    here, _, there = said.partition("\n\n")
    missing = [name for name in wanted.row.packages if f"{name} |" not in here]
    if not missing:
        return
    offered = ", ".join(line.split()[0] for line in there.splitlines() if line.strip()) or "none"
    raise GpuwrightError.of(
        f"{wanted.row.os} archive{f' and {wanted.row.suite}' if wanted.row.suite else ''}",
        f"has no {' and no '.join(missing)} (it has {offered})",
        "the packages of the catalogue's row",
        "Renew the row [[build]] in gpuwright/catalog/kernels.toml.",
    )
