"""A process that judges one host: `python -m gpuwright.drift.worker`, a request on stdin, its host on stdout."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from gpuwright.drift.model import HostDrift
from gpuwright.drift.plan_run import plan_run
from gpuwright.errors import GpuwrightError
from gpuwright.inventory import load


def main() -> None:
    """Answer `{"inventory": path, "host": name, "data": {...}}` with one HostDrift as JSON."""
    request = json.load(sys.stdin)
    # Inventories and roles may print; only the answer goes to the asker.
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        entry = load(Path(request["inventory"])).host(request["host"])
        drift = plan_run(replace(entry, data={**entry.data, **request["data"]}))
    except GpuwrightError as error:
        drift = HostDrift(request["host"], tuple(str(refusal) for refusal in error.refusals))
    with os.fdopen(answer, "w", encoding="utf-8") as pipe:
        json.dump(drift.to_json(), pipe)


if __name__ == "__main__":
    main()
