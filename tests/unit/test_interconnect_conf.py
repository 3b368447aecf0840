"""/etc/nccl.conf and /etc/rccl.conf: what is rendered is what the libraries read, and whose files are replaced."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.facts import HostFacts
from gpuwright.facts.model import Nic
from gpuwright.operations.collectives import parse
from gpuwright.operations.ownership import Owners
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.collectives import CONF
from gpuwright.render import render
from gpuwright.settings import read_settings
from tests.synthetic import host

CATALOG = catalog.load()
FLEET = Path(__file__).resolve().parents[1] / "fleet"
NVIDIA, AMD = "GeForce RTX 4090", "Radeon PRO W7900"
OS = "ubuntu 24.04"


def answer(facts: HostFacts, **settings: object) -> HostPlan | tuple[Refusal, ...]:
    return plan_host(facts, read_settings(settings), CATALOG)


def planned(facts: HostFacts, **settings: object) -> HostPlan:
    plan = answer(facts, **settings)
    assert isinstance(plan, HostPlan), plan
    return plan


def read(text: str) -> dict[str, str]:
    """setEnvFile of NCCL and RCCL, which calls setenv(name, value, 0): nothing is trimmed, the first of a name wins.

    A line of 4096 bytes would be read as two, a name or value of 1024 cut off; older RCCL knew no comments, and took
    what stands before a `=` in one for a name.
    """
    found: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.split("\n")[:-1]:
        assert len(line.encode()) < 4095 and "\r" not in line and line
        if line[0] == "#":
            assert "=" not in line
            continue
        name, value = line[: line.index("=")], line[line.index("=") + 1 :]
        assert 0 < len(name) < 1024 and len(value.encode()) < 1024
        found.setdefault(name, value)
    return found


def files(plan: HostPlan) -> dict[str, dict[str, str]]:
    return {file.path: read(render(file)) for file in plan.collectives.files}


def fleet() -> Iterator[HostPlan]:
    for path in sorted(FLEET.glob("*/facts.json")):
        plan = answer(HostFacts.from_json(path.read_text()))
        if isinstance(plan, HostPlan):
            yield plan


def test_every_machines_file_gives_exactly_the_plans_variables() -> None:
    seen = set()
    for plan in fleet():
        for path, found in files(plan).items():
            assert list(found.items()) == list(plan.collectives.variables)
            seen.add(path)
    assert seen == set(CONF.values())


def test_each_variable_has_its_reason_and_source_above_it() -> None:
    plan = planned(host(OS, [NVIDIA] * 2))
    (file,) = plan.collectives.files
    lines = render(file).splitlines()
    assert lines[0].startswith("# Managed by gpuwright")
    for index, (name, value) in enumerate(plan.collectives.variables):
        why = plan.why[f"collectives.variables.{index}.0"]
        assert lines[lines.index(f"{name}={value}") - 1] == f"# {why.reason} [{why.source}]"


@pytest.mark.parametrize(
    ("cards", "paths"),
    [
        ([NVIDIA] * 2, ["/etc/nccl.conf"]),
        ([AMD] * 2, ["/etc/rccl.conf"]),
        ([NVIDIA, AMD], []),
        ([NVIDIA], []),
        ([], []),
    ],
)
def test_a_file_for_each_vendor_with_peers_and_the_other_is_dropped(
    cards: list[str], paths: list[str]
) -> None:
    plan = planned(host(OS, cards)).collectives
    assert [file.path for file in plan.files] == paths
    assert sorted((*paths, *plan.dropped_files)) == sorted(CONF.values())


def test_what_is_declared_replaces_what_is_planned_and_follows_it() -> None:
    declared = {"NCCL_SOCKET_IFNAME": "=bond0", "NCCL_DEBUG": "WARN", "NCCL_IB_TC": 106}
    (found,) = files(planned(host(OS, [NVIDIA] * 2), interconnect_variables=declared)).values()
    assert list(found.items()) == [
        ("NCCL_SOCKET_IFNAME", "=bond0"),
        ("NCCL_P2P_DISABLE", "1"),
        ("NCCL_DEBUG", "WARN"),
        ("NCCL_IB_TC", "106"),
    ]


def test_a_card_alone_may_have_peers_on_other_hosts() -> None:
    found = files(planned(host(OS, [NVIDIA]), interconnect_variables={"NCCL_SOCKET_IFNAME": "=ib0"}))
    assert found == {"/etc/nccl.conf": {"NCCL_SOCKET_IFNAME": "=ib0"}}


def test_rccls_own_names_stand_in_its_file_alone() -> None:
    declared = {"RCCL_MSCCL_ENABLE": "0", "NCCL_DEBUG": "WARN"}
    facts = host(OS, [NVIDIA, NVIDIA, AMD, AMD])
    found = files(planned(facts, interconnect_variables=declared))
    assert "RCCL_MSCCL_ENABLE" not in found["/etc/nccl.conf"]
    assert found["/etc/rccl.conf"]["RCCL_MSCCL_ENABLE"] == "0"
    assert {variables["NCCL_DEBUG"] for variables in found.values()} == {"WARN"}


@pytest.mark.parametrize(
    ("cards", "declared", "says"),
    [
        ([NVIDIA] * 2, {"NCCL_P2P_DISABLE": "0"}, "until a transfer over PCIe was checked"),
        ([NVIDIA] * 2, {"RCCL_MSCCL_ENABLE": "0"}, "RCCL_ for AMD's"),
        ([], {"NCCL_DEBUG": "WARN"}, "of nobody"),
    ],
)
def test_what_cannot_be_is_refused(cards: list[str], declared: dict[str, str], says: str) -> None:
    refusals = answer(host(OS, cards), interconnect_variables=declared)
    assert isinstance(refusals, tuple)
    (refusal,) = refusals
    assert says in str(refusal) and next(iter(declared)) in refusal.subject


def test_p2p_may_be_declared_off_as_planned_and_where_it_is_on() -> None:
    for cards in ([NVIDIA] * 2, ["H100 SXM"] * 2):
        plan = planned(host(OS, cards), interconnect_variables={"NCCL_P2P_DISABLE": "1"})
        assert dict(plan.collectives.variables)["NCCL_P2P_DISABLE"] == "1"


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"HSA_FORCE_FINE_GRAIN_PCIE": "1"}, "belong into the environment"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "CUDA_VISIBLE_DEVICES"),
        ({"nccl_debug": "WARN"}, "nccl_debug"),
        ({"NCCL_DEBUG=WARN": "1"}, "NCCL_DEBUG=WARN"),
        ({"NCCL_DEBUG": "WARN\nNCCL_P2P_DISABLE=0"}, "pattern"),
        ({"NCCL_DEBUG": " WARN"}, "pattern"),
        ({"NCCL_DEBUG": ""}, "pattern"),
        ({"NCCL_DEBUG": "x" * 1024}, "1023"),
        (["NCCL_DEBUG=WARN"], "dictionary"),
    ],
)
def test_names_and_values_that_the_libraries_would_misread_are_refused(declared: object, says: str) -> None:
    with pytest.raises(GpuwrightError, match="interconnect_variables") as error:
        read_settings({"interconnect_variables": declared})
    assert says in str(error.value)


def test_an_interface_may_have_any_name_that_the_kernel_gives() -> None:
    strange = Nic("en=p1#0", default_route=True)
    (found,) = files(planned(replace(host(OS, [NVIDIA] * 2), nics=(strange,)))).values()
    assert found["NCCL_SOCKET_IFNAME"] == "=en=p1#0"


THEIRS = """# ours
NCCL_DEBUG=INFO
 NCCL_IB_HCA=x
