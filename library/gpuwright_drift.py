"""Documentation only: the action plugin of this name runs on the controller and is all there is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpuwright_drift
short_description: Says what a run would change on a host, and changes nothing
version_added: "0.1.0"
description:
  - Looks at the host with all the roles in their order, and the stamp, over Ansible's own connection and become.
  - It fails for a host on which a run would change something, or where that could not be judged.
options: {}
attributes:
  action:
    description: Whether an action plugin runs it, on the controller.
    support: full
  async:
    description: Whether it can be used with the keyword async.
    support: none
  become:
    description: Whether it can be used with the become keywords.
    support: full
  check_mode:
    description: Whether it can say what it would change, and change nothing. It is the same in either mode.
    support: full
  connection:
    description: Whether it uses the host's configured connection.
    support: full
  diff_mode:
    description: Whether it shows how the content of files would change.
    support: full
  platform:
    description: Where hosts may run.
    platforms: Debian, Ubuntu
    support: full
notes:
  - It runs on the controller. The host needs sshd and a POSIX shell, and no Python.
  - The host's commands run as root, so the play or task needs C(become=true), unless the login is root.
  - Settings are variables of the host, named C(<role>_<key>).
  - The keyword C(environment) is not used; a proxy is the setting C(base_proxy). The keyword C(timeout) works.
seealso:
  - module: gpuwright_role
  - module: gpuwright_verify
author:
  - gpuwright's developers
"""

EXAMPLES = r"""
- name: Fail where a run would change something
  gpuwright_drift:

- name: Name the operations that would change something
  gpuwright_drift:
  register: looked
  ignore_errors: true
"""

RETURN = r"""
msg:
  description: What a run would change, or why that could not be judged, in one line.
  returned: always
  type: str
status:
  description: V(as declared), V(differs) where a run would change something, or V(could not judge).
  returned: when the host was admitted
  type: str
  sample: as declared
reasons:
  description: Why a part could not be judged.
  returned: when the host was admitted
  type: list
  elements: str
operations:
  description:
    - The operations that are not as declared, in their order, each with C(name), C(status) and C(details).
    - A status is V(change), V(maybe) or V(unknown), as of M(gpuwright_role).
  returned: when the host was admitted
  type: list
  elements: dict
diff:
  description: How the content of files would change, in Ansible's own format.
  returned: in diff mode, where files would change
  type: list
  elements: dict
plan:
  description: Hash of the host's plan.
  returned: when the host was admitted
  type: str
reboot_required:
  description: Whether the host says that it wants a reboot.
  returned: when the host was admitted
  type: bool
refusals:
  description: Why the host is refused, and what to do about each reason.
  returned: when the host is refused
  type: list
  elements: str
"""
