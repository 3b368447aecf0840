"""Settings of the host itself: packages, clock, network, container engine."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gpuwright.settings.kinds import Strict


class AptSource(Strict):
    """Suites of the distribution's archive on a mirror."""

    uri: str = Field(pattern=r"^https?://\S+$", description="The mirror: http://apt.lab/debian.")
    suites: tuple[str, ...] = Field(min_length=1, description="For example trixie and trixie-updates.")
    components: tuple[str, ...] = Field(("main",), min_length=1, description="Areas of the archive.")


class BaseSettings(Strict):
    """Packages, clock and limits that every later role relies on."""

    base_extra_packages: tuple[str, ...] = Field((), description="More apt packages to have installed.")
    base_apt_lock_timeout_s: int = Field(
        600, ge=1, description="Seconds to wait for another run of apt, which is named; then the host fails."
    )
    base_time_sync: Literal["auto", "none"] = Field(
        "auto",
        description="auto: systemd-timesyncd, or the time daemon that is there already; none: leave the clock alone.",
    )
    base_memlock: Literal["services", "logins", "leave"] = Field(
        "services",
        description="Who may lock memory without limit, as pinned memory of GPUs and RDMA needs: services; "
        "logins as well (any user can then pin all memory); leave: nothing is changed.",
    )
    base_proxy: str | None = Field(
        None,
        pattern=r"^https?://[^@/\s]+/?$",
        description="Proxy for apt, downloads and image pulls, without credentials: http://proxy.lab:3128.",
    )
    base_no_proxy: tuple[str, ...] = Field(
        ("localhost", "127.0.0.1", "::1"), description="Names and addresses that need no proxy."
    )
    base_ca_certificates: tuple[str, ...] = Field(
        (), description="PEM files of the control machine that the host is to trust for TLS."
    )
    base_apt_sources: tuple[AptSource, ...] = Field(
        (),
        description="The distribution's archive on your mirror, all of it; the installer's sources are set aside.",
    )


class RegistryLogin(Strict):
    """Credentials of a container registry; the password is named, never written down here."""

    registry: str = Field(description="Host name, and port where it has one: ghcr.io.")
    username: str = Field(description="The account, or the name of a token.")
    password: str = Field(
        pattern=r"^(env|file|var):.+$",
        description="`env:NAME` or `file:PATH`, both on the control machine, or `var:NAME`, a variable of the host "
        "(of Ansible's vault, for example); read when the run needs it.",
    )


class ContainerEngineSettings(Strict):
    """The container engine and its daemon.json."""

    container_engine_source: Literal["distribution", "docker.com"] = Field(
        "distribution", description="Where Docker comes from; an engine that is installed already is kept."
    )
    container_engine_restart: Literal["guarded", "always"] = Field(
        "guarded",
        description="guarded: a restart that a change needs is refused while containers of others run; "
        "always: they are stopped.",
    )
    container_engine_daemon_json: dict[str, Any] = Field(
        {}, description="Keys to merge into /etc/docker/daemon.json; keys that others put there stay."
    )
    container_engine_registry_mirrors: tuple[str, ...] = Field(
        (),
        description="URLs of pull-through mirrors of Docker Hub; for other registries set inference_image.",
    )
    container_engine_registry_logins: tuple[RegistryLogin, ...] = Field(
        (), description="Credentials for registries that ask for them."
    )
