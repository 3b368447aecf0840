"""Slice `base`: packages, clock, locked memory."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan
from gpuwright.plan.model import BasePlan, ManagedFile, Package, Unit
from gpuwright.plan.network import plan_apt_sources, plan_certificates, plan_dropped, plan_proxy
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings

LIMITS = "/etc/security/limits.d/90-gpuwright-memlock.conf"
SYSTEM_LIMITS = "/etc/systemd/system.conf.d/90-gpuwright-memlock.conf"


def plan_base(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, drivers: tuple[DriverPlan, ...], notes: Notes
) -> BasePlan:
    """Packages that later roles call, a clock that is right, and a memlock limit that GPUs can live with."""
    notes.why("base", "every host", "role base")
    row = catalog.packages_for("base", facts.os_id, facts.os_version)
    packages = [Package(name) for name in row.names]
    docker_com = settings.container_engine.container_engine_source == "docker.com"
    if docker_com or any(driver.repositories for driver in drivers):
        keys = catalog.packages_for("repository-keys", facts.os_id, facts.os_version)
        packages += [Package(name) for name in keys.names]
    if facts.boot.secure_boot == "enabled" and any(driver.delivery == "dkms" for driver in drivers):
        signing = catalog.packages_for("module-signing", facts.os_id, facts.os_version)
        packages += [Package(name) for name in signing.names]
    packages += [Package(name) for name in settings.base.base_extra_packages]
    notes.why("base.packages", "needed by later roles, or declared", row.source)
    units: tuple[Unit, ...] = ()
    if settings.base.base_time_sync == "auto" and not facts.in_container:
        clock = catalog.packages_for("time-sync", facts.os_id, facts.os_version)
        packages += [Package(name, clock.alternatives) for name in clock.names]
        units = (Unit("systemd-timesyncd.service", optional=True),)
        notes.why("base.units", "TLS and logs need a right clock; another time daemon is kept", clock.source)
    limits = settings.base.base_memlock != "leave"
    return BasePlan(
        proxy_files=plan_proxy(settings, notes),
        dropped_files=(*plan_dropped(settings, notes), *_dropped(settings)),
        apt_sources=plan_apt_sources(facts, settings, catalog, notes),
        certificates=plan_certificates(settings, notes),
        packages=tuple(packages),
        apt_lock_timeout_s=settings.base.base_apt_lock_timeout_s,
        files=_memlock(settings, notes),
        manager=(("DefaultLimitMEMLOCK", "infinity"),) if limits else (),
        units=units,
    )


def _memlock(settings: HostSettings, notes: Notes) -> tuple[ManagedFile, ...]:
    notes.why(
        "base.files",
        "pinned host memory and RDMA registrations fail at the default limit",
        "NCCL user guide, troubleshooting, memlock; limits.conf(5), systemd-system.conf(5)",
    )
    services = ManagedFile(SYSTEM_LIMITS, "base/system.conf.j2")
    logins = ManagedFile(LIMITS, "base/limits.conf.j2")
    return {"services": (services,), "logins": (services, logins), "leave": ()}[settings.base.base_memlock]


def _dropped(settings: HostSettings) -> tuple[str, ...]:
    """Limits that an earlier value of base_memlock brought."""
    return {"services": (LIMITS,), "logins": (), "leave": (LIMITS, SYSTEM_LIMITS)}[settings.base.base_memlock]