NCCL_DEBUG=WARN
#NCCL_X=1
NCCL_SOCKET_IFNAME==eth0

nothing
=1
"""


def test_others_files_are_read_by_the_same_rules() -> None:
    assert parse(THEIRS.splitlines()) == {
        "NCCL_DEBUG": "INFO",
        " NCCL_IB_HCA": "x",
        "NCCL_SOCKET_IFNAME": "=eth0",
    }
    for plan in fleet():
        for file in plan.collectives.files:
            assert parse(render(file).splitlines()) == read(render(file))


def test_whose_a_file_is(tmp_path: Path) -> None:
    names = ("ours", "script", "others", "empty", "directory", "link", "absent")
    paths = {name: tmp_path / name for name in names}
    paths["ours"].write_text("# Managed by gpuwright; a changed copy is replaced.\nA=1\n")
    paths["script"].write_text("#!/bin/sh\n# Managed by gpuwright.\n")
    paths["others"].write_text("\n\n# Managed by gpuwright, as it was\n")
    paths["empty"].touch()
    paths["directory"].mkdir()
    paths["link"].symlink_to(paths["absent"])
    asked = Owners().command(tuple(map(str, paths.values())))
    done = subprocess.run(["sh", "-c", asked.get_raw_value()], capture_output=True, text=True, check=True)
    found = {Path(path).name: owner for path, owner in Owners().process(done.stdout.splitlines()).items()}
    assert found == {
        "ours": "ours",
        "script": "ours",
        "others": "others",
        "empty": "others",
        "directory": "no file",
        "link": "no file",
    }
