"""explain, plan --diff and the tables: what they say of plans that are known."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from gpuwright import catalog
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts, PciDevice
from gpuwright.facts.model import Driver, Found, Kernel, Leftover, Nic
from gpuwright.paths import ROOT
from gpuwright.plan import HostPlan, plan_host
from gpuwright.planning import facts_view, view
from gpuwright.planning.compare import compare
from gpuwright.planning.explained import explained, memory_sources
from gpuwright.planning.planned import Planned
from gpuwright.settings import read_settings

FACTS = HostFacts.from_json((ROOT / "tests/fleet/sandbox-debian13/facts.json").read_text())
CATALOG = catalog.load()


def plan_of(**settings: object) -> HostPlan:
    plan = plan_host(FACTS, read_settings({"inference_services": [{"name": "chat"}], **settings}), CATALOG)
    assert isinstance(plan, HostPlan), plan
    return plan


PLAN = plan_of()


def test_every_leaf_is_explained() -> None:
    leaves = explained(PLAN, CATALOG)
    assert [(leaf.path, leaf.value) for leaf in leaves] == list(PLAN.leaves())
    assert all(leaf.reason and leaf.source for leaf in leaves)


def test_a_path_chooses_itself_and_what_is_below_it() -> None:
    (port,) = explained(PLAN, CATALOG, "inference.services.0.port")
    assert port.value == 8080
    names = {leaf.path for leaf in explained(PLAN, CATALOG, "inference.services")}
    assert "inference.services.0.port" in names
    assert all(name.startswith("inference.services.") for name in names)


@pytest.mark.parametrize("path", ["drivers", "base.certificates", "firmware.packages"])
def test_what_is_empty_is_known_though_it_has_no_values(path: str) -> None:
    assert explained(PLAN, CATALOG, path) == ()


@pytest.mark.parametrize(
    ("path", "hint"),
    [("inference.service", "inference.services"), ("zzz", "A plan has base"), ("gpus.7", "A plan has base")],
)
def test_a_path_that_no_plan_has_is_named_with_close_ones(path: str, hint: str) -> None:
    with pytest.raises(GpuwrightError) as error:
        explained(PLAN, CATALOG, path)
    assert path in str(error.value)
    assert hint in str(error.value)


def test_what_rests_on_memory_is_marked() -> None:
    row = CATALOG.packages_for("base", FACTS.os_id, FACTS.os_version)
    doubted = row.model_copy(update={"memory": True, "source": "an unchecked source"})
    others = replace(CATALOG, packages=(doubted, *(each for each in CATALOG.packages if each is not row)))
    assert "an unchecked source" in memory_sources(others)
    plan = plan_host(FACTS, read_settings({}), others)
    assert isinstance(plan, HostPlan)
    marked = {leaf.path for leaf in explained(plan, others) if leaf.memory}
    assert {leaf.path for leaf in explained(plan, others) if leaf.source == doubted.source} <= marked
    assert marked
    text = shown(view.explanation(explained(plan, others)))
    assert "* an unchecked source" in text
    assert "rests on memory" in text


def test_equal_plans_do_not_differ() -> None:
    assert compare(PLAN, plan_of()) == ()


def test_a_difference_has_both_values_and_both_reasons() -> None:
    found = {
        each.path: each
        for each in compare(PLAN, plan_of(inference_services=[{"name": "chat", "port": 9999}]))
    }
    port = found["inference.services.0.port"]
    assert port.first and port.second
    assert (port.first.value, port.second.value) == (8080, 9999)
    assert port.first.why.reason and port.second.why.source
    values = {(each.first.value, each.second.value) for each in found.values() if each.first and each.second}
    assert values == {(8080, 9999), ("8080", "9999")}


def test_what_only_one_plan_has_is_on_its_side_alone() -> None:
    more = plan_of(base_extra_packages=["htop"])
    gained = [each for each in compare(PLAN, more) if each.first is None]
    assert [each.second.value for each in gained if each.second] == ["htop"]
    assert [each.first for each in compare(more, PLAN) if each.second is None]


def test_refusals_are_all_shown_with_their_remedies() -> None:
    refusals = (Refusal("gpu a", "x", "y", "Do this."), Refusal("gpu b", "x", "y", "Do that."))
    console = Console(file=io.StringIO(), width=40)
    view.show_plans([Planned("h1", FACTS, None, refusals), Planned("h2", FACTS, PLAN)], console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "h1  gpu a: x; required: y. Do this.\n" in text
    assert "h1  gpu b: x; required: y. Do that.\n" in text
    assert "h2  plan" in text


def test_facts_name_gpus_links_and_what_was_left() -> None:
    gpu = PciDevice(
        "0000:01:00.0", "030000", "10de", "2684", bars=(16777216, 34359738368), numa=1,
        link_speed_max=16.0, link_width_max=16,
    )  # fmt: skip
    facts = replace(
        FACTS,
        pci=(gpu, replace(gpu, address="0000:02:00.0", device="ffff", passthrough=True)),
        nics=(Nic("ib0", driver="mlx5_core", rdma="mlx5_0"),),
        found=Found(
            drivers=(Driver("nvidia", "580.95.05", "open", "run", True),),
            kernels=(Kernel("6.8.0-86-generic", True, False, (("PCI_P2PDMA", "y"),)),),
            leftovers=(Leftover("snap-docker", "/snap/bin/docker"),),
        ),
        readings=replace(FACTS.readings, denied=("dmi serial",)),
    )
    rows = list(facts_view.rows(facts, CATALOG.gpus))
    values = dict(reversed(rows))
    gpus = [value for name, value in rows if name == "GPU"]
    assert "RTX 4090, PCIe 16 GT/s x16, BAR 32 GiB, NUMA node 1" in gpus[0]
    assert "10de:ffff, not in the catalogue" in gpus[1] and gpus[1].endswith("for a guest")
    assert values["network"] == "ib0, mlx5_core, RDMA mlx5_0"
    assert values["driver found"] == "nvidia 580.95.05, open modules, from run, loaded"
    assert (
        values["kernel found"] == "6.8.0-86-generic (running), no headers, PCI_P2PDMA=y, HSA_AMD_P2P=unknown"
    )
    assert values["left behind"] == "snap-docker: /snap/bin/docker"
    assert values["not readable"] == "dmi serial"


def shown(part: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(part)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text
