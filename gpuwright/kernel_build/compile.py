"""From a configured tree to Debian packages: the kernel's own `make bindeb-pkg`, with progress."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build.builder import Builder, Progress
from gpuwright.kernel_build.configure import Configured
from gpuwright.kernel_build.source import TREE

_BUILD = """
cd "$TREE"
cp /build/final .config
export KBUILD_BUILD_USER=gpuwright KBUILD_BUILD_HOST=builder DEBFULLNAME=gpuwright DEBEMAIL=gpuwright@localhost
export KDEB_PKGVERSION="$VERSION" KDEB_CHANGELOG_DIST="$SUITE" KDEB_SOURCENAME=linux-gpuwright
make -j"$JOBS" bindeb-pkg
"""
_BUILT = """
cd /build
for deb in *.deb; do dpkg-deb --show --showformat '${Package} ${Version} ${Architecture} ' "$deb"; echo "$deb"; done
"""
_CONFIG = 'dpkg-deb --fsys-tarfile "$DEB" | tar -xO "./boot/config-$RELEASE"'
_COMPILED = re.compile(r"\s+(CC|AS|RUSTC)\s")
# What make says where compiling is over: the words of its lines, and what a person is told.
_STAGES = (
    (re.compile(r"\s+(LD|KSYMS|NM)\s+\S*(vmlinux|kallsyms)"), "linking"),
    (re.compile(r"\s+(LD|CC|SIGN|XZ|INSTALL)\s.*(\[M\]|\.ko|debian/)"), "modules"),
    (re.compile(r"dpkg-deb: building"), "packaging"),
)


@dataclass(frozen=True)
class Package:
    """A finished package in the builder."""

    name: str
    version: str
    arch: str
    path: str

    @property
    def file(self) -> str:
        """Its name in a repository."""
        return f"{self.name}_{self.version}_{self.arch}.deb"


@dataclass
class Counter:
    """What make has done so far, out of the lines that it says."""

    began: float = field(default_factory=time.monotonic)
    objects: int = 0
    stage: str = "compiling"

    def read(self, line: str) -> None:
        """Take one line of make."""
        if _COMPILED.match(line):
            self.objects += 1
        self.stage = next((stage for pattern, stage in _STAGES if pattern.match(line)), self.stage)

    def __str__(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        return f"{self.stage}: {self.objects} objects, {minutes} min {seconds:02d} s"


def build(
    builder: Builder,
    configured: Configured,
    version: str,
    suite: str,
    jobs: int,
    log: Path,
    progress: Progress,
) -> tuple[Package, ...]:
    """Compile and package: image and headers, in that order, never the C library's. What make says goes to `log`."""
    with log.open("w", encoding="utf-8") as stream:
        follow = _follower(Counter(), progress)

        def each(line: str) -> None:
            stream.write(line + "\n")
            follow(line)

        builder.run(
            "make bindeb-pkg",
            _BUILD,
            each=each,
            remedy=f"Read {log}; the builder is gone, nothing else was changed.",
            tree=TREE,
            version=version,
            suite=suite,
            jobs=str(jobs),
        )
    built = [Package(*line.split(" ")) for line in builder.run("listing packages", _BUILT).splitlines()]
    wanted = [f"linux-image-{configured.release}", f"linux-headers-{configured.release}"]
    found = {package.name: replace(package, path=f"/build/{package.path}") for package in built}
    if not set(wanted) <= found.keys():
        raise GpuwrightError.of(
            "make bindeb-pkg",
            f"made {', '.join(package.name for package in built) or 'nothing'}",
            " and ".join(wanted),
            f"Read {log}.",
        )
    return tuple(found[name] for name in wanted)


def packaged_config(builder: Builder, image: Package, release: str) -> str:
    """The configuration that the image's package carries."""
    return builder.run("reading the package", _CONFIG, deb=image.path, release=release)


def _follower(counter: Counter, progress: Progress) -> Callable[[str], None]:
    """Hears every line, and says how far it is at most once in a while: who prints decides how."""
    told = 0.0

    def follow(line: str) -> None:
        nonlocal told
        counter.read(line)
        now = time.monotonic()
        if now - told >= 1:
            told = now
            progress(str(counter))

    return follow
