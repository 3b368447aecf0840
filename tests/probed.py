"""What a probe may meet: its text by section, and a server's tree of /sys, /proc and /etc for the script itself."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from gpuwright.facts import HostFacts, parse

# What every host has; everything else may be missing.
LEAST = {
    "os_release": 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"',
    "arch": "x86_64",
    "memory": "MemTotal:       65806824 kB",
    "cpus": "32\nAuthenticAMD 25",
    "pci": "",
    "disks": "nvme0n1 1000204886016 0",
    "init": "systemd",
    "boot": "firmware uefi\nloader grub\nsecure_boot disabled\ngrubenv plain",
}
SERIAL = "JX55XN3"
MAC = "b8:59:9f:12:34:56"


def framed(**sections: str) -> str:
    """The probe's output with the sections that every host has, and these; one that is "!" failed."""
    lines = []
    given = {**LEAST, **sections}
    given["boot"] = given.pop("boot")  # the last one, as in the probe
    for name, text in given.items():
        lines += [f"@@begin {name}", *([text] if text not in ("", "!") else [])]
        lines.append(f"@@end {name} {int(text == '!')}")
    return "\n".join(lines) + "\n"


def facts(**sections: str) -> HostFacts:
    return parse(framed(**sections))


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)


def link(path: Path, target: Path) -> None:
    """A relative link, as sysfs has them, to a directory that is made where it is missing."""
    target.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent))


def config(*capabilities: tuple[int, int, int], size: int = 4096) -> bytes:
    """PCI configuration space with extended capabilities of (offset, id, control word)."""
    space = bytearray(size)
    offsets = [offset for offset, _, _ in capabilities[1:]] + [0]
    for (offset, ident, control), following in zip(capabilities, offsets, strict=False):
        struct.pack_into("<IHH", space, offset, following << 20 | 1 << 16 | ident, 0x5F, control)
    return bytes(space)


def function(
    root: Path, path: str, ids: str, driver: str = "", group: str = "", **files: str | bytes
) -> Path:
    """A PCI function below its bridges; `ids` are class, vendor, device, subsystem vendor, subsystem device."""
    directory = root / "sys/devices" / path
    names = ("class", "vendor", "device", "subsystem_vendor", "subsystem_device")
    for name, value in zip(names, ids.split(), strict=True):
        write(directory / name, f"0x{value}\n")
    for name, content in files.items():
        write(directory / name, content)
    if driver:
        link(directory / "driver", root / "sys/bus/pci/drivers" / driver)
    if group:
        link(directory / "iommu_group", root / "sys/kernel/iommu_groups" / group)
    link(root / "sys/bus/pci/devices" / directory.name, directory)
    return directory


# 32 GiB of memory behind BAR 1, as `resource` of sysfs shows it
GPU_BARS = (
    "0x00000000b0000000 0x00000000b0ffffff 0x0000000000040200\n"
    "0x0000030000000000 0x00000307ffffffff 0x000000000014220c\n"
    "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
    "0x0000030800000000 0x0000030801ffffff 0x000000000014220c\n"
    + "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
    * 9
)


def server(root: Path) -> Path:
    """Two GPUs behind a PCIe switch with ACS, an RDMA NIC, a BMC's display; LVM /boot, Secure Boot on, Debian 13.

    Its driver is Debian's, loaded; a kernel from backports waits beside the running one.
    """
    etc = root / "etc"
    write(etc / "os-release", LEAST["os_release"] + "\n")
    for name, text in {"arch": "x86_64\n", "virtualisation": "none\n"}.items():
        write(root / name, text)
    write(
        root / "space",
        "path /dev/shm\nFilesystem 1024-blocks Used Available Capacity Mounted on\n"
        "tmpfs 263921828 0 263921828 0% /dev/shm\n"
        "path /boot\nFilesystem 1024-blocks Used Available Capacity Mounted on\n"
        "/dev/mapper/vg0-boot 996780 221360 706608 24% /boot\n",
    )
    _kernel_and_firmware(root)
    _pci(root)
    _packages(root)
    return root


