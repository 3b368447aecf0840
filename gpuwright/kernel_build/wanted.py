"""What is built: a source of the catalogue, and every option that the finished configuration must have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from gpuwright import catalog
from gpuwright.catalog.kernels import BuildRow, metapackage
from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build.dotconfig import Option, fragment

# Debug symbols would double time and room. DEBUG_INFO itself has no prompt: a choice sets it.
ALWAYS = (Option("DEBUG_INFO", "n"),)
# A distribution's configuration made fit for a build elsewhere: modules get a key that this build makes for itself.
ELSEWHERE = (
    Option("DEBUG_INFO_NONE", "y"),
    Option("MODULE_SIG_KEY", '"certs/signing_key.pem"'),
    Option("SYSTEM_TRUSTED_KEYS", '""'),
)
# Beyond what the catalogue says amdgpu needs to reach a peer: memory of a device as pages, which brings HSA_AMD_SVM.
WITH_PEERS = (Option("DEVICE_PRIVATE", "y"),)
# What a reduced kernel adds to its names: no plan asks for one.
REDUCED = "-reduced"


@dataclass(frozen=True)
class Wanted:
    """A kernel to be made. `reduced`: from nothing and the shipped fragment, not from the distribution's options."""

    row: BuildRow
    options: tuple[Option, ...]
    suffix: str
    reduced: bool

    @property
    def base(self) -> str:
        """The release as the command line and the sandbox name it: debian13."""
        return self.row.base

    @property
    def metapackage(self) -> str:
        """The package that leads to the newest kernel of this kind: linux-image-p2p-6.12."""
        return metapackage(self.suffix, self.row.series)

    @property
    def room(self) -> str:
        """How much it takes: a kind of builder.toml."""
        return "reduced" if self.reduced else "full"


def wanted(row: BuildRow, extra: Path | None, reduced: bool) -> Wanted:
    """A kernel of this source for P2P; `extra` is a fragment whose options win. GpuwrightError where it is wrong."""
    suffix = row.localversion + (REDUCED if reduced else "")
    options = {option.symbol: option for option in (*ALWAYS, Option("LOCALVERSION", f'"{suffix}"'))}
    own = _reduced() if reduced else (*peers(row.series), *WITH_PEERS, *ELSEWHERE)
    for option in (*own, *(_read(extra) if extra else ())):
        options[option.symbol] = option
    return Wanted(row, tuple(options.values()), _suffix(options["LOCALVERSION"]), reduced)


def peers(series: str) -> tuple[Option, ...]:
    """What amdgpu needs in a kernel of this series to reach its peers over PCIe, by the catalogue."""
    symbols = catalog.load().kernels.peer_symbols(series).symbols
    return tuple(Option(symbol, "y") for symbol in symbols)


def source(base: str, suite: str, series: str) -> BuildRow:
    """The catalogue's source for a release ("debian13"); the first where several fit. GpuwrightError: none does."""
    rows = [row for row in catalog.load().kernels.builds if row.base == base]
    for row in rows:
        if row.suite == suite and series in ("", row.series):
            return row
    there = "; ".join(f"{row.series}{f' --suite {row.suite}' if row.suite else ''}" for row in rows)
    raise GpuwrightError.of(
        f"a kernel source for {base}",
        f"none of series {series or 'any'} in {suite or 'the release itself'}",
        f"one of the catalogue's: {there or 'none for this release'}",
        "Give one of these with --series and --suite, or add a row [[build]] to gpuwright/catalog/kernels.toml.",
    )


def bases() -> tuple[str, ...]:
    """Releases that have a source."""
    return tuple(dict.fromkeys(row.base for row in catalog.load().kernels.builds))


def _reduced() -> tuple[Option, ...]:
    name = "reduced.config"
    return fragment(files("gpuwright.kernel_build").joinpath(name).read_text(encoding="utf-8"), name)


def _read(path: Path) -> tuple[Option, ...]:
    try:
        return fragment(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise GpuwrightError.of(
            f"fragment {path}", f"cannot be read ({error})", "a text file", "Correct --fragment."
        ) from error


def _suffix(option: Option) -> str:
    """LOCALVERSION without its quotes; it becomes part of a package's name."""
    text = option.value.strip('"')
    if re.fullmatch(r"-[a-z0-9][a-z0-9.+-]*", text) is None:
        raise GpuwrightError.of(
            "CONFIG_LOCALVERSION",
            option.value,
            "a dash, then lower-case letters, digits, dots, plus and dashes, as in a package's name",
            "Correct it in the fragment.",
        )
    return text
