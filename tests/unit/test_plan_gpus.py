"""Whose a card is: compute, the desktop's, a guest's; and what the catalogue does not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gpuwright import catalog
from gpuwright.facts import HostFacts, PciDevice
from gpuwright.plan import HostPlan, plan_host
from gpuwright.settings import read_settings

FLEET = Path(__file__).resolve().parents[1] / "fleet"
HOST = HostFacts.from_json((FLEET / "ubuntu2404-2x4090-driver" / "facts.json").read_text())
STRANGER = PciDevice("0000:0a:00.0", "030000", "10de", "ffff")


def test_a_card_without_a_row_is_refused_and_the_refusal_names_the_way_out() -> None:
    facts = replace(HOST, pci=(STRANGER, *HOST.pci))
    refused = plan_host(facts, read_settings({}), catalog.load())
    assert isinstance(refused, tuple)
    (refusal,) = refused
    assert refusal.subject == "gpu 0000:0a:00.0" and "10de:ffff" in refusal.observed
    assert 'interconnect_display_gpus = ["0000:0a:00.0"]' in refusal.remedy


def test_a_card_of_the_desktop_or_of_a_guest_needs_no_row_and_changes_nothing_else() -> None:
    plain = plan_host(HOST, read_settings({}), catalog.load())
    assert isinstance(plain, HostPlan)
    declared = read_settings({"interconnect_display_gpus": [STRANGER.address]})
    for device, settings, use in (
        (STRANGER, declared, "display"),
        (replace(STRANGER, passthrough=True), read_settings({}), "passthrough"),
    ):
        plan = plan_host(replace(HOST, pci=(device, *HOST.pci)), settings, catalog.load())
        assert isinstance(plan, HostPlan), plan
        assert (plan.gpus[0].name, plan.gpus[0].use) == ("10de:ffff", use)
        assert (plan.drivers, plan.kernel, plan.runtimes) == (plain.drivers, plain.kernel, plain.runtimes)


def test_a_recorded_machine_with_a_driver_at_work_is_adopted_and_nothing_changes() -> None:
    """Four H200 in a guest. Its pid 1 is no systemd, for which alone it is refused: that is put aside here."""
    recorded = HostFacts.from_json((FLEET / "h200-no-systemd" / "facts.json").read_text())
    refused = plan_host(recorded, read_settings({}), catalog.load())
    assert isinstance(refused, tuple) and [refusal.subject for refusal in refused] == ["init system"]
    plan = plan_host(replace(recorded, init="systemd"), read_settings({}), catalog.load())
    assert isinstance(plan, HostPlan), plan
    (driver,) = plan.drivers
    assert (driver.source, driver.delivery, driver.branch, driver.modules) == (
        "unmanaged",
        "unmanaged",
        "580",
        "open",
    )
    assert (driver.packages, driver.repositories, driver.blacklist, driver.options) == ((), (), (), ())
    assert (plan.kernel.flavour, plan.kernel.packages, plan.kernel.arguments) == ("keep", (), ())
    assert (plan.fabric.packages, plan.firmware.packages, plan.interconnect.acs_off) == ((), (), ())
    assert plan.interconnect.p2p == "fabric"
