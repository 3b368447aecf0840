"""Which GPUs each service gets: those that it names, or all that no other one names."""

from __future__ import annotations

from collections.abc import Mapping

from gpuwright.facts import AMD, NVIDIA, HostFacts
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Card
from gpuwright.settings import ServiceDeclaration

VENDORS = {"cuda": NVIDIA, "rocm": AMD}


def assign(
    services: tuple[ServiceDeclaration, ...], cards: tuple[Card, ...], facts: HostFacts, notes: Notes
) -> Mapping[str, tuple[Card, ...] | None]:
    """GPUs by service, in address order; () for the CPU, None for one that was refused."""
    named = {service.name: _named(service, cards, notes) for service in services if service.gpus}
    _owned_once(services, notes)
    taken = {card.gpu.address for each in named.values() for card in each or ()}
    left = tuple(card for card in cards if card.gpu.address not in taken)
    rest = [service for service in services if not service.gpus and _wants(service, facts)]
    if len(rest) > 1:
        for service in rest:
            notes.refuse(
                f"service {service.name}",
                f"names no GPU, and neither does {', '.join(o.name for o in rest if o is not service)}",
                "GPUs by address for all services but one",
                f"Declare gpus = [...] of {_listed(cards)}.",
            )
    found: dict[str, tuple[Card, ...] | None] = {}
    for service in services:
        if service.gpus:
            found[service.name] = named[service.name]
        elif not _wants(service, facts):
            found[service.name] = ()
        else:
            found[service.name] = None if len(rest) > 1 else _left(service, left, cards, facts, notes)
    return found


def _wants(service: ServiceDeclaration, facts: HostFacts) -> bool:
    """Whether it is to have GPUs: on a host without any, `auto` is the CPU."""
    return service.accelerator != "cpu" and bool(facts.gpus or service.accelerator != "auto")


def _named(service: ServiceDeclaration, cards: tuple[Card, ...], notes: Notes) -> tuple[Card, ...] | None:
    """The cards that it names; None after a refusal was noted."""
    subject = f"service {service.name}"
    known = {card.gpu.address: card for card in cards}
    wrong = False
    if service.accelerator == "cpu":
        remedy = 'Remove gpus, or accelerator = "cpu".'
        notes.refuse(subject, 'accelerator = "cpu" and gpus are declared', "one of both", remedy)
        wrong = True
    for address in dict.fromkeys(service.gpus):
        if service.gpus.count(address) > 1:
            remedy = "Name each GPU once."
            notes.refuse(
                subject, f"asks for gpu {address} {service.gpus.count(address)} times", "once", remedy
            )
            wrong = True
        if address not in known:
            remedy = f"Name one of {_listed(cards)} (gpuwright facts HOST lists all that is on the bus)."
            notes.refuse(subject, f"asks for gpu {address}", "a GPU of this host that computes", remedy)
            wrong = True
    return None if wrong else tuple(card for card in cards if card.gpu.address in service.gpus)


def _owned_once(services: tuple[ServiceDeclaration, ...], notes: Notes) -> None:
    """Two owners only where both say that they know of each other."""
    for index, service in enumerate(services):
        for other in services[:index]:
            for address in sorted(set(service.gpus) & set(other.gpus)):
                if service.shares_gpus and other.shares_gpus:
                    continue
                notes.refuse(
                    f"service {service.name}",
                    f"asks for gpu {address}, which is service {other.name}'s",
                    "one owner for each GPU",
                    "Give it another one, or declare shares_gpus = true for both and size them so that both fit.",
                )


def _left(
    service: ServiceDeclaration,
    left: tuple[Card, ...],
    cards: tuple[Card, ...],
    facts: HostFacts,
    notes: Notes,
) -> tuple[Card, ...] | None:
    """All GPUs of one vendor that nobody names; None after a refusal was noted."""
    subject = f"service {service.name}"
    vendor = VENDORS.get(service.accelerator)
    mine = tuple(card for card in left if vendor in (None, card.row.vendor))
    seen = ", ".join(f"{gpu.address} ({gpu.vendor}:{gpu.device})" for gpu in facts.gpus) or "none"
    if not mine:
        observed = (
            f"the host's GPUs are {seen}, and none of them is left for it"
            if facts.gpus
            else "the host has no GPU"
        )
        notes.refuse(
            subject,
            observed,
            f"a GPU that computes and is nobody else's{'' if vendor is None else f', for {service.accelerator}'}",
            'Declare accelerator = "cpu" if the CPU is what you want: a service never falls back to it silently.',
        )
        return None
    if len({card.row.vendor for card in mine}) > 1:
        notes.refuse(
            subject,
            f"names no GPU, and the host has those of two vendors: {_listed(mine)}",
            "GPUs of one vendor: an engine is built for one",
            'Declare accelerator = "cuda" or "rocm", or gpus = [...].',
        )
        return None
    return mine


def _listed(cards: tuple[Card, ...]) -> str:
    return ", ".join(f"{card.gpu.address} ({card.row.name})" for card in cards) or "no GPU"
