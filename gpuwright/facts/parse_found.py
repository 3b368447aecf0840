"""What earlier hands left: drivers, packages, kernels and leftovers, from the probe's sections."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpuwright.facts.model import (
    CONTAINERS,
    Driver,
    Found,
    InstalledPackage,
    Kernel,
    Leftover,
    unreadable,
)
from gpuwright.facts.sections import Sections, words

# The symbols that the probe looks for; one that a readable configuration does not set is "n".
SYMBOLS = (
    "PCI_P2PDMA",
    "HSA_AMD",
    "HSA_AMD_P2P",
    "DMABUF_MOVE_NOTIFY",
    "DRM_AMDGPU",
    "DEVICE_PRIVATE",
    "MODULE_SIG",
    "MODULE_SIG_FORCE",
    "INTEL_IOMMU_DEFAULT_ON",
    "IOMMU_DEFAULT_PASSTHROUGH",
)
_KINDS = ("nvidia-run", "snap-docker", "rocm-legacy", "conda-cuda")
_PACKAGE_KINDS = ("podman-docker", "amdgpu-install")
_NVIDIA_MODULES = re.compile(r"nvidia.*dkms|linux-(modules|objects)-nvidia")
_AMD_MODULES = re.compile(r"amdgpu.*dkms")
# MODULE_LICENSE of NVIDIA's two flavours (nvidia/nv-pci.c; README, "Open Linux Kernel Modules")
_LICENSES = {"NVIDIA": "proprietary", "Dual MIT/GPL": "open"}


@dataclass(frozen=True)
class _Modules:
    """The section `drivers`. `files` are (name of the file without .ko, path below /lib/modules/RELEASE)."""

    loaded: dict[str, str]
    files: tuple[tuple[str, str], ...]
    nvrm: str
    modinfo: dict[str, str]
    foreign: bool

    def named(self, name: str) -> list[tuple[str, str]]:
        """Files of one driver, whatever Debian calls them."""
        return [each for each in self.files if each[0].replace("-", "_").startswith(name)]


def parse_found(sections: Sections, release: str) -> Found:
    """GpuwrightError for a damaged line; a section that is missing has nothing in it."""
    packages = _packages(sections)
    leftovers = _leftovers(sections, packages)
    return Found(
        drivers=_drivers(sections, packages, leftovers, release),
        packages=packages,
        kernels=_kernels(sections, release),
        leftovers=leftovers,
    )


def _packages(sections: Sections) -> tuple[InstalledPackage, ...]:
    found = set()
    for line in sections.lines("packages"):
        kind, name, *version = words(line, 2, 3, "package", "package, name, version; or hold, name")
        if kind == "package" and version:
            found.add((name, version[0]))
        elif kind != "hold" or version:
            raise unreadable(f"package line {line!r}", "package, name, version; or hold, name")
    return tuple(InstalledPackage(*each) for each in sorted(found))


def _leftovers(sections: Sections, packages: tuple[InstalledPackage, ...]) -> tuple[Leftover, ...]:
    found = {
        Leftover(each.name, f"package {each.version}") for each in packages if each.name in _PACKAGE_KINDS
    }
    for line in sections.lines("leftovers"):
        kind, _, detail = line.partition(" ")
        if kind not in _KINDS or not detail:
            raise unreadable(f"leftover line {line!r}", f"one of {', '.join(_KINDS)}, and where")
        found.add(Leftover(kind, detail))
    return tuple(sorted(found, key=lambda each: (each.kind, each.detail)))


def _kernels(sections: Sections, running: str) -> tuple[Kernel, ...]:
    headers: dict[str, bool] = {}
    configs: dict[str, dict[str, str]] = {}
    for line in sections.lines("kernels"):
        kind, release, *more = words(line, 2, 4, "kernel", "kernel, config or set")
        if kind == "kernel" and more in (["yes"], ["no"]):
            headers[release] = more == ["yes"]
        elif kind == "config" and not more:
            configs[release] = dict.fromkeys(SYMBOLS, "n")
        elif kind == "set" and len(more) == 2 and release in configs:
            configs[release][more[0]] = more[1]
        else:
            raise unreadable(f"kernel line {line!r}", "kernel, config or set")
    if running and sections.word("virtualisation") not in CONTAINERS:
        headers.setdefault(
            running, False
        )  # it runs, although nothing of it lies here: a guest's, from outside
    return tuple(
        Kernel(release, release == running, headers[release], tuple(configs.get(release, {}).items()))
        for release in sorted(headers)
    )


def _drivers(
    sections: Sections,
    packages: tuple[InstalledPackage, ...],
    leftovers: tuple[Leftover, ...],
    release: str,
) -> tuple[Driver, ...]:
    modules = _modules(sections)
    names = " ".join(each.name for each in packages)
    outside = modules.foreign or sections.word("virtualisation") in CONTAINERS
    drivers = []
    for name in ("nvidia", "amdgpu", "nouveau", "nova_core"):
        files = modules.named(name)
        if name not in modules.loaded and not files:
            continue
        version, flavour, origin = modules.loaded.get(name, ""), "in-tree", "kernel"
        if name == "nvidia":
            version, flavour = _nvidia(modules, sections, release)
            run = any(each.kind == "nvidia-run" for each in leftovers)
            origin = "run" if run else "package" if _NVIDIA_MODULES.search(names) else "unknown"
        elif name == "amdgpu" and (version or any(not path.startswith("kernel/") for _, path in files)):
            version, flavour = version or _dkms_version(sections, "amdgpu", release), "dkms"
            origin = "package" if _AMD_MODULES.search(names) else "unknown"
        drivers.append(
            Driver(name, version, flavour, "outside" if outside else origin, name in modules.loaded)
        )
    return tuple(drivers)


def _nvidia(modules: _Modules, sections: Sections, release: str) -> tuple[str, str]:
    """Version and flavour: of what is loaded, else of the file that would be."""
    if "nvidia" in modules.loaded:
        flavour = "open" if "Open Kernel Module" in modules.nvrm else "proprietary"
        return modules.loaded["nvidia"], flavour if modules.nvrm else "unknown"
    stem = modules.named("nvidia")[0][0]
    version = modules.modinfo.get("version") or _dkms_version(sections, stem, release)
    by_name = "unknown" if stem == "nvidia" else "open" if stem.endswith("-open") else "proprietary"
    return version, _LICENSES.get(modules.modinfo.get("license", ""), by_name)


def _dkms_version(sections: Sections, module: str, release: str) -> str:
    """Of what dkms built for this kernel: MODULE/VERSION/KERNEL/ARCH."""
    for line in sections.lines("dkms"):
        name, _, rest = line.partition("/")
        version, _, kernel = rest.partition("/")
        if name == module and kernel.split("/")[0] == release:
            return version
    return ""


def _modules(sections: Sections) -> _Modules:
    loaded: dict[str, str] = {}
    files: list[tuple[str, str]] = []
    modinfo: dict[str, str] = {}
    nvrm = ""
    foreign = False
    for line in sections.lines("drivers"):
        kind, _, rest = line.partition(" ")
        rest = rest.strip()
        if kind == "loaded" and rest:
            name, _, version = rest.partition(" ")
            loaded[name] = version
        elif kind == "nvrm":
            nvrm = rest
        elif kind == "file" and rest:
            files.append((rest.rpartition("/")[2].partition(".ko")[0], rest))
        elif kind in ("version:", "license:"):
            modinfo[kind.rstrip(":")] = rest
        elif line == "no modules":
            foreign = True
        else:
            raise unreadable(f"driver line {line!r}", "loaded, nvrm, file, version or license")
    return _Modules(loaded, tuple(files), nvrm, modinfo, foreign)
