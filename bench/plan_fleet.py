"""What planning a fleet costs: deploy.py over @replay, in this project's process against the pyinfra command's --dry.

    python bench/plan_fleet.py --record sbx1     # once: a bare sandbox host answers for the composed machines
    python bench/plan_fleet.py                   # 200 hosts from all machines of tests/fleet that get a plan

Both see the same hosts, recordings and deploy.py, and share nothing between hosts but what a process loads once (code,
catalogue, templates). Ours also makes the diffs of all files, which pyinfra leaves out without --diff. A composed
machine's recording has its facts, and the answers of the host that was named, which is none of its kind but has nothing
installed either; recorded machines bring their own.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from gpuwright.connectors.recording import Recording  # noqa: E402
from gpuwright.drift.plan_run import plan_run  # noqa: E402
from gpuwright.facts import HostFacts  # noqa: E402
from gpuwright.inventory import find_host, load  # noqa: E402
from gpuwright.paths import state_dir  # noqa: E402
from gpuwright.planning import recorder, targets  # noqa: E402

FLEET = ROOT / "tests" / "fleet"
HOSTS = 200
INVENTORY = '''"""Hosts of bench/plan_fleet.py."""

fleet = {hosts!r}
'''


@dataclass(frozen=True)
class Cost:
    """What one child process used: CPU seconds (user and system), its peak memory, wall clock seconds."""

    cpu_s: float
    peak_mib: float
    wall_s: float
    code: int


def main() -> int:
    """Record, measure, or be the process that is measured."""
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--record", metavar="HOST", help="make the composed machines' recordings and stop")
    arguments.add_argument("--hosts", type=int, default=HOSTS)
    arguments.add_argument("--ours", type=Path, metavar="INVENTORY", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.ours:
        return _ours(given.ours)
    directory = state_dir() / "bench" / "plan_fleet"
    directory.mkdir(parents=True, exist_ok=True)
    if given.record:
        return _record(given.record, directory)
    return _measure(directory, given.hosts)


def _record(host: str, directory: Path) -> int:
    entry = find_host(host)
    for machine in _machines():
        if not (machine / "recording.json").exists():
            facts = HostFacts.from_json((machine / targets.FACTS).read_text(encoding="utf-8"))
            composed = recorder.with_settings(entry, targets.settings_beside(machine / targets.MACHINE))
            recording, reasons = recorder.ask(composed, facts)
            (directory / f"{machine.name}.json").write_text(recording.to_json(), encoding="utf-8")
            print(f"{machine.name}: {len(recording.answers)} answers{'; '.join(('', *reasons))}")
    return 0


def _measure(directory: Path, count: int) -> int:
    recordings = {machine: _recording(machine, directory) for machine in _machines()}
    missing = [machine.name for machine, path in recordings.items() if not path.exists()]
    if missing:
        print(f"No recording of {', '.join(missing)}. Make them: bench/plan_fleet.py --record HOST")
        return 1
    # A refused machine is only probed, by both.
    recordings = {machine: path for machine, path in recordings.items() if Recording.read(path).answers}
    hosts = []
    for number in range(count):
        machine, path = list(recordings.items())[number % len(recordings)]
        settings = targets.settings_beside(machine / targets.MACHINE)
        hosts.append((f"@replay/{number:03}-{machine.name}", {"replay_recording": str(path), **settings}))
    inventory = directory / "inventories" / "fleet.py"
    (inventory.parent / "group_data").mkdir(parents=True, exist_ok=True)
    (inventory.parent / "group_data" / "all.py").write_text("_sudo = True\n", encoding="utf-8")
    inventory.write_text(INVENTORY.format(hosts=hosts), encoding="utf-8")
    ours_log, stock_log = directory / "ours.log", directory / "stock.log"
    pyinfra = str(Path(sys.executable).parent / "pyinfra")
    ours = _run([sys.executable, __file__, "--ours", str(inventory)], ours_log)
    stock = _run([pyinfra, str(inventory), "deploy.py", "--dry"], stock_log)
    print(f"{count} hosts from {len(recordings)} machines")
    for name, cost, log in (
        ("gpuwright, in process", ours, ours_log),
        ("pyinfra --dry", stock, stock_log),
    ):
        print(
            f"  {name:<22} {cost.cpu_s:7.2f} CPU s  {cost.peak_mib:6.0f} MiB  {cost.wall_s:6.1f} s by the clock"
            f"  {_changes(log)} changes"
        )
    print(
        f"  ratio                  {stock.cpu_s / ours.cpu_s:7.2f}        {stock.peak_mib / ours.peak_mib:6.2f}"
    )
    if ours.code or stock.code or _changes(ours_log) != _changes(stock_log):
        print(f"They do not come to the same: the comparison is void. See {ours_log} and {stock_log}.")
        return 1
    return 0


def _ours(inventory: Path) -> int:
    """One State for each host, one after the other; then the hosts of each operation, as the other prints them."""
    changes: Counter[str] = Counter()
    failed = False
    for entry in load(inventory).hosts.values():
        drift = plan_run(entry)
        changes.update(each.name for each in drift.operations if each.status == "change")
        for reason in drift.reasons:
            failed = True
            print(f"{entry.name}: {reason}")
    for name, hosts in changes.items():
        print(f"    {name}   {hosts} (@replay)")
    return int(failed)


def _changes(log: Path) -> int:
    """Operations that would change a host, over all hosts."""
    found = re.findall(r"^    \S.* {2,}(\d+) \(@replay", log.read_text(encoding="utf-8"), re.MULTILINE)
    return sum(map(int, found))


def _run(command: list[str], log: Path) -> Cost:
    """Run a child to its end and ask the kernel what it used; its output goes to `log`."""
    began = time.monotonic()
    with log.open("wb") as output:
        pid = os.posix_spawn(
            command[0],
            command,
            {**os.environ, "PYTHONPATH": str(ROOT)},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            ],
        )
        _, status, used = os.wait4(pid, 0)
    wall = time.monotonic() - began
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, wall, os.waitstatus_to_exitcode(status))


def _machines() -> list[Path]:
    return sorted(path.parent for path in FLEET.glob("*/machine.toml"))


def _recording(machine: Path, directory: Path) -> Path:
    own = machine / "recording.json"
    return own if own.exists() else directory / f"{machine.name}.json"


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
