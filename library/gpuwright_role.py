"""Documentation only: the action plugin of this name runs on the controller and is all there is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpuwright_role
short_description: Brings a host to its plan, one role of gpuwright at a time
version_added: "0.1.0"
description:
  - Runs one role of gpuwright on the host, over Ansible's own connection and become.
  - Before anything is changed the host is read and planned. A host that is refused fails, with every reason and what
    to do, and nothing on it was touched.
  - In check mode it shows what would change, command by command, and changes nothing.
options:
  name:
    description:
      - The role. V(stamp) is no directory below roles/; it is the last step of a run, which records on the host what
        was applied, so it belongs after all the roles.
    type: str
    required: true
    choices:
      - base
      - kernel
      - nvidia_driver
      - rocm
      - container_engine
      - gpu_runtime
      - interconnect
      - power
      - model_store
      - inference
      - stamp
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
    description: Whether it can say what it would change, and change nothing.
    support: full
  connection:
    description: Whether it uses the host's configured connection.
    support: full
  diff_mode:
    description: Whether it shows how the content of files changes.
    support: full
  facts:
    description: Whether it adds facts. In check mode it adds one, for the roles after it in the same run.
    support: partial
  platform:
    description: Where hosts may run.
    platforms: Debian, Ubuntu
    support: full
notes:
  - It runs on the controller. The host needs sshd and a POSIX shell, and no Python.
  - The host's commands run as root, so the play or task needs C(become=true), unless the login is root.
  - Settings are variables of the host, named C(<role>_<key>), of all roles and not only of the one that runs, because
    one plan covers them all. See C(ansible-doc -t role -r roles ROLE) or the role's README.
  - A variable that begins with a role's name and an underscore, and is no setting, is refused as a mistyped one.
  - A task with C(async) or C(delegate_to) is refused. The keyword C(environment) is not used; a proxy is the setting
    C(base_proxy).
  - The keyword C(timeout) ends the task on the controller. A command that was running ends by itself; until it has,
    other runs are refused. Run again afterwards, which repairs what was left.
  - One run at a time changes a host; a second one fails for that host and names the first.
  - It never reboots the host; see RV(reboot_required).
seealso:
  - module: gpuwright_verify
  - module: gpuwright_drift
author:
  - gpuwright's developers
"""

EXAMPLES = r"""
- name: Bring all hosts to their plans, as playbooks/site.yml does
  hosts: all
  gather_facts: false
  become: true
  roles:
    - base
    - kernel
    - nvidia_driver
    - rocm
    - container_engine
    - gpu_runtime
    - interconnect
    - power
    - model_store
    - inference
  post_tasks:
    - name: Stamp # not in a loop with the roles, which would go on after a failure and then write it
      gpuwright_role:
        name: stamp

- name: Bring one role to the plan, with a setting of the play's own
  hosts: cpu
  gather_facts: false
  become: true
  vars: # of the play and not of the role: one plan covers all roles
    inference_services:
      - name: chat
        model: smollm2-135m-instruct
  roles:
    - inference
"""

RETURN = r"""
msg:
  description:
    - What changed, in one line.
    - For a host that failed, the name of the operation, its command, its exit code and what it wrote to stderr.
  returned: always
  type: str
  sample: "2 of 8 operations change something: Base | Packages, Base | Limits"
operations:
  description: The role's operations in their order.
  returned: when the host was admitted
  type: list
  elements: dict
  contains:
    name:
      description: The role's title and the operation's.
      type: str
      sample: Base | Packages
    status:
      description:
        - V(change) where it changed the host, or would in check mode.
        - V(maybe) where that depends on what an earlier operation does.
        - V(unknown) where that could not be judged, or it would refuse.
        - V(failed) for the one that failed, and V(not run) for those after it.
        - V(ok) for the others.
      type: str
      sample: change
    details:
      description: What it said about its work.
      type: list
      elements: str
    commands:
      description: Its commands, secrets masked.
      type: list
      elements: str
diff:
  description: How the content of files changes, in Ansible's own format.
  returned: in diff mode, where files change
  type: list
  elements: dict
plan:
  description: Hash of the host's plan; two runs with one plan have the same.
  returned: when the host was admitted
  type: str
  sample: 4f1c6f0b7c0e4a8d9a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7081
reboot_required:
  description: Whether the host says that it wants a reboot. Nothing here reboots it.
  returned: when the host was admitted
  type: bool
refusals:
  description: Why the host is refused, and what to do about each reason. Nothing on it was changed.
  returned: when the host is refused
  type: list
  elements: str
"""
