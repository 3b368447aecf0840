"""What roles kernel, nvidia_driver, rocm and gpu_runtime hand to operations, from the decisions in gpu_model.

The decisions say what and why; these say what is written, installed, held and booted, in the order in which it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.plan.model import AptRepository, ManagedFile, Unit


@dataclass(frozen=True)
class ArchiveReach:
    """What role `name` needs of the distribution's own archive, beyond what every installation has.

    `codename` is the release's; `components` are needed of all its suites, `suites` are further ones (backports).
    """

    name: str
    codename: str
    components: tuple[str, ...]
    suites: tuple[str, ...]


@dataclass(frozen=True)
class KernelRepository:
    """Kernels that were built: `folder` is the control machine's, as it is declared.

    It has to be of release `codename` and to have the package `image`; `command` makes it so.
    """

    folder: str
    codename: str
    image: str
    command: str


@dataclass(frozen=True)
class LockedSet:
    """Packages that change only together, and are held afterwards.

    `first` go in by an apt run of their own: a pinning package must be there before the names that it pins are
    resolved. `suite` is apt's --target-release, "" for none. `patterns` are regexes from the start of a name: an
    installed package that fits belongs to the set, whoever asked for it. `devices` are globs of device nodes, whose
    holders would lose their driver; units in `daemons` hold them too, and their packages stop them. `known_errors` are
    (regex, meaning): why modules do not build. `minimum` is the oldest version that will do, of each of its own
    packages; "" for any.
    """

    name: str
    first: tuple[str, ...]
    packages: tuple[str, ...]
    suite: str
    patterns: tuple[str, ...]
    devices: tuple[str, ...] = ()
    daemons: tuple[str, ...] = ()
    known_errors: tuple[tuple[str, str], ...] = ()
    minimum: str = ""


@dataclass(frozen=True)
class ModuleSet:
    """A driver's kernel module that every kernel that could boot next must have.

    `name` is what the kernel calls it once it is loaded (nvidia), `module` what modprobe knows it by
    (nvidia-current-open); `delivery` is dkms, prebuilt or in-tree. `devices` are globs of its nodes. `rivals` are
    modules of the kernel's own that must not take the card from an initramfs. `image` is the package of the kernel
    that the host is to boot, "" where the one stays that runs. `secure_boot`: the firmware checks signatures.
    """

    vendor: str
    name: str
    module: str
    delivery: str
    devices: tuple[str, ...]
    rivals: tuple[str, ...]
    image: str
    secure_boot: bool
    known_errors: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class BootPlan:
    """How the host's next boot is to be: `image` is the package of the kernel, "" for the one that runs.

    `arguments` must be on /proc/cmdline. `loader` is grub, systemd-boot, none or unknown; `fallback` is how a trial
    boot comes back by itself: grubenv, systemd-boot, none, or no_fallback where none is declared to be fine. `modules`
    are what the kernel must have before it boots, once the driver is installed; `dkms_key`: dkms builds some of them,
    and the firmware loads none that is signed by a key it does not know.
    """

    image: str
    arguments: tuple[str, ...]
    loader: str
    fallback: str
    modules: tuple[str, ...]
    dkms_key: bool = False


@dataclass(frozen=True)
class KernelSteps:
    """Role kernel: the archive or the repository it needs, files, packages, and the boot."""

    reach: tuple[ArchiveReach, ...]
    repositories: tuple[KernelRepository, ...]
    files: tuple[ManagedFile, ...]
    locked: tuple[LockedSet, ...]
    boots: tuple[BootPlan, ...]


@dataclass(frozen=True)
class DriverSteps:
    """Roles nvidia_driver and rocm; all empty on a host without such a card, or with another hand's driver."""

    reach: tuple[ArchiveReach, ...]
    repositories: tuple[AptRepository, ...]
    files: tuple[ManagedFile, ...]
    locked: tuple[LockedSet, ...]
    modules: tuple[ModuleSet, ...]
    units: tuple[Unit, ...]


@dataclass(frozen=True)
class CdiSpec:
    """A CDI specification: what container engines know a vendor's GPUs by, and what it must be true of.

    Its devices are `kind`=NAME, it lies at `path`; `copies` are other places to which the same tool writes it, and a
    generated one has one of `marks` in it, where there are any. `versions` are regexes that find the driver's version
    in a mount or a hook's argument. `module` is the driver's, as modprobe knows it, `toolkit` the locked set that
    brings the program `tool`. The unit `service` makes it anew, or, where that is "", the command `generate`. `nodes`
    must be among the device nodes that it gives; the first command of `prepare` that succeeds makes them.
    `podman` is the oldest that knows CDI, "" for any.
    """

    vendor: str
    kind: str
    path: str
    copies: tuple[str, ...]
    marks: tuple[str, ...]
    versions: tuple[str, ...]
    module: str
    toolkit: str
    tool: str
    service: str
    generate: str
    nodes: tuple[str, ...]
    prepare: tuple[str, ...]
    podman: str


@dataclass(frozen=True)
class DeviceNodes:
    """Nodes that services hand to containers as they are: `common` ones, and one for each of `gpus` (PCI addresses).

    All belong to `group`, whose number containers get.
    """

    vendor: str
    common: tuple[str, ...]
    gpus: tuple[str, ...]
    group: str


@dataclass(frozen=True)
class RuntimeSteps:
    """Role gpu_runtime: toolkits, what they generate, and device nodes; all empty on a host without compute GPUs."""

    repositories: tuple[AptRepository, ...]
    locked: tuple[LockedSet, ...]
    files: tuple[ManagedFile, ...]
    specs: tuple[CdiSpec, ...]
    nodes: tuple[DeviceNodes, ...]
    units: tuple[Unit, ...]
