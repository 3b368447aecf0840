"""pyinfra reads this before the inventory: a run without a terminal never waits for an answer."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from gpuwright.unattended import never_prompt_without_a_terminal

never_prompt_without_a_terminal()
