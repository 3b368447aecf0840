"""Documentation only: the action plugin of this name runs on the controller and is all there is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpuwright_verify
short_description: Judges whether a host is as declared, and whether its services answer
version_added: "0.1.0"
description:
  - Runs the checks of C(gpuwright verify) over Ansible's own connection and become. They look at units, containers,
    ports, keys, files and the digests of models, and ask each service for a real completion.
  - It fails for a host on which a check fails, or cannot be judged. Unknown is never good.
options:
  fast:
    description:
      - Leaves out what reads much, the digests of model files.
    type: bool
    default: false
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
    description: Whether it can say what it would change, and change nothing. It never changes anything.
    support: full
  connection:
    description: Whether it uses the host's configured connection.
    support: full
  diff_mode:
    description: Whether it shows how the content of files changes. It changes none.
    support: none
  platform:
    description: Where hosts may run.
    platforms: Debian, Ubuntu
    support: full
notes:
  - It runs on the controller. The host needs sshd and a POSIX shell, and no Python.
  - The host's commands run as root, so the play or task needs C(become=true), unless the login is root.
  - Settings are variables of the host, named C(<role>_<key>); what is verified is what they declare.
  - The keyword C(environment) is not used; a proxy is the setting C(base_proxy). The keyword C(timeout) works.
seealso:
  - module: gpuwright_role
  - module: gpuwright_drift
author:
  - gpuwright's developers
"""

EXAMPLES = r"""
- name: Verify, without the digests of large models
  gpuwright_verify:
    fast: true

- name: Keep the verdicts, and go on
  gpuwright_verify:
  register: looked
  failed_when: looked.outcome == "could not judge"
"""

RETURN = r"""
msg:
  description: The outcome in one line, and what is wrong.
  returned: always
  type: str
outcome:
  description: V(as declared), V(differs) or V(could not judge).
  returned: always
  type: str
  sample: as declared
passed:
  description: How many verdicts are good.
  returned: when the host could be read
  type: int
verdicts:
  description: The others, one for each check and what it was about.
  returned: when the host could be read
  type: list
  elements: dict
  contains:
    check:
      description: The check's name.
      type: str
      sample: service.key-required
    subject:
      description: What it is about.
      type: str
      sample: chat
    status:
      description: How it ended; V(fail) and V(unknown) fail the host.
      type: str
      sample: pass
    observed:
      description: What the host has.
      type: str
    expected:
      description: What it should have.
      type: str
    meaning:
      description: What a difference means.
      type: str
    action:
      description: What to do about it.
      type: str
    severity:
      description: How bad a failure would be.
      type: str
      sample: critical
    source:
      description: Where the check comes from.
      type: str
plan:
  description: Hash of the host's plan.
  returned: when the host could be planned
  type: str
refusals:
  description: Why the host could not be planned, and what to do about each reason.
  returned: when the host is refused
  type: list
  elements: str
"""
