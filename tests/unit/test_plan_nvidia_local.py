"""A driver from NVIDIA's local repository: what the file's name decides, and what it is refused for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.operations.local_repository import UnpackedRepositories, path_of, required
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.nvidia.local import LocalRepository
from gpuwright.settings import read_settings
from tests.synthetic import host
from tests.unit.nvidia_host import (
    B200,
    CATALOG,
    P40,
    RTX4090,
    deployed,
    driver_of,
    loaded,
    planned,
    refused,
    with_found,
)

SETTING = "setting nvidia_driver_local_repository"


def named(os: str = "debian13", version: str = "580.159.04", arch: str = "amd64") -> str:
    return f"driver/nvidia-driver-local-repo-{os}-{version}_1.0-1_{arch}.deb"


def test_the_driver_comes_from_the_file_alone() -> None:
    plan = driver_of(host("debian 13", [RTX4090]), nvidia_driver_local_repository=named())
    (place,) = plan.repositories
    assert isinstance(place, LocalRepository)
    assert place.file == named()
    assert (place.package, place.packaging) == ("nvidia-driver-local-repo-debian13-580.159.04", "1.0-1")
    assert place.uri == "file:///var/nvidia-driver-local-repo-debian13-580.159.04"
    assert (plan.source, plan.branch) == ("nvidia", "580")
    assert plan.first == ()  # one version in it: nothing to pin a branch of
    assert plan.packages == ("nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-persistenced")


def test_its_pin_names_no_host_and_no_other_package() -> None:
    (pin,) = driver_of(host("debian 13", [RTX4090]), nvidia_driver_local_repository=named()).pins
    assert pin.pin == 'origin ""' and "nvidia" in pin.packages and pin.packages != "*"


@pytest.mark.parametrize(
    ("os", "file", "branch"),
    [
        ("ubuntu 24.04", named("ubuntu2404", "595.71.05"), "595"),
        ("ubuntu 22.04", named("ubuntu2204", "550.54.15"), "550"),
        ("debian 12", named("debian12", "590.48.01"), "590"),
    ],
)
def test_the_files_branch_is_the_plans_whatever_would_be_chosen(os: str, file: str, branch: str) -> None:
    plan = driver_of(host(os, [RTX4090]), nvidia_driver_local_repository=file)
    assert (plan.branch, plan.source) == (branch, "nvidia")
    assert not [name for name in plan.names if "pinning" in name]


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (named("ubuntu2404"), "ubuntu2404"),
        (named("debian12"), "debian12"),
        (named(arch="arm64"), "arm64"),
        ("driver/nvidia.deb", "not a name"),
        ("nvidia-driver-local-repo-debian13_1.0-1_amd64.deb", "not a name"),
        (named(version="999.10"), "999"),
    ],
)
def test_a_file_for_another_host_is_refused_by_its_name(file: str, says: str) -> None:
    refusal = refused(host("debian 13", [RTX4090]), nvidia_driver_local_repository=file)
    assert refusal.subject == SETTING and says in refusal.observed


def test_a_branch_that_the_cards_do_not_run_is_refused() -> None:
    newer = refused(host("debian 12", [P40]), nvidia_driver_local_repository=named("debian12", "595.71.05"))
    assert newer.subject == SETTING and "595" in newer.observed and "580" in newer.required
    older = refused(
        host("ubuntu 24.04", [B200]), nvidia_driver_local_repository=named("ubuntu2404", "550.54.15")
    )
    assert older.subject == SETTING and "550" in older.observed


def test_a_branch_that_is_declared_and_is_not_the_files_is_refused() -> None:
    refusal = refused(
        host("debian 13", [RTX4090]), nvidia_driver_local_repository=named(), nvidia_driver_branch="595"
    )
    assert "580" in refusal.observed and "595" in refusal.required


@pytest.mark.parametrize(
    "settings", [{"nvidia_driver_source": "distribution"}, {"nvidia_driver_mirror": "https://apt.lab"}]
)
def test_two_places_at_once_are_refused(settings: dict[str, str]) -> None:
    refusal = refused(host("debian 13", [RTX4090]), nvidia_driver_local_repository=named(), **settings)
    assert refusal.subject == SETTING and "one of the two" in refusal.remedy


def test_all_that_is_wrong_is_said_at_once() -> None:
    plan = planned(
        host("debian 13", [RTX4090]), nvidia_driver_local_repository=named("ubuntu2404", arch="arm64")
    )
    assert len(plan.refusals) == 2


def test_a_toolkit_is_not_in_the_file() -> None:
    refusal = refused(
        host("debian 13", [RTX4090]),
        nvidia_driver_local_repository=named(),
        nvidia_driver_cuda_toolkit="13.3",
    )
    assert "nvidia_driver_mirror" in refusal.remedy


def test_the_distributions_driver_is_not_mixed_with_it() -> None:
    there = [(name, "550.163.01-2") for name in ("nvidia-kernel-dkms", "nvidia-smi", "libcuda1")]
    facts = with_found(host("debian 13", [RTX4090]), loaded("550.163.01", "proprietary"), there)
    assert "purge" in refused(facts, nvidia_driver_local_repository=named()).remedy


def test_a_module_of_that_very_version_has_to_build() -> None:
    """580.119.02 does not know what Debian 13's kernel has changed; 580.126.09 does (catalogue, build_rule)."""
    facts = host("debian 13", [RTX4090])
    refusal = refused(
        facts, nvidia_driver_local_repository=named(version="580.119.02"), nvidia_driver_modules="open"
    )
    assert "580.119.02 do not build" in refusal.observed
    assert driver_of(facts, nvidia_driver_local_repository=named(version="580.126.09")).branch == "580"


