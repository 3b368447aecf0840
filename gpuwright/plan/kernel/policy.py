"""Which kernel, from what is declared, what is there and what the cards need; refusals where none fits."""

from __future__ import annotations

from dataclasses import replace

from gpuwright.catalog import Catalog
from gpuwright.catalog.kernels import BuildRow
from gpuwright.facts import HostFacts
from gpuwright.facts.model import AMD
from gpuwright.plan.kernel.choice import (
    PEER,
    Choice,
    Need,
    adopted,
    build_for,
    first_fit,
    kept,
    of_build,
    of_row,
    running,
    unmet,
    unmet_by_kept,
)
from gpuwright.plan.model import Reason
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Card, Peers
from gpuwright.settings import HostSettings

FLAVOUR = "setting kernel_flavour"
# Where what is built goes in the command that refusals name: beside an inventory in inventories/.
FOLDER = "kernels"


def choose(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    compute: tuple[Card, ...],
    peers: Peers | None,
    notes: Notes,
) -> Choice:
    """The kernel to boot; `peers` are AMD cards that only P2P over PCIe could join."""
    need = _need(facts, settings, catalog, compute, peers)
    declared = settings.kernel.kernel_flavour
    now = running(facts)
    if facts.in_container:
        return _outer(facts, catalog, declared, need, notes)
    if declared == "keep":
        return _kept(facts, catalog, need, Reason("declared", FLAVOUR), notes)
    if declared == "built":
        return _built(facts, settings, catalog, need, notes)
    if declared != "auto":
        return _declared(facts, catalog, declared, need, notes)
    if not compute:
        return kept(facts, catalog, Reason("no GPU for computing asks for a kernel", "role kernel"))
    if now and catalog.kernels.running(facts.release, now.release) is None:
        why = Reason(f"{now.release} is not of {facts.os_name}: somebody chose it", "catalogue, kernels.toml")
        return _kept(facts, catalog, need, why, notes)
    return _auto(facts, settings, catalog, need, peers, notes)


def _need(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    compute: tuple[Card, ...],
    peers: Peers | None,
) -> Need:
    amd = [card.row for card in compute if card.row.vendor == AMD]
    floors = {row.name: catalog.amd.kernel_floor([row.target]) for row in amd}
    driver, wanted = settings.rocm.rocm_driver, settings.interconnect.interconnect_p2p == "wanted"
    return Need(
        amdgpu=bool(amd),
        floors=() if driver == "dkms" else tuple(floors.items()),
        vendor_driver=driver == "auto" and facts.arch == "x86_64" and facts.boot.secure_boot != "enabled",
        p2p=wanted and peers is not None,
    )


def _auto(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    need: Need,
    peers: Peers | None,
    notes: Notes,
) -> Choice:
    there = adopted(facts, catalog, need)
    if there:
        return of_row(
            there, facts, Reason("installed or running already, and it has what the GPUs need", there.source)
        )
    offered = catalog.kernels.offered(facts.release)
    row = first_fit(facts, catalog, need)
    if row is None and peers and peers.bridged:
        need = replace(need, p2p=False)  # a bridge that the bus does not show may join them
        row = adopted(facts, catalog, need) or first_fit(facts, catalog, need)
    if row is None and settings.rocm.rocm_driver == "auto":
        need = replace(
            need, floors=()
        )  # AMD's own driver may know what no kernel here does: its planner judges
        row = adopted(facts, catalog, need) or first_fit(facts, catalog, need)
    if row is None:
        for observed, required in unmet(offered[0], facts, catalog, need):
            notes.refuse("kernel", observed, required, _remedy(facts, catalog, need, required))
        return of_row(offered[0], facts, Reason("the release's own", offered[0].source))
    skipped = [
        observed
        for other in offered[: offered.index(row)]
        for observed, _ in unmet(other, facts, catalog, need)
    ]
    reason = (
        f"the first that has what the GPUs need: {'; '.join(skipped)}" if skipped else "the release's own"
    )
    return of_row(row, facts, Reason(reason, row.source))