def _kernel_and_firmware(root: Path) -> None:
    proc, dmi = root / "proc", root / "sys/class/dmi/id"
    write(proc / "sys/kernel/osrelease", "6.12.94+deb13-amd64\n")
    write(proc / "cmdline", "BOOT_IMAGE=/vmlinuz root=/dev/mapper/vg0-root ro quiet iommu=pt\n")
    write(proc / "meminfo", "MemTotal:       527843656 kB\nMemFree: 1 kB\n")
    cpu = "processor\t: {}\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n\n"
    write(proc / "cpuinfo", cpu.format(0) + cpu.format(1))
    write(
        proc / "net/route",
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
        "bond0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\n"
        "bond0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n",
    )
    write(
        proc / "net/ipv6_route",
        f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n",
    )
    write(
        proc / "self/mountinfo",
        "25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg0-root rw\n"
        "40 25 254:1 / /boot rw,relatime shared:2 - ext4 /dev/mapper/vg0-boot rw\n"
        "41 40 259:1 / /boot/efi rw,relatime shared:3 - vfat /dev/nvme0n1p1 rw\n",
    )
    write(root / "sys/devices/virtual/block/dm-1/dm/uuid", "LVM-abcdefghijklmnopqrstuvwxyz\n")
    link(root / "sys/dev/block/254:1", root / "sys/devices/virtual/block/dm-1")
    for name, text in {
        "sys_vendor": "Supermicro",
        "product_name": "AS -4125GS-TNRT",
        "board_name": "H13DSG-O-CPU",
        "product_serial": SERIAL,
    }.items():
        write(dmi / name, text + "\n")
    write(root / "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", b"\x06\0\0\0\1")
    for directory in ("boot/grub", "run/systemd/system", "boot/efi"):
        (root / directory).mkdir(parents=True)
    write(root / "sys/block/nvme0n1/size", "2000\n")
    write(root / "sys/block/nvme0n1/queue/rotational", "0\n")
    write(root / "sys/block/loop0/size", "1\n")


def _pci(root: Path) -> None:
    port = "pci0000:40/0000:40:01.1"
    switch = f"{port}/0000:41:00.0"
    acs = {"config": config((0x100, 1, 0), (0x148, 0xD, 0x1D))}
    function(root, port, "060400 1022 14ab 1022 1453", "pcieport", "30", **acs)
    function(root, switch, "060400 1000 c030 1000 0025", "pcieport", "31", config=config((0x100, 1, 0)))
    for number, downstream in enumerate(("0000:42:00.0", "0000:42:01.0")):
        function(root, f"{switch}/{downstream}", "060400 1000 c030 1000 0025", "pcieport", "32", **acs)
        gpu = f"{switch}/{downstream}/0000:4{3 + number}:00.0"
        function(
            root,
            gpu,
            "030200 10de 26b9 10de 1851",
            "nvidia",
            f"4{number}",
            numa_node="1\n",
            max_link_speed="16.0 GT/s PCIe\n",
            max_link_width="16\n",
            current_link_speed="2.5 GT/s PCIe\n",
            current_link_width="16\n",
            resource=GPU_BARS,
        )
        function(root, f"{gpu[:-1]}1", "040300 10de 22ba 10de 1851", "snd_hda_intel")
    function(root, "pci0000:00/0000:00:05.0/0000:05:00.0", "030000 1a03 2000 15d9 1b95", boot_vga="1\n")
    function(root, "pci0000:00/0000:00:06.0", "068000 1022 1234 1022 1234")
    nic = function(
        root,
        "pci0000:60/0000:60:01.1/0000:61:00.0",
        "020700 15b3 1021 15b3 0022",
        "mlx5_core",
        numa_node="-1\n",
    )
    link(root / "sys/class/net/ibp97s0/device", nic)
    write(root / "sys/class/net/ibp97s0/address", f"{MAC}\n")
    link(root / "sys/class/infiniband/mlx5_0/device", nic)
    virtual = function(
        root, "pci0000:60/0000:60:01.1/0000:61:00.1", "020700 15b3 101e 15b3 0022", "mlx5_core"
    )
    link(virtual / "physfn", nic)
    (root / "sys/class/net/bond0").mkdir()
    (root / "sys/class/net/lo").mkdir()


