"""Roles kernel, nvidia_driver and rocm alone, with facts put aside (aside.py):

GPUWRIGHT_ASIDE=init pyinfra INVENTORY bench/device/roles.py --dry
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.device.aside import VARIABLE, put_aside
from gpuwright import fleet
from gpuwright.facts import parse
from roles.kernel import kernel
from roles.nvidia_driver import nvidia_driver
from roles.rocm import rocm

fleet._facts = lambda answer: put_aside(parse(answer), os.environ[VARIABLE])

if fleet.admitted():
    kernel()
    nvidia_driver()
    rocm()
