"""Ansible finds the plugin here by the file's name; its body is in gpuwright/ansible/action.py."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)  # also where only gpuwright's requirements are installed, not gpuwright

from gpuwright.ansible.action import DriftAction as ActionModule  # noqa: E402

__all__ = ["ActionModule"]
