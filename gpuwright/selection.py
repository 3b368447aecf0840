"""Which hosts a fleet command is about."""

from __future__ import annotations

import typer

from gpuwright.errors import GpuwrightError
from gpuwright.inventory import Inventory


def chosen(inventory: Inventory, limit: tuple[str, ...]) -> tuple[str, ...]:
    """The inventory's hosts in its order, or those of them that `limit` names.

    typer.BadParameter for a name that it does not have, GpuwrightError for an inventory without hosts.
    """
    for name in limit:
        try:
            inventory.host(name)
        except GpuwrightError as error:
            raise typer.BadParameter(str(error), param_hint="--limit") from error
    names = tuple(name for name in inventory.names if not limit or name in limit)
    if not names:
        raise GpuwrightError.of(
            f"inventory {inventory.path}", "has no hosts", "at least one", "Declare a host there."
        )
    return names
