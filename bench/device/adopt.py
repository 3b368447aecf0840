"""What adopt.sh asks: the refusal, the adopted driver, the roles' dry run, verify's readings, and another branch.

    python bench/device/adopt.py OUTDIR SCRATCH

Every step says what was expected and what came out; a step that crashes fails, and the others go on.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.device.aside import VARIABLE, put_aside  # noqa: E402
from gpuwright import catalog  # noqa: E402
from gpuwright.connection import connect  # noqa: E402
from gpuwright.facts import HostFacts  # noqa: E402
from gpuwright.facts.redact import redacted  # noqa: E402
from gpuwright.inventory import load  # noqa: E402
from gpuwright.plan import HostPlan, plan_host  # noqa: E402
from gpuwright.plan.stack_model import DriverSteps  # noqa: E402
from gpuwright.probing import probe  # noqa: E402
from gpuwright.settings import read_settings  # noqa: E402
from gpuwright.status_probe import parse_sections  # noqa: E402
from gpuwright.verify import host as _checks  # noqa: E402, F401  (importing it registers the checks)
from gpuwright.verify.check import CHECKS  # noqa: E402
from gpuwright.verify.readings import Readings  # noqa: E402
from gpuwright.verify.scripts import state_script  # noqa: E402
from gpuwright.verify.verdict import Verdict  # noqa: E402

HOST = "@local"
BRANCH = "nvidia_driver_branch=595"
# What this machine is about; the other checks judge what a deploy has yet to bring.
OURS = ("driver.", "kernel.", "gpu.", "packages.held")
CORE = ("driver.gpus", "driver.one-version", "driver.devices")
LIMIT_S = 180


@dataclass
class Step:
    """A question, what came out, and whether that is what was expected."""

    name: str
    expected: str
    observed: list[str] = field(default_factory=list)
    ok: bool = False
    seconds: float = 0


class Machine:
    """This machine: an inventory of it, and the steps so far."""

    def __init__(self, out: Path, scratch: Path) -> None:
        self.out = out
        self.steps: list[Step] = []
        self.plans: dict[str, object] = {}
        self.inventory = scratch / "local.py"
        self.inventory.write_text(f'machine = ["{HOST}"]\n')

    def step(self, name: str, expected: str, ask: Callable[[Step], bool]) -> None:
        """Ask, show and remember."""
        step = Step(name, expected)
        began = time.monotonic()
        try:
            step.ok = ask(step)
        except Exception:
            step.observed += ["crashed", *traceback.format_exc().splitlines()[-6:]]
        step.seconds = round(time.monotonic() - began, 2)
        self.steps.append(step)
        print(f"\n[{'ok' if step.ok else 'NOT AS EXPECTED'}] {name} ({step.seconds} s): {expected}")
        print("".join(f"    {line}\n" for line in step.observed), end="", flush=True)

    @property
    def facts(self) -> HostFacts:
        """As the probe read them in the first step."""
        return HostFacts.from_json((self.out / "facts.json").read_text())


def main(out: Path, scratch: Path) -> int:
    """All steps; 0 where all came out as expected."""
    machine = Machine(out, scratch)
    only_init = "exit code 1; one refusal, which names the init system"
    machine.step("facts", "GPUs, a loaded driver, pid 1", lambda step: _facts(machine, step))
    machine.step("refusal", only_init, lambda step: _refusal(machine, step, str(machine.inventory)))
    machine.step(
        "refusal, from facts", only_init, lambda step: _refusal(machine, step, str(out / "facts.json"))
    )
    machine.step(
        "adoption",
        "with that put aside: driver and kernel are kept, and nothing is planned for them",
        lambda step: _adoption(machine, step),
    )
    machine.step("roles, dry", "no operation has a change", lambda step: not _dry(machine, step, "init"))
    machine.step(
        "verify",
        "no check crashes; counted, of one version, with its nodes",
        lambda step: _verify(machine, step),
    )
    machine.step("acceptance", "tests/acceptance/test_gpu.py passes", lambda step: _acceptance(machine, step))
    machine.step(
        f"{BRANCH}: refusal",
        only_init,
        lambda step: _refusal(machine, step, str(out / "facts.json"), "--set", BRANCH),
    )
    machine.step(
        f"{BRANCH}: not ours",
        "with that put aside: one refusal, which names the driver of another hand",
        lambda step: _not_ours(machine, step),
    )
    machine.step(
        f"{BRANCH}: roles, dry",
        "with both put aside: the list of changes",
        lambda step: bool(_dry(machine, step, "init,driver", BRANCH)),
    )
    good = all(step.ok for step in machine.steps)
    report = {"as_expected": good, "steps": [asdict(step) for step in machine.steps]}
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (out / "plans.json").write_text(json.dumps(machine.plans, indent=1) + "\n")
    return 0 if good else 1


def _facts(machine: Machine, step: Step) -> bool:
    with connect(load(machine.inventory).host(HOST)) as connection:
        facts = probe(connection)
    (machine.out / "facts.json").write_text(redacted(facts).to_json())
    step.observed = [
        f"{facts.os_name}, kernel {facts.readings.kernel_release}, pid 1 is {facts.init}",
        *(f"{gpu.address} {gpu.vendor}:{gpu.device}" for gpu in facts.gpus),
        *(str(driver) for driver in facts.found.drivers),
    ]
    return bool(facts.gpus) and any(driver.loaded for driver in facts.found.drivers)


def _refusal(machine: Machine, step: Step, target: str, *more: str) -> bool:
    done = _run([sys.executable, "-m", "gpuwright", "plan", target, "--json", *more])
    step.observed = [f"exit code {done.returncode}", *done.stderr.splitlines()[-3:]]
    answer = json.loads(done.stdout)
    refused = [refusal for each in answer["hosts"] for refusal in each["refused"]]
    step.observed += [f"{r['subject']}: {r['observed']}; required: {r['required']}" for r in refused]
    return done.returncode == 1 and [r["subject"] for r in refused] == ["init system"]


def _adoption(machine: Machine, step: Step) -> bool:
    plan = _plan(machine, "init")
    machine.plans["adopted"] = plan.to_json()
    (loaded,) = (driver for driver in machine.facts.found.drivers if driver.name == "nvidia")
    (driver,) = plan.drivers
    steps = {"nvidia_driver": plan.nvidia_driver, "rocm": plan.rocm}
    planned = [f"{name}: {_parts(each)}" for name, each in steps.items() if _parts(each)]
    kernel = plan.kernel_steps
    boots = f"locked {kernel.locked}, boots {kernel.boots}" if kernel.locked or kernel.boots else ""
    step.observed = [
        f"driver: {driver.source}, {driver.delivery}, branch {driver.branch}, {driver.modules} modules",
        f"loaded: {loaded.version}, {loaded.modules} modules, origin {loaded.origin}",
        f"kernel: {plan.kernel.flavour}, packages {plan.kernel.packages}, arguments {plan.kernel.arguments}",
        *planned,
        boots or "kernel_steps: no package, no boot",
    ]
    kept = (driver.source, driver.packages, driver.repositories) == ("unmanaged", (), ())
    same = loaded.version.startswith(f"{driver.branch}.") and driver.modules == loaded.modules
    return kept and same and plan.kernel.flavour == "keep" and not planned and not boots


def _dry(machine: Machine, step: Step, aside: str, *data: str) -> list[str]:
    """Changes that `pyinfra --dry` shows, as (operation, number); an exit code other than 0 is an error."""
    command = [
        sys.executable,
        "-m",
        "pyinfra",
        str(machine.inventory),
        "bench/device/roles.py",
        "--dry",
        "--diff",
    ]
    done = _run([*command, *(word for pair in data for word in ("--data", pair))], {VARIABLE: aside})
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr + done.stdout)
    rows = re.findall(r"^    (\S.* \| .*?)\s{2,}(\S.*?)\s{2,}(\S.*?)\s*$", text, re.M)
    changes = [f"change: {name}" for name, *columns in rows if columns != ["-", "-"]]
    shown = [line.strip() for line in text.splitlines() if "[@local]" in line and "Connected" not in line]
    step.observed = [f"exit code {done.returncode}, {len(rows)} operations", *changes, *shown[:80]]
    if done.returncode or not rows:
        step.observed += text.splitlines()[-15:]
        raise RuntimeError(f"the dry run ended with {done.returncode} and showed {len(rows)} operations")
    return changes


def _verify(machine: Machine, step: Step) -> bool:
    facts, plan = put_aside(machine.facts, "init"), _plan(machine, "init")
    with connect(load(machine.inventory).host(HOST)) as connection:
        began = time.monotonic()
        text = connection.run(state_script(plan, [gpu.address for gpu in facts.gpus]), timeout=LIMIT_S).stdout
        seconds = time.monotonic() - began
    (machine.out / "state.txt").write_text(text + "\n")
    sections = parse_sections(text + "\n")
    lost = sorted(set(re.findall(r"^#gpuwright begin (\S+)$", text, re.M)) - set(sections))
    step.observed = [f"state script: {seconds:.2f} s", f"sections that failed: {', '.join(lost) or 'none'}"]
    readings = Readings(facts, sections, hashed=False)
    verdicts: list[Verdict] = []
    crashed: list[str] = []
    for name, check in CHECKS.items():
        try:
            verdicts += check.judge(readings, plan)
        except Exception as error:
            crashed.append(f"{name} crashed: {type(error).__name__}: {error}")
    (machine.out / "verify.json").write_text(json.dumps([asdict(v) for v in verdicts], indent=1) + "\n")
    ours = [v for v in verdicts if v.check.startswith(OURS)]
    step.observed += crashed
    step.observed += [f"{v.status:7} {v.check}, {v.subject}: {v.observed}" for v in ours]
    others = [
        f"{v.check}, {v.subject}: {v.observed}" for v in verdicts if v not in ours and v.status == "unknown"
    ]
    step.observed += [f"other checks that are unknown: {len(others)}", *others]
    core = [v.status for v in ours if v.check in CORE]
    return not crashed and "pass" in core and set(core) <= {"pass", "skip"}


def _acceptance(machine: Machine, step: Step) -> bool:
    report = machine.out / "acceptance.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "-p",
        "no:cacheprovider",
        "-p",
        "bench.device.aside",
    ]
    done = _run(
        [
            *command,
            "tests/acceptance/test_gpu.py",
            "--inventory",
            str(machine.inventory),
            f"--junitxml={report}",
        ],
        {VARIABLE: "init", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    step.observed = [
        f"exit code {done.returncode}",
        *done.stdout.splitlines()[-40:],
        *done.stderr.splitlines()[-5:],
    ]
    return done.returncode == 0 and " passed" in done.stdout


def _not_ours(machine: Machine, step: Step) -> bool:
    key, _, value = BRANCH.partition("=")
    found = plan_host(put_aside(machine.facts, "init"), read_settings({key: value}), catalog.load())
    if isinstance(found, HostPlan):
        step.observed = ["it was planned"]
        return False
    step.observed = [str(refusal) for refusal in found]
    other = plan_host(put_aside(machine.facts, "init,driver"), read_settings({key: value}), catalog.load())
    if isinstance(other, HostPlan):
        machine.plans["another branch"] = other.to_json()
        step.observed += [f"without the driver: {driver.names}" for driver in other.drivers]
    return [refusal.subject for refusal in found] == ["nvidia driver"]


def _plan(machine: Machine, aside: str) -> HostPlan:
    plan = plan_host(put_aside(machine.facts, aside), read_settings({}), catalog.load())
    if not isinstance(plan, HostPlan):
        raise RuntimeError("; ".join(str(refusal) for refusal in plan))
    return plan


def _parts(steps: DriverSteps) -> dict[str, Any]:
    return {part.name: value for part in fields(steps) if (value := getattr(steps, part.name))}


def _run(command: list[str], more: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **(more or {})}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        stdin=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
