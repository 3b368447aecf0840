"""Two places on the control machine: the checkout, and the state of its sandbox and caches."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def state_dir() -> Path:
    """`.gpuwright/` in the checkout, or GPUWRIGHT_STATE_DIR: each directory is a sandbox of its own."""
    named = os.environ.get("GPUWRIGHT_STATE_DIR")
    return Path(named).expanduser().absolute() if named else ROOT / ".gpuwright"
