"""Which image serves: the declared one, or the catalogue's first that driver, cards and processor can run."""

from __future__ import annotations

from dataclasses import dataclass

from gpuwright.catalog import Catalog
from gpuwright.catalog.engines import EngineRow
from gpuwright.catalog.version import at_least
from gpuwright.facts import AMD, NVIDIA, HostFacts
from gpuwright.plan.gpu_model import DriverPlan
from gpuwright.plan.model import Image
from gpuwright.plan.notes import Notes
from gpuwright.plan.peers import Card
from gpuwright.settings import HostSettings, ServiceDeclaration

NAMES = {NVIDIA: "nvidia", AMD: "amd"}
OWN = {"nvidia": "cuda", "amd": "rocm", "": "cpu"}


@dataclass(frozen=True)
class Chosen:
    """An image, for what it is built, and where that is known from; `compiles` at its first start on these cards."""

    image: Image
    variant: str
    reason: str
    source: str
    compiles: bool = False


def choose(
    declared: ServiceDeclaration,
    cards: tuple[Card, ...],
    drivers: tuple[DriverPlan, ...],
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    notes: Notes,
) -> Chosen | None:
    """None after a refusal was noted."""
    vendor = NAMES[cards[0].row.vendor] if cards else ""
    reference = declared.image
    ours = settings.inference
    if reference is not None:
        source = "registry" if "@" in reference else "local"
        return Chosen(Image(source, reference), _kind(declared, vendor), f"declared, {source}", "image")
    if ours.inference_image is not None or ours.inference_image_source == "local":
        return _of_all(declared, _kind(declared, vendor), settings, notes)
    branch = next((driver.branch for driver in drivers if driver.vendor == vendor), "")
    rows = [row for row in catalog.engines if row.name == declared.engine and _meant(row, declared, vendor)]
    wrong: list[str] = []
    # Another processor's image says nothing where there is one for this.
    for row in [row for row in rows if facts.arch in row.architectures] or rows:
        if (why := _lacks(row, cards, branch, facts)) is None:
            return Chosen(
                Image("registry", row.image),
                row.variant,
                f"{row.tag}, pinned by digest: the first that runs on {_ground(cards, branch, facts)}",
                row.source,
                any(card.row.target in row.jit for card in cards),
            )
        wrong.append(f"{row.tag} {why}")
    notes.refuse(
        f"image of service {declared.name}",
        "; ".join(wrong) or f"the catalogue has no image of {declared.engine} for {_kind(declared, vendor)}",
        f"an image that runs on {_ground(cards, branch, facts)}",
        "Set image = repository@sha256:... of one that does, or take another engine.",
    )
    return None


def _of_all(
    declared: ServiceDeclaration, variant: str, settings: HostSettings, notes: Notes
) -> Chosen | None:
    """inference_image: one for all services that name none."""
    ours = settings.inference
    subject = f"image of service {declared.name}"
    if ours.inference_image is None:
        notes.refuse(
            subject,
            "inference_image_source is local and inference_image is not set",
            "the id of an image on the control machine",
            "Set inference_image (docker image ls --no-trunc), or use registry.",
        )
        return None
    if ("@" in ours.inference_image) != (ours.inference_image_source == "registry"):
        notes.refuse(
            subject,
            f"inference_image is {ours.inference_image}",
            "repository@sha256:... with registry, sha256:... with local",
            "Make inference_image and inference_image_source agree.",
        )
        return None
    reason = f"inference_image, source {ours.inference_image_source}"
    return Chosen(Image(ours.inference_image_source, ours.inference_image), variant, reason, "settings")


def _kind(declared: ServiceDeclaration, vendor: str) -> str:
    """What an image has to be built for, as far as the declaration tells."""
    return declared.accelerator if declared.accelerator != "auto" else OWN[vendor]


def _meant(row: EngineRow, declared: ServiceDeclaration, vendor: str) -> bool:
    """Whether a row is for the declared accelerator. Vulkan only where it is asked for: slower, and unwatched."""
    if declared.accelerator == "vulkan":
        return row.variant == "vulkan"
    return row.vendor == vendor and row.variant != "vulkan" and (row.variant == "cpu") == (not vendor)


def _lacks(row: EngineRow, cards: tuple[Card, ...], branch: str, facts: HostFacts) -> str | None:
    """Why an image does not run here; None where it does."""
    if facts.arch not in row.architectures:
        return f"is for {', '.join(row.architectures)}"
    wanted, known = {card.row.target for card in cards}, {*row.targets, *row.jit}
    missing = sorted(wanted - known) if row.targets else []
    if missing:
        return f"has no code for {', '.join(missing)}, only for {', '.join((*row.targets, *row.jit))}"
    if row.driver and cards and cards[0].row.vendor == NVIDIA:
        compiled = sorted(wanted & set(row.jit))
        oldest = row.jit_driver if compiled else row.driver
        reason = f"needs driver {oldest} or newer"
        reason += f" for {', '.join(compiled)}, whose code it compiles" if compiled else ""
        if not branch:
            return f"{reason}, and nobody knows which one is here"
        if not at_least(branch, oldest):
            return f"{reason}, not {branch}"
    return None


def _ground(cards: tuple[Card, ...], branch: str, facts: HostFacts) -> str:
    if not cards:
        return facts.arch
    names = ", ".join(dict.fromkeys(f"{card.row.name} ({card.row.target})" for card in cards))
    return f"{names}{f' with driver {branch}' if branch else ''}, {facts.arch}"
