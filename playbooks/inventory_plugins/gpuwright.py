"""Ansible's door to pyinfra inventories; the body is gpuwright/ansible/inventory_plugin.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import ExitCode
from ansible.plugins.inventory import BaseFileInventoryPlugin

_ROOT = str(Path(__file__).resolve().parents[2])
if sys.path[0] != _ROOT:
    sys.path.insert(0, _ROOT)  # this checkout, whichever one is installed

from gpuwright.ansible.inventory_plugin import fill, wants  # noqa: E402
from gpuwright.errors import GpuwrightError  # noqa: E402

DOCUMENTATION = """
name: gpuwright
short_description: Inventories of pyinfra, as gpuwright reads them
description:
  - Reads C(inventories/*.py) with the group_data beside it, in a process of its own.
  - Host data on how to connect and become root becomes Ansible's variables; settings and all other data keep
    their names. Text is never a template.
  - An inventory that is wrong ends the run at once with one message. Otherwise Ansible would let its other plugins
    guess at the Python, and go on with the hosts that are left.
options: {}
"""

EXAMPLES = """
# ansible-inventory -i inventories/lab.py --list
# ansible-playbook -i inventories/lab.py playbooks/site.yml --check --diff
"""


class InventoryModule(BaseFileInventoryPlugin):  # type: ignore[misc]
    """`-i inventories/lab.py`."""

    NAME = "gpuwright"

    def verify_file(self, path: str) -> bool:
        """Leave programs, YAML and INI to Ansible's own plugins."""
        return bool(super().verify_file(path)) and wants(path)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill Ansible's inventory, or end the run with what is wrong."""
        super().parse(inventory, loader, path, cache)
        try:
            fill(self.inventory, path, self.display.warning, constants.INTERNAL_STATIC_VARS)
        except GpuwrightError as error:
            self.display.error(str(error), wrap_text=False)
            raise SystemExit(ExitCode.PARSER_ERROR) from None
