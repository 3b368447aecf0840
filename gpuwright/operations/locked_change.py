"""One change of a locked set: everything that can go wrong is asked for first, while nothing has changed yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gpuwright.errors import GpuwrightError
from gpuwright.operations import dkms, holders, maintenance
from gpuwright.operations.apt import STORE, Apt, Simulation, explained
from gpuwright.operations.locked_packages import belongs, below, too_old
from gpuwright.operations.root_shell import Shell
from gpuwright.plan.stack_model import LockedSet

# update-initramfs writes the new file beside the old one; what a kernel's other files take.
KERNEL_MIB = 30
INITRD_MIB = 80

_FREE = """
[ -d /boot ] || exit 0
largest=0
for file in /boot/initrd.img-*; do
    [ -e "$file" ] || continue
    size=$(($(stat -c %s "$file") / 1048576))
    if [ "$size" -gt "$largest" ]; then largest=$size; fi
done
printf '%s\\t%s\\n' "$(df -Pm /boot | awk 'NR == 2 { print $4 }')" "$largest"
"""
# Kernels with headers that could boot next: the one that runs, and the newest.
_KERNELS = """
for kernel in "$(uname -r)" "$(ls -v /lib/modules | tail -n 1)"; do
    if [ -e "/lib/modules/$kernel/build/Makefile" ]; then echo "$kernel"; fi
