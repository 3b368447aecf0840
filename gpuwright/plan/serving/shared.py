"""GPUs that services share: together they must not ask for more than a card has."""

from __future__ import annotations

from gpuwright.plan.model import Service
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Card

GIB = 1024**3


def shared_fit(services: tuple[Service, ...], cards: tuple[Card, ...], notes: Notes) -> None:
    """Refuse what fits by itself and not beside the others."""
    for card in cards:
        wanted = [
            (service, need)
            for service in services
            for need in service.gpus
            if need.address == card.gpu.address
        ]
        total = sum(need.free_bytes for _, need in wanted)
        if len(wanted) > 1 and total > card.row.visible_bytes:
            asked = ", ".join(f"{service.name} {need.free_bytes / GIB:.1f} GiB" for service, need in wanted)
            notes.refuse(
                f"gpu {card.gpu.address} ({card.row.name})",
                f"its services ask for {total / GIB:.1f} GiB: {asked}",
                f"at most the {card.row.visible_bytes / GIB:.1f} GiB that it has",
                "Declare a smaller gpu_memory_utilization (vLLM), less context, or give one of them another GPU.",
            )
