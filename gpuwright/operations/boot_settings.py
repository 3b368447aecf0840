"""Words on every kernel's command line, through the boot loader's own settings."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.operations.boot_facts import Running
from gpuwright.operations.boot_grub import (
    GENERATOR,
    OWN_MENU,
    SETTINGS,
    Grub,
    GrubLoader,
    GrubReading,
    digest_of,
    settings_files,
)
from gpuwright.operations.boot_menu import TRIAL_FILE
from gpuwright.operations.boot_systemd import (
    CMDLINE,
    OUR_WORDS,
    SystemdBoot,
    SystemdBootLoader,
    SystemdBootReading,
)
from gpuwright.operations.boot_trial import Loader
from gpuwright.operations.files import FileStates, write
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import failed, failure, script, show
from gpuwright.plan.stack_model import BootPlan
from gpuwright.render import render

# grub-mkconfig itself keeps the old menu where the new one has syntax errors.
_UPDATE_GRUB = """
PATH="$PATH:/usr/sbin:/sbin"
if [ -e /boot/grub/grub.cfg ]; then cp -p /boot/grub/grub.cfg /boot/grub/grub.cfg.gpuwright-old || exit; fi
update-grub && grub-script-check /boot/grub/grub.cfg
"""
_UNDO_GRUB = """
rm -f "$1" "$2" && update-grub || exit
# The entries that grubenv may name go with the file that has them.
if [ -e /boot/grub/grubenv ]; then
    grub-editenv /boot/grub/grubenv unset saved_entry && grub-editenv /boot/grub/grubenv unset next_entry || exit
fi
rm -f "$3" "$4"
"""
# An entry for each kernel, made again from /etc/kernel/cmdline.
_INSTALL_KERNELS = """
for modules in /lib/modules/*; do
    release=${modules##*/}
    for image in "/boot/vmlinuz-$release" "$modules/vmlinuz"; do
        [ -e "$image" ] || continue
        set -- add "$release" "$image"
        if [ -e "/boot/initrd.img-$release" ]; then set -- "$@" "/boot/initrd.img-$release"; fi
        kernel-install "$@" || exit
        break
    done
done
"""


def of_grub(boot: BootPlan) -> Generator[PyinfraCommand]:
    """A drop-in that appends to what other files of GRUB's settings say, and a menu made from it."""
    reading: GrubReading = host.get_fact(Grub)
    if not boot.image and not boot.arguments:
        if reading.made_from or host.get_fact(FileStates, paths=(SETTINGS, GENERATOR)):
            show("boot: no kernel and no words are declared any more -> GRUB's settings as they were")
            yield script(_UNDO_GRUB, SETTINGS, GENERATOR, OWN_MENU, TRIAL_FILE)
        return
    files = settings_files(boot.arguments)
    changes = list(write({file.path: (render(file), file.mode) for file in files}))
    missing = reading.without(boot.arguments)
    stale = reading.made_from != digest_of(boot.arguments) or bool(missing)
    if not changes and not stale:
        host.noop("GRUB's menu has the planned words")
        return
    show(*(f"boot entries of {release}: + {' '.join(words)}" for release, words in missing.items()))
    yield FunctionCommand(_keep, (GrubLoader(),), {})
    yield from changes
    if stale:
        show("update-grub")
        yield script(_UPDATE_GRUB)
    if host.state.is_executing:
        made: GrubReading = host.get_fact(Grub)
        for release, words in made.without(boot.arguments).items():
            yield failure(_overruled(release, words, made.overruling))


def of_systemd_boot(boot: BootPlan) -> Generator[PyinfraCommand]:
    """The words in /etc/kernel/cmdline, beside those of other hands, and every kernel's entry made from it."""
    reading: SystemdBootReading = host.get_fact(SystemdBoot)
    wanted = reading.merged(boot.arguments, host.get_fact(Running).cmdline)
    stale = reading.without(wanted)
    if reading.cmdline == wanted and reading.ours == boot.arguments and not stale:
        host.noop("the boot entries have the planned words")
        return
    if not boot.arguments and not reading.ours:
        return
    show(f"{CMDLINE}: {' '.join(reading.cmdline) or 'absent'} -> {' '.join(wanted)}")
    yield FunctionCommand(_keep, (SystemdBootLoader(),), {})
    yield script(
        'if [ -e "$1" ] && [ ! -e "$1.gpuwright-old" ]; then cp -p "$1" "$1.gpuwright-old"; fi', CMDLINE
    )
    yield from write({OUR_WORDS: ("".join(f"{word}\n" for word in boot.arguments), "0644")})
    yield from write({CMDLINE: (" ".join(wanted) + "\n", "0644")})
    yield script(_INSTALL_KERNELS)


def _keep(state: State, host: Host, loader: Loader) -> bool:
    """let the kernel and words that run now boot by default"""
    try:
        loader.keep(RootShell(host), host.get_fact(Running))
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True


def _overruled(release: str, words: tuple[str, ...], files: tuple[str, ...]) -> Refusal:
    culprits = ", ".join(files)
    return Refusal(
        f"boot entries of {release}",
        f"update-grub left out {' '.join(words)}"
        + (f"; {culprits} sets the command line after us" if files else ""),
        "the planned words on its command line",
        f"In {culprits}, append to GRUB_CMDLINE_LINUX_DEFAULT instead of setting it."
        if files
        else "Look at /etc/default/grub and /etc/grub.d, then run again.",
    )
