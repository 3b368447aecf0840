"""What a kernel lacks that it must have before anybody boots it."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra import host

from gpuwright.errors import Refusal
from gpuwright.operations import dkms
from gpuwright.operations.machine_owner_key import KeyState, SigningKey
from gpuwright.operations.next_kernels import NextKernel, NextKernels
from gpuwright.plan.stack_model import BootPlan

_REMEDY = "It was not booted. Run the deploy again; it repairs this, or says why it cannot."


def shortcomings(release: str, boot: BootPlan) -> tuple[Refusal, ...]:
    """Of kernel `release` on the host in context, which is to boot as `boot` says."""
    key = host.get_fact(SigningKey) if boot.dkms_key else None
    found: dict[str, Refusal] = {}
    for module in boot.modules or ("",):
        kernels = host.get_fact(NextKernels, image=f"linux-image-{release}", module=module, rivals=())
        for refusal in lacks(release, kernels, module, key):
            found.setdefault(str(refusal), refusal)
    return tuple(found.values())


def lacks(release: str, kernels: list[NextKernel], module: str, key: KeyState | None) -> Iterator[Refusal]:
    """What `release` lacks with `module`, "" for none; `key` is dkms's where the firmware checks signatures."""
    subject = f"kernel {release}"
    kernel = next((each for each in kernels if each.release == release), None)
    if kernel is None:
        yield Refusal(subject, "it has no modules below /lib/modules", "an installed kernel", _REMEDY)
        return
    if not kernel.image or not kernel.initramfs:
        missing = "image" if not kernel.image else "initramfs"
        yield Refusal(subject, f"its {missing} is not in /boot", "image and initramfs", _REMEDY)
    # Where no kernel has the module the driver is not installed yet: its role comes after the boot.
    if not kernel.file and any(each.file for each in kernels):
        with_headers = "" if kernel.headers else ", and its headers are not there to build it"
        observed = f"module {module} is not there for it{with_headers}"
        yield Refusal(subject, observed, "the driver's module", _REMEDY)
    if key and dkms.INSTALLED in kernel.file and key.state != "enrolled":
        yield Refusal(
            subject,
            f"module {module} is signed by {kernel.signer or 'nobody'}, and the firmware does not know dkms's key "
            f"({key.certificate}: {key.state})",
            "an enrolled key while Secure Boot is on",
            f"On the host: mokutil --import {key.certificate}, reboot, and confirm at the console (Enroll MOK); then "
            "run again.",
        )
