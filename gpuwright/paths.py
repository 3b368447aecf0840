"""Two places on the control machine: the checkout, and the state of its sandbox and caches."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def state_dir() -> Path:
    """`.gpuwright/` in the checkout, or GPUWRIGHT_STATE_DIR: each directory is a sandbox of its own."""
    named = os.environ.get("GPUWRIGHT_STATE_DIR")
    return Path(named).expanduser().absolute() if named else ROOT / ".gpuwright"


def checkout_first() -> None:
    """Let modules of this checkout (`roles`, `deploy`) win over installed ones of the same name."""
    if sys.path[0] != str(ROOT):
        sys.path.insert(0, str(ROOT))
