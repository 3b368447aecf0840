"""Whether a host asks for a reboot."""

from __future__ import annotations

from pyinfra.api import FactBase
from pyinfra.api.command import StringCommand
from typing_extensions import override

from gpuwright.operations.shell import script


class RebootRequired(FactBase[bool]):
    """Debian's and Ubuntu's own flag, which packages raise (update-notifier-common, unattended-upgrades)."""

    @override
    def command(self) -> StringCommand:
        return script("if [ -e /run/reboot-required ]; then echo yes; fi")

    @override
    @staticmethod
    def default() -> bool:
        return False

    @override
    def process(self, output: list[str]) -> bool:
        return output == ["yes"]
