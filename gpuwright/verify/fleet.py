"""Many hosts at the same time, each in a worker process of its own: pyinfra's state and a crash stay there."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path

from gpuwright.errors import Refusal
from gpuwright.inventory import load
from gpuwright.verify.host import verify
from gpuwright.verify.verdict import HostReport


def verify_all(inventory: Path, names: tuple[str, ...], fast: bool, jobs: int) -> Iterator[HostReport]:
    """A report on each host, as they come. A worker that dies takes no other host's verdict with it."""
    # spawn: a forked process would share open connections and locks with this one.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(names)), context)
    with _interrupts_held():
        futures = {pool.submit(_verify_one, inventory, name, fast): name for name in names}
    try:
        for future in as_completed(futures):
            yield _report(future, futures[future])
    except BaseException:  # an interrupt: hosts that are being read have nothing that would be lost
        pool.shutdown(wait=False, cancel_futures=True)
        for child in active_children():
            child.terminate()
        raise
    pool.shutdown()


def _verify_one(inventory: Path, name: str, fast: bool) -> HostReport:
    # By name, because host data may hold what cannot be sent to another process.
    return verify(load(inventory).host(name), fast)


def _report(future: Future[HostReport], name: str) -> HostReport:
    try:
        return future.result()
    except BrokenProcessPool:
        observed = "a worker process died, and this host's verdict with it"
        remedy = "Verify again with --jobs 1; look for a lack of memory."
        return HostReport(name, (), (Refusal(f"host {name}", observed, "a verdict", remedy),), 0)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Workers started within never see an interrupt, else each prints a traceback; this process sees it afterwards."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