done | sort -u
"""
_HAS_DKMS = "command -v dkms >/dev/null && dkms status | grep -q ."
_STORED = 'for file in "$1"/*.deb; do if [ -e "$file" ]; then echo "$file"; fi; done'


@dataclass(frozen=True)
class Change:
    """`exact` are the lock's versions by package; `stop`: declared services may be stopped for it."""

    shell: Shell
    locked: LockedSet
    exact: Mapping[str, str]
    timeout_s: int
    stop: bool

    def make(self) -> None:
        """Bring the set about. Raises GpuwrightError with what stands in the way, or went wrong and what is left."""
        apt = Apt(self.shell, self.timeout_s, self.locked.suite, downgrades=bool(self.exact))
        self._heal(apt)
        apt.update()
        if self.locked.first:
            first = self._wanted(self.locked.first)
            if (pinning := apt.simulate(first)).installs:
                self._within_the_set(pinning)
                self._install(apt, pinning, first)
        wanted = self._wanted((*self.locked.first, *self.locked.packages))
        wanted, simulation = self._simulate(apt, wanted)
        if not simulation.installs and not simulation.removes:
            return
        self._within_the_set(simulation)
        self._new_enough(simulation)
        self._room(simulation)
        units = self._gate(simulation)
        self._try(simulation)
        self.shell.say(
            f"{self.locked.name}: {len(simulation.installs)} packages; modules are built where dkms brings them, which "
            "takes minutes"
        )
        apt.download(wanted)
        if not maintenance.stop(self.shell, units):
            raise GpuwrightError.of(
                self.locked.name, f"{' '.join(units)} did not stop", "stopped services", "Read their journal."
            )
        self._install(apt, simulation, wanted)

    def _wanted(self, names: tuple[str, ...]) -> list[str]:
        """Names with the lock's versions; of the whole set also what the names brought along."""
        if not self.exact:
            return list(names)
        if names == self.locked.first:
            return [f"{name}={self.exact[name]}" if name in self.exact else name for name in names]
        return [f"{name}={version}" for name, version in self.exact.items()]

    def _heal(self, apt: Apt) -> None:
        answer = apt.heal()
        if answer.ok:
            return
        failure = dkms.failed_build(self.shell, self.locked.known_errors)
        text = "\n".join(answer.said)
        if failure and re.search(r"dkms|linux-(headers|image)", text):
            raise GpuwrightError(
                failure.refusal(
                    "packages that dpkg can configure",
                    "It wedges dpkg: take another version (gpuwright lock HOST --update), or remove the module for "
                    "that kernel (dkms remove MODULE/VERSION -k KERNEL), then run again.",
                )
            )
        raise GpuwrightError(explained("dpkg --configure -a", answer, "packages that dpkg can configure"))

    def _simulate(self, apt: Apt, wanted: list[str]) -> tuple[list[str], Simulation]:
        """Versions that no source has any more are taken from the store."""
        try:
            return wanted, apt.simulate(wanted)
        except GpuwrightError as error:
            stored = self._stored(wanted)
            if not stored:
                raise
            wanted = [stored.get(word, word) for word in wanted]
            try:
                return wanted, apt.simulate(wanted)
            except GpuwrightError:
                raise error from None

    def _stored(self, wanted: list[str]) -> dict[str, str]:
        found = {}
        for path in self.shell.run(_STORED, STORE).lines:
            name, version, _ = path.rpartition("/")[2].split("_", 2)
            found[f"{name}={version.replace('%3a', ':')}"] = path
        return {word: found[word] for word in wanted if word in found}

    def _within_the_set(self, simulation: Simulation) -> None:
        """apt was told to ignore holds, because those of the set are ours; those of others count all the same."""
        foreign = [name for name in simulation.removes if not belongs(self.locked, name)]
        if foreign:
            raise GpuwrightError.of(
                self.locked.name,
                f"apt would remove {', '.join(foreign)}",
                "a change that removes nothing beside the set",
                "Look why (apt-get --simulate install ...); remove them by hand if they are to go, then run again.",
            )
        held = {line.strip() for line in self.shell.run("apt-mark showhold").lines}
        moved = [name for name, old, _ in simulation.installs if old and not belongs(self.locked, name)]
        if theirs := sorted(held.intersection(moved)):
            raise GpuwrightError.of(
                self.locked.name,
                f"{', '.join(theirs)} would have to change, and somebody holds it",
                "packages that nobody else holds",
                f"Lift the hold (apt-mark unhold {' '.join(theirs)}) if it may change, then run again.",
            )

    def _new_enough(self, simulation: Simulation) -> None:
        coming = {name: version for name, _, version in simulation.installs}
        old = [
            f"{name} {coming[name]}"
            for name in self.locked.packages
            if name in coming and below(coming[name], self.locked.minimum)
        ]
        if old:
            raise GpuwrightError(too_old(self.locked, old, "offered"))

    def _room(self, simulation: Simulation) -> None:
        answer = self.shell.run(_FREE)
        if not answer.ok or not answer.lines:
            return
        free, largest = (int(word) for word in answer.lines[0].split("\t"))
        kernels = [name for name in simulation.new if re.match(r"linux-image-\d", name)]
        need = len(kernels) * ((largest or INITRD_MIB) + KERNEL_MIB) + largest
        if free < need:
            raise GpuwrightError.of(
                "/boot",
                f"{free} MiB are free, and {self.locked.name} needs about {need} MiB "
                f"({len(kernels)} new kernels, initramfs of {largest} MiB)",
                "room for a new initramfs beside the old one",
                "Remove old kernels (apt-get autoremove --purge), then run again; nothing was changed.",
            )

    def _gate(self, simulation: Simulation) -> tuple[str, ...]:
        """Units to stop; a refusal where somebody holds a GPU. A driver that is not there yet disturbs nobody."""
        moved = [name for name, old, _ in simulation.installs if old and belongs(self.locked, name)]
        if not self.locked.devices or not (moved or simulation.removes):
            return ()
        running = maintenance.services(self.shell)
        if running and not self.stop:
            raise GpuwrightError(maintenance.pending(f"{self.locked.name}: {', '.join(moved[:3])}", running))
        ours = {*running, *self.locked.daemons}
        others = tuple(h for h in holders.holders(self.shell, self.locked.devices) if h.unit not in ours)
        if others:
            raise GpuwrightError(holders.refusal(f"{self.locked.name} driver", others))
        return running

    def _try(self, simulation: Simulation) -> None:
        """Build before anything is installed: new headers with the modules there are, new modules with the headers."""
        exact = {name: f"{name}={version}" for name, _, version in simulation.installs}
        kernels = [
            name.removeprefix("linux-headers-")
            for name in simulation.new
            if re.match(r"linux-headers-\d", name) and not re.search(r"-common(-|$)", name)
        ]
        upgraded = [name for name, old, _ in simulation.installs if old and name.endswith("-dkms")]
        needed = [word for name, word in exact.items() if dkms.NEEDED.match(name)]
        failure = None
        if upgraded:
            kernels = kernels or [line.strip() for line in self.shell.run(_KERNELS).lines if line.strip()]
            if kernels:
                self.shell.say(
                    f"trying {', '.join(upgraded)} on {', '.join(kernels)}, before anything changes"
                )
                failure = dkms.try_build(self.shell, needed, kernels, self.locked.known_errors, new=True)
        elif kernels and self.shell.run(_HAS_DKMS).ok:
            self.shell.say(f"trying the installed modules on {', '.join(kernels)}, before anything changes")
            failure = dkms.try_build(self.shell, needed, kernels, self.locked.known_errors)
        if failure:
            raise GpuwrightError(
                failure.refusal(
                    "modules that build for every kernel that could boot next",
                    "Nothing was changed: driver and kernel stay as they are. Choose another branch or kernel "
                    "(gpuwright explain HOST), or wait for the next version.",
                )
            )

    def _install(self, apt: Apt, simulation: Simulation, wanted: list[str]) -> None:
        # The lock names everything, and apt takes what is named for somebody's wish; autoremove would leave it.
        named = {*self.exact}.difference(self.locked.first, self.locked.packages)
        automatic = {line.strip() for line in self.shell.run("apt-mark showauto").lines} if named else set()
        answer = apt.install(wanted)
        if answer.ok:
            if brought := named & (automatic | {*simulation.new}):
                self.shell.run('apt-mark auto "$@"', *sorted(brought))
            return
        failure = dkms.failed_build(self.shell, self.locked.known_errors)
        first_time = not any(old for name, old, _ in simulation.installs if belongs(self.locked, name))
        if failure and first_time:
            undone = self.shell.run(
                'export DEBIAN_FRONTEND=noninteractive; apt-get -q --yes purge "$@" 2>&1', *simulation.new
            )
            state = (
                "The packages were removed again." if undone.ok else f"Removing them failed: {undone.last}."
            )
            raise GpuwrightError(
                failure.refusal(
                    "modules that build",
                    f"{state} Choose another branch or kernel (gpuwright explain HOST), then run again.",
                )
            )
        if failure:
            raise GpuwrightError(
                failure.refusal("modules that build", "Go back with gpuwright rollback HOST, then run again.")
            )
        refusal = explained(f"{self.locked.name}: apt-get install", answer, "all packages installed")
        raise GpuwrightError(
            replace(refusal, remedy=f"{refusal.remedy} The next run takes up what this one left.")
        )
