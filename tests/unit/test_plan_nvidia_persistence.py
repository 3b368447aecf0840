"""Ubuntu's own persistence daemon starts without persistence mode: a drop-in says otherwise, where it is wanted."""

from __future__ import annotations

import pytest

from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.model import ManagedFile
from gpuwright.render import render
from gpuwright.settings import read_settings
from tests.synthetic import host
from tests.unit.nvidia_host import CATALOG, RTX4090

UNIT = "nvidia-persistenced.service"
PATH = f"/etc/systemd/system/{UNIT}.d/gpuwright.conf"


def planned(os: str, **settings: object) -> HostPlan:
    plan = plan_host(host(os, [RTX4090]), read_settings(settings), CATALOG)
    assert isinstance(plan, HostPlan), plan
    return plan


def drop_in(plan: HostPlan) -> ManagedFile | None:
    return next((file for file in plan.nvidia_driver.files if file.path == PATH), None)


@pytest.mark.parametrize("os", ["ubuntu 22.04", "ubuntu 24.04", "ubuntu 26.04"])
def test_canonicals_daemon_is_told_to_keep_the_gpus(os: str) -> None:
    plan = planned(os)
    file = drop_in(plan)
    assert file is not None
    lines = render(file).splitlines()
    assert lines.index("ExecStart=") == lines.index("[Service]") + 1  # clears the package's command
    (command,) = (line for line in lines if line.startswith("ExecStart=/"))
    assert "--persistence-mode" in command and "--no-persistence-mode" not in command
    assert lines.index("StopWhenUnneeded=no") == lines.index("[Unit]") + 1
    place = plan.nvidia_driver.files.index(file)
    assert "power_persistence" in plan.why[f"nvidia_driver.files.{place}.path"].reason


def test_it_restarts_when_the_drop_in_changes_and_no_other_unit_does() -> None:
    plan = planned("ubuntu 24.04")
    watches = {unit.name: unit.watches for unit in plan.nvidia_driver.units}
    assert PATH in watches.pop(UNIT)
    assert not [name for name, paths in watches.items() if PATH in paths]


@pytest.mark.parametrize(
    ("os", "settings"),
    [
        ("ubuntu 24.04", {"power_persistence": False}),
        ("ubuntu 24.04", {"nvidia_driver_source": "nvidia"}),
        ("debian 13", {}),
        ("debian 13", {"nvidia_driver_source": "distribution", "nvidia_driver_modules": "proprietary"}),
    ],
)
def test_where_it_is_not_wanted_or_starts_so_by_itself_there_is_none(
    os: str, settings: dict[str, object]
) -> None:
    plan = planned(os, **settings)
    assert drop_in(plan) is None
    assert not [path for unit in plan.nvidia_driver.units for path in unit.watches if path == PATH]
