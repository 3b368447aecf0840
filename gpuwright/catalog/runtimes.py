"""How containers get GPUs, and what that needs: runtimes.toml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gpuwright.catalog.row import Row


class RuntimeRow(Row):
    """A way to give containers a vendor's GPUs.

    `suites` maps "id version" of a release to the suite of the repository at `uri`, "" stands for all others; a row
    without packages needs no repository and fits every release. `minimum` is the oldest version that does, by
    distribution id, "" for all others. `{arch}` in `uri` is dpkg's name of the architecture. `docker` is the oldest
    Docker that knows the method, "" for any; `podman` likewise.
    """

    vendor: Literal["nvidia", "amd"]
    method: Literal["cdi", "device-nodes"]
    name: str
    architectures: tuple[str, ...]
    uri: str = ""
    suites: dict[str, str] = Field({})
    components: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    minimum: dict[str, str] = Field({})
    docker: str = ""
    podman: str = ""
    key_url: str = ""
    key_fingerprint: str = ""

    def suite(self, os: str) -> str | None:
        """The repository's suite for a release; None where it has none."""
        return self.suites.get(os, self.suites.get(""))

    def fits(self, os: str, arch: str) -> bool:
        """Whether it can be had on a release and processor."""
        return arch in self.architectures and (not self.packages or self.suite(os) is not None)

    def oldest(self, os_id: str) -> str:
        """The oldest version that does on a distribution; "" for any."""
        return self.minimum.get(os_id, self.minimum.get("", ""))


class CdiRow(Row):
    """The CDI specification that a runtime's tool makes; runtimes.toml says what each value is for."""

    runtime: str
    kind: str
    path: str
    tool: str
    nodes: tuple[str, ...]
    copies: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    service: str = ""
    watcher: str = ""
    after: tuple[str, ...] = ()
    condition: str = ""
    generate: str = ""
    prepare: tuple[str, ...] = ()


class DeviceNodesRow(Row):
    """A vendor's device nodes beside the GPUs' own, and the group that may open all of them."""

    vendor: Literal["nvidia", "amd"]
    common: tuple[str, ...]
    group: str


class DockerFeatureRow(Row):
    """A feature of daemon.json that a method needs in Docker before `default`, which has it on without being asked."""

    method: Literal["cdi", "device-nodes"]
    feature: str
    default: str


class DockerRow(Row):
    """The Docker of a release's own archive; `os` is "debian 12"."""

    os: str
    version: str
