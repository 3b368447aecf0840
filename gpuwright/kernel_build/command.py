"""What `gpuwright kernel config` and `build` do, and how they show it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gpuwright.kernel_build import compile as compiling
from gpuwright.kernel_build import configure, metapackage, signing
from gpuwright.kernel_build.builder import Builder, Progress, builder
from gpuwright.kernel_build.configure import Configured
from gpuwright.kernel_build.repository import PRIVATE_KEY, Repository
from gpuwright.kernel_build.source import Source, check_room, unpack
from gpuwright.kernel_build.wanted import Wanted
from gpuwright.sandbox.recipe import RELEASES

SAY_EVERY_S = 30.0
MOST_ROWS = 60

console = Console()
errors = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Order:
    """A build: how many jobs (None: all processors), which revision of our own, and where it goes."""

    jobs: int | None
    revision: int
    output: Path
    mok: signing.MachineOwnerKey | None


def show_config(wanted: Wanted, as_json: bool) -> int:
    """Make and assert the configuration, and print how it differs from the distribution's."""
    stays = "the builder is removed, nothing stays"
    with _said(stays) as progress, builder(wanted.base, wanted.row.suite, progress) as tools:
        check_room(tools, "config", 1)
        source = unpack(tools, wanted, ("config",), whole=False, progress=progress)
        found = _configured(tools, source, wanted, progress)
    if as_json:
        document = {
            "source": f"{source.package} {source.version}",
            "release": found.release,
            "asserted": {option.symbol: option.value for option in wanted.options},
            "changes": {change.symbol: [change.before, change.after] for change in found.changes},
        }
        console.out(json.dumps(document, indent=1), highlight=False)
        return 0
    _show(source, found, wanted)
    return 0


def build(wanted: Wanted, order: Order) -> int:
    """Configure, assert, compile, sign, and put the packages into the repository of the release."""
    began = time.monotonic()
    codename = RELEASES[wanted.base]
    repository = Repository(order.output / wanted.base, codename)
    stays = f"the builder is removed, {repository.root} holds what it held, and the log of this build"
    purposes = ["config", "packages", "archive", *(["signed image"] if order.mok else [])]
    with _said(stays) as progress, builder(wanted.base, wanted.row.suite, progress) as tools:
        jobs = check_room(tools, wanted.room, order.jobs)
        source = unpack(tools, wanted, tuple(purposes), whole=True, progress=progress)
        found = _configured(tools, source, wanted, progress)
        version = f"{source.version}+p2p{order.revision}"
        repository.refuse_again(f"linux-image-{found.release}", version)
        if order.mok:
            signing.prepare(tools, order.mok)
        repository.root.mkdir(parents=True, exist_ok=True)
        log = repository.root / f"{found.release}_{version}.log"
        began_make = time.monotonic()
        packages = compiling.build(tools, found, version, codename, jobs, log, progress)
        made_s = time.monotonic() - began_make
        image, headers = packages
        configure.assert_packaged(compiling.packaged_config(tools, image, found.release), wanted.options)
        if order.mok:
            progress("signing the kernel")
            signing.sign(tools, image, found.release)
        packages += (metapackage.build(tools, wanted.metapackage, image, headers),)
        progress("adding to the repository")
        repository.add(tools, packages)
    _show(source, found, wanted)
    for package in packages:
        size = (repository.apt / package.file).stat().st_size / 1e6
        console.print(f"{package.file}  {size:.0f} MB", highlight=False, soft_wrap=True)
    _say_how_to_use(repository, order, wanted)
    total = time.monotonic() - began
    console.print(f"Built in {_minutes(made_s)} with {jobs} jobs; {_minutes(total)} in all.", highlight=False)
    return 0


def _configured(tools: Builder, source: Source, wanted: Wanted, progress: Progress) -> Configured:
    progress(f"configuring {source.package} {source.version}")
    return configure.configure(tools, source, wanted.options, wanted.reduced)


def _show(source: Source, found: Configured, wanted: Wanted) -> None:
    """The asserted options and the rest of the difference."""
    count = len(wanted.options)
    console.print(
        f"{source.package} {source.version} -> {found.release}: {count} options asserted", highlight=False
    )
    if wanted.reduced:
        console.print(
            f"Reduced: {len(found.changes)} options differ from the distribution's.", highlight=False
        )
        return
    asked = {option.symbol for option in wanted.options}
    table = Table("option", "distribution", "this kernel", "because")
    for change in found.changes[:MOST_ROWS]:
        because = "asked for" if change.symbol in asked else "follows, or a tool is not there"
        table.add_row(change.symbol, change.before, change.after, because)
    console.print(table)
    if len(found.changes) > MOST_ROWS:
        console.print(
            f"... and {len(found.changes) - MOST_ROWS} more: --json has all of them.", highlight=False
        )


def _say_how_to_use(repository: Repository, order: Order, wanted: Wanted) -> None:
    lines = [
        f"{wanted.metapackage} leads to the newest of them; {PRIVATE_KEY} beside {repository.apt} stays here.",
        "The package depends on nothing: a host needs initramfs-tools and kmod, which Debian's own kernels brought.",
    ]
    if not order.mok:
        lines.append(
            "The kernel is not signed: hosts with Secure Boot refuse it. Give --mok-key and --mok-cert of a key "
            "that is enrolled there (mokutil --import), or switch Secure Boot off."
        )
    if wanted.reduced:
        lines.append(
            "A reduced kernel boots virtual machines only; it has no GPU driver, and no plan takes it."
        )
    elif wanted.suffix != wanted.row.localversion:
        lines.append(
            f"No plan takes it: plans ask for {wanted.row.image}, and the fragment names another kernel."
        )
    else:
        lines.append(
            f'Hosts get it by a deploy with kernel_flavour = "built" and kernel_repository = "{repository.root}".'
        )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _said(stays: str) -> Iterator[Progress]:
    """Progress: a moving line on a terminal, else a line for each step and one in a while for long ones.

    An interruption says what stays.
    """
    told: dict[str, float] = {}
    status = errors.status("looking at what is there ...") if errors.is_terminal else None

    def progress(text: str) -> None:
        if status is not None:
            status.update(f"{text} ...")
            return
        step, now = text.split(":")[0], time.monotonic()
        if now - told.get(step, -SAY_EVERY_S) >= SAY_EVERY_S:
            told[step] = now
            errors.print(f"{text} ...", markup=False, soft_wrap=True)

    try:
        if status is not None:
            status.start()
        yield progress
    except (KeyboardInterrupt, SystemExit):
        errors.print(f"Interrupted: {stays}.", markup=False, soft_wrap=True)
        raise
    finally:
        if status is not None:
            status.stop()


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
