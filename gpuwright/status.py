"""What runs on a deployed host, read in one round trip and judged against the host's stamp.

What could not be read is None ("unknown" for people) and never counts as fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gpuwright.connection import Connection
from gpuwright.errors import GpuwrightError
from gpuwright.stamp import PATH, StampedService, never_deployed, parse
from gpuwright.status_probe import (
    SCRIPT,
    integer,
    listeners,
    load,
    models,
    pairs,
    parse_sections,
    row,
    table,
    units,
)

TIMEOUT_S = 60

Verdict = Literal["ok", "differs", "unknown"]


@dataclass(frozen=True)
class ServiceStatus:
    """One declared service. `since` is Unix time in s; `memory_bytes` leaves out cache that can be dropped.

    `health` is "" where the image has no health check; `listens` are addresses, empty when none listens.
    `declared_image_id` is "" where the host lacks that image.
    """

    name: str
    engine: str
    model: str
    unit: str
    port: int
    active: str | None
    sub: str | None
    since: int | None
    restarts: int | None
    container: str | None
    health: str | None
    image_id: str | None
    declared_image_id: str | None
    memory_bytes: int | None
    listens: tuple[str, ...] | None
    model_bytes: int | None
    model_present: bool | None

    @property
    def differences(self) -> tuple[str, ...]:
        """What is surely not as declared."""
        same_image = self.image_id is None or self.declared_image_id in (None, "", self.image_id)
        found = [
            (self.active not in (None, "active"), f"{self.unit} is {self.active} ({self.sub})"),
            (self.container not in (None, "running"), f"container is {self.container}"),
            (self.health == "unhealthy", "container is unhealthy"),
            (self.declared_image_id == "", "the declared image is not on the host"),
            (not same_image, "container runs another image"),
            (self.listens == (), f"nothing listens on port {self.port}"),
            (self.model_present is False, f"model {self.model} is not in the store"),
        ]
        return tuple(text for differs, text in found if differs)

    @property
    def verdict(self) -> Verdict:
        """`differs` for a sure difference, `unknown` when something needed for an `ok` is missing."""
        if self.differences:
            return "differs"
        needed = (self.active, self.container, self.health, self.listens, self.model_present)
        compared = self.image_id and self.declared_image_id
        return "ok" if compared and all(value is not None for value in needed) else "unknown"


@dataclass(frozen=True)
class Image:
    """An image that a service declares; `id` is "" when the host lacks it."""

    reference: str
    id: str
    bytes: int


@dataclass(frozen=True)
class HostStatus:
    """A host and its declared services. `models` are names with bytes; disk figures are the model store's."""

    host: str
    os: str | None
    now: int | None
    uptime_s: int | None
    load: tuple[float, float, float] | None
    engine_version: str | None
    plan_digest: str | None
    version: str | None
    model_store: str
    disk_free_bytes: int | None
    disk_bytes: int | None
    services: tuple[ServiceStatus, ...]
    images: tuple[Image, ...] | None
    models: tuple[tuple[str, int], ...] | None

    @property
    def verdict(self) -> Verdict:
        """The worst of the services: a sure difference, else what is unknown."""
        verdicts = {service.verdict for service in self.services}
        return "differs" if "differs" in verdicts else "unknown" if "unknown" in verdicts else "ok"

    @property
    def exit_code(self) -> int:
        """0 when all that is declared runs, 2 when something differs, 1 when that cannot be said."""
        return {"ok": 0, "differs": 2, "unknown": 1}[self.verdict]


def read(connection: Connection) -> HostStatus:
    """The status of the connected host; GpuwrightError when it was never deployed or cannot be read."""
    return parse_status(connection.run(SCRIPT, timeout=TIMEOUT_S).stdout, connection.name)


def parse_status(text: str, host: str) -> HostStatus:
    """A HostStatus from what SCRIPT printed; a section that is missing or cut off is unknown."""
    sections = parse_sections(text)
    stamp_text = sections.get("stamp")
    if stamp_text is None:
        raise GpuwrightError.of(
            f"host {host}", f"its answer holds no {PATH}", "a complete answer", "Try again; see its load."
        )
    if not stamp_text.strip():
        raise never_deployed(host)
    stamp = parse(stamp_text, host)
    machine = pairs(sections.get("machine"))
    disk = row(sections.get("disk"))
    images = _images(sections.get("images"))
    stored = models(sections.get("models"))
    readings = _Readings(
        units=units(sections.get("units")),
        containers=table(sections.get("containers")),
        images=None if images is None else {image.reference: image.id for image in images},
        listeners=listeners(sections.get("listeners")),
        models=None if stored is None else dict(stored),
    )
    return HostStatus(
        host=host,
        os=machine.get("os") or None,
        now=integer(machine.get("now")),
        uptime_s=integer(machine.get("uptime")),
        load=load(machine.get("load")),
        engine_version=(sections.get("engine") or "").strip() or None,
        plan_digest=stamp.plan_digest,
        version=stamp.version,
        model_store=stamp.model_store,
        disk_bytes=integer(disk[1]) if len(disk) > 3 else None,
        disk_free_bytes=integer(disk[3]) if len(disk) > 3 else None,
        services=tuple(_service(service, readings) for service in stamp.services),
        images=images,
        models=stored,
    )


@dataclass(frozen=True)
class _Readings:
    """What the services are joined with; None where a section is missing."""

    units: dict[str, dict[str, str]] | None
    containers: dict[str, list[str]] | None
    images: dict[str, str] | None
    listeners: tuple[tuple[str, int], ...] | None
    models: dict[str, int] | None


def _service(service: StampedService, readings: _Readings) -> ServiceStatus:
    unit = (readings.units or {}).get(service.unit, {})
    state, image_id, health, memory = _container(service.container, readings.containers)
    listens = readings.listeners
    return ServiceStatus(
        name=service.name,
        engine=service.engine,
        model=service.model,
        unit=service.unit,
        port=service.port,
        active=unit.get("ActiveState"),
        sub=unit.get("SubState"),
        since=integer(unit.get("ActiveEnterTimestamp", "").lstrip("@")) or None,
        restarts=integer(unit.get("NRestarts")),
        container=state,
        health=health,
        image_id=image_id,
        declared_image_id=(readings.images or {}).get(service.image),
        memory_bytes=memory,
        listens=None if listens is None else tuple(host for host, port in listens if port == service.port),
        model_bytes=(readings.models or {}).get(service.model),
        model_present=None if readings.models is None else service.model in readings.models,
    )


def _container(
    name: str, table: dict[str, list[str]] | None
) -> tuple[str | None, str | None, str | None, int | None]:
    """State, image id, health and memory in bytes; `absent` where the engine knows no such container."""
    row = (table or {}).get(name)
    if row is None:
        return None, None, None, None
    if row[0] == "absent":
        return "absent", None, "", None
    if len(row) < 4:
        return None, None, None, None
    return row[0], row[1], row[2].removeprefix("health:"), integer(row[3])


def _images(text: str | None) -> tuple[Image, ...] | None:
    rows = table(text)
    if rows is None:
        return None
    return tuple(
        Image(reference, row[0], integer(row[1]) or 0) for reference, row in rows.items() if len(row) == 2
    )
