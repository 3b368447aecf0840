"""From the kernel that runs to the planned one: what is next, and one boot that is tried before it stays.

Nothing is remembered between runs but what the host itself has: what runs, the boot loader's choice, and a note of the
trial. So a run that was killed anywhere is taken up by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from pyinfra import host

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations import boot_reboot, maintenance
from gpuwright.operations.boot_facts import (
    Booted,
    FailedUnits,
    KernelPackages,
    KernelStamp,
    MissingModules,
    Running,
)
from gpuwright.operations.boot_menu import (
    TRIAL_FILE,
    Entry,
    Menu,
    Trial,
    is_open,
    lacking,
    parse_trial,
    release_of,
    words_of,
)
from gpuwright.operations.files import FileText
from gpuwright.operations.preflight import shortcomings
from gpuwright.operations.root_shell import RootShell
from gpuwright.plan.stack_model import BootPlan

NO_FALLBACK = "no_fallback"


class Loader(Protocol):
    """A boot loader on the host in context. All but `menu` raise GpuwrightError where its files cannot be changed."""

    def menu(self) -> Menu:
        """What can boot, and what will."""

    def keep(self, shell: RootShell, running: Booted) -> None:
        """Let what runs boot by default, whatever happens to the menu."""

    def arm(self, shell: RootShell, entry: Entry, running: Booted, *, once: bool) -> None:
        """Let `entry` boot next time, and what runs after that; without `once` only `settle` ends it."""

    def settle(self, shell: RootShell, entry_id: str) -> None:
        """Let an entry of the menu boot from now on, and forget the trial's."""


class Step(Enum):
    """What has to happen next."""

    NOTHING = auto()  # runs, and boots by default
    SETTLE = auto()  # runs, and does not boot by default yet
    JUDGE = auto()  # runs as a trial
    REPORT = auto()  # the same was tried and failed
    CAME_BACK = auto()  # was tried, and something else runs
    NO_KERNEL = auto()  # its package is not installed
    NO_ENTRY = auto()  # the boot menu does not have it
    BOOT = auto()


@dataclass(frozen=True)
class Situation:
    """Where a host stands. `target` is the planned kernel's release, "" where its package is not installed."""

    running: Booted
    target: str
    menu: Menu
    trial: Trial | None
    stamp: str

    def entry(self, boot: BootPlan) -> Entry | None:
        """The entry that is to boot by default: of a kernel that is only kept, the one that newer ones replace."""
        return self.menu.of(self.target) if boot.image else self.menu.following(self.target)


def situation(boot: BootPlan, loader: Loader) -> Situation:
    """Read where the host in context stands."""
    running: Booted = host.get_fact(Running)
    target = running.release
    if boot.image:
        target = release_of(boot.image, host.get_fact(KernelPackages, image=boot.image))
    stamp: list[str] = host.get_fact(KernelStamp, release=target) if target else []
    note: list[str] = host.get_fact(FileText, path=TRIAL_FILE)
    return Situation(running, target, loader.menu(), parse_trial("\n".join(note)), "".join(stamp))


def next_step(boot: BootPlan, now: Situation) -> Step:
    """What brings the host nearer to the plan."""
    if not now.target:
        return Step.NO_KERNEL
    entry = now.entry(boot)
    if entry is None:
        return Step.NO_ENTRY
    runs = now.running.release == now.target and not lacking(boot.arguments, words_of(now.running.cmdline))
    if runs and is_open(now.running.cmdline, now.menu):
        return Step.JUDGE
    if runs:
        settled = now.menu.default == entry.id and not now.menu.once and now.trial is None
        return Step.NOTHING if settled else Step.SETTLE
    if now.trial is not None and now.trial.of_same(now.target, boot.arguments, now.stamp):
        if now.trial.verdict:
            return Step.REPORT
        if now.trial.boot_id != now.running.boot_id and not now.menu.once:
            return Step.CAME_BACK
    return Step.BOOT


def carry_out(shell: RootShell, boot: BootPlan, loader: Loader) -> None:
    """Bring the host to the planned boot. Raises GpuwrightError with the reason where it is not there in the end."""
    now = situation(boot, loader)
    step = next_step(boot, now)
    if step is Step.REPORT and now.trial is not None:
        raise _verdict(now, now.trial.verdict, "It was not tried again.")
    if step in (Step.NO_KERNEL, Step.NO_ENTRY):
        raise GpuwrightError(_absent(boot, now, step))
    if step is Step.CAME_BACK:
        _left_by_itself(shell, now)
    if step is Step.BOOT:
        trial = _boot(shell, boot, loader, now)
        now = situation(boot, loader)
        if next_step(boot, now) not in (Step.JUDGE, Step.SETTLE, Step.NOTHING):
            _left_by_itself(shell, Situation(now.running, trial.release, now.menu, trial, now.stamp))
        step = Step.JUDGE
    if step is Step.JUDGE:
        _judge(shell, boot, loader, now)
    entry = now.entry(boot)
    if step is not Step.NOTHING and entry is not None:
        loader.settle(shell, entry.id)
        _forget(shell)
        shell.say(f"runs {now.target} and boots it from now on")


