"""A loopback port on this machine that leads to a loopback port on a host, over the open SSH connection.

Services listen on the host's loopback only, so this is how they are reached from elsewhere.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from paramiko import Channel, ChannelException, SSHException, Transport

from gpuwright.errors import GpuwrightError, Refusal

LOOPBACK = "127.0.0.1"
OPEN_TIMEOUT_S = 10
CHUNK_BYTES = 65536
# RFC 4254, section 5.1: the server may forbid forwarding, or try and find nobody there.
ADMINISTRATIVELY_PROHIBITED = 1


class PortRefused(GpuwrightError):
    """Nothing listens on the port at the far end."""


@contextmanager
def forward(transport: Transport, name: str, port: int) -> Iterator[int]:
    """Forward a free local port to `port` of the host `name` for the length of the block.

    One channel is opened beforehand: an HTTP client would only see a closed connection. PortRefused when
    nothing listens, GpuwrightError when the host's sshd forbids forwarding or the connection is lost.
    """
    _open(transport, name, port).close()
    listener = socket.create_server((LOOPBACK, 0))
    open_ends: list[socket.socket | Channel] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # the block has ended
                return
            try:
                channel = _open(transport, name, port)
            except GpuwrightError:  # the service went away since: the client sees a closed connection
                connection.close()
                continue
            open_ends.extend((connection, channel))
            threading.Thread(target=_relay, args=(connection, channel), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # close() alone does not wake accept()
        listener.close()
        for end in open_ends:
            _hang_up(end)


def check_local(port: int) -> None:
    """Raise PortRefused when nothing listens on this machine's own `port`."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=OPEN_TIMEOUT_S).close()
    except OSError as error:
        raise _refused("@local", port, error.strerror or str(error)) from error


def _open(transport: Transport, name: str, port: int) -> Channel:
    try:
        return transport.open_channel("direct-tcpip", (LOOPBACK, port), (LOOPBACK, 0), timeout=OPEN_TIMEOUT_S)
    except ChannelException as error:
        if error.code != ADMINISTRATIVELY_PROHIBITED:
            raise _refused(name, port, error.text) from error
        raise GpuwrightError.of(
            f"host {name}",
            "its sshd forbids port forwarding",
            "AllowTcpForwarding local (or yes) for this user",
            "Allow it in sshd_config, or ask on the host itself as @local.",
        ) from error
    except (SSHException, OSError, EOFError) as error:
        raise GpuwrightError.of(
            f"host {name}", f"lost the SSH connection ({error})", "an open connection", "Try again."
        ) from error


def _refused(name: str, port: int, observed: str) -> PortRefused:
    where = f"{LOOPBACK}:{port} on {name}"
    answer = f"does not answer ({observed.strip().lower()})"
    return PortRefused(Refusal(where, answer, "a listening service", f"See `gpuwright status {name}`."))


def _relay(connection: socket.socket, channel: Channel) -> None:
    """Copy both ways until both sides have said all."""
    up = threading.Thread(
        target=_copy, args=(connection.recv, channel.sendall, channel.shutdown_write), daemon=True
    )
    up.start()
    _copy(channel.recv, connection.sendall, lambda: connection.shutdown(socket.SHUT_WR))
    up.join()
    _hang_up(connection)
    _hang_up(channel)


def _copy(
    receive: Callable[[int], bytes], send: Callable[[bytes], object], finish: Callable[[], object]
) -> None:
    with suppress(OSError, EOFError, SSHException):
        while data := receive(CHUNK_BYTES):
            send(data)
    with suppress(OSError, EOFError, SSHException):
        finish()


def _hang_up(end: socket.socket | Channel) -> None:
    with suppress(OSError, EOFError, SSHException):
        end.shutdown(socket.SHUT_RDWR)  # wakes a reader in another thread
    with suppress(OSError, EOFError, SSHException):  # the connection itself may be gone
        end.close()
