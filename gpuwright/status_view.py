"""A host's status for people: rich tables, where what is not known says so."""

from __future__ import annotations

from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gpuwright.plan.model import Json
from gpuwright.status import HostStatus, ServiceStatus

UNKNOWN = Text("unknown", style="yellow")
_COLOURS = {"ok": "green", "differs": "red", "unknown": "yellow"}


def render(status: HostStatus) -> RenderableType:
    """The host's facts, its services, what differs, and what is stored."""
    parts: list[RenderableType] = [_host(status), _services(status)]
    for service in status.services:
        parts += [Text(f"{service.name}: {difference}", style="red") for difference in service.differences]
    if not status.services:
        parts.append(Text("No service is declared for this host.", style="yellow"))
    return Group(*parts, _images(status), _models(status))


def to_json(status: HostStatus) -> dict[str, Json]:
    """The same for machines: every field, null for unknown, and the verdicts with what differs."""
    services: list[Json] = [
        {**asdict(service), "verdict": service.verdict, "differences": list(service.differences)}
        for service in status.services
    ]
    models = status.models
    stored: list[Json] = [{"name": name, "bytes": size} for name, size in models or ()]
    return {
        **asdict(status),
        "verdict": status.verdict,
        "services": services,
        "models": None if models is None else stored,
    }


def _host(status: HostStatus) -> Table:
    grid = Table.grid(padding=(0, 2))
    load = None if status.load is None else " ".join(f"{value:.2f}" for value in status.load)
    free, size = _bytes(status.disk_free_bytes), _bytes(status.disk_bytes)
    rows: list[tuple[str, str | None]] = [
        ("host", status.host),
        ("system", status.os),
        ("up", _duration(status.uptime_s)),
        ("load", load),
        ("container engine", status.engine_version),
        ("plan", None if status.plan_digest is None else status.plan_digest[:12]),
        ("deployed by", None if status.version is None else f"gpuwright {status.version}"),
        ("model store", status.model_store),
        ("free there", f"{free} of {size}" if free and size else None),
    ]
    for name, value in rows:
        grid.add_row(Text(name, style="dim"), _cell(value))
    return grid


def _services(status: HostStatus) -> Table:
    """One column per service: a host runs few, and their values are long."""
    table = Table("service", *(service.name for service in status.services))
    columns = [_column(service, status.now) for service in status.services]
    for name in columns[0] if columns else ():
        table.add_row(Text(name, style="dim"), *(column[name] for column in columns))
    return table


def _column(service: ServiceStatus, now: int | None) -> dict[str, Text]:
    running = service.active == "active" and now is not None and service.since is not None
    since = (now or 0) - (service.since or 0) if running else None
    absent = Text("none") if service.container == "absent" else None
    return {
        "verdict": Text(service.verdict, style=_COLOURS[service.verdict]),
        "unit": Text(service.unit),
        "state": _cell(None if service.active is None else f"{service.active} ({service.sub or '?'})"),
        "for": _cell(_duration(since)) if service.active in ("active", None) else Text("-"),
        "restarts": _cell(None if service.restarts is None else str(service.restarts)),
        "engine": Text(service.engine),
        "container": _cell(" ".join(filter(None, (service.container, service.health))) or None),
        "image": absent or _cell(None if service.image_id is None else _short(service.image_id)),
        "memory": absent or _cell(_bytes(service.memory_bytes)),
        "listens": _cell(_listens(service)),
        "model": _model(service),
    }


def _listens(service: ServiceStatus) -> str | None:
    if service.listens is None:
        return None
    return ", ".join(f"{address}:{service.port}" for address in service.listens) or "nowhere"


def _model(service: ServiceStatus) -> Text:
    if service.model_present is None:
        return Text.assemble(f"{service.model} ", UNKNOWN)
    size = _bytes(service.model_bytes) if service.model_present else "missing"
    return Text(f"{service.model} ({size or 'size unknown'})")


def _images(status: HostStatus) -> RenderableType:
    if status.images is None:
        return Text.assemble("images: ", UNKNOWN)
    table = Table("image", "id", "size")
    for image in status.images:
        short = _short(image.id)
        table.add_row(image.reference, short or "missing", _bytes(image.bytes) if short else "")
    return table


def _models(status: HostStatus) -> RenderableType:
    if status.models is None:
        return Text.assemble("models in the store: ", UNKNOWN)
    table = Table("model in the store", "size")
    for name, size in status.models:
        table.add_row(name, _bytes(size))
    return table


def _cell(value: str | None) -> Text:
    return UNKNOWN if value is None else Text(value)


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]


def _duration(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    days, rest = divmod(max(seconds, 0), 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _bytes(count: int | None) -> str | None:
    """Binary units, as memory and disk tools print them."""
    if count is None:
        return None
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
