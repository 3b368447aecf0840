"""A host that may be broken: made for it or named, changed past SSH, judged and repaired by the real commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gpuwright.errors import GpuwrightError
from gpuwright.inventory import load
from gpuwright.paths import ROOT

BIN = Path(sys.executable).parent
STEP_S = 600


@dataclass(frozen=True)
class Judgement:
    """Names that are red: operations of drift and checks of verify; `clean` when both commands ended with 0."""

    drift: frozenset[str]
    verify: frozenset[str]
    clean: bool


@dataclass(frozen=True)
class Target:
    """One sandbox host of an inventory; `environment` says where its state lies."""

    inventory: Path
    name: str
    container: str
    environment: dict[str, str]

    def by_hand(self, shell: str) -> subprocess.CompletedProcess[str]:
        """Run `shell` as root past SSH, through the engine that the host is a container of."""
        command = ["docker", "exec", self.container, "sh", "-c", shell]
        return subprocess.run(command, capture_output=True, text=True, timeout=STEP_S, check=False)

    def deploy(self) -> tuple[bool, str]:
        """One normal run: whether it succeeded, and what it said."""
        arguments = [str(self.inventory), "deploy.py", "-y", "--limit", self.name]
        with self._start("pyinfra", *arguments) as process:
            output, errors = process.communicate(timeout=STEP_S)
        return process.returncode == 0, re.sub(r"\x1b\[[0-9;]*m", "", output + errors)

    def judge(self) -> Judgement:
        """Ask drift and verify, both at the same time. Raises GpuwrightError where one gives no answer."""
        arguments = [str(self.inventory), "--limit", self.name, "--json"]
        commands = {word: self._start("gpuwright", word, *arguments) for word in ("drift", "verify")}
        hosts: dict[str, dict[str, list[dict[str, str]]]] = {}
        for word, process in commands.items():
            output, errors = process.communicate(timeout=STEP_S)
            try:
                (hosts[word],) = json.loads(output)["hosts"]
            except (ValueError, KeyError) as error:
                raise GpuwrightError.of(
                    f"gpuwright {word}",
                    f"exit code {process.returncode}, and no JSON for one host: {errors.strip()[-400:]}",
                    "an answer about the host",
                    "This is what the bench is for: see what the change did to it.",
                ) from error
        return Judgement(
            frozenset(
                " | ".join(filter(None, (each["role"], each["operation"])))
                for each in hosts["drift"]["operations"]
                if each["status"] != "ok"
            ),
            frozenset(each["check"] for each in hosts["verify"]["verdicts"] if each["status"] == "fail"),
            all(process.returncode == 0 for process in commands.values()),
        )

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(BIN / program), *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextmanager
def target(inventory: Path | None) -> Iterator[Target]:
    """The first host of `inventory`; without one, a host of its own that goes in the end, however that comes."""
    if inventory is not None:
        yield _found(inventory.resolve(), dict(os.environ))
        return
    with TemporaryDirectory(prefix="gpuwright-changes-") as directory:
        environment = {**os.environ, "GPUWRIGHT_STATE_DIR": directory}
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _sandbox(environment, "up")
            os.environ["GPUWRIGHT_STATE_DIR"] = directory  # read by inventories/sandbox.py, here as well
            yield _found(ROOT / "inventories" / "sandbox.py", environment)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave the host behind
            _sandbox(environment, "down")
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _found(inventory: Path, environment: dict[str, str]) -> Target:
    entry = next(iter(load(inventory).hosts.values()))
    port = entry.data.get("ssh_port")
    find = ["docker", "ps", "--quiet", "--filter", f"publish={port}", "--filter", "label=gpuwright.sandbox"]
    found = subprocess.run(find, capture_output=True, text=True, check=False).stdout.split()
    if len(found) != 1:
        raise GpuwrightError.of(
            f"host {entry.name} of {inventory}",
            f"{len(found)} containers of `gpuwright sandbox` publish its SSH port {port}",
            "a throw-away host on this machine: it will be broken some fifty times",
            "Leave --inventory out: a host is made, and removed afterwards.",
        )
    return Target(inventory, entry.name, found[0], environment)


def _sandbox(environment: dict[str, str], word: str) -> None:
    command = [str(BIN / "gpuwright"), "sandbox", word]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GpuwrightError.of(
            f"gpuwright sandbox {word}", done.stderr.strip()[-400:], "exit code 0", "Run it by hand."
        )
