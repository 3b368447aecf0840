"""How a host reaches the world: proxy, trusted authorities, the distribution's mirror. Part of slice `base`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.model import AptSources, AptStanza, CaCertificate, ManagedFile
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings

APT_PROXY = "/etc/apt/apt.conf.d/90gpuwright-proxy"
# Read by every script of ours that downloads; not by logins, which have their owners' settings.
PROXY_ENV = "/etc/gpuwright/proxy.env"
APT_SOURCES = "/etc/apt/sources.list.d/gpuwright-archive.sources"
# Of our own: root's ~/.docker/config.json belongs to whoever logs in as root.
REGISTRY_LOGINS = "/etc/gpuwright/docker/config.json"
ENGINE_PROXY = "/etc/systemd/system/docker.service.d/90-gpuwright-proxy.conf"


@dataclass(frozen=True)
class Proxy:
    """A proxy's URL, and the names that are reached without it, comma-separated."""

    url: str
    no_proxy: str


@dataclass(frozen=True)
class Stanzas:
    """What the sources file is rendered from."""

    stanzas: tuple[AptStanza, ...]


def plan_proxy(settings: HostSettings, notes: Notes) -> tuple[ManagedFile, ...]:
    """The three files by which apt, our downloads and the engine know the proxy; none without one."""
    if settings.base.base_proxy is None:
        return ()
    notes.why("base.proxy_files", "base_proxy", "apt-transport-http(1); docs.docker.com/engine/daemon/proxy")
    proxy = Proxy(settings.base.base_proxy.rstrip("/"), ",".join(settings.base.base_no_proxy))
    return (
        ManagedFile(APT_PROXY, "base/apt-proxy.conf.j2", proxy),
        ManagedFile(PROXY_ENV, "base/proxy.env.j2", proxy),
        ManagedFile(ENGINE_PROXY, "base/engine-proxy.conf.j2", proxy),
    )


def plan_dropped(settings: HostSettings, notes: Notes) -> tuple[str, ...]:
    """The files of settings that are not declared: what an earlier declaration brought is not left behind."""
    notes.why(
        "base.dropped_files", "no base_proxy or base_apt_sources: an earlier one's files go", "role base"
    )
    proxy = () if settings.base.base_proxy else (APT_PROXY, PROXY_ENV, ENGINE_PROXY)
    return proxy if settings.base.base_apt_sources else (*proxy, APT_SOURCES)


def plan_certificates(settings: HostSettings, notes: Notes) -> tuple[CaCertificate, ...]:
    """Authorities that the host trusts from now on, by file name."""
    notes.why("base.certificates", "base_ca_certificates", "update-ca-certificates(8)")
    return tuple(
        CaCertificate(source, f"/usr/local/share/ca-certificates/gpuwright-{PurePosixPath(source).stem}.crt")
        for source in settings.base.base_ca_certificates
    )


def plan_apt_sources(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, notes: Notes
) -> tuple[AptSources, ...]:
    """The declared sources instead of the installer's; a declaration without security updates is refused."""
    declared = settings.base.base_apt_sources
    if not declared:
        return ()
    row = next(row for row in catalog.archives if row.id == facts.os_id)
    wanted = (facts.os_codename, f"{facts.os_codename}-security")
    missing = [suite for suite in wanted if not any(suite in source.suites for source in declared)]
    if missing:
        notes.refuse(
            "setting base_apt_sources",
            f"no source has {' and '.join(missing)}",
            f"{' and '.join(wanted)}, because the installer's sources are set aside",
            "Declare the mirror of each.",
        )
    notes.why("base.apt_sources", "base_apt_sources", row.source)
    stanzas = tuple(AptStanza(s.uri, s.suites, s.components, row.keyring) for s in declared)
    file = ManagedFile(APT_SOURCES, "base/apt-sources.j2", Stanzas(stanzas))
    return (AptSources(file, row.replaces),)