def test_what_a_deploy_installed_gives_the_same_plan() -> None:
    facts = host("debian 13", [RTX4090])
    plan = driver_of(facts, nvidia_driver_local_repository=named())
    assert driver_of(deployed(facts, plan), nvidia_driver_local_repository=named()) == plan


def test_every_value_has_a_reason() -> None:
    settings = read_settings({"nvidia_driver_local_repository": named()})
    plan = plan_host(host("debian 13", [RTX4090]), settings, CATALOG)
    assert isinstance(plan, HostPlan)
    assert "580.159.04" in plan.why["drivers.0.repositories.0.file"].reason


# On the control machine, and what the host says


def test_the_file_is_looked_for_beside_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "driver").mkdir()
    file = tmp_path / named()
    data = {"gpuwright_locks": str(tmp_path / "locks")}
    with pytest.raises(GpuwrightError) as error:
        path_of(named(), data, "nv1")
    assert str(file) in str(error.value) and "nvidia_driver_local_repository" in str(error.value)
    file.write_bytes(b"")
    assert path_of(named(), data, "nv1") == file
    assert path_of(str(file), {}, "nv1") == file


def test_a_missing_file_is_said_with_the_plan_unless_the_host_has_unpacked_it(tmp_path: Path) -> None:
    facts = host("debian 13", [RTX4090])
    places = driver_of(facts, nvidia_driver_local_repository=named()).repositories
    data = {"gpuwright_locks": str(tmp_path / "locks")}
    with pytest.raises(GpuwrightError):
        required(places, facts, data, "nv1")
    (place,) = places
    assert isinstance(place, LocalRepository)
    required(places, with_found(facts, None, [(place.package, "1.0-1")]), data, "nv1")
    with pytest.raises(GpuwrightError):
        required(places, with_found(facts, None, [(place.package, "1.0-2")]), data, "nv1")
    required(driver_of(facts).repositories, facts, data, "nv1")


def test_the_package_that_holds_it_is_no_driver() -> None:
    facts = host("debian 13", [RTX4090])
    plan = driver_of(facts, nvidia_driver_local_repository=named())
    (place,) = plan.repositories
    assert isinstance(place, LocalRepository)
    unpacked = with_found(facts, None, [(place.package, place.packaging)])
    assert driver_of(unpacked, nvidia_driver_local_repository=named()) == plan


def test_keys_that_apt_does_not_find_are_told(tmp_path: Path) -> None:
    folder, trusted = tmp_path / "repository", tmp_path / "keyrings"
    folder.mkdir()
    trusted.mkdir()
    key = folder / "nvidia-driver-local-CD0EDF6B-keyring.gpg"
    fact = UnpackedRepositories()
    asked = fact.command(str(folder), "nvidia-driver-local-*-keyring.gpg", str(trusted), "no-such-package-*")

    def keys() -> tuple[str, ...]:
        lines = subprocess.run(
            ["sh", "-c", asked.get_raw_value()], capture_output=True, text=True, check=True
        ).stdout
        return fact.process(lines.splitlines()).keys

    assert keys() == ()
    key.write_bytes(b"one")
    assert keys() == (str(key),)
    (trusted / key.name).write_bytes(b"another")
    assert keys() == (str(key),)
    (trusted / key.name).write_bytes(b"one")
    assert keys() == ()


def test_only_whole_packages_count() -> None:
    found = UnpackedRepositories().process(
        [
            "package\ta\t1.0-1\tinstalled",
            "package\tb\t1.0-1\tconfig-files",
            "package\tc\t1.0-1\thalf-installed",
        ]
    )
    assert found.packages == {"a": "1.0-1"}
