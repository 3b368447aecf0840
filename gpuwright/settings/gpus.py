"""Settings about GPUs: kernel, drivers, containers, interconnect, power. Every default is "decide for me"."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from gpuwright.settings.kinds import Strict

PciAddress = Annotated[str, Field(pattern=r"^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]$")]


NodeAddress = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.:-]*$")]


def _digits(value: object) -> object:
    """580 for "580". A ROCm release must be text: the number 7.10 is 7.1."""
    return str(value) if type(value) is int else value


def _named(variables: object) -> object:
    """Their own names: HSA_ and CUDA_ variables are read when the GPU's runtime starts, before their file is."""
    names = [str(name) for name in variables] if isinstance(variables, dict) else []
    if wrong := [name for name in names if not VARIABLE.fullmatch(name)]:
        raise ValueError(
            f"{', '.join(wrong)}: NCCL and RCCL take names that match {VARIABLE.pattern} from their file; others come "
            "too late there, and belong into the environment of programs"
        )
    return variables


VARIABLE = re.compile(r"(NCCL|RCCL)_[A-Z0-9_]{1,200}")
# src/misc/param.cc of NCCL: nothing is trimmed, and of a value 1023 bytes are read.
VariableValue = Annotated[
    str, BeforeValidator(_digits), Field(pattern=r"^[!-~]([ -~]*[!-~])?$", max_length=1023)
]
Variables = Annotated[dict[str, VariableValue], BeforeValidator(_named)]


Branch = Annotated[str, BeforeValidator(_digits)]


class KernelSettings(Strict):
    """Which kernel the host boots."""

    kernel_flavour: Literal["auto", "keep", "ga", "hwe", "backports", "built"] = Field(
        "auto",
        description="auto: the release's own kernel unless a GPU or P2P needs another; keep: whatever is there; "
        "built: from the distribution's source with the options that P2P needs.",
    )
    kernel_repository: str | None = Field(
        None,
        min_length=1,
        description="For built: the folder of one release that `gpuwright kernel build --output` filled "
        "(kernels/debian13), on the control machine, relative to the inventory's folder.",
    )
    kernel_arguments: tuple[str, ...] = Field((), description="More words for the kernel's command line.")
    kernel_reboot: Literal["fallback", "no_fallback"] = Field(
        "fallback",
        description="fallback: only where a kernel that does not come up is left by itself; no_fallback: anywhere.",
    )


class NvidiaDriverSettings(Strict):
    """NVIDIA's driver."""

    nvidia_driver_branch: Branch = Field(
        "auto",
        pattern=r"^(auto|[0-9]{3})$",
        description="A branch such as 580, or auto: what fits all cards.",
    )
    nvidia_driver_source: Literal["auto", "distribution", "nvidia"] = Field(
        "auto", description="The distribution's packages or NVIDIA's CUDA repository; never both."
    )
    nvidia_driver_modules: Literal["auto", "open", "proprietary"] = Field(
        "auto", description="Flavour of the kernel modules; some cards run with one of them only."
    )
    nvidia_driver_existing: Literal["adopt", "replace"] = Field(
        "adopt",
        description="A working driver that fits is kept as it is, or replaced by what would be installed.",
    )
    nvidia_driver_mirror: str | None = Field(
        None,
        pattern=r"^(https?://[^@/\s]+(/[^@\s]*)?|file:/[^\s]*)$",
        description="A copy of NVIDIA's https://developer.download.nvidia.com/compute/cuda/repos, taken in its place: "
        "https://apt.lab/cuda, or file:/srv/cuda on the host; below it all is as there, index and key too.",
    )
    nvidia_driver_local_repository: str | None = Field(
        None,
        pattern=r"\.deb$",
        description="NVIDIA's nvidia-driver-local-repo-OS-VERSION_REVISION_ARCH.deb, on the control machine, relative "
        "to the inventory's folder: the driver comes from this file, in its version, and from no other place.",
    )
    nvidia_driver_cuda_toolkit: str = Field(
        "none",
        pattern=r"^(none|[0-9]+\.[0-9]+)$",
        description="A CUDA toolkit on the host, such as 13.0, beside a driver from NVIDIA's repository; containers "
        "bring their own.",
    )
    nvidia_driver_imex: Literal["auto", "on", "off"] = Field(
        "auto",
        description="nvidia-imex at the driver's version; auto: where NVLink leads to GPUs of other machines (racks of "
        "GB200 and GB300), and on no other host.",
    )
    nvidia_driver_imex_nodes: tuple[NodeAddress, ...] = Field(
        (),
        description="Addresses of all machines of the NVLink domain, this one too, the same on each: with them "
        "nvidia-imex runs, without them whoever starts jobs starts it.",
    )


class RocmSettings(Strict):
    """AMD's driver and user space."""

    rocm_driver: Literal["auto", "in-tree", "dkms"] = Field(
        "auto", description="The kernel's own amdgpu, or AMD's amdgpu-dkms."
    )
    rocm_packages: Literal["none", "runtime"] = Field(
        "none", description="none: containers bring ROCm; runtime: HIP runtime and tools on the host."
    )
    rocm_version: str = Field(
        "auto", pattern=r"^(auto|[0-9]+\.[0-9]+)$", description="A ROCm release such as 7.2, or auto."
    )


class GpuRuntimeSettings(Strict):
    """How containers get GPUs."""

    gpu_runtime_method: Literal["auto", "cdi", "device-nodes"] = Field(
        "auto", description="CDI through the vendor's toolkit, or plain device nodes (AMD only)."
    )


class InterconnectSettings(Strict):
    """How GPUs reach each other, and which of them belong to us."""

    interconnect_p2p: Literal["auto", "wanted", "off"] = Field(
        "auto",
        description="auto: PCIe P2P where driver and kernel can, after it is proven; wanted: choose a kernel that "
        "can, or refuse; off: never over PCIe.",
    )
    interconnect_iommu: Literal["auto", "leave", "passthrough", "remapping"] = Field(
        "auto", description="The IOMMU's mode; auto follows the vendor's advice for these cards."
    )
    interconnect_isolation: bool = Field(
        False,
        description="True keeps ACS as it is, as hosts need that pass devices to guests they do not trust.",
    )
    interconnect_display_gpus: tuple[PciAddress, ...] = Field(
        (), description="GPUs that belong to the desktop, by PCI address, and are left alone."
    )
    interconnect_compute_gpus: tuple[PciAddress, ...] = Field(
        (), description="GPUs to use although they would count as display cards."
    )
    interconnect_variables: Variables = Field(
        {},
        description="More for NCCL and RCCL on this host, by name: NCCL_..., and for AMD's GPUs RCCL_...; one of "
        "a planned name replaces it, but none switches P2P on before it is proven.",
    )


class PowerSettings(Strict):
    """Persistence, power limits and clocks."""

    power_persistence: bool = Field(True, description="Keep the driver initialised without clients (NVIDIA).")
    power_limit_watts: dict[str, int] = Field(
        {}, description="Watts by GPU name of the catalogue or PCI address; others keep their default."
    )
    power_clock_mhz: dict[str, int] = Field(
        {},
        description="The highest graphics clock in MHz by GPU name of the catalogue or PCI address (NVIDIA, from Volta "
        "on); others keep their default.",
    )
