"""Roles: what each changes on a host, as an ordered list of operations. Decisions are in gpuwright/plan."""
