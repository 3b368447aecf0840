"""Hosts in parallel, each judged in a process of its own that can be ended when its host hangs.

Not multiprocessing: its children would import the whole command line again, twice the work of judging a host.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from gpuwright.drift.mask import mask_text, secrets_of
from gpuwright.drift.model import HostDrift
from gpuwright.errors import Refusal
from gpuwright.inventory import Inventory

_WORKER = (sys.executable, "-m", "gpuwright.drift.worker")


def judge(
    inventory: Inventory, names: Sequence[str], data: Mapping[str, object], jobs: int, timeout_s: float
) -> Iterator[HostDrift]:
    """Judge the hosts `names`, at most `jobs` at a time; each comes when it is known.

    `data` overrides host data; a host that takes longer than `timeout_s` could not be judged.
    """
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        asked = [pool.submit(_ask, inventory, name, data, timeout_s) for name in names]
        try:
            for answered in as_completed(asked):
                yield answered.result()
        finally:  # after Ctrl-C no further host is asked
            pool.shutdown(wait=False, cancel_futures=True)


def _ask(inventory: Inventory, name: str, data: Mapping[str, object], timeout_s: float) -> HostDrift:
    request = json.dumps({"inventory": str(inventory.path), "host": name, "data": data})
    try:
        worker = subprocess.run(
            _WORKER, input=request, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        observed = f"it was not judged within {timeout_s:g} s"
        remedy = "Look at its load, disks and network, or give it more --timeout."
        return HostDrift(name, (str(Refusal(f"host {name}", observed, "answers in time", remedy)),))
    try:
        return HostDrift.from_json(json.loads(worker.stdout))
    except (ValueError, KeyError, TypeError):
        secrets = secrets_of({**inventory.host(name).data, **data})
        said = [line for line in worker.stderr.splitlines() if line.strip()] or ["it said nothing"]
        observed = f"its worker ended with {worker.returncode} ({mask_text(said[-1].strip(), secrets)})"
        remedy = "Run again; if that repeats, it is an error in gpuwright."
        return HostDrift(name, (str(Refusal(f"host {name}", observed, "an answer", remedy)),))
