"""Two lookups of pyinfra's whose answer never changes in a process, made once: most of a planned host's CPU time.

pyinfra reads the metadata of every installed package five times for each inventory, to find connectors, and the type
hints of its global arguments for each fact and operation.
"""

from __future__ import annotations

from functools import cache

from pyinfra.api import arguments, connectors, inventory


def remember() -> None:
    """Keep both answers from now on; calling it again changes nothing."""
    if inventory.get_all_connectors is connectors.get_all_connectors:
        inventory.get_all_connectors = cache(connectors.get_all_connectors)
        inventory.get_execution_connectors = cache(connectors.get_execution_connectors)
        arguments.get_type_hints = cache(arguments.get_type_hints)  # type: ignore[assignment]
