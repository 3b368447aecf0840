"""Ansible's connection and become, as a plain root shell."""

from __future__ import annotations

import shlex
import tempfile

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

from gpuwright.ansible.shell import Ran


class Lost(OSError):
    """Ansible could not run a command at all; an OSError, which pyinfra takes for a failure of one host."""


class ActionShell:
    """The commands of one task. Ansible's own error is kept: it decides whether the host counts as unreachable.

    Raises AnsibleActionFail for a connection that cannot keep the outputs apart.
    """

    def __init__(self, action: ActionBase) -> None:
        self.lost: AnsibleError | None = None
        self._action = action
        connection, become = action._connection, action._connection.become
        if connection.has_option("pty") and become is not None and become.get_option("become_pass"):
            raise AnsibleActionFail(
                f"connection {connection.transport}: become gets its password only on a terminal, which merges "
                "both outputs; required: ssh, or become without a password. Take ansible_connection out."
            )
        for option, value in (("use_tty", False), ("pty", False), ("pipelining", True)):
            if connection.has_option(option):
                connection.set_option(option, value)
        # Ansible's own condition for pipelining, without its setting: that is for hosts whose sudo wants a terminal.
        self._takes_stdin = connection.has_pipelining and (become is None or become.pipelining)

    def run(self, command: str, stdin: bytes = b"") -> Ran:
        """Run one command line. Raises Lost where Ansible's connection or become fails, and ever after."""
        if self.lost is not None:
            raise Lost(str(self.lost))
        try:
            if self._takes_stdin and stdin:
                return self._execute(command, stdin)
            if self._takes_stdin:
                # As text for a shell: in an argument each of Ansible's shells would quote the quotes again, and a long
                # script soon has more than the 128 KiB that Linux allows one.
                return self._execute("sh", f"{{ {command}\n}} </dev/null\n".encode())
            if not stdin:
                return self._execute(f"sh {shlex.quote(self._sent(command.encode()))} </dev/null")
            return self._execute(f"{{ {command}\n}} <{shlex.quote(self._sent(stdin))}")
        except AnsibleError as error:
            self.lost = error
            raise Lost(str(error)) from error

    def _execute(self, command: str, stdin: bytes | None = None) -> Ran:
        done = self._action._low_level_execute_command(command, in_data=stdin)
        return Ran(int(done["rc"]), str(done["stdout"]), str(done["stderr"]))

    def _sent(self, content: bytes) -> str:
        """A file on the host with `content`, in the task's own directory, for connections that pass no stdin."""
        shell = self._action._connection._shell
        if not shell.tmpdir:
            self._action._make_tmp_path()
        remote: str = shell.join_path(shell.tmpdir, "input")
        with tempfile.NamedTemporaryFile() as local:
            local.write(content)
            local.flush()
            self._action._transfer_file(local.name, remote)
        self._action._fixup_perms2((shell.tmpdir, remote), execute=False)
        return remote