def _boot(shell: RootShell, boot: BootPlan, loader: Loader, now: Situation) -> Trial:
    """Reboot into the target, once. Raises GpuwrightError where it must not, or cannot, be tried."""
    entry = now.menu.of(now.target)
    assert entry is not None
    missing = lacking(boot.arguments, entry.words)
    if missing:
        raise GpuwrightError.of(
            f"boot entry {entry.id}",
            f"it lacks {' '.join(missing)}",
            "the planned words on its command line",
            "Run again: the step before this one writes them.",
        )
    if boot.fallback == "none":
        raise GpuwrightError.of(
            f"kernel {now.target}",
            f"a boot that fails would not come back (loader {boot.loader})",
            "GRUB with /boot/grub on a plain partition, or systemd-boot",
            'Reboot it yourself, or set kernel_reboot = "no_fallback" where somebody reaches the console.',
        )
    refusals = shortcomings(now.target, boot)
    if refusals:
        raise GpuwrightError(*refusals)
    _gate(shell, f"reboot into {now.target}")
    once = boot.fallback != NO_FALLBACK
    failed: list[str] = host.get_fact(FailedUnits)
    trial = Trial(now.target, boot.arguments, now.stamp, now.running.boot_id, tuple(failed))
    loader.arm(shell, entry, now.running, once=once)
    _note(shell, trial)  # after it: a note without an armed trial would read as one that failed
    if not boot_reboot.can_follow(shell.host, now.running):
        raise GpuwrightError.of(
            f"pending: reboot into {now.target}",
            "this run would end with the host, or its connection could not be made again",
            "a reboot by you",
            f"Reboot the host: it tries {now.target} once. Then run again, which judges it and lets it stay.",
        )
    boot_reboot.reboot(
        shell, now.running, f"tries {now.target} once; {now.running.release} comes back by itself"
    )
    return trial


def _judge(shell: RootShell, boot: BootPlan, loader: Loader, now: Situation) -> None:
    """Return where the trial that runs is well. Else go back and raise GpuwrightError."""
    before = now.trial.failed_units if now.trial else ()
    missing: list[str] = []
    if boot.modules:
        missing = host.get_fact(MissingModules, release=now.target, names=boot.modules)
    failed: list[str] = host.get_fact(FailedUnits)
    found = problems(tuple(missing), tuple(failed), before)
    if not found:
        return
    reason = "; ".join(found)
    trial = now.trial or Trial(now.target, boot.arguments, now.stamp, "")
    _note(shell, trial.ended(reason))
    _gate(shell, f"leave {now.target}, which {reason}")
    if not boot_reboot.can_follow(shell.host, now.running):
        raise _verdict(now, reason, "It still runs: reboot the host, which brings back what ran before.")
    if boot.fallback == NO_FALLBACK:
        loader.keep(shell, now.running)
    back = boot_reboot.reboot(shell, now.running, f"leaves {now.target}, which {reason}")
    raise _verdict(now, reason, f"{back.release} runs again.")


def problems(
    missing: tuple[str, ...], failed: tuple[str, ...], failed_before: tuple[str, ...]
) -> tuple[str, ...]:
    """What is wrong with a boot that came up: modules that it lacks, units that fail only with it."""
    found = []
    if missing:
        found.append(f"has no module {', '.join(missing)}")
    units = [unit for unit in failed if unit not in failed_before]
    if units:
        found.append(f"fails to start {', '.join(units)}")
    return tuple(found)


def _left_by_itself(shell: RootShell, now: Situation) -> None:
    assert now.trial is not None
    reason = "did not come up: it panicked, found no root file system, or was switched off"
    _note(shell, now.trial.ended(reason))
    raise _verdict(now, reason, f"{now.running.release} came back by itself and runs.")


def _verdict(now: Situation, reason: str, then: str) -> GpuwrightError:
    return GpuwrightError.of(
        f"kernel {now.target}",
        f"its trial boot failed: {reason}. {then}",
        "a kernel that boots with all its modules and units",
        f"Look at its console or `journalctl --boot=-1`, and repair it. A rebuilt kernel or initramfs, or other words, "
        f"are tried again; to try the same again, remove {TRIAL_FILE} on the host.",
    )


def _absent(boot: BootPlan, now: Situation, step: Step) -> Refusal:
    if step is Step.NO_KERNEL:
        return Refusal(
            f"package {boot.image}",
            "it is not installed, or brings no kernel",
            "an installed kernel",
            "Install it and run again.",
        )
    return Refusal(
        f"kernel {now.target}",
        "the boot menu has no entry for it",
        "an entry of each installed kernel",
        "Run update-grub (systemd-boot: kernel-install add) on the host, then run again.",
    )


def _gate(shell: RootShell, step: str) -> None:
    services = maintenance.services(shell)
    if services and not maintenance.allowed(shell.host):
        raise GpuwrightError(maintenance.pending(step, services))


def _note(shell: RootShell, trial: Trial) -> None:
    text = """
    umask 022
    mkdir -p "${1%/*}" && printf %s "$2" >"$1.new" && sync "$1.new" && mv -f -T "$1.new" "$1"
    """
    if not shell.run(text, TRIAL_FILE, trial.to_json()).ok:
        raise GpuwrightError.of(TRIAL_FILE, "cannot be written", "a writable /etc", "Repair the file system.")


def _forget(shell: RootShell) -> None:
    shell.run('rm -f "$1"', TRIAL_FILE)
