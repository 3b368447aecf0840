"""The scripts that read CDI specifications and device nodes, run by this machine's sh over a made-up root."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpuwright.operations import cdi_host, device_nodes
from gpuwright.operations.cdi_stale import stale
from tests.unit.cdi_host import AMD, AMD_TEXT, NVIDIA, NVIDIA_TEXT, UUIDS, VERSION, fake_programs, named

INFORMATION = """\
Model: \t\t NVIDIA GeForce RTX 4090
IRQ:   \t\t 88
GPU UUID: \t {uuid}
Video BIOS: \t 95.02.18.80.5d
Bus Type: \t PCIe
Bus Location: \t 0000:01:00.0
Device Minor: \t {minor}
GPU Firmware: \t {version}
GPU Excluded:\t {excluded}
"""
MODINFO = f"""
case "$*" in
*' -F version nvidia') echo {VERSION} ;;
*' -n nvidia') echo "$MODULE_FILE" ;;
*) echo "modinfo: ERROR: Module $5 not found." >&2; exit 1 ;;
esac
"""
SYSTEMCTL = """
case "$2" in
--property=LoadState) echo loaded ;;
--property=UnitFileState) echo enabled ;;
--property=NeedDaemonReload) echo no ;;
esac
"""
Look = Callable[..., cdi_host.CdiHost]


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def node(root: Path, path: str) -> None:
    """A character device under another name: /dev/null."""
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to("/dev/null")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two RTX 4090 as NVIDIA's driver shows them, a third one that it excludes, and everything a driver installs."""
    root = tmp_path / "root"
    nvrm = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {VERSION}  Release Build\nGCC version:  14.2.0\n"
    put(root / "proc/driver/nvidia/version", nvrm)
    for minor, (uuid, excluded) in enumerate([(UUIDS[0], "No"), (UUIDS[1], "No"), ("GPU-spare", "Yes")]):
        text = INFORMATION.format(uuid=uuid, minor=minor, version=VERSION, excluded=excluded)
        put(root / f"proc/driver/nvidia/gpus/0000:0{minor + 1}:00.0/information", text)
    for path in named(NVIDIA_TEXT):
        if path.startswith("/dev/"):
            node(root, path)
        else:
            put(root / path.lstrip("/"), "")
    return root


@pytest.fixture
def look(tmp_path: Path, root: Path) -> Look:
    path = fake_programs(tmp_path / "bin", nvidia_ctk="", amd_ctk="", modinfo=MODINFO, systemctl=SYSTEMCTL)
    put(tmp_path / "nvidia.ko", "")

    def script(vendor: str = "nvidia", module: str = "nvidia", tool: str = "nvidia-ctk") -> cdi_host.CdiHost:
        text = cdi_host.SCRIPT.replace("root=\n", f"root={root}\n", 1)
        service = NVIDIA.service if vendor == "nvidia" else ""
        done = subprocess.run(
            ["sh", "-c", f'{text}\ncdi "$@"', "sh", vendor, module, tool, service],
            env={**os.environ, "PATH": path, "MODULE_FILE": str(tmp_path / "nvidia.ko")},
            capture_output=True,
            text=True,
            check=True,
        )
        return cdi_host.read(done.stdout.splitlines())

    return script


def test_a_host_with_a_specification_that_is_true(root: Path, look: Look) -> None:
    put(root / NVIDIA.path.lstrip("/"), NVIDIA_TEXT)
    host = look()
    assert (host.loaded, host.on_disk, host.service) == (VERSION, VERSION, ("loaded", "enabled", "no"))
    assert [(gpu.address, gpu.uuid, gpu.node) for gpu in host.gpus] == [
        ("0000:01:00.0", UUIDS[0], "/dev/nvidia0"),
        ("0000:02:00.0", UUIDS[1], "/dev/nvidia1"),
    ]
    assert host.files[NVIDIA.path].text == NVIDIA_TEXT
    assert set(named(NVIDIA_TEXT)) == host.there
    assert stale(NVIDIA, host, NVIDIA.path) == ()


def test_paths_that_are_gone_are_not_there(root: Path, look: Look) -> None:
    put(root / NVIDIA.path.lstrip("/"), NVIDIA_TEXT)
    gone = f"/usr/lib/x86_64-linux-gnu/libcuda.so.{VERSION}"
    (root / gone.lstrip("/")).unlink()
    (root / "dev/nvidia-uvm-tools").unlink()
    assert set(named(NVIDIA_TEXT)) - look().there == {gone, "/dev/nvidia-uvm-tools"}


def test_json_on_one_line_is_read_as_well(root: Path, look: Look) -> None:
    text = AMD_TEXT.replace("\n", "").replace("  ", "") + "\n"
    put(root / AMD.path.lstrip("/"), text)
    for path in named(text):
        if not (root / path.lstrip("/")).exists():
            node(root, path)
    assert set(named(text)) <= look().there


