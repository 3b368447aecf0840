"""HostFacts: what is known of a host, in three parts with three rules.

The fields of `HostFacts` itself are plan inputs: hardware, firmware, operating system; no deploy changes them.
`found` is what earlier hands left (drivers, kernels, engines); a plan adopts it, refuses it, or replaces it, in a
way that the next plan, which finds its own work there, comes out the same. `readings` change with every deploy or
boot and are never planned from: operations and verify compare them with the plan.

None, or "unknown", always means that nobody could read it, never that it is absent.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from gpuwright.errors import GpuwrightError

SCHEMA = 2

NVIDIA = "10de"
AMD = "1002"
INTEL = "8086"
# systemd-detect-virt(1), "container technologies"
CONTAINERS = frozenset(
    {"docker", "podman", "lxc", "lxc-libvirt", "systemd-nspawn", "openvz", "rkt", "wsl", "proot"}
)

_DEBIAN_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_FORBID: ConfigDict = {"extra": "forbid", "allow_inf_nan": False}
# What a kernel counts; a facts file may come from anywhere.
Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class PciDevice:
    """A PCI function: a GPU, an NVSwitch, a network or storage controller, or a bridge above a GPU.

    Ids are four hex digits, the class six. `parents` are the bridges above it, root port first. `bars` are sizes in
    bytes by BAR number, 0 for one that is not there. Link speeds are in GT/s, widths in lanes, as the device is
    capable of, not as it runs at the moment. `boot_display`: the firmware drew its console there. `acs`: a bridge
    has the Access Control Services capability. `passthrough`: bound to vfio-pci, so it belongs to a guest.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    address: str
    class_code: str
    vendor: str
    device: str
    subsystem_vendor: str = ""
    subsystem_device: str = ""
    parents: tuple[str, ...] = ()
    numa: int | None = None
    bars: tuple[Count, ...] = ()
    link_speed_max: float | None = None
    link_width_max: int | None = None
    boot_display: bool = False
    acs: bool | None = None
    passthrough: bool = False

    @property
    def subsystem(self) -> str:
        """The card's maker and model: 1002:0e3b."""
        return f"{self.subsystem_vendor}:{self.subsystem_device}"


@dataclass(frozen=True)
class Disk:
    """A whole block device, size in bytes."""

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    name: str
    bytes: Count
    rotational: bool


@dataclass(frozen=True)
class Nic:
    """A network interface of hardware, or one that holds the default route (a bond, a container's).

    `pci` is its function's address or "", `rdma` its RDMA device (mlx5_0) or "". An RDMA device without an interface
    has the name "".
    """

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    name: str
    pci: str = ""
    driver: str = ""
    rdma: str = ""
    default_route: bool = False


