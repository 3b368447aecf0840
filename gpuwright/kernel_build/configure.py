"""The configuration: what is wanted put over its base, resolved by the kernel's own Kconfig, and then asserted.

Kconfig drops an option whose dependencies are not met without a word; here that ends the work before it compiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.kernel_build import dotconfig, kconfig
from gpuwright.kernel_build.builder import Builder
from gpuwright.kernel_build.dotconfig import Change, Option
from gpuwright.kernel_build.source import TREE, Source

_OLDDEFCONFIG = 'cd "$TREE"; make olddefconfig; cat .config > /build/final'
_ALLNOCONFIG = 'cd "$TREE"; make KCONFIG_ALLCONFIG=/build/wanted allnoconfig; cat .config > /build/final'
# A Kconfig of another architecture is not read; grep's 1 is "nothing found".
_KCONFIGS = """
cd "$TREE"
grep -rlE --include='Kconfig*' "^[[:space:]]*(menu)?config ($SYMBOLS)[[:space:]]*$" . > /build/found || [ $? -eq 1 ]
while read -r file; do
    case $file in ./arch/"$SRCARCH"/*) ;; ./arch/*/*) continue ;; esac
    printf '\\n#### file %s\\n' "$file"
    cat "$file"
done < /build/found
"""
_SRCARCH = {"amd64": "x86"}


@dataclass(frozen=True)
class Configured:
    """A finished configuration; `release` is what `uname -r` will say."""

    release: str
    text: str
    changes: tuple[Change, ...]


def configure(builder: Builder, source: Source, options: Iterable[Option], from_nothing: bool) -> Configured:
    """Options over the distribution's configuration, or over nothing. GpuwrightError names each that was dropped."""
    wanted = tuple(options)
    if from_nothing:
        builder.write("/build/wanted", dotconfig.rendered(wanted).encode())
        builder.run("make allnoconfig", _ALLNOCONFIG, tree=TREE)
    else:
        builder.write(f"{TREE}/.config", dotconfig.merged(source.shipped, wanted).encode())
        builder.run("make olddefconfig", _OLDDEFCONFIG, tree=TREE)
    text = builder.read("/build/final").decode()
    final = dotconfig.parse(text)
    lost = dotconfig.dropped(final, wanted)
    if lost:
        raise GpuwrightError(*_refusals(builder, source, lost, final))
    suffix = final["LOCALVERSION"].strip('"') if "LOCALVERSION" in final else ""
    changes = dotconfig.difference(dotconfig.parse(source.shipped), final, wanted)
    return Configured(source.kernel + suffix, text, changes)


def assert_packaged(text: str, options: Iterable[Option]) -> None:
    """The same of the configuration that a finished package carries: packaging configures once more."""
    lost = dotconfig.dropped(dotconfig.parse(text), options)
    if lost:
        names = ", ".join(f"CONFIG_{option.symbol}={option.value}" for option in lost)
        raise GpuwrightError.of(
            "the finished package's configuration",
            f"lacks {names}",
            "what was asserted before it was built",
            "Run `gpuwright kernel config` with the same options and compare.",
        )


def _refusals(
    builder: Builder, source: Source, lost: tuple[Option, ...], final: dict[str, str]
) -> Iterable[Refusal]:
    symbols = "|".join(option.symbol for option in lost)
    found = builder.run(
        "reading Kconfig",
        _KCONFIGS,
        tree=TREE,
        symbols=symbols,
        srcarch=_SRCARCH.get(source.arch, source.arch),
    )
    files = found.split("\n#### file ")
    for option in lost:
        blocks = [block for text in files for block in kconfig.definitions(text, option.symbol)]
        why = (
            kconfig.reason(option.symbol, blocks, final)
            if option.value in ("y", "m")
            else "Kconfig decided so"
        )
        yield Refusal(
            f"CONFIG_{option.symbol}",
            f"{final.get(option.symbol, 'absent')} in the finished configuration of {source.kernel}: {why}",
            option.value,
            "Enable what it depends on as well (--fragment FILE), or leave it out.",
        )
