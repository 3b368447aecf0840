"""One row of the catalogue changed: the plans of the machines that it is about change, and no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from gpuwright import catalog
from gpuwright.catalog import Catalog
from gpuwright.catalog.row import Row
from gpuwright.plan import HostPlan
from tests.fleet.conftest import FleetMachine

R = TypeVar("R", bound=Row)


def test_last_branch_of_an_architecture(fleet: tuple[FleetMachine, ...]) -> None:
    """Pascal ending with 575: hosts with a P40 get another branch or none; the one refused for 595 has a Volta."""
    rows = catalog.load()
    architectures = _with(rows.nvidia.architectures, lambda row: row.arch == "pascal", last=575)
    changed = _changed(fleet, replace(rows, nvidia=replace(rows.nvidia, architectures=architectures)))
    assert changed == {"debian12-p40-3090", "debian13-p40-after-610", "ubuntu2404-contradictions"}


def test_peer_option_of_a_kernel(fleet: tuple[FleetMachine, ...]) -> None:
    """Ubuntu 24.04's own kernel without HSA_AMD_P2P: two AMD cards over PCIe lose their way there, and where Debian's
    kernel is refused for it, that release is offered no more. Where BARs are too small, nobody asks the kernel."""
    rows = catalog.load()
    ours = next(row for row in rows.kernels.kernels if (row.os, row.flavour) == ("ubuntu 24.04", "ga"))
    kernels = _with(
        rows.kernels.kernels, lambda row: row is ours, options={**ours.options, "HSA_AMD_P2P": "n"}
    )
    changed = _changed(fleet, replace(rows, kernels=replace(rows.kernels, kernels=kernels)))
    assert changed == {"ubuntu2404-2xw7900-p2p", "ubuntu2404-2xw7900-xeon", "debian12-2xw7900-p2p"}


def test_firmware_of_a_release(fleet: tuple[FleetMachine, ...]) -> None:
    """Bookworm's firmware without gfx1100: its Radeons of that target look elsewhere, the R9700 does so already."""
    rows = catalog.load()
    ours = next(
        row
        for row in rows.amd.firmware
        if (row.os, row.suite) == ("debian 12", "") and "gfx1100" in row.targets
    )
    targets = tuple(target for target in ours.targets if target != "gfx1100")
    firmware = _with(rows.amd.firmware, lambda row: row is ours, targets=targets)
    changed = _changed(fleet, replace(rows, amd=replace(rows.amd, firmware=firmware)))
    assert changed == {"debian12-2xw7900-built", "debian12-7900xtx"}


def test_package_names_of_a_source(fleet: tuple[FleetMachine, ...]) -> None:
    """Another package in NVIDIA's set of open modules for Debian: neither adopted drivers nor Ubuntu's hosts see it."""
    rows = catalog.load()
    packages = _with(
        rows.nvidia.packages,
        lambda row: (
            ("debian 13" in row.os and row.has(580))
            and (row.source_of, row.modules, row.delivery) == ("nvidia", "open", "dkms")
        ),
        packages=("nvidia-open",),
    )
    changed = _changed(fleet, replace(rows, nvidia=replace(rows.nvidia, packages=packages)))
    assert changed == {
        "debian13-2x4090",
        "debian13-4090-secureboot",
        "debian13-4xl40s-switch",
        "debian13-4xl40s-isolated",
        "debian13-8xb200",
    }


def test_name_of_a_card(fleet: tuple[FleetMachine, ...]) -> None:
    """A word in a GPU's row reaches the hosts with that card only, plans and refusals alike."""
    rows = catalog.load()
    gpus = _with(rows.gpus.rows, lambda row: "26b9" in row.devices, memory_gb=47)
    changed = _changed(fleet, replace(rows, gpus=replace(rows.gpus, rows=gpus)))
    assert changed == {"debian13-4xl40s-switch", "debian13-4xl40s-isolated", "ubuntu2404-vm-l40s"}


def test_a_row_written_again_changes_nothing(fleet: tuple[FleetMachine, ...]) -> None:
    rows = catalog.load()
    same = _with(rows.gpus.rows, lambda row: "26b9" in row.devices, memory_gb=48)
    assert not _changed(fleet, replace(rows, gpus=replace(rows.gpus, rows=same)))


def _with(rows: tuple[R, ...], is_it: Callable[[R], bool], **values: object) -> tuple[R, ...]:
    """The rows, with `values` in the one that `is_it`; a row that is not there, or is twice, fails the test."""
    hits = [row for row in rows if is_it(row)]
    if len(hits) != 1:
        pytest.fail(f"{len(hits)} rows where one was meant")
    return tuple(row.model_copy(update=values) if row is hits[0] else row for row in rows)


def _changed(fleet: tuple[FleetMachine, ...], rows: Catalog) -> set[str]:
    """The machines whose plan has another digest, or whose refusals say something else."""
    return {
        machine.name for machine in fleet if _identity(machine, rows) != _identity(machine, catalog.load())
    }


def _identity(machine: FleetMachine, rows: Catalog) -> str:
    plan = machine.plan(rows)
    return plan.digest if isinstance(plan, HostPlan) else "\n".join(map(str, plan))