@dataclass(frozen=True)
class Boot:
    """How the host boots.

    `firmware` is uefi or bios; `loader` grub, systemd-boot, none or unknown; `secure_boot` enabled, disabled,
    unsupported or unknown; `grubenv` says what /boot/grub lies on: plain (GRUB can write it), lvm, md, btrfs, zfs,
    none, unknown.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    firmware: str
    loader: str
    secure_boot: str = "unknown"
    grubenv: str = "unknown"


@dataclass(frozen=True)
class Machine:
    """DMI: who made it, and what it calls itself (sys_vendor, product_name, board_name); "" where unreadable."""

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    vendor: str = ""
    product: str = ""
    board: str = ""


@dataclass(frozen=True)
class Driver:
    """A GPU kernel module that is loaded, or lies on disk for the running kernel.

    `name` is nvidia, amdgpu, nouveau or nova_core. `version` is "" for one of the kernel's own tree. `modules` is
    open, proprietary, in-tree, dkms (amdgpu) or unknown. `origin`: package, run (NVIDIA's .run installer),
    kernel (in-tree), outside (the host is a container and its kernel is not its own), or unknown.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    name: str
    version: str
    modules: str
    origin: str
    loaded: bool


@dataclass(frozen=True)
class InstalledPackage:
    """A package of interest (kernel, driver, CUDA, ROCm, firmware, engine) that dpkg calls installed."""

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    name: str
    version: str


@dataclass(frozen=True)
class Kernel:
    """A kernel below /lib/modules, or the one that runs.

    `config` has the symbols that matter: (("PCI_P2PDMA", "y"), ...), unset ones "n".

    An empty `config` means that no config file could be read.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    release: str
    running: bool
    headers: bool
    config: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Leftover:
    """Something that a person put there and that a deploy would fight with.

    `kind` is nvidia-run, snap-docker, podman-docker, rocm-legacy, conda-cuda or amdgpu-install; `detail` is where.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    kind: str
    detail: str


@dataclass(frozen=True)
class Found:
    """What earlier hands left."""

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    drivers: tuple[Driver, ...] = ()
    packages: tuple[InstalledPackage, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    leftovers: tuple[Leftover, ...] = ()


@dataclass(frozen=True)
class LinkNow:
    """A PCI device as it runs now: bound driver, link speed in GT/s, width in lanes, IOMMU group, ACS control bits."""

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    address: str
    driver: str = ""
    speed: float | None = None
    width: int | None = None
    iommu_group: str = ""
    acs_control: str = ""


@dataclass(frozen=True)
class Readings:
    """What a deploy, a boot or time changes. Sizes in bytes; `denied` names what needs root and was read without."""

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    kernel_release: str = ""
    cmdline: str = ""
    links: tuple[LinkNow, ...] = ()
    iommu_groups: int | None = None
    shm_bytes: Count | None = None
    boot_free_bytes: Count | None = None
    dkms: tuple[str, ...] = ()
    apt_sources: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    serials: tuple[tuple[str, str], ...] = ()
    denied: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostFacts:
    """A host before anything is done to it.

    `memory_bytes` is the kernel's MemTotal; `cpu_vendor` and `cpu_family` are of /proc/cpuinfo (family 0x17 is 23);
    `virtualisation` is systemd-detect-virt's word: "none" on metal, "unknown" where that program is missing.
    `pci` holds functions that matter to a plan, in address order.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _FORBID

    schema: int
    os_id: str
    os_version: str
    os_codename: str
    os_name: str
    arch: str
    memory_bytes: Count
    cpus: Count
    cpu_vendor: str
    cpu_family: int | None
    machine: Machine
    pci: tuple[PciDevice, ...]
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
    virtualisation: str
    init: str
    boot: Boot
    found: Found
    readings: Readings

    @property
    def release(self) -> str:
        """The distribution's release, as the catalogue names it: debian 13."""
        return f"{self.os_id} {self.os_version}"

    @property
    def debian_arch(self) -> str:
        """The architecture as packages name it: amd64."""
        return _DEBIAN_ARCHITECTURES.get(self.arch, self.arch)

    @property
    def display(self) -> tuple[PciDevice, ...]:
        """Class 0x03 (display and 3D controllers) and 0x12 (processing accelerators)."""
        return tuple(device for device in self.pci if device.class_code[:2] in ("03", "12"))

    @property
    def gpus(self) -> tuple[PciDevice, ...]:
        """Those of NVIDIA and AMD; board management controllers and Intel's are not among them."""
        return tuple(device for device in self.display if device.vendor in (NVIDIA, AMD))

    @property
    def in_container(self) -> bool:
        """Whether the kernel, and so its clock and its modules, belong to an outer host."""
        return self.virtualisation in CONTAINERS

    def to_json(self) -> str:
        """Canonical JSON text; `from_json` reads it back to an equal object."""
        return _ADAPTER.dump_json(self, indent=1).decode() + "\n"

    def to_data(self) -> dict[str, Any]:
        """Plain data, for a composed variant of a host."""
        return asdict(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> HostFacts:
        """Raises GpuwrightError for text that is no HostFacts of this schema."""
        try:
            facts = _ADAPTER.validate_json(text)
        except ValidationError as error:
            # Another schema has other fields: their names would say nothing to anybody.
            if _schema(text) != SCHEMA:
                raise unreadable(f"schema {_schema(text)}", f"schema {SCHEMA}") from error
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise unreadable(f"{where}: {first['msg']}", "a complete facts file") from error
        if facts.schema != SCHEMA:
            raise unreadable(f"schema {facts.schema}", f"schema {SCHEMA}")
        return facts


_ADAPTER: TypeAdapter[HostFacts] = TypeAdapter(HostFacts)


def _schema(text: str | bytes) -> int:
    """The schema that a JSON text says it has; ours where it says nothing of the kind."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return SCHEMA
    schema = content.get("schema") if isinstance(content, dict) else None
    return schema if isinstance(schema, int) else SCHEMA


def unreadable(observed: str, required: str) -> GpuwrightError:
    """The error of facts that cannot be used."""
    return GpuwrightError.of(
        "host facts", observed, required, "Run the probe again, or look at the host by hand."
    )
