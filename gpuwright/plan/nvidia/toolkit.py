"""Which CUDA toolkit a host gets, where one is declared; containers bring their own."""

from __future__ import annotations

from collections.abc import Iterable

from gpuwright.catalog import Catalog
from gpuwright.catalog.nvidia_driver import ToolkitRow
from gpuwright.catalog.version import numbers
from gpuwright.errors import Refusal
from gpuwright.plan.gpu_model import Gpu
from gpuwright.plan.nvidia.choice import Site

NONE = "none"
SUBJECT = "setting nvidia_driver_cuda_toolkit"
WITHOUT = 'set nvidia_driver_cuda_toolkit = "none": containers bring their own.'


def choose_toolkit(
    declared: str, site: Site, cards: tuple[Gpu, ...], source: str, branch: int, catalog: Catalog
) -> ToolkitRow | Refusal | None:
    """The toolkit that is declared; None where none is; or why the host cannot have it beside this driver.

    `source` is distribution, nvidia, file (NVIDIA's, without its repository), or unmanaged.
    """
    if declared == NONE:
        return None
    row = catalog.nvidia.toolkit(declared)
    if row is None:
        known = ", ".join(each.version for each in catalog.nvidia.toolkits)
        return Refusal(
            SUBJECT,
            f"CUDA {declared} is not in the catalogue",
            f"one of {known}",
            f"Correct it, or {WITHOUT}",
        )
    if source != "nvidia":
        return _no_repository(row, site, source, catalog)
    if site.os not in row.os:
        others = _listed(each for each in catalog.nvidia.toolkits if site.os in each.os)
        return Refusal(
            SUBJECT,
            f"NVIDIA's repository for {site.os} has no {row.package}",
            f"a toolkit that it has: {others}",
            f"Correct it, or {WITHOUT}",
        )
    if not _runs(row, branch, catalog):
        floor = catalog.nvidia.cuda_of(row).driver
        others = _listed(
            each for each in catalog.nvidia.toolkits if site.os in each.os and _runs(each, branch, catalog)
        )
        return Refusal(
            SUBJECT,
            f"CUDA {row.version} needs driver {floor} or newer, and the driver is of branch {branch}",
            f"a newer branch, or a toolkit that {branch} runs: {others}",
            f'Set nvidia_driver_branch = "auto", where the cards allow a newer one; or {WITHOUT}',
        )
    left_out = _left_out(row, cards, catalog)
    if len(left_out) == len(cards):
        others = _listed(
            each
            for each in catalog.nvidia.toolkits
            if site.os in each.os and not _left_out(each, cards, catalog)
        )
        return Refusal(
            SUBJECT,
            f"CUDA {row.version} compiles nothing for {left_out[0].name} ({left_out[0].arch})",
            f"a toolkit for one of the cards: {others}",
            f"Correct it, or {WITHOUT}",
        )
    return row


def reason(row: ToolkitRow, cards: tuple[Gpu, ...], branch: int, catalog: Catalog) -> str:
    """Why it may be there, and what it does not do here."""
    text = f"declared; branch {branch} runs it, as all from {catalog.nvidia.cuda_of(row).driver} on do"
    if branch < numbers(row.driver)[0]:
        text += f", but not what it compiles to PTX: that needs {row.driver}"
    names = dict.fromkeys(card.name for card in _left_out(row, cards, catalog))
    return text + (f"; it compiles nothing for {', '.join(names)}" if names else "")


def _no_repository(row: ToolkitRow, site: Site, source: str, catalog: Catalog) -> Refusal:
    whose = {"distribution": "the distribution's", "file": "in a file"}.get(source, "another hand's")
    remedy = f"Take containers, and {WITHOUT}"
    if source == "file":
        remedy = (
            "Declare nvidia_driver_mirror, which has both, instead of nvidia_driver_local_repository; or "
        )
        remedy += WITHOUT
    elif catalog.nvidia.repository(site.os, site.arch):
        remedy = 'Set nvidia_driver_source = "nvidia", and remove the driver that is there first; or '
        remedy += WITHOUT
    return Refusal(
        SUBJECT,
        f"{row.package} is in NVIDIA's repository, which has a driver of its own, and this one is {whose}",
        "driver and toolkit from NVIDIA's repository",
        remedy,
    )


def _runs(row: ToolkitRow, branch: int, catalog: Catalog) -> bool:
    return numbers(catalog.nvidia.cuda_of(row).driver)[0] <= branch


def _left_out(row: ToolkitRow, cards: tuple[Gpu, ...], catalog: Catalog) -> tuple[Gpu, ...]:
    return tuple(card for card in cards if card.arch in catalog.nvidia.cuda_of(row).without)


def _listed(rows: Iterable[ToolkitRow]) -> str:
    return ", ".join(row.version for row in rows) or "none"
