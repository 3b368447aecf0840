"""One host of an inventory, connected with pyinfra's own connector, until the `with` block ends."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from paramiko import SSHException, Transport
from pyinfra.api.config import Config
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.ssh import SSHConnector

from gpuwright.askpass import keep_off_the_command_line
from gpuwright.errors import GpuwrightError, Refusal
from gpuwright.inventory import HostEntry

CONNECT_TIMEOUT_S = 10
KEEPALIVE_S = 15

# pyinfra leaves these without annotations.
_make_state: Callable[..., State] = State
_make_config: Callable[..., Config] = Config


@contextmanager
def opened(entry: HostEntry, *, diff: bool = False, check_for_changes: bool = True) -> Iterator[Host]:
    """`entry`'s host in a state of its own, both as pyinfra's settings `diff` and `check_for_changes` say.

    Raises GpuwrightError where it cannot be reached.
    """
    keep_off_the_command_line()
    logger = logging.getLogger("paramiko")
    if not logger.handlers:  # else its thread prints tracebacks beside our one sentence
        logger.addHandler(logging.NullHandler())
    try:
        config = _make_config(CONNECT_TIMEOUT=CONNECT_TIMEOUT_S, DIFF=diff)
        state = _make_state(entry.pyinfra_inventory(), config, check_for_changes=check_for_changes)
        host = next(iter(state.inventory))
        # connect_all would log the reason and keep only that it failed.
        host.connect(show_errors=False, raise_exceptions=True)
    except (ConnectError, PyinfraError, OSError, EOFError, SSHException) as error:
        reason = str(error) or type(error).__name__
        raise GpuwrightError(unreachable(entry.name, entry.data, reason)) from error
    state.activate_host(host)
    transport = transport_of(host)
    if transport is not None:
        _tune(transport)
    try:
        yield host
    finally:
        _hang_up(host)


def transport_of(host: Host) -> Transport | None:
    """The SSH connection below `host`; None where it is reached by something else."""
    connector = host.connector
    if isinstance(connector, SSHConnector) and connector.client is not None:
        return connector.client.get_transport()
    return None


def unreachable(name: str, data: Mapping[str, object], reason: str) -> Refusal:
    """Why the host `name` could not be connected to, and what to do about it, from the reason that SSH gave."""
    address = f"{data.get('ssh_hostname') or name}:{data.get('ssh_port') or 22}"
    known_hosts = data.get("ssh_known_hosts_file") or "~/.ssh/known_hosts"
    if "does not match" in reason:
        remedy = (
            f"Someone may be in between. If the host was reinstalled, compare its key on its console and remove "
            f"the old one: ssh-keygen -f {known_hosts} -R '[{address.replace(':', ']:', 1)}'."
        )
        return Refusal(address, "its host key has changed", f"the key in {known_hosts}", remedy)
    if "host key" in reason:
        remedy = f"Compare the key with the one on its console and add it: ssh-keyscan, then {known_hosts}."
        return Refusal(address, "its host key is not known", f"a key in {known_hosts}", remedy)
    if "private key" in reason.lower():
        return Refusal(
            "ssh_key", reason, "a private key that can be read", "Correct ssh_key or ssh_key_password."
        )
    if "uthentication" in reason:
        who = f"user {data.get('ssh_user') or 'of this login'}"
        observed = f"SSH does not let {who} in ({reason})"
        return Refusal(address, observed, "a key that the host accepts", "Correct ssh_user or ssh_key.")
    remedy = "Check ssh_hostname and ssh_port, and that the host is up and runs sshd."
    return Refusal(address, reason, "an SSH server that answers", remedy)


def _tune(transport: Transport) -> None:
    transport.set_keepalive(KEEPALIVE_S)
    if isinstance(transport.sock, socket.socket):
        # Otherwise Nagle and delayed ACK add 40 ms to every command and every streamed token.
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _hang_up(host: Host) -> None:
    try:
        host.disconnect()  # removes what was left for sudo
    except (PyinfraError, OSError, SSHException, EOFError):
        pass  # the connection is gone already, and with it all there was to close
    finally:
        # pyinfra's disconnect leaves the client open.
        if isinstance(host.connector, SSHConnector) and host.connector.client is not None:
            host.connector.client.close()
