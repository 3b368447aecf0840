"""NVIDIA's DriverPlan, with a reason for each of its values."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.nvidia_driver import BranchRow, PackageSet
from gpuwright.errors import Refusal
from gpuwright.plan.gpu_model import DriverPlan, Gpu
from gpuwright.plan.imex import imex_use
from gpuwright.plan.model import AptPin, AptRepository
from gpuwright.plan.notes import Notes
from gpuwright.plan.nvidia.adopt import There
from gpuwright.plan.nvidia.choice import Candidate, Site, listed, offered
from gpuwright.plan.nvidia.local import DriverFile
from gpuwright.plan.nvidia.mirror import mirrored
from gpuwright.plan.nvidia.model import NvidiaDriverPlan
from gpuwright.plan.nvidia.toolkit import choose_toolkit, reason
from gpuwright.plan.nvidia.window import Window
from gpuwright.plan.pins import pins_for
from gpuwright.settings import HostSettings

VENDOR = "nvidia"
POLICY = "The newest long-term branch that runs every card, else the oldest that is supported."


@dataclass(frozen=True)
class SliceMaker:
    """Makes the slice of one host, which will be at `path` in the plan, and notes why.

    `local` is the file that the driver is in, where one is declared.
    """

    site: Site
    settings: HostSettings
    catalog: Catalog
    cards: tuple[Gpu, ...]
    path: str
    notes: Notes
    local: DriverFile | None

    def to_install(self, candidate: Candidate, window: Window) -> DriverPlan:
        """A driver to install, or one that is there and is the same."""
        row, branch = candidate.row, candidate.branch
        ours = self.settings.nvidia_driver
        own = offered(self.site, ("distribution",), self.catalog)
        source = f"{self.site.os} itself has {listed(own)}"
        if row.source_of == "distribution":
            source = "the distribution has this branch, and its packages follow its kernels"
        elif branch.branch in own:
            source += ", in a way that does not install here"
        if ours.nvidia_driver_source != "auto":
            source = "declared"
        if self.local:
            source = "nvidia_driver_local_repository: the file has this branch and no other"
        modules = "declared" if ours.nvidia_driver_modules != "auto" else _modules_reason(row, branch, window)
        self._why("", f"{self.cards[0].name}: an NVIDIA card that computes", row.source)
        self._why("branch", _branch_reason(branch, window), branch.source)
        self._why("source", source, row.source)
        self._why("modules", modules, window.oldest.row.source)
        names = candidate.names(self.site)
        return self._slice(row, branch.branch, row.modules, row.delivery, names, names)

    def to_keep(self, there: There) -> DriverPlan:
        """A driver that earlier hands installed and that stays as it is."""
        reason = f"{there.version} is there, runs every card and satisfies the settings: adopted"
        self._why("", reason, "setting nvidia_driver_existing")
        branch = str(there.branch)
        if there.row is None:
            return NvidiaDriverPlan(
                VENDOR,
                "unmanaged",
                branch,
                there.modules,
                "unmanaged",
                (),
                (),
                (),
                (),
                (),
                VENDOR,
                (),
                (),
                (),
                (),
                self._toolkit("unmanaged", there.branch),
                (),
            )
        delivery = there.row.delivery
        names = there.row.names(there.branch, there.kernel)
        if not there.whole:
            names, delivery = there.packages, "prebuilt" if there.prebuilt else "dkms"
        return self._slice(there.row, there.branch, there.modules, delivery, names, tuple(there.installed))

    def _slice(
        self,
        row: PackageSet,
        branch: int,
        modules: str,
        delivery: str,
        names: tuple[str, ...],
        installed: tuple[str, ...],
    ) -> DriverPlan:
        """`names` are the driver's packages, `installed` all that will be there, as far as they are known."""
        first = tuple(name for name in row.first_names(branch) if name in names)
        boot = self.catalog.nvidia.boot[0]
        daemon = self.settings.power.power_persistence and any(boot.brings(name) for name in installed)
        how = "built on the host against the kernel's headers"
        if delivery == "prebuilt":
            how = "built and signed by the distribution for its own kernels, so that Secure Boot accepts it"
        elif self.site.secure_boot:
            how += ", and signed there by a key that somebody enrols at the console once (Secure Boot)"
        self._why("delivery", how, row.source)
        self._why("packages", "what computing needs, without a desktop", row.source)
        self._why(
            "first",
            "its preferences keep the branch, and only an apt that starts later reads them",
            row.source,
        )
        self._why(
            "components", "where the distribution has these packages, or what they depend on", row.source
        )
        self._why("module", "the name that modprobe's options must use with these packages", row.source)
        self._why("load", "nothing else loads it on a host without a desktop", boot.source)
        self._why(
            "units", "power_persistence: without it the driver initialises anew for each client", boot.source
        )
        repositories, pins = self._places(row)
        return NvidiaDriverPlan(
            vendor=VENDOR,
            source=row.source_of,
            branch=str(branch),
            modules=modules,
            delivery=delivery,
            repositories=repositories,
            pins=pins,
            packages=tuple(name for name in names if name not in first),
            first=first,
            components=row.components,
            module=row.module,
            options=self._options(branch, modules),
            load=boot.load,
            blacklist=self._blacklist(),
            units=(boot.persistence,) if daemon else (),
            toolkit=self._toolkit(row.source_of, branch),
            imex_nodes=self._imex_nodes(),
        )

    def _places(self, row: PackageSet) -> tuple[tuple[AptRepository, ...], tuple[AptPin, ...]]:
        """Where the packages are, and what makes apt take them from there."""
        if self.local:
            known = self.local.row
            file = f"nvidia_driver_local_repository: {self.local.version} is in it"
            self._why("repositories", file, known.source)
            clash = "one source for what belongs together: distributions use the same names"
            self._why("pins", clash, known.source)
            return (self.local.repository,), (self.local.pin,)
        public = self._repositories(row)
        pins = pins_for(public, self.catalog.nvidia.pins, f"{self.path}.pins", self.notes)
        return self._mirrored(public), pins

    def _repositories(self, row: PackageSet) -> tuple[AptRepository, ...]:
        there = self.catalog.nvidia.repository(self.site.os, self.site.arch)
        if row.source_of != "nvidia" or there is None:
            return ()
        self._why("repositories", "the packages are NVIDIA's", there.source)
        arch = self.site.debian_arch
        return (AptRepository("nvidia-cuda", there.uri, "/", (), arch, there.key_url, there.key_fingerprint),)

    def _mirrored(self, public: tuple[AptRepository, ...]) -> tuple[AptRepository, ...]:
        mirror = self.settings.nvidia_driver.nvidia_driver_mirror
        base = self.catalog.nvidia.public[0]
        if mirror is None or not public:
            return public
        reason = f"the packages are NVIDIA's, and nvidia_driver_mirror is in the place of {base.uri}"
        self._why("repositories", reason, base.source)
        return tuple(mirrored(repository, base.uri, mirror) for repository in public)

    def _toolkit(self, source: str, branch: int) -> tuple[str, ...]:
        self._why(
            "toolkit", "none declared: containers bring their own", "setting nvidia_driver_cuda_toolkit"
        )
        declared = self.settings.nvidia_driver.nvidia_driver_cuda_toolkit
        place = "file" if self.local else source
        found = choose_toolkit(declared, self.site, self.cards, place, branch, self.catalog)
        if isinstance(found, Refusal):
            self.notes.refusals.append(found)
        if found is None or isinstance(found, Refusal):
            return ()
        self._why("toolkit", reason(found, self.cards, branch, self.catalog), found.source)
        return (found.package,)

    def _options(self, branch: int, modules: str) -> tuple[str, ...]:
        names = {card.name for card in self.cards}
        kinds = {row.kind for row in self.catalog.gpus.rows if row.name in names}
        options: tuple[str, ...] = ()
        for row in self.catalog.nvidia.options:
            if row.modules == modules and branch <= row.last and kinds.intersection(row.kinds):
                self._why(f"options.{len(options)}", f"{modules} modules of branch {branch}", row.source)
                options += (row.option,)
        use = imex_use(self.cards, self.settings, self.catalog)
        if use is not None:
            self._why(f"options.{len(options)}", "IMEX: without it there is no channel to share", use.source)
            options += (use.option,)
        return options

    def _imex_nodes(self) -> tuple[str, ...]:
        """Sorted: each machine must list all in the same order."""
        declared = self.settings.nvidia_driver.nvidia_driver_imex_nodes
        use = imex_use(self.cards, self.settings, self.catalog)
        if use is None or not declared:
            return ()
        self._why("imex_nodes", "declared; sorted, for the list has to be the same everywhere", use.source)
        return tuple(sorted(set(declared)))

    def _blacklist(self) -> tuple[str, ...]:
        names: tuple[str, ...] = ()
        for row in self.catalog.nvidia.blacklists:
            for name in row.modules if self.site.os in row.os else ():
                self._why(f"blacklist.{len(names)}", "it would take the card", row.source)
                names += (name,)
        return names

    def _why(self, leaf: str, reason: str, source: str) -> None:
        self.notes.why(f"{self.path}.{leaf}" if leaf else self.path, reason, source)


def _branch_reason(branch: BranchRow, window: Window) -> str:
    life = f"supported until {branch.end_of_life}" if branch.end_of_life else "no end announced"
    if branch.ended:
        life = "NVIDIA has ended it" + (f" ({branch.end_of_life})" if branch.end_of_life else "")
    wanted = f"{window} runs every card"
    if window.last is not None:
        wanted = f"{window.oldest.card.name} ends with branch {window.last}"
    if window.declared:
        return f"declared; {branch.kind}, {life}; CUDA {branch.cuda}"
    return f"{wanted}; {branch.kind}, {life}; CUDA {branch.cuda}. {POLICY}"


def _modules_reason(row: PackageSet, branch: BranchRow, window: Window) -> str:
    need = {"no": "has no open modules", "required": "runs with open modules only"}
    if len(window.modules) == 1:
        limit = next(limit for limit in window.limits if limit.row.open in need)
        return f"{limit.card.name} {need[limit.row.open]}"
    if row.modules == branch.modules:
        return f"what branch {branch.branch} installs by default"
    return "the other flavour does not install here"
