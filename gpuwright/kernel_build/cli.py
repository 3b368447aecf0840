"""The commands of `gpuwright kernel`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build import command, signing
from gpuwright.kernel_build import wanted as wanting
from gpuwright.paths import state_dir

app = typer.Typer()


class Feature(StrEnum):
    """What can be enabled."""

    P2P = "p2p"


Base = Annotated[str, typer.Option("--base", help="Whose source: debian12 or debian13.")]
Enable = Annotated[
    list[Feature], typer.Option("--enable", help="p2p: AMD GPUs reach each other over PCIe (P2PDMA).")
]
Suite = Annotated[str, typer.Option("--suite", help="Source of another suite: trixie-backports.")]
Series = Annotated[
    str, typer.Option("--series", metavar="X.Y", help="Where the release has several; default: its first.")
]
Fragment = Annotated[
    Path | None,
    typer.Option("--fragment", metavar="FILE", help="More options, lines of a .config; asserted as well."),
]
Reduced = Annotated[
    bool,
    typer.Option(
        "--reduced", help="A small kernel for virtual machines, without GPU drivers: to try this out."
    ),
]


@app.command()
def config(
    base: Base,
    enable: Enable,
    suite: Suite = "",
    series: Series = "",
    fragment: Fragment = None,
    reduced: Reduced = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make and assert the configuration alone, and show how it differs from the distribution's (a minute or two)."""
    row = wanting.source(base, suite, series)
    raise typer.Exit(command.show_config(wanting.wanted(row, fragment, reduced), as_json))


@app.command()
def build(
    base: Base,
    enable: Enable,
    suite: Suite = "",
    series: Series = "",
    fragment: Fragment = None,
    reduced: Reduced = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Compilers at a time; default: all processors.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Repositories by release; default: .gpuwright/kernels."),
    ] = None,
    revision: Annotated[
        int, typer.Option("--revision", min=1, help="N of the version's +p2pN; raise it for other options.")
    ] = 1,
    mok_key: Annotated[
        Path | None,
        typer.Option("--mok-key", metavar="FILE", help="Sign the kernel for Secure Boot: key, PEM."),
    ] = None,
    mok_cert: Annotated[
        Path | None, typer.Option("--mok-cert", metavar="FILE", help="Its certificate, PEM.")
    ] = None,
) -> None:
    """Build kernel and headers from the distribution's source, into a signed apt repository.

    In a throw-away container of that release. The configuration is asserted before anything is compiled; a whole
    Debian kernel takes hours on few processors.
    """
    row = wanting.source(base, suite, series)
    wanted = wanting.wanted(row, fragment, reduced)
    if (mok_key is None) != (mok_cert is None):
        raise GpuwrightError.of(
            "--mok-key and --mok-cert", "one without the other", "both or none", "Give the pair."
        )
    mok = signing.read(mok_key, mok_cert) if mok_key and mok_cert else None
    folder = (output or state_dir() / "kernels").expanduser().absolute()
    raise typer.Exit(command.build(wanted, command.Order(jobs, revision, folder, mok)))
