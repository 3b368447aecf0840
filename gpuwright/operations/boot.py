"""The next boot: words on the kernel's command line, and another kernel, tried once before it stays."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations import boot_settings
from gpuwright.operations.boot_facts import Booted, KernelPackages, Running
from gpuwright.operations.boot_grub import GrubLoader
from gpuwright.operations.boot_menu import lacking, release_of, words_of
from gpuwright.operations.boot_systemd import SystemdBootLoader
from gpuwright.operations.boot_trial import Loader, Situation, Step, carry_out, next_step, situation
from gpuwright.operations.boot_turn import turn
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import failed, failure, show
from gpuwright.plan.stack_model import BootPlan

GRUB, SYSTEMD_BOOT = "grub", "systemd-boot"


@operation()
def arguments(boots: tuple[BootPlan, ...]) -> Generator[PyinfraCommand]:
    """
    Let the boot loader give the planned words to every kernel; what runs now stays the default until `into` decides.

    + boots: empty where the host does not boot a kernel of its own
    """
    for boot in boots:
        if boot.loader == GRUB:
            yield from boot_settings.of_grub(boot)
        elif boot.loader == SYSTEMD_BOOT:
            yield from boot_settings.of_systemd_boot(boot)
        elif boot.arguments:
            yield failure(_no_loader(boot, f"the words {' '.join(boot.arguments)}"))


@operation()
def into(boots: tuple[BootPlan, ...]) -> Generator[PyinfraCommand]:
    """
    Boot the planned kernel with the planned words, where the host does not run it; what fails is left by itself.

    + boots: empty where the host does not boot a kernel of its own
    """
    for boot in boots:
        if not boot.image and not boot.arguments:
            continue
        loader = _loader(boot)
        if loader is None and _runs(boot):
            host.noop("the planned kernel runs")
            continue
        if loader is None:
            yield failure(_no_loader(boot, f"the kernel {boot.image or 'that runs'}"))
            return
        try:
            now = situation(boot, loader)
        except GpuwrightError as error:
            yield failure(*error.refusals)
            return
        step = next_step(boot, now)
        if step is Step.NOTHING:
            host.noop(f"{now.target} runs, with all planned words")
            continue
        show(_intent(boot, now, step))
        yield FunctionCommand(_into, (boot, loader), {})


def _into(state: State, host: Host, boot: BootPlan, loader: Loader) -> bool:
    """boot the planned kernel once, and let it stay where it is well"""
    shell = RootShell(host)
    try:
        with turn(shell.say):
            carry_out(shell, boot, loader)
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True


def _runs(boot: BootPlan) -> bool:
    """Whether the planned kernel runs with the planned words, whoever booted it."""
    running: Booted = host.get_fact(Running)
    packages = host.get_fact(KernelPackages, image=boot.image) if boot.image else {}
    target = release_of(boot.image, packages) if boot.image else running.release
    return running.release == target and not lacking(boot.arguments, words_of(running.cmdline))


def _loader(boot: BootPlan) -> Loader | None:
    if boot.loader == GRUB:
        return GrubLoader()
    return SystemdBootLoader() if boot.loader == SYSTEMD_BOOT else None


def _intent(boot: BootPlan, now: Situation, step: Step) -> str:
    if step is Step.SETTLE:
        return f"boot: {now.target} runs -> boots by default"
    if step is Step.JUDGE:
        return f"boot: {now.target} runs as a trial -> judged, then it stays or is left"
    if step in (Step.REPORT, Step.CAME_BACK):
        return f"boot: the trial of {now.target} failed"
    return f"boot: {now.running.release} -> {now.target or boot.image} {' '.join(boot.arguments)}".rstrip()


def _no_loader(boot: BootPlan, what: str) -> Refusal:
    return Refusal(
        "boot loader",
        f"is {boot.loader}, which gpuwright cannot tell about {what}",
        "GRUB or systemd-boot",
        "Boot the host so yourself, or install one of them.",
    )
