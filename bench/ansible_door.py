"""What a role costs under ansible-playbook, through gpuwright's plugin and as Ansible's own tasks.

python -m bench.ansible_door                 # 4 hosts of its own, both cases (about 10 minutes on 2 cores)
python -m bench.ansible_door --hosts 1 --case base --rounds 3
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gpuwright.errors import GpuwrightError
from gpuwright.paths import ROOT
from gpuwright.sandbox import engine, hosts, state

BIN = Path(sys.executable).parent
NATIVE, PLUGIN = "native", "plugin"
# The roles of each case; their names joined by `_and_` are the native playbook's.
ROLES = {"base": ("base",), "engine": ("base", "container_engine")}
# Native tasks run in the host's Python, and `apt` also wants its binding. The lists go again, with the date that
# tells the task that they are fresh: both sides fetch them in their first run.
PYTHON = """
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends python3 python3-apt
rm -rf /var/lib/apt/lists/* /var/lib/apt/periodic/update-success-stamp
touch --date=@0 /var/lib/apt/lists
"""
RECAP = re.compile(r"^\S+ +: ok=(\d+) +changed=(\d+) ", re.MULTILINE)
ERRORS = Console(stderr=True, highlight=False)


class Case(StrEnum):
    """What --case names."""

    BASE = "base"
    ENGINE = "engine"


@dataclass(frozen=True)
class Cost:
    """One ansible-playbook: seconds by the clock, and CPU seconds of it and the workers that it waited for."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Run:
    """A finished ansible-playbook; `tasks` and those of them that `changed` something are summed over the hosts."""

    cost: Cost
    tasks: int
    changed: int
    output: str


@dataclass(frozen=True)
class Side:
    """One side of a case: tasks and operations a host, the run on fresh hosts, and runs that change nothing."""

    name: str
    tasks: int
    operations: int
    first: Cost
    converged: tuple[Cost, ...]

    def median(self, what: str) -> float:
        """The median of `wall_s` or `cpu_s` over the converged runs."""
        return statistics.median(float(getattr(cost, what)) for cost in self.converged)


@dataclass(frozen=True)
class Result:
    """Both sides of a case on the same number of hosts."""

    case: str
    native: Side
    plugin: Side


@dataclass(frozen=True)
class Hosts:
    """Sandbox hosts and what Ansible needs to reach them; `directory` is private and goes with them."""

    directory: Path
    inventory: Path
    count: int

    def play(self, playbook: Path, *arguments: str) -> Run:
        """Run a playbook over connections of its own: none is left open by the run before.

        Raises GpuwrightError where a host failed.
        """
        with TemporaryDirectory(dir=self.directory, prefix="c") as sockets:
            log = self.directory / "output"
            try:
                code, cost = _timed(
                    [str(BIN / "ansible-playbook"), "-i", str(self.inventory), *arguments, str(playbook)],
                    self._environment(sockets),
                    log,
                )
            finally:
                for socket in Path(sockets).iterdir():
                    subprocess.run(
                        ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "-"], capture_output=True
                    )
        output = log.read_text(encoding="utf-8")
        recap = RECAP.findall(output)
        if code != 0 or len(recap) != self.count:
            raise GpuwrightError.of(
                f"ansible-playbook {playbook.name}",
                f"exit code {code}: {output.strip()[-1500:]}",
                "every host without a failure",
                "Run the bench again with --hosts 1; see above for what failed.",
            )
        tasks, changed = (sum(map(int, column)) for column in zip(*recap, strict=True))
        return Run(cost, tasks, changed, output)

    def _environment(self, sockets: str) -> dict[str, str]:
        """The same for both sides, and nothing of the user's own; ansible.cfg brings the rest."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        return inherited | {
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(self.directory / "ansible"),
            "ANSIBLE_FORKS": str(self.count),
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_GATHERING": "explicit",
            "ANSIBLE_SSH_ARGS": "-F none -o ControlMaster=auto -o ControlPersist=60s",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_NOCOLOR": "1",
        }


def main(
    count: Annotated[int, typer.Option("--hosts", min=1, max=16, help="Hosts, and Ansible's forks.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, help="Converged runs of each side, in turn.")] = 5,
    cases: Annotated[
        list[Case] | None, typer.Option("--case", help="engine is base and container_engine. [default: both]")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all measures there.")
    ] = None,
) -> None:
    """Compare gpuwright_role with a playbook of Ansible's own tasks that comes to the same end state.

    Debian 13 hosts are made for it on this machine and removed in the end, however it ends.
    Native tasks need Python on a host: it is installed first, outside the timing.
    Each side is applied to fresh hosts, and there the other side must find nothing to change: otherwise the comparison
    is void.
    Then both run in turn on the hosts that the plugin made, and change nothing: an operator's usual run.

    Both get pipelining, ControlPersist, a fork for each host, no gathering of facts, and new connections in every run.
    Tasks are as few as a playbook for that end state needs, in bench/native/; what they leave out is said there.
    CPU is that of ansible-playbook and its workers; ssh's background process is in neither side's.
    Hosts are containers on this machine and share its cores: by the clock, more cores or far hosts give other ratios.

    Exit code 0: both sides came to the same. The ratios are for the reader.
    """
    results: list[Result] = []
    try:
        with ERRORS.status("looking at what is there") as status:
            for case in dict.fromkeys(map(str, cases or Case)):
                results.append(_measured(case, count, rounds, lambda text: status.update(f"{text} ...")))
    except GpuwrightError as error:
        ERRORS.print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(1) from error
    versions = {name: version(name) for name in ("ansible-core", "pyinfra", "gpuwright")}
    versions["python"] = platform.python_version()
    _show(results, count, rounds, versions)
    if json_file is not None:
        document = {"hosts": count, "versions": versions, "results": [asdict(each) for each in results]}
        json_file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _measured(case: str, count: int, rounds: int, step: Callable[[str], None]) -> Result:
    """All measures of one case. Raises GpuwrightError where the two sides do not come to the same."""
    roles = ROLES[case]
    native = ROOT / "bench" / "native" / f"{'_and_'.join(roles)}.yml"
    with _fresh(count, step) as made:
        plugin = _plugin_playbook(made, roles)
        step(f"{case}: native tasks on fresh hosts")
        native_first = made.play(native)
        step(f"{case}: is anything left to do for the plugin")
        _nothing_to_do(made.play(plugin, "--check", "--diff", "-v"), PLUGIN, after=NATIVE)
    with _fresh(count, step) as made:
        plugin = _plugin_playbook(made, roles)
        step(f"{case}: the plugin on fresh hosts")
        plugin_first = made.play(plugin)
        step(f"{case}: is anything left to do for native tasks")
        _nothing_to_do(made.play(native, "--diff"), NATIVE, after=PLUGIN)
        operations = made.play(plugin, "-v").output.count('"status":') // count
        runs: dict[Path, list[Run]] = {native: [], plugin: []}
        for number in range(rounds):
            for playbook, done in runs.items():
                step(f"{case}: converged hosts, round {number + 1} of {rounds}")
                done.append(made.play(playbook))
                _nothing_to_do(done[-1], playbook.stem, after="both sides")
    return Result(
        case,
        _side(NATIVE, count, 0, native_first, runs[native]),
        _side(PLUGIN, count, operations, plugin_first, runs[plugin]),
    )


@contextmanager
def _fresh(count: int, step: Callable[[str], None]) -> Iterator[Hosts]:
    """New hosts with Python and an inventory; they go in the end, however that comes."""
    with TemporaryDirectory(prefix="gpuwright-door-") as name:
        directory = Path(name)
        step(f"making {count} hosts")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _sandbox(directory, "up", "--hosts", str(count))
            step("installing Python on them, for native tasks")
            records = state.load(directory).hosts
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda record: _install_python(directory, record.name), records))
            inventory = directory / "hosts.json"
            reached = {record.name: _reached(record) for record in records}
            state.write_private(inventory, json.dumps({"all": {"hosts": reached}}, indent=2))
            yield Hosts(directory, inventory, count)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave the hosts behind
            _sandbox(directory, "down")
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _sandbox(directory: Path, *words: str) -> None:
    environment = {**os.environ, "GPUWRIGHT_STATE_DIR": str(directory)}
    command = [str(BIN / "gpuwright"), "sandbox", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GpuwrightError.of(
            f"gpuwright sandbox {words[0]}", done.stderr.strip()[-400:], "exit code 0", "Run it by hand."
        )


def _install_python(directory: Path, name: str) -> None:
    client = engine.connect()
    hosts.execute(hosts.require(client, state.label(directory), name), ["sh", "-euc", PYTHON])


def _reached(record: state.HostRecord) -> dict[str, object]:
    """Ansible's connection variables."""
    options = {"UserKnownHostsFile": record.known_hosts, "IdentitiesOnly": "yes", "LogLevel": "ERROR"}
    reached: dict[str, object] = {
        "ansible_host": record.address,
        "ansible_port": record.port,
        "ansible_user": record.user,
        "ansible_ssh_private_key_file": record.key,
        "ansible_ssh_common_args": " ".join(f"-o {name}={value}" for name, value in options.items()),
    }
    if record.sudo_password is not None:
        reached["ansible_become_password"] = record.sudo_password
    return reached


def _plugin_playbook(made: Hosts, roles: tuple[str, ...]) -> Path:
    """One task for each role."""
    path = made.directory / f"{PLUGIN}.yml"
    play = {"name": "Roles", "hosts": "all", "become": True, "gather_facts": False}
    tasks = [{"name": role, "gpuwright_role": {"name": role}} for role in roles]
    path.write_text(json.dumps([{**play, "tasks": tasks}]), encoding="utf-8")
    return path


def _nothing_to_do(run: Run, side: str, after: str) -> None:
    if run.changed:
        raise GpuwrightError.of(
            f"{side} after {after}",
            f"{run.changed} tasks changed something: {run.output.strip()[-1500:]}",
            "nothing left to change, or the comparison is void",
            "Make bench/native/ and the roles come to the same.",
        )


def _side(name: str, count: int, operations: int, first: Run, converged: list[Run]) -> Side:
    tasks = converged[0].tasks // count
    return Side(name, tasks, operations or tasks, first.cost, tuple(run.cost for run in converged))


def _timed(command: list[str], environment: dict[str, str], log: Path) -> tuple[int, Cost]:
    """Run a child to its end and ask the kernel what it used; its output goes to `log`."""
    began = time.monotonic()
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            _, status, used = os.wait4(child.pid, 0)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, Cost(time.monotonic() - began, used.ru_utime + used.ru_stime)


def _show(results: list[Result], count: int, rounds: int, versions: dict[str, str]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table("case", "side", title=f"{count} hosts, {rounds} converged runs each (median), 1 first run")
    for heading in ("tasks", "operations", "wall s", "CPU s", "first wall s", "first CPU s"):
        table.add_column(heading, justify="right")
    for each in results:
        for side in (each.native, each.plugin):
            measures = [side.median("wall_s"), side.median("cpu_s"), side.first.wall_s, side.first.cpu_s]
            row = [each.case, side.name, str(side.tasks), str(side.operations)]
            table.add_row(*row, *(f"{value:.2f}" for value in measures))
        native, plugin = each.native, each.plugin
        ratios = [native.median(what) / plugin.median(what) for what in ("wall_s", "cpu_s")]
        ratios += [native.first.wall_s / plugin.first.wall_s, native.first.cpu_s / plugin.first.cpu_s]
        row = [each.case, "native / plugin", "", ""]
        table.add_row(*row, *(f"{value:.2f}" for value in ratios), style="bold", end_section=True)
    console.print(table)
    console.print(
        "Both sides came to the same end state. Python was put on the hosts before, for the native side alone."
    )
    console.print(", ".join(f"{name} {number}" for name, number in versions.items()))


if __name__ == "__main__":
    try:
        typer.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
