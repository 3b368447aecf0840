"""The plan's vocabulary for GPUs: from the kernel up to what is held.

Like every slice these hold only what a deploy does not change, so a GPU is its PCI address, never an index or UUID.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.plan.model import AptPin, AptRepository, ManagedFile, Unit


@dataclass(frozen=True)
class Gpu:
    """A GPU that the plan knows. `target` is sm_89 or gfx1100; `memory_bytes` is the catalogue's.

    `use` is compute, display (left to the desktop) or passthrough (a guest's); only compute GPUs get anything.
    """

    address: str
    name: str
    vendor: str
    arch: str
    target: str
    memory_bytes: int
    use: str


@dataclass(frozen=True)
class KernelPlan:
    """The kernel that the GPUs need: metapackages of its image and headers, from `suite` ("": the release itself).

    `flavour` is a name of the catalogue (ga, hwe, backports, ...), "built" (from the distribution's source with
    `config` set; a repository of the operator's has its metapackage), or "keep": the kernel that is there.
    `arguments` are appended to the command line. `fallback` is how a trial boot comes back: grubenv, systemd-boot, or
    none.
    """

    flavour: str
    suite: str
    packages: tuple[str, ...]
    config: tuple[str, ...]
    arguments: tuple[str, ...]
    fallback: str


@dataclass(frozen=True)
class DriverPlan:
    """The kernel driver and user space of one vendor's GPUs.

    `source` is distribution, nvidia, amd, kernel (in-tree) or unmanaged (another hand's, kept). `branch` is 580 or
    31.50, "" where the kernel brings it. `modules` is open, proprietary or in-tree; `delivery` dkms, prebuilt,
    in-tree or unmanaged. `module` is the name modprobe knows it by, which `options` use. `load` and `blacklist` are
    modules at boot. No two sources are ever mixed in one plan; `pins` keep apt from it where names are the same.
    `first` are packages that an apt run of their own brings before `packages`, which it must know them for.
    `components` are those of the distribution's archive that all of them need beyond what every installation has:
    Debian's main, Ubuntu's main and universe.
    """

    vendor: str
    source: str
    branch: str
    modules: str
    delivery: str
    repositories: tuple[AptRepository, ...]
    pins: tuple[AptPin, ...]
    packages: tuple[str, ...]
    first: tuple[str, ...]
    components: tuple[str, ...]
    module: str
    options: tuple[str, ...]
    load: tuple[str, ...]
    blacklist: tuple[str, ...]
    units: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All its packages, in the order of their installation."""
        return self.first + self.packages


@dataclass(frozen=True)
class FirmwarePlan:
    """Firmware packages that the GPUs' driver loads, from `suite` ("": the release itself) and `components` of it."""

    packages: tuple[str, ...]
    components: tuple[str, ...]
    suite: str


@dataclass(frozen=True)
class FabricPlan:
    """NVSwitch's manager and companions, at exactly the driver's version; empty without NVSwitch.

    `components` as in DriverPlan.
    """

    packages: tuple[str, ...]
    components: tuple[str, ...]
    modules: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True)
class RuntimePlan:
    """How containers get GPUs: `method` is cdi or device-nodes; one for each vendor."""

    vendor: str
    method: str
    repositories: tuple[AptRepository, ...]
    packages: tuple[str, ...]


@dataclass(frozen=True)
class InterconnectPlan:
    """How GPUs may reach each other.

    `fabric` is none, pcie, nvlink, nvswitch or xgmi; `iommu` is leave, passthrough or remapping; `acs_off` are the
    bridges between GPUs whose ACS redirection is to be switched off at boot; `p2p` is off, fabric (NVLink or xGMI,
    which needs no PCIe P2P) or to-be-proven: off until a value-checked transfer has passed on the host.
    """

    fabric: str
    iommu: str
    acs_off: tuple[str, ...]
    p2p: str


@dataclass(frozen=True)
class Variable:
    """A variable of NCCL or RCCL with its reason, which stands above it in the file."""

    name: str
    value: str
    reason: str
    source: str


@dataclass(frozen=True)
class CollectivesConf:
    """Context of /etc/nccl.conf or /etc/rccl.conf."""

    variables: tuple[Variable, ...]


@dataclass(frozen=True)
class CollectivesPlan:
    """System-wide NCCL and RCCL variables, in order, and the files that set them.

    `dropped_files` are those of the libraries that have nothing to set here; ours are removed, others' stay.
    """

    variables: tuple[tuple[str, str], ...]
    files: tuple[ManagedFile, ...]
    dropped_files: tuple[str, ...]


@dataclass(frozen=True)
class CardSetting:
    """What a GPU is set to at every boot: `what` is persistence (1), limit (watts) or clock (at most, in MHz)."""

    vendor: str
    what: str
    address: str
    value: int


@dataclass(frozen=True)
class PowerPlan:
    """Persistence, limits and clocks. `limits_watts` and `clocks_mhz` are (PCI address, value), where declared.

    `cards` is what `files`, a script and its unit, bring about: without what a daemon of the driver does already.
    `dropped` is the unit where there is nothing for it to do.
    """

    persistence: bool
    limits_watts: tuple[tuple[str, int], ...]
    clocks_mhz: tuple[tuple[str, int], ...]
    cards: tuple[CardSetting, ...]
    files: tuple[ManagedFile, ...]
    units: tuple[Unit, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class HoldsPlan:
    """What changes only together: packages held by dpkg, and what unattended upgrades must leave alone (regexes)."""

    packages: tuple[str, ...]
    unattended: tuple[str, ...]
