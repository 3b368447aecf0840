"""A driver's kernel module: there for every kernel that could boot next, alone in the initramfs, and loaded."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from typing_extensions import override

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations import dkms, holders, maintenance
from gpuwright.operations.next_kernels import NextKernel, NextKernels
from gpuwright.operations.readings import Pairs
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import failed, script, show, would_change
from gpuwright.plan.stack_model import ModuleSet


class Loaded(Pairs):
    """The version of each asked module that is loaded, "" where it does not say; by the names that the kernel uses."""

    @override
    def command(self, names: tuple[str, ...]) -> StringCommand:
        return script(
            """
            for name; do
                [ -d "/sys/module/$name" ] || continue
                version=
                if [ -r "/sys/module/$name/version" ]; then read -r version <"/sys/module/$name/version"; fi
                printf '%s\\t%s\\n' "$name" "$version"
            done
            """,
            *names,
        )


@operation()
def built(modules: tuple[ModuleSet, ...]) -> Generator[PyinfraCommand]:
    """
    Have the module for every kernel that could boot next: dkms builds what is missing, or says why it cannot.

    + modules: each with the kernel that the host is to boot
    """
    for each in modules:
        if would_change(("kernel", each.vendor)):
            show(f"{each.module}: built for every kernel that could boot next")
            continue
        lacking = [k.release for k in _kernels(each) if not k.file]
        if not lacking:
            host.noop(f"{each.module} is there for every kernel that could boot next")
            continue
        show(f"{each.module}: build for {', '.join(lacking)}")
        yield FunctionCommand(_build, (each,), {})


@operation()
def in_initramfs(modules: tuple[ModuleSet, ...]) -> Generator[PyinfraCommand]:
    """
    Make the initramfs anew where it is older than modprobe's configuration, or holds a module that takes the card.

    + modules: each with its rivals, the modules that must not load before it
    """
    for each in modules:
        for kernel in _kernels(each):
            if not kernel.initramfs or not (kernel.stale or kernel.rivals):
                continue
            show(f"initramfs of {kernel.release}: made anew")
            yield script('PATH=$PATH:/usr/sbin:/sbin; update-initramfs -u -k "$1"', kernel.release)


@operation()
def loaded(modules: tuple[ModuleSet, ...]) -> Generator[PyinfraCommand]:
    """
    Load the module, in the version that lies on the disk; where that needs a reboot, the step is pending.

    + modules: what a kernel that boots later loads by itself is loaded now as well
    """
    for each in modules:
        if would_change(("kernel", each.vendor)):
            show(f"{each.module}: loaded")
            continue
        running = next((kernel for kernel in _kernels(each) if "running" in kernel.why), None)
        there = host.get_fact(Loaded, names=(each.name, *each.rivals))
        if running and there.get(each.name) == running.version and not set(each.rivals) & set(there):
            host.noop(f"{each.name} {running.version} is loaded")
            continue
        show(
            f"{each.name}: {there.get(each.name, 'not loaded')} -> {running.version if running else 'loaded'}"
        )
        yield FunctionCommand(_load, (each,), {})


def _kernels(each: ModuleSet) -> list[NextKernel]:
    return host.get_fact(NextKernels, image=each.image, module=each.module, rivals=each.rivals)


def _build(state: State, host: Host, each: ModuleSet) -> bool:
    shell = RootShell(host)
    try:
        for kernel in _kernels(each):
            if not kernel.file:
                _build_for(shell, each, kernel)
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True


def _build_for(shell: RootShell, each: ModuleSet, kernel: NextKernel) -> None:
    subject = f"kernel {kernel.release}"
    if each.delivery != "dkms":
        raise GpuwrightError.of(
            subject,
            f"it has no module {each.module}, and the packages bring it built ({each.delivery})",
            "the package of modules for this kernel",
            "Install it, or boot another kernel; then run again.",
        )
    if not kernel.headers:
        raise GpuwrightError.of(
            subject,
            f"module {each.module} is missing, and its headers are not there",
            f"linux-headers-{kernel.release}, against which dkms builds",
            f"apt-get install linux-headers-{kernel.release}; or remove that kernel, so that it cannot boot.",
        )
    shell.say(f"{each.module}: dkms builds for {kernel.release}, which takes minutes")
    answer = shell.run('dkms autoinstall -k "$1" 2>&1', kernel.release)
    if shell.run('modinfo -k "$1" "$2" >/dev/null 2>&1', kernel.release, each.module).ok:
        return
    failure = dkms.failed_build(shell, each.known_errors)
    if failure is None:
        raise GpuwrightError.of(
            subject, answer.last, f"module {each.module}", "Read `dkms status`, then run again."
        )
    raise GpuwrightError(
        failure.refusal(
            f"module {each.module} for {kernel.release}",
            "That kernel must not boot: remove it, or choose another branch (gpuwright explain HOST).",
        )
    )


def _load(state: State, host: Host, each: ModuleSet) -> bool:
    """Out with what is in the way, in with the module; nothing that is in use is forced."""
    shell = RootShell(host)
    try:
        there = host.get_fact(Loaded, names=(each.name, *each.rivals))
        if each.name in there and (held := holders.holders(shell, each.devices)):
            units = maintenance.services(shell)
            if units and not maintenance.allowed(host):
                raise GpuwrightError(maintenance.pending(f"load {each.name} anew", units))
            raise GpuwrightError(holders.refusal(f"{each.name} is to be loaded anew", held))
        for name in (*each.rivals, each.name):
            if name in there and not (answer := shell.run('modprobe -r "$1" 2>&1', name)).ok:
                raise GpuwrightError(_reboot(each, f"{name} is loaded and does not unload ({answer.last})"))
        answer = shell.run('modprobe "$1" 2>&1', each.module)
        if not answer.ok:
            raise GpuwrightError(_reboot(each, f"modprobe {each.module} failed ({answer.last})"))
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True


def _reboot(each: ModuleSet, observed: str) -> Refusal:
    return Refusal(
        f"pending: load {each.name}",
        observed,
        f"{each.name} loaded, in the version that lies on the disk",
        "Reboot the host, then run again. Where it fails after that too: journalctl -k -b | grep -iE 'nvidia|amdgpu'.",
    )
