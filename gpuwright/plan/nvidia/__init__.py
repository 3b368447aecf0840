"""Slice `drivers`: NVIDIA."""

from __future__ import annotations

import re

from gpuwright.catalog import Catalog
from gpuwright.errors import Refusal
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, Gpu, KernelPlan
from gpuwright.plan.notes import Notes
from gpuwright.plan.nvidia.adopt import SUBJECT, There, found_driver, is_installed, misfit
from gpuwright.plan.nvidia.choice import SOURCES, Candidate, Site, choose, site_of
from gpuwright.plan.nvidia.local import driver_file
from gpuwright.plan.nvidia.slice import SliceMaker
from gpuwright.plan.nvidia.window import Window, allowed
from gpuwright.settings import HostSettings


def plan_nvidia(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    kernel: KernelPlan,
    path: str,
    notes: Notes,
) -> DriverPlan | None:
    """The driver of the host's NVIDIA GPUs; None without one, or after a refusal was noted.

    `path` is where the slice will be in the plan (drivers.0).
    """
    if _is_unsupported(facts, catalog, notes):
        return None
    cards = tuple(gpu for gpu in gpus if gpu.vendor == "nvidia" and gpu.use == "compute")
    if not cards:
        return None
    site = site_of(facts, catalog, gpus, kernel)
    there = found_driver(facts, catalog, site)
    window = allowed(cards, settings.nvidia_driver, catalog, notes)
    if isinstance(there, Refusal):
        notes.refusals.append(there)
    elif window is not None:
        ours = settings.nvidia_driver
        local = driver_file(ours, site, window, catalog)
        if isinstance(local, tuple):
            notes.refusals += local
            return None
        make = SliceMaker(site, settings, catalog, cards, path, notes, local)
        if local:
            window, catalog = local.narrowed(window), local.offered(catalog)
        declared = "nvidia" if local else ours.nvidia_driver_source
        decision = _decide(there, window, site, declared, ours.nvidia_driver_existing == "adopt", catalog)
        if isinstance(decision, Candidate):
            return make.to_install(decision, window)
        if isinstance(decision, There):
            return make.to_keep(decision)
        notes.refusals += decision
    return None


def _decide(
    there: There | None, window: Window, site: Site, declared: str, adopt: bool, catalog: Catalog
) -> Candidate | There | tuple[Refusal, ...]:
    """What to install, what to keep, or why neither will do; `declared` is the source that a setting asks for, or auto.

    What a deploy installed is found again as the very candidate, or as a driver that stays: either way the next plan
    is the same.
    """
    sources = tuple(source for source in SOURCES if declared in ("auto", source))
    best, obstacles = choose(site, window, sources, catalog)
    if there is None:
        return best or obstacles
    if best and is_installed(best, there, site):
        return best
    why_not = misfit(there, window, declared)
    if adopt and not why_not:
        return there
    why_not = why_not or 'nvidia_driver_existing is "replace"'
    if there.source is None:
        return (_not_ours(there, why_not),)
    if best and best.row.source_of == there.source:
        return _forward(there, why_not, best, site)
    if adopt and there.source in sources:
        same, obstacles = choose(site, window, (there.source,), catalog)
        if same:
            return _forward(there, why_not, same, site)
    tried = adopt and there.source in sources
    return (_other_source(there, why_not, best, tried),) if best else obstacles


def _is_unsupported(facts: HostFacts, catalog: Catalog, notes: Notes) -> bool:
    machine = facts.machine
    running = [kernel.release for kernel in facts.found.kernels if kernel.running]
    for row in catalog.nvidia.unsupported:
        named = any(re.fullmatch(row.product, name) for name in (machine.product, machine.board))
        if named or any(re.fullmatch(row.kernel, release) for release in running):
            observed = machine.product or machine.board or f"kernel {running[0]}"
            notes.refuse("machine", f"{observed} is {row.what}", "GPUs on PCI Express", row.remedy)
            return True
    return False


def _not_ours(there: There, why_not: str) -> Refusal:
    if there.outer:
        return Refusal(
            SUBJECT,
            f"{there.version} ({there.modules}) came from outside this host, which has no file of it, and {why_not}",
            "a driver of the machine around it that fits",
            "Change it there; this host cannot.",
        )
    return Refusal(
        SUBJECT,
        f"{there.version} ({there.modules}) came from NVIDIA's .run installer or another hand, and {why_not}",
        "a driver that fits, or none, so that packages can bring it",
        "Run nvidia-uninstall, reboot, and run again.",
    )


def _forward(there: There, why_not: str, best: Candidate, site: Site) -> Candidate | tuple[Refusal, ...]:
    """A set of the same source, unless apt would not get there by itself: to an older branch, or past a renaming."""
    named_so = there.named_by_branch() if not best.row.by_branch else ()
    if best.branch.branch >= there.branch and not named_so:
        return best
    branch = f"branch {best.branch.branch}"
    if named_so:
        names = " ".join(named_so)
        fits = (
            f"{branch}, whose packages have no branch in their names; apt keeps the older ones in their way"
        )
    else:
        shared = (name for name in best.names(site) if name in there.installed)
        names = " ".join(dict.fromkeys((*there.packages, *shared)))
        fits = f"the older {branch}, and apt neither goes back to older versions nor removes what is in their way "
        fits += "unless it is told to"
    return (
        Refusal(
            SUBJECT,
            f"{there.version} is installed, and {why_not}; what fits is {fits}",
            f"{branch} or none, so that packages can bring it",
            f"Remove what is there (apt-get purge --allow-change-held-packages {names}; apt-get autoremove --purge), "
            "reboot, and run again.",
        ),
    )


def _other_source(there: There, why_not: str, best: Candidate, tried: bool) -> Refusal:
    """`tried`: the source of what is there has nothing that fits, or is already allowed to."""
    whose = {"distribution": "the distribution's", "nvidia": "NVIDIA's"}
    return Refusal(
        SUBJECT,
        f"{there.version} from {whose[there.source or best.row.source_of]} packages is installed, and {why_not}; what "
        f"fits is branch {best.branch.branch} from {whose[best.row.source_of]}",
        "one driver from one source",
        f"Remove the installed one (apt-get purge {' '.join(there.packages[:3])} ...), reboot, and run again"
        + (
            "."
            if tried
            else f'; or set nvidia_driver_source = "{there.source}", nvidia_driver_existing = "adopt".'
        ),
    )
