"""What each engine's service would be on every machine: golden unit, arguments and environment, or the refusal.

tests/sandbox/test_rendered_services.py gives them to the real parsers.
"""

from __future__ import annotations

import re

import pytest

from gpuwright import catalog
from gpuwright.plan import HostPlan
from gpuwright.plan.gpu_model import Gpu
from gpuwright.plan.peers import cards
from tests.fleet.conftest import FleetMachine
from tests.fleet.services import ENGINES, Rendered, everywhere, rendered


@pytest.mark.parametrize("engine", ENGINES)
def test_files_of_a_service_are_golden(
    machine: FleetMachine, engine: str, request: pytest.FixtureRequest
) -> None:
    found = rendered(machine, engine)
    if found is None:
        pytest.skip("refused whatever it serves")
    if isinstance(found, Rendered):
        text = f"{found.unit}\n{found.conf}"
    else:
        text = "".join(f"Refused: {line}\n" for line in found)
    golden = machine.directory / "services" / f"{engine}.txt"
    if request.config.getoption("--update-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text(), "if that is right: pytest tests/fleet --update-golden"


@pytest.mark.parametrize("engine", ENGINES)
def test_enough_machines_serve(fleet: tuple[FleetMachine, ...], engine: str) -> None:
    """Or the goldens would be refusals alone."""
    variants = {found.service.variant for _, found in everywhere(fleet, engine)}
    assert {"llama_cpp": 4, "vllm": 3, "custom": 3}[engine] <= len(variants), variants


def test_what_every_service_has(fleet: tuple[FleetMachine, ...]) -> None:
    """House rules 5.5: loopback, no privilege, an image by digest; GPUs late, by the words of the key's file."""
    for engine in ENGINES:
        for name, found in everywhere(fleet, engine):
            unit, service = found.unit, found.service
            where = f"{engine} on {name}"
            assert "--privileged" not in unit and "--cap-add" not in unit and "--ipc host" not in unit, where
            for words in (
                "--cap-drop ALL",
                "--security-opt no-new-privileges",
                "--read-only",
                "--network host",
            ):
                assert words in unit, f"{where}: {words}"
            assert re.search(r"@sha256:[0-9a-f]{64}", service.image), where
            listens = {"127.0.0.1"} & {*service.arguments, *dict(service.environment).values()}
            assert listens, where
            assert ("$GPUWRIGHT_GPUS" in unit) == bool(service.gpus), where
            assert "GPU-" not in unit + found.conf, where
            assert ("--shm-size" in unit) == (len(service.gpus) > 1 or engine != "llama_cpp"), where
            assert ("memlock=-1" in unit) == (len(service.gpus) > 1), where
            assert "Restart=always" in unit, where


def test_p2p_that_is_not_proven_is_off_in_vllm_as_well(fleet: tuple[FleetMachine, ...]) -> None:
    """Its custom all-reduce ignores NCCL_P2P_DISABLE (vllm-project/vllm#51513)."""
    seen = set()
    for name, found in everywhere(fleet, "vllm"):
        several = len(found.service.gpus) > 1
        off = "--disable-custom-all-reduce" in found.service.arguments
        fabric = any(mark in name for mark in ("h100", "h200", "b200", "mi300x"))
        assert off == (several and not fabric), f"{name}: {found.service.arguments}"
        seen.add((several, off))
    assert seen == {(False, False), (True, True), (True, False)}


def test_an_image_has_code_for_every_card_and_a_driver_that_is_new_enough(
    fleet: tuple[FleetMachine, ...],
) -> None:
    rows = {(row.name, row.image, arch): row for row in catalog.load().engines for arch in row.architectures}
    for engine in ("llama_cpp", "vllm"):
        for name, found in everywhere(fleet, engine):
            machine = next(each for each in fleet if each.name == name)
            row = rows[engine, found.service.image, machine.facts.arch]
            given = {need.address for need in found.service.gpus}
            for card in cards(machine.facts, plan_gpus(machine), catalog.load()):
                if card.gpu.address in given and row.targets:
                    assert card.row.target in {*row.targets, *row.jit}, f"{engine} on {name}"


def plan_gpus(machine: FleetMachine) -> tuple[Gpu, ...]:
    plan = machine.plan()
    return plan.gpus if isinstance(plan, HostPlan) else ()
