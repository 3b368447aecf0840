"""Slice `container_engine`: Docker, from the distribution or from docker.com, and its daemon.json."""

from __future__ import annotations

import json

from gpuwright.catalog import Catalog
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import RuntimePlan
from gpuwright.plan.model import AptRepository, EnginePlan, Json, JsonMerge, Package, RegistryCredential, Unit
from gpuwright.plan.network import REGISTRY_LOGINS
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings

DAEMON_JSON = "/etc/docker/daemon.json"
# The directory: it is younger as well when a drop-in was taken away.
DROP_INS = "/etc/systemd/system/docker.service.d"
# The `local` driver keeps at most 5 files of 20 MB for a container; the default, json-file, keeps everything
# (docs.docker.com, "Local file logging driver").
DEFAULTS: dict[str, Json] = {"log-driver": "local"}


def plan_container_engine(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    runtimes: tuple[RuntimePlan, ...],
    notes: Notes,
) -> EnginePlan:
    """An engine that is enabled and running, and knows how `runtimes` bring GPUs; one that is there is kept."""
    ours = settings.container_engine
    row = catalog.packages_for(f"docker-{ours.container_engine_source}", facts.os_id, facts.os_version)
    notes.why("container_engine", f"container_engine_source is {ours.container_engine_source}", row.source)
    # Installed next to each other, two engines fight over the socket: each name accepts the other engine.
    packages = tuple(Package(name, row.alternatives) for name in row.names)
    repositories: tuple[AptRepository, ...] = ()
    if ours.container_engine_source == "docker.com":
        repositories = _docker_com(facts, catalog, notes)
    keys: dict[str, Json] = dict(ours.container_engine_daemon_json)
    if ours.container_engine_registry_mirrors:
        keys["registry-mirrors"] = list(ours.container_engine_registry_mirrors)
    notes.why(
        "container_engine.daemon_json",
        "as declared; a new file also gets a log driver that does not fill the disk",
        "https://docs.docker.com/engine/logging/drivers/local/",
    )
    features = _features(catalog, runtimes, notes)
    declared = keys.get("features", {})
    if features and isinstance(declared, dict):
        keys["features"] = features | declared
    unit = Unit("docker.service", watches=(DAEMON_JSON, DROP_INS))
    notes.why("container_engine.guarded", "container_engine_restart", "roles/container_engine/README.md")
    return EnginePlan(
        guarded=(unit,) if ours.container_engine_restart == "guarded" else (),
        repositories=repositories,
        packages=packages,
        credentials=tuple(
            RegistryCredential(login.registry, login.username, login.password)
            for login in ours.container_engine_registry_logins
        ),
        dropped_files=() if ours.container_engine_registry_logins else (REGISTRY_LOGINS,),
        daemon_json=(
            JsonMerge(DAEMON_JSON, json.dumps(keys, sort_keys=True), json.dumps(DEFAULTS, sort_keys=True)),
        ),
        units=(unit,),
    )


def _features(catalog: Catalog, runtimes: tuple[RuntimePlan, ...], notes: Notes) -> dict[str, Json]:
    """What dockerd must be told for GPUs, whatever its version: an engine that is kept may be older than the newest."""
    features: dict[str, Json] = {}
    for row in catalog.docker_features:
        vendors = [runtime.vendor for runtime in runtimes if runtime.method == row.method]
        if vendors:
            features[row.feature] = True
            reason = (
                f"containers get {' and '.join(vendors)} GPUs by {row.method.upper()}, which Docker before "
                f"{row.default} has only when told so; what is declared wins"
            )
            notes.why("container_engine.daemon_json.0.values", reason, row.source)
    return features


def _docker_com(facts: HostFacts, catalog: Catalog, notes: Notes) -> tuple[AptRepository, ...]:
    row = next(row for row in catalog.repositories if row.name == "docker")
    notes.why("container_engine.repositories", "container_engine_source is docker.com", row.source)
    return (
        AptRepository(
            name=row.name,
            uri=row.uri.format(os_id=facts.os_id),
            suite=facts.os_codename,
            components=row.components,
            architecture=facts.debian_arch,
            key_url=row.key_url.format(os_id=facts.os_id),
            key_fingerprint=row.key_fingerprint,
        ),
    )
