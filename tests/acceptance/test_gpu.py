"""GPUs and their driver in testinfra's own words: on the bus, in the driver and declared, and of one version."""

from __future__ import annotations

import re

import pytest
from testinfra.host import Host

from gpuwright.plan import HostPlan
from gpuwright.plan.gpu_model import DriverPlan

NVIDIA = "0x10de"
AMD = "0x1002"
# PCI classes, the first two digits: display controllers and processing accelerators.
GPU_CLASSES = ("0x03", "0x12")
BUS = "/sys/bus/pci/devices"


def cards(host: Host, vendor: str) -> list[str]:
    """PCI addresses of a vendor's GPUs that no guest has."""
    found = []
    for address in host.file(BUS).listdir() if host.file(BUS).is_directory else []:
        device = f"{BUS}/{address}"
        ours = host.file(f"{device}/vendor").content_string.strip() == vendor
        if ours and host.file(f"{device}/class").content_string.startswith(GPU_CLASSES):
            driver = host.file(f"{device}/driver")
            if not (driver.exists and driver.linked_to.endswith("/vfio-pci")):
                found.append(address)
    return found


def driver_of(plan: HostPlan, vendor: str) -> DriverPlan | None:
    return next((driver for driver in plan.drivers if driver.vendor == vendor), None)


def declared(plan: HostPlan, vendor: str) -> set[str]:
    return {gpu.address for gpu in plan.gpus if (gpu.vendor, gpu.use) == (vendor, "compute")}


@pytest.fixture
def nvidia(host: Host, plan: HostPlan) -> DriverPlan:
    """The planned driver of NVIDIA cards that are really there."""
    driver = driver_of(plan, "nvidia")
    if driver is None or not cards(host, NVIDIA):
        pytest.skip("no NVIDIA card on this host's PCI bus that is ours to run")
    return driver


@pytest.fixture
def amd(host: Host, plan: HostPlan) -> DriverPlan:
    driver = driver_of(plan, "amd")
    if driver is None or not cards(host, AMD):
        pytest.skip("no AMD card on this host's PCI bus that is ours to run")
    return driver


@pytest.fixture
def loaded(host: Host, nvidia: DriverPlan) -> str:
    """The version of the loaded NVIDIA module."""
    return str(host.file("/sys/module/nvidia/version").content_string.strip())


def test_nvidia_cards_on_the_bus_in_the_driver_and_declared(
    host: Host, plan: HostPlan, nvidia: DriverPlan
) -> None:
    on_bus = set(cards(host, NVIDIA))
    in_driver = set(host.file("/proc/driver/nvidia/gpus").listdir())
    assert declared(plan, "nvidia") <= in_driver
    assert in_driver <= on_bus


def test_nvidia_smi_lists_what_is_on_the_bus(host: Host, plan: HostPlan, nvidia: DriverPlan) -> None:
    listed = host.check_output("nvidia-smi --query-gpu=pci.bus_id --format=csv,noheader").lower().split()
    ours = declared(plan, "nvidia")
    assert {address for address in ours if any(each.endswith(address) for each in listed)} == ours


def test_the_nvidia_module_on_the_disk_is_the_one_that_is_loaded(
    host: Host, nvidia: DriverPlan, loaded: str
) -> None:
    release = host.check_output("uname -r")
    if not host.file(f"/lib/modules/{release}").is_directory:
        pytest.skip("the kernel came from outside this host, with no module of it here")
    assert host.check_output("modinfo -F version %s", nvidia.module) == loaded


def test_nvidia_packages_are_of_the_loaded_version(host: Host, nvidia: DriverPlan, loaded: str) -> None:
    if not nvidia.packages:
        pytest.skip("no package brought this driver")
    # At least one of them has the driver's version; pinning packages and daemons have their own.
    branch = loaded.partition(".")[0]
    versions = {str(host.package(name).version) for name in nvidia.packages}
    same = {version.partition("-")[0] for version in versions if version.startswith(f"{branch}.")}
    assert loaded in same


def test_nvidia_smi_meets_the_loaded_version(host: Host, nvidia: DriverPlan, loaded: str) -> None:
    found = host.check_output("nvidia-smi --query-gpu=driver_version --format=csv,noheader").split()
    assert found and set(found) == {loaded}