def _declared(facts: HostFacts, catalog: Catalog, flavour: str, need: Need, notes: Notes) -> Choice:
    offered = catalog.kernels.offered(facts.release)
    row = next((row for row in offered if row.flavour == flavour), None)
    if row is None:
        notes.refuse(
            FLAVOUR,
            f'"{flavour}" is declared, and {facts.os_name} has {", ".join(dict.fromkeys(r.flavour for r in offered))}',
            "a flavour that the release has",
            'Set kernel_flavour = "auto".',
        )
        return kept(facts, catalog, Reason("declared", FLAVOUR))
    for observed, required in unmet(row, facts, catalog, need):
        notes.refuse("kernel", observed, required, _remedy(facts, catalog, need, required))
    return of_row(row, facts, Reason("declared", f"{FLAVOUR}; {row.source}"))


def _built(facts: HostFacts, settings: HostSettings, catalog: Catalog, need: Need, notes: Notes) -> Choice:
    row = build_for(facts, catalog, need)
    if row is None:
        notes.refuse(
            FLAVOUR,
            f'"built" is declared, and no kernel source of {facts.os_name} is known that fits',
            "a source and a configuration to build from",
            'Set kernel_flavour = "auto".',
        )
        return kept(facts, catalog, Reason("declared", FLAVOUR))
    if facts.boot.secure_boot == "enabled":
        notes.refuse(
            FLAVOUR,
            '"built" is declared, and Secure Boot is enabled',
            "a firmware that boots a kernel which nobody signed",
            "Switch Secure Boot off in the firmware, or take a kernel of the distribution.",
        )
    if settings.kernel.kernel_repository is None:
        notes.refuse(
            "setting kernel_repository",
            '"built" is declared as kernel_flavour, and no folder that has such a kernel',
            "the folder of one release that `gpuwright kernel build --output` filled",
            f"Build it: {build_command(row, catalog)}. Then set kernel_repository = "
            f'"{FOLDER}/{row.base}", which counts from the folder of the inventory on.',
        )
    return of_build(row, facts, catalog)


def build_command(row: BuildRow, catalog: Catalog) -> str:
    """What builds a kernel from this source, as a person types it in the checkout."""
    rows = [each for each in catalog.kernels.builds if (each.os, each.suite) == (row.os, row.suite)]
    words = ["gpuwright kernel build --base", row.base]
    if row.suite:
        words += ["--suite", row.suite]
    if rows[0] != row:
        words += ["--series", row.series]
    return " ".join((*words, "--enable p2p --output", f"inventories/{FOLDER}"))


def _kept(facts: HostFacts, catalog: Catalog, need: Need, why: Reason, notes: Notes) -> Choice:
    for observed, required in unmet_by_kept(facts, catalog, need):
        notes.refuse("kernel", observed, required, _remedy(facts, catalog, need, required))
    return kept(facts, catalog, why)


def _outer(facts: HostFacts, catalog: Catalog, declared: str, need: Need, notes: Notes) -> Choice:
    """A container's kernel is another machine's."""
    if declared not in ("auto", "keep"):
        notes.refuse(
            FLAVOUR,
            f'"{declared}" is declared, and the host is a container ({facts.virtualisation})',
            "a host that boots its own kernel",
            'Set kernel_flavour = "auto" here, and choose the kernel on the machine around it.',
        )
    for observed, required in unmet_by_kept(facts, catalog, need):
        notes.refuse("kernel", observed, required, "Change the kernel of the machine around this container.")
    why = Reason("a container: its kernel is that of the machine around it", "systemd-detect-virt(1)")
    return kept(facts, catalog, why)


def _remedy(facts: HostFacts, catalog: Catalog, need: Need, required: str) -> str:
    """What a person can do about a kernel that lacks something."""
    fit = first_fit(facts, catalog, need)
    if not required.startswith(PEER):
        other = f'Set kernel_flavour = "{fit.flavour}"' if fit else "Install a newer release"
        return f"{other}, or remove the card."
    off = 'split layers between the cards, which needs no P2P: interconnect_p2p = "off"'
    if fit:
        return f'Set kernel_flavour = "{fit.flavour}", or {off}.'
    having = [row for row in catalog.kernels.kernels if row.flavour == "ga" and row.options.get(PEER) == "y"]
    elsewhere = ", ".join(row.os.capitalize() for row in having)
    return f'Set kernel_flavour = "built"; or install {elsewhere}, whose kernel has it; or {off}.'
