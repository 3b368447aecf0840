"""A host behind Ansible's connection, in a pyinfra state of its own, until the `with` block ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from pyinfra.api.config import Config
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_host, ctx_state

from gpuwright.ansible.connector import AnsibleConnector
from gpuwright.ansible.shell import Shell
from gpuwright.pyinfra_lookups import remember

# pyinfra leaves these without annotations.
_make_state: Callable[..., State] = State
_make_config: Callable[..., Config] = Config
_make_inventory: Callable[..., Inventory] = Inventory


@contextmanager
def opened(shell: Shell, name: str, data: Mapping[str, object], diff: bool) -> Iterator[Host]:
    """The host in context, connected, with pyinfra's setting `diff`; nothing was asked of it yet."""
    remember()
    # A leading @ would choose one of pyinfra's own connectors.
    inventory = _make_inventory(([(name.lstrip("@"), dict(data))], {}))
    host = next(iter(inventory))
    host.connector_cls = partial(AnsibleConnector, shell=shell)  # type: ignore[assignment]
    # Without pyinfra's own check for changes: it would run each operation's generator twice.
    state = _make_state(inventory, _make_config(DIFF=diff), check_for_changes=False)
    host.connect(show_errors=False, raise_exceptions=True)
    state.activate_host(host)
    state.set_stage(StateStage.Prepare)
    try:
        with ctx_state.use(state), ctx_host.use(host):
            yield host
    finally:
        host.disconnect()
