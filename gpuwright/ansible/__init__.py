"""The second door: the roles under ansible-playbook, and inventories that either engine reads."""