def _packages(root: Path) -> None:
    write(root / "sys/module/nvidia/version", "550.163.01\n")
    write(
        root / "proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.163.01  Release Build\n",
    )
    modules = root / "lib/modules"
    for release in ("6.12.94+deb13-amd64", "7.2.12+deb13-amd64"):
        (modules / release / "kernel").mkdir(parents=True)
    write(
        modules / "6.12.94+deb13-amd64/modules.dep",
        "kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko.xz: kernel/drivers/gpu/drm/drm.ko.xz\n"
        "kernel/drivers/video/fbdev/nvidia/nvidiafb.ko.xz:\n"
        "kernel/drivers/gpu/drm/nouveau/nouveau.ko.xz:\n"
        "updates/dkms/nvidia-current-open-drm.ko.xz: updates/dkms/nvidia-current-open.ko.xz\n"
        "updates/dkms/nvidia-current-open.ko.xz:\n",
    )
    write(root / "boot/config-6.12.94+deb13-amd64", "CONFIG_HSA_AMD=y\n# CONFIG_PCI_P2PDMA is not set\n")
    write(
        modules / "7.2.12+deb13-amd64/config", "CONFIG_PCI_P2PDMA=y\nCONFIG_HSA_AMD=y\nCONFIG_DRM_AMDGPU=m\n"
    )
    (root / "usr/src/linux-headers-6.12.94+deb13-amd64").mkdir(parents=True)
    dkms = root / "var/lib/dkms/nvidia-current-open/550.163.01"
    (dkms / "6.12.94+deb13-amd64/x86_64/module").mkdir(parents=True)
    (dkms / "source").symlink_to("/usr/src/nvidia-current-open-550.163.01")
    stanza = (
        "Package: {}\nStatus: {}\nArchitecture: amd64\nVersion: {}\nDescription: one\n Status: of a text\n\n"
    )
    write(
        root / "var/lib/dpkg/status",
        stanza.format("linux-image-amd64", "hold ok installed", "6.12.94-1")
        + stanza.format("nvidia-open-kernel-dkms", "install ok installed", "550.163.01-2")
        + stanza.format("podman-docker", "install ok installed", "5.4.2+ds1-2")
        + stanza.format("docker.io", "deinstall ok config-files", "26.1.5+dfsg1-9")
        + stanza.format("bash", "install ok installed", "5.2.37-2"),
    )
    write(
        root / "etc/apt/sources.list.d/site.sources",
        "# of the site\nTypes: deb deb-src\nURIs: https://user:secret@mirror.example/debian?token=secret\n"
        "Suites: trixie trixie-backports\nComponents: main\n non-free\n"
        "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n\nTypes: deb\nEnabled: no\n"
        "URIs: http://old.example\nSuites: trixie\n",
    )
    write(
        root / "etc/apt/sources.list",
        "deb [arch=amd64 trusted=yes] http://mirror.example/cuda /\n#deb http://no.example x\n",
    )
    write(root / "etc/apt/preferences.d/cuda", "Package: *\nPin: release l=cuda\nPin-Priority: 600\n")
    write(root / "lib/firmware/amdgpu/gc_11_0_0_mes.bin.zst", "")
    write(root / "lib/firmware/nvidia/550.163.01/gsp_ga10x.bin", "")
    write(root / "opt/miniconda3/pkgs/cuda-cudart-12.4.127-0/info/index.json", "{}")
    (root / "opt/rocm-6.2.0").mkdir()
