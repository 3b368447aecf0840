"""What becomes of an NVIDIA driver that is there already: adopted, replaced within its source, or refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpuwright.facts import HostFacts
from gpuwright.facts.model import Leftover
from tests.synthetic import host
from tests.unit.nvidia_host import (
    B200,
    P40,
    RELEASES,
    RTX3090,
    RTX4090,
    deployed,
    driver_of,
    loaded,
    planned,
    refused,
    with_found,
)


def variants() -> list[tuple[HostFacts, dict[str, object]]]:
    hosts: list[tuple[HostFacts, dict[str, object]]] = []
    for os in RELEASES:
        for cards in ([RTX4090], [P40, RTX3090], [B200], ["H200 SXM"] * 2):
            hosts.append((host(os, cards), {}))
        hosts.append((host(os, [RTX4090]), {"nvidia_driver_source": "nvidia"}))
        hosts.append((host(os, [RTX4090]), {"nvidia_driver_existing": "replace"}))
        hosts.append((host(os, [RTX4090]), {"nvidia_driver_source": "nvidia", "nvidia_driver_branch": "595"}))
        hosts.append((host(os, [RTX4090]), {"nvidia_driver_source": "distribution"}))
    hosts.append((host("ubuntu 24.04", [RTX4090], "oem"), {}))
    return hosts


@pytest.mark.parametrize("facts, settings", variants())
def test_what_a_deploy_installed_gives_the_same_plan(facts: HostFacts, settings: dict[str, object]) -> None:
    plan = driver_of(facts, **settings)
    after = deployed(facts, plan)
    assert driver_of(after, **settings) == plan
    unbooted = replace(after, found=replace(after.found, drivers=()))
    assert driver_of(unbooted, **settings) == plan


def test_a_driver_of_another_branch_that_fits_is_adopted() -> None:
    names = ("libnvidia-compute-570", "nvidia-dkms-570-open", "nvidia-utils-570", "nvidia-compute-utils-570")
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]),
        loaded("570.211.01"),
        [(name, "570.211.01-1ubuntu1") for name in names],
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.delivery, plan.packages) == ("nvidia", "570", "dkms", names)
    assert driver_of(deployed(facts, plan)) == plan


def test_a_desktop_set_is_adopted_by_its_own_names() -> None:
    names = ["nvidia-driver-580-open", "libnvidia-compute-580", "nvidia-dkms-580-open", "libnvidia-gl-580"]
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]),
        loaded("580.95.05"),
        [(name, "580.95.05-0ubuntu0.24.04.1") for name in names],
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.units) == ("distribution", "580", ())
    assert plan.packages == tuple(sorted(names))
    assert driver_of(facts) == plan


def test_a_branch_that_no_row_brings_is_adopted_by_its_own_names() -> None:
    names = ("libnvidia-compute-595", "nvidia-driver-595-open")
    meta = ("linux-modules-nvidia-595-open-generic", "6.8.0-87.88")
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]),
        loaded("595.84"),
        [meta, *((name, "595.84-0ubuntu0.24.04.1") for name in names)],
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.delivery, plan.packages) == (
        "distribution",
        "595",
        "prebuilt",
        names,
    )


def test_one_that_does_not_fit_is_replaced_within_its_source() -> None:
    names = ["libnvidia-compute-535", "nvidia-dkms-535", "nvidia-utils-535", "nvidia-compute-utils-535"]
    facts = with_found(
        host("ubuntu 24.04", [B200]),
        loaded("535.274.02", "proprietary"),
        [(name, "535.274.02-1ubuntu1") for name in names],
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.modules) == ("nvidia", "580", "open")
    assert driver_of(deployed(facts, plan)) == plan


def test_going_back_to_an_older_branch_is_refused_with_what_to_remove() -> None:
    names = ["nvidia-driver-cuda", "nvidia-kernel-open-dkms", "libcuda1", "nvidia-persistenced"]
    there = [(name, "610.43.02-1") for name in names]
    refusal = refused(with_found(host("debian 13", [P40]), loaded("610.43.02"), there))
    assert "610.43.02-1 is installed" in refusal.observed and "older branch 580" in refusal.observed
    assert all(name in refusal.remedy for name in (*names, "apt-get purge"))
    purged = with_found(host("debian 13", [P40]), None, [])
    assert driver_of(purged).branch == "580"


SUFFIXED = ("libnvidia-compute-580", "nvidia-dkms-580-open", "nvidia-utils-580", "nvidia-compute-utils-580")


@pytest.mark.parametrize("branch", ["590", "595", "615"])
def test_past_the_renaming_is_refused_with_what_to_remove(branch: str) -> None:
    """From 590 on NVIDIA's names for Ubuntu have no branch: apt keeps 580's beside them (test_resolves)."""
    pinning = ("nvidia-driver-pinning-580", "580-5")
    there = [pinning, ("nvidia-kernel-common-580", "580.159.04-1ubuntu1")]
    there += [(name, "580.159.04-1ubuntu1") for name in SUFFIXED]
    facts = with_found(host("ubuntu 24.04", [RTX4090]), loaded("580.159.04"), there)
    refusal = refused(facts, nvidia_driver_source="nvidia", nvidia_driver_branch=branch)
    assert f"branch {branch}" in refusal.observed and "580.159.04" in refusal.observed
    assert all(name in refusal.remedy for name in (*SUFFIXED, "nvidia-kernel-common-580"))
    assert "pinning" not in refusal.remedy  # the new one takes its place by itself
    assert driver_of(facts, nvidia_driver_source="nvidia").branch == "580"
    purged = with_found(host("ubuntu 24.04", [RTX4090]), None, [pinning])
    plan = driver_of(purged, nvidia_driver_source="nvidia", nvidia_driver_branch=branch)
    assert plan.branch == branch


def test_from_one_name_by_branch_to_the_next_and_between_names_without_nothing_is_in_the_way() -> None:
    names = [name.replace("580", "570") for name in SUFFIXED]
    older = [(name, "570.172.08-0ubuntu1") for name in names]
    facts = with_found(host("ubuntu 24.04", [RTX4090]), loaded("570.172.08"), older)
    assert driver_of(facts, nvidia_driver_source="nvidia", nvidia_driver_branch="580").branch == "580"
    renamed = ("libnvidia-compute", "nvidia-dkms-open", "nvidia-persistenced")
    newer = [(name, "590.48.01-1ubuntu1") for name in renamed]
    facts = with_found(host("ubuntu 24.04", [RTX4090]), loaded("590.48.01"), newer)
    assert driver_of(facts, nvidia_driver_source="nvidia", nvidia_driver_branch="595").branch == "595"


def test_a_newer_branch_of_the_same_source_is_no_way_back() -> None:
    names = ["nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-persistenced"]
    facts = with_found(
        host("debian 13", [RTX4090]), loaded("580.126.09"), [(n, "580.126.09-1") for n in names]
    )
    assert driver_of(facts, nvidia_driver_branch="595").branch == "595"


def test_packages_without_a_module_are_no_driver_that_works() -> None:
    names = ["libnvidia-compute-570", "nvidia-dkms-570-open", "nvidia-utils-570", "nvidia-compute-utils-570"]
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]), None, [(name, "570.211.01-1ubuntu1") for name in names]
    )
    plan = driver_of(facts)
    assert (plan.source, plan.branch) == ("nvidia", "580")


def test_one_that_does_not_fit_is_never_replaced_by_another_source() -> None:
    facts = with_found(
        host("debian 13", [B200]),
        loaded("550.163.01", "proprietary"),
        [(name, "550.163.01-2") for name in ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1")],
    )
    refusal = refused(facts)
    assert refusal.subject == "nvidia driver" and "purge" in refusal.remedy
    there = with_found(
        host("debian 13", [RTX4090]),
        loaded("550.163.01", "proprietary"),
        [(name, "550.163.01-2") for name in ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1")],
    )
    assert driver_of(there).source == "distribution"
    assert 'nvidia_driver_source = "distribution"' in refused(there, nvidia_driver_existing="replace").remedy
    assert "NVIDIA's packages are declared" in refused(there, nvidia_driver_source="nvidia").observed


def test_two_sources_at_once_are_refused() -> None:
    facts = with_found(
        host("ubuntu 24.04", [RTX4090]),
        loaded("580.95.05"),
        [
            ("libnvidia-compute-580", "580.95.05-0ubuntu0.24.04.1"),
            ("nvidia-dkms-580-open", "580.126.20-1ubuntu1"),
        ],
    )
    assert "installed together" in refused(facts).observed


def test_a_run_file_is_adopted_where_it_fits() -> None:
    left = (Leftover("nvidia-run", "/usr/bin/nvidia-uninstall"),)
    facts = with_found(host("ubuntu 22.04", [RTX3090]), loaded("570.211.01", "open", "run"), (), left)
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.modules, plan.delivery) == (
        "unmanaged",
        "570",
        "open",
        "unmanaged",
    )
    assert (plan.packages, plan.units, plan.blacklist, plan.repositories) == ((), (), (), ())
    for settings in (
        {"nvidia_driver_existing": "replace"},
        {"nvidia_driver_branch": "580"},
        {"nvidia_driver_modules": "proprietary"},
        {"nvidia_driver_source": "distribution"},
    ):
        assert "nvidia-uninstall" in refused(facts, **settings).remedy
    dead = with_found(host("ubuntu 22.04", [RTX3090]), None, (), left)
    assert "nvidia-uninstall" in refused(dead).remedy
    beside = with_found(facts, loaded("570.211.01"), [("nvidia-dkms-570-open", "570.211.01-1ubuntu1")], left)
    assert "beside" in refused(beside).observed


def test_in_a_container_the_outer_hosts_driver_is_what_there_is() -> None:
    inside = replace(host("ubuntu 24.04", ["H200 SXM"]), virtualisation="docker")
    facts = with_found(inside, loaded("570.211.01", "open", "outside"))
    plan = driver_of(facts)
    assert (plan.source, plan.branch, plan.packages) == ("unmanaged", "570", ())
    assert "Change it there" in refused(facts, nvidia_driver_branch="580").remedy
    assert "container" in refused(inside).observed


def test_a_driver_of_unknown_origin_stays_unmanaged() -> None:
    facts = with_found(host("ubuntu 24.04", ["H200 SXM"]), loaded("580.95.05", "unknown", "unknown"))
    assert driver_of(facts).source == "unmanaged"
    assert planned(with_found(host("ubuntu 24.04", [B200]), loaded("580.95.05", "unknown"))).refusals
