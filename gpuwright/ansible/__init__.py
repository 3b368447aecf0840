"""The second door: the roles under ansible-playbook, and inventories that either engine reads.

A task: `action` (what Ansible calls) -> `session`, `connector` (pyinfra over `action_shell`, with `lease` and `job` for
what must outlast one command) -> `run` (a role, looked at or applied) -> `report`; settings come from `variables`.

Inventories: ours for Ansible by `inventory_plugin`, `dump`, `host_vars`; those of Ansible by `listing`, `host_data`
(called by gpuwright/from_ansible.py); `become`, `ssh_options` and `spellings` translate for both.

`shims` writes what makes roles/<role> an Ansible role.
"""
