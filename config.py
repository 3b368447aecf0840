"""pyinfra reads this before the inventory: errors are sentences, and a run without a terminal never waits."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpuwright.pyinfra_process import prepare

prepare()