def test_a_program_that_came_later_makes_it_old(root: Path, look: Look, tmp_path: Path) -> None:
    spec = root / NVIDIA.path.lstrip("/")
    put(spec, NVIDIA_TEXT)
    os.utime(spec, (1_000_000_000, 1_000_000_000))
    host = look()
    assert set(host.programs) == {str(tmp_path / "bin/nvidia-ctk"), str(tmp_path / "nvidia.ko")}
    assert stale(NVIDIA, host, NVIDIA.path)[-1].startswith("it is older than ")


@pytest.mark.parametrize("text", ["", NVIDIA_TEXT[:-1], "a\tb\\n%s\n", "  - indented\n"])
def test_any_text_comes_as_it_is(root: Path, look: Look, text: str) -> None:
    put(root / "etc/cdi/nvidia.json", text)
    assert look().files["/etc/cdi/nvidia.json"].text == text


def test_a_text_that_lines_do_not_carry_is_not_judged(root: Path, look: Look) -> None:
    put(root / "etc/cdi/nvidia.yaml", NVIDIA_TEXT.replace("\n", "\r\n"))
    found = look().files["/etc/cdi/nvidia.yaml"]
    assert found.spec is None and "bytes, of which" in found.unreadable


def test_a_host_without_any_of_it(root: Path, look: Look) -> None:
    subprocess.run(["rm", "-rf", str(root)], check=True)
    host = look(module="nvidia-current", tool="no-such-tool")
    assert (host.loaded, host.on_disk, host.gpus, dict(host.files)) == (None, "", (), {})
    assert not host.programs


def test_amds_gpus_are_those_that_kfd_counts(root: Path, look: Look) -> None:
    nodes = root / "sys/class/kfd/kfd/topology/nodes"
    put(root / "sys/module/amdgpu/initstate", "live\n")
    put(nodes / "0/gpu_id", "0\n")
    put(nodes / "0/properties", "cpu_cores_count 32\nlocation_id 0\n")
    put(nodes / "1/gpu_id", "40312\n")
    put(nodes / "1/properties", "simd_count 192\nlocation_id 17160\ndomain 1\ndrm_render_minor 129\n")
    host = look("amd", "amdgpu", "amd-ctk")
    assert (host.loaded, host.service) == ("", ())
    assert [(gpu.address, gpu.uuid, gpu.node) for gpu in host.gpus] == [
        ("0001:43:01.0", "", "/dev/dri/renderD129")
    ]


def nodes(root: Path, *gpus: str) -> list[tuple[str, str]]:
    """What keeps the group root (that of /dev/null) from the nodes, by whose they are."""
    text = device_nodes.SCRIPT.replace("root=\n", f"root={root}\n", 1)
    command = ["sh", "-c", f'{text}\ndevice_nodes "$@"', "sh", "/dev/kfd", "--", *gpus]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [(each.of, each.wrong("render")) for each in device_nodes.read(done.stdout.splitlines())]


def test_device_nodes_of_a_good_host(root: Path) -> None:
    for path in ("/dev/kfd", "/dev/dri/renderD128"):
        node(root, path)  # all may write to /dev/null, so its group does not matter
    put(root / "sys/bus/pci/devices/0000:03:00.0/drm/renderD128/dev", "226:128\n")
    assert nodes(root, "0000:03:00.0") == [("/dev/kfd", ""), ("0000:03:00.0", "")]


def test_device_nodes_that_are_not_there(root: Path) -> None:
    put(root / "sys/bus/pci/devices/0000:03:00.0/drm/renderD128/dev", "226:128\n")
    assert nodes(root, "0000:03:00.0", "0000:43:00.0") == [
        ("/dev/kfd", "is not there"),
        ("0000:03:00.0", "/dev/dri/renderD128 is not there"),
        ("0000:43:00.0", "a render node is not there"),
    ]


@pytest.mark.parametrize(
    ("group", "mode", "wrong"),
    [
        ("render", "660", ""),
        ("video", "660", "/dev/kfd belongs to the group video"),
        ("video", "666", ""),
        ("video", "664", "/dev/kfd belongs to the group video"),
        ("absent", "", "is not there"),
    ],
)
def test_who_may_open_a_node(group: str, mode: str, wrong: str) -> None:
    (found,) = device_nodes.read([f"/dev/kfd\t/dev/kfd\t{group}\t{mode}"])
    assert found.wrong("render") == wrong


def test_a_row_that_was_cut_off_is_an_error() -> None:
    with pytest.raises(ValueError):
        device_nodes.read(["/dev/kfd\t/dev/kfd"])
