"""What the tests deploy: the boot operations alone, with the BootPlans in GPUWRIGHT_TEST_BOOTS (JSON)."""

import json
import os

from gpuwright.operations import boot, run_lock
from gpuwright.plan.stack_model import BootPlan
from gpuwright.pyinfra_process import must_be_prepared

BOOTS = tuple(
    BootPlan(**{key: tuple(value) if isinstance(value, list) else value for key, value in each.items()})
    for each in json.loads(os.environ["GPUWRIGHT_TEST_BOOTS"])
)

must_be_prepared()
run_lock.held(name="Run lock")
boot.arguments(name="Boot words", boots=BOOTS)
boot.into(name="Boot", boots=BOOTS)
