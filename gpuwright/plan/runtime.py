"""Slice `runtimes`: GPUs in containers."""

from __future__ import annotations

from gpuwright.catalog import Catalog
from gpuwright.catalog.runtimes import RuntimeRow
from gpuwright.catalog.version import at_least
from gpuwright.facts import HostFacts
from gpuwright.plan.gpu_model import DriverPlan, Gpu, RuntimePlan
from gpuwright.plan.model import AptRepository
from gpuwright.plan.notes import Notes
from gpuwright.settings import HostSettings

SETTING = "setting gpu_runtime_method"


def plan_runtimes(
    facts: HostFacts,
    settings: HostSettings,
    catalog: Catalog,
    gpus: tuple[Gpu, ...],
    drivers: tuple[DriverPlan, ...],
    notes: Notes,
) -> tuple[RuntimePlan, ...]:
    """One for each vendor that has compute GPUs and a driver, whoever brought that; in the drivers' order."""
    plans: list[RuntimePlan] = []
    for driver in drivers:
        row = _row(facts, settings, catalog, driver.vendor, notes)
        if row is None:
            continue
        _engine_knows(row, facts, settings, catalog, notes)
        _explain(f"runtimes.{len(plans)}", facts, settings, row, notes)
        plans.append(RuntimePlan(driver.vendor, row.method, _repositories(row, facts), row.packages))
    return tuple(plans)


def _row(
    facts: HostFacts, settings: HostSettings, catalog: Catalog, vendor: str, notes: Notes
) -> RuntimeRow | None:
    """The first way that is allowed and can be had; a refusal where there is none."""
    declared = settings.gpu_runtime.gpu_runtime_method
    os = facts.release
    ways = [row for row in catalog.runtimes if row.vendor == vendor]
    allowed = [row for row in ways if declared in ("auto", row.method)]
    fitting = [row for row in allowed if row.fits(os, facts.arch)]
    if fitting:
        return fitting[0]
    others = sorted({row.method for row in ways if row.fits(os, facts.arch)})
    notes.refuse(
        SETTING,
        f'"{declared}" is declared, and {vendor} GPUs cannot be had that way: '
        + (
            f"{allowed[0].name} is not published for {os} on {facts.arch}"
            if allowed
            else "plain device nodes come without the driver's libraries, which a container needs as well"
        ),
        f"for {vendor}: {' or '.join(others) or 'nothing that is known here'}",
        'Set gpu_runtime_method = "auto", which decides for each vendor.',
    )
    return None


def _engine_knows(
    row: RuntimeRow, facts: HostFacts, settings: HostSettings, catalog: Catalog, notes: Notes
) -> None:
    """Refuses a method that the release's own Docker is too old for; one from elsewhere that is there is kept."""
    os = facts.release
    docker = next((docker for docker in catalog.dockers if docker.os == os), None)
    source = settings.container_engine.container_engine_source
    others = catalog.packages_for("docker-distribution", facts.os_id, facts.os_version).alternatives
    kept = any(package.name in others for package in facts.found.packages)
    if docker and source == "distribution" and not kept and not at_least(docker.version, row.docker):
        notes.refuse(
            "setting container_engine_source",
            f'"distribution" is declared, and Docker {docker.version} of {os} does not know {row.method.upper()}, by '
            f"which containers get {row.vendor} GPUs",
            f"Docker {row.docker} or newer",
            'Set container_engine_source = "docker.com".',
        )


def _repositories(row: RuntimeRow, facts: HostFacts) -> tuple[AptRepository, ...]:
    suite = row.suite(facts.release)
    if not row.packages or suite is None:
        return ()
    arch = facts.debian_arch
    uri = row.uri.format(arch=arch)
    return (AptRepository(row.name, uri, suite, row.components, arch, row.key_url, row.key_fingerprint),)


def _explain(path: str, facts: HostFacts, settings: HostSettings, row: RuntimeRow, notes: Notes) -> None:
    declared = settings.gpu_runtime.gpu_runtime_method
    notes.why(
        path,
        "declared"
        if declared != "auto"
        else f"the way that {row.vendor}'s GPUs need least for: {row.method}",
        SETTING if declared != "auto" else row.source,
    )
    oldest = row.oldest(facts.os_id)
    if row.packages:
        reason = f"all at one version{f', {oldest} or newer on {facts.os_id}' if oldest else ''}"
        notes.why(f"{path}.packages", reason, row.source)
        notes.why(f"{path}.repositories", f"{row.name} is not in {facts.os_name}", row.source)