def test_nvidia_device_nodes(host: Host, plan: HostPlan, nvidia: DriverPlan) -> None:
    nodes = ["/dev/nvidiactl", "/dev/nvidia-uvm"]
    nodes += [f"/dev/nvidia{minor}" for minor in range(len(declared(plan, "nvidia")))]
    assert [node for node in nodes if host.run("test -c %s", node).rc] == []


def test_nvidia_cards_stay_initialised(host: Host, plan: HostPlan, nvidia: DriverPlan) -> None:
    if not plan.power.persistence:
        pytest.skip("persistence is not planned")
    if nvidia.units:
        assert all(host.service(unit).is_running for unit in nvidia.units)
    modes = host.check_output("nvidia-smi --query-gpu=persistence_mode --format=csv,noheader").split()
    assert modes and set(modes) == {"Enabled"}


def test_nvidia_cards_have_their_limits(host: Host, plan: HostPlan, nvidia: DriverPlan) -> None:
    ours = {
        address: watts for address, watts in plan.power.limits_watts if address in declared(plan, "nvidia")
    }
    if not ours:
        pytest.skip("no power limit is declared")
    query = "nvidia-smi --query-gpu=pci.bus_id,power.limit --format=csv,noheader,nounits"
    rows = [line.lower().split(", ") for line in host.check_output(query).splitlines()]
    assert {a: float(watts) for a in ours for bus, watts in rows if bus.endswith(a)} == ours


def test_no_other_driver_has_the_nvidia_cards(host: Host, plan: HostPlan, nvidia: DriverPlan) -> None:
    drivers = {address: host.file(f"{BUS}/{address}/driver") for address in declared(plan, "nvidia")}
    assert {a: d.linked_to.rpartition("/")[2] for a, d in drivers.items() if d.exists} == dict.fromkeys(
        drivers, "nvidia"
    )
    assert not [name for name in nvidia.blacklist if host.file(f"/sys/module/{name}").exists]


def test_planned_packages_are_held(host: Host, plan: HostPlan) -> None:
    steps = (plan.kernel_steps, plan.nvidia_driver, plan.rocm, plan.gpu_runtime)
    sets = [each for step in steps for each in step.locked]
    if not sets:
        pytest.skip("no package of a kernel or driver is planned for this host")
    held = set(host.check_output("apt-mark showhold").split())
    assert {name for each in sets for name in each.first + each.packages} <= held


def test_the_cdi_specification_is_of_the_loaded_nvidia_driver(
    host: Host, plan: HostPlan, loaded: str
) -> None:
    for spec in (spec for spec in plan.gpu_runtime.specs if spec.vendor == "nvidia"):
        text = host.file(spec.path).content_string
        libraries = set(re.findall(r"/libcuda\.so\.(\d+\.\d[\d.]*)$", text, flags=re.MULTILINE))
        assert libraries == {loaded}
        uuids = host.check_output(
            "cat /proc/driver/nvidia/gpus/*/information | grep -o 'GPU-[0-9a-f-]*'"
        ).split()
        assert [uuid for uuid in uuids if f"name: {uuid}" not in text] == []
        assert host.service(spec.service).is_enabled


def test_docker_reads_cdi_specifications_where_they_lie(host: Host, plan: HostPlan) -> None:
    if not plan.gpu_runtime.specs:
        pytest.skip("no CDI specification is planned for this host")
    directories = host.check_output("docker info --format '{{json .CDISpecDirs}}'")
    assert all(f'"{spec.path.rpartition("/")[0]}"' in directories for spec in plan.gpu_runtime.specs)


def test_amd_cards_on_the_bus_in_the_driver_and_declared(host: Host, plan: HostPlan, amd: DriverPlan) -> None:
    on_bus = set(cards(host, AMD))
    assert declared(plan, "amd") <= on_bus
    nodes = "/sys/class/kfd/kfd/topology/nodes"
    ids = [host.file(f"{nodes}/{node}/gpu_id").content_string.strip() for node in host.file(nodes).listdir()]
    # Partitions of one card count each.
    assert len([each for each in ids if each != "0"]) >= len(declared(plan, "amd"))


def test_amdgpu_is_loaded_and_its_nodes_are_there(host: Host, plan: HostPlan, amd: DriverPlan) -> None:
    assert host.file("/sys/module/amdgpu").is_directory
    assert host.run("test -c /dev/kfd").rc == 0
    renders = [name for name in host.file("/dev/dri").listdir() if name.startswith("renderD")]
    assert len(renders) >= len(declared(plan, "amd"))
