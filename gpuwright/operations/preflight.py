"""What a kernel lacks that it must have before anybody boots it."""

from __future__ import annotations

from collections.abc import Iterator

from pyinfra import host

from gpuwright.errors import Refusal
from gpuwright.operations.next_kernels import NextKernel, NextKernels


def shortcomings(release: str, modules: tuple[str, ...]) -> tuple[Refusal, ...]:
    """Of kernel `release` on the host in context; `modules` are those that the host's GPUs need."""
    found: dict[str, Refusal] = {}
    for module in modules or ("",):
        kernels = host.get_fact(NextKernels, image=f"linux-image-{release}", module=module, rivals=())
        kernel = next((each for each in kernels if each.release == release), None)
        # Where no kernel has it the driver is not installed yet: its role comes after the boot.
        needed = module if any(each.file for each in kernels) else ""
        for refusal in _of(release, kernel, needed):
            found.setdefault(str(refusal), refusal)
    return tuple(found.values())


def _of(release: str, kernel: NextKernel | None, module: str) -> Iterator[Refusal]:
    subject = f"kernel {release}"
    remedy = "It was not booted. Run the deploy again; it repairs this, or says why it cannot."
    if kernel is None:
        yield Refusal(subject, "it has no modules below /lib/modules", "an installed kernel", remedy)
        return
    if not kernel.image or not kernel.initramfs:
        missing = "image" if not kernel.image else "initramfs"
        yield Refusal(subject, f"its {missing} is not in /boot", "image and initramfs", remedy)
    if not module:
        return
    if not kernel.file:
        with_headers = "" if kernel.headers else ", and its headers are not there to build it"
        yield Refusal(
            subject, f"module {module} is not there for it{with_headers}", "the driver's module", remedy
        )
    if kernel.enrolled is False and kernel.signer:
        yield Refusal(
            subject,
            f"module {module} is signed by {kernel.signer}, a key that the firmware does not know",
            "an enrolled key while Secure Boot is on",
            "mokutil --import /var/lib/dkms/mok.pub, reboot, and confirm at the console (Enroll MOK); then run again.",
        )
