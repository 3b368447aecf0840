"""A service as its unit starts it: planned, rendered, and its ExecStart run, where pid 1 is not systemd.

The unit's argv runs as it is, but for its first word: the docker of this run.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.device import unit
from bench.device.aside import put_aside
from bench.device.cdi import KIND, Card
from bench.device.daemon import Daemon
from gpuwright import catalog
from gpuwright.facts import HostFacts
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.model import Service
from gpuwright.plan.sizing.model import ModelFacts
from gpuwright.render import render
from gpuwright.settings import read_settings
from gpuwright.sizing.declared import shapes

USER = 1000
ANSWER_S = 120
QUESTION = {"messages": [{"role": "user", "content": "Say ok."}], "max_tokens": 4, "temperature": 0}


@dataclass(frozen=True)
class Asked:
    """What is declared: a service on `gpus` that opens `model`'s `file`, `context` tokens over `parallel` requests."""

    name: str
    gpus: tuple[Card, ...]
    model: str
    file: Path
    port: int
    context: int = 16384
    parallel: int = 2
    arguments: tuple[str, ...] = ()
    out_of_memory: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rendered:
    """The planned service and its files, by their paths on a host; `words` is ExecStart for systemd."""

    service: Service
    files: dict[str, str]
    environment: dict[str, str]
    words: tuple[str, ...]

    @property
    def unit(self) -> str:
        """The unit's text."""
        return self.files[f"/etc/systemd/system/{self.service.unit}"]

    def instead(self, entrypoint: str, *arguments: str, env: tuple[str, ...] = ()) -> list[str]:
        """The same container for another program: no name, which the service has, and no label."""
        words = list(self.words[: self.words.index(self.service.image)])
        for word in ("--name", "--label"):
            while word in words:
                index = words.index(word)
                del words[index : index + 2]
        more = [word for pair in env for word in ("--env", pair)]
        return [*words, *more, "--entrypoint", entrypoint, self.service.image, *arguments]


def rendered(
    facts: HostFacts,
    asked: Asked,
    image: str,
    store: Path,
    shape: ModelFacts | None = None,
    more: dict[str, str] | None = None,
) -> Rendered:
    """Raises RuntimeError with the planner's refusals. The key is new each time.

    `shape` is of a file that is not written yet; `more` is what a rung's file says.
    """
    settings = {
        "inference_services": [_declared(asked)],
        "inference_image_source": "local",
        "inference_image": image,
        "model_store_directory": str(store),
        "model_store_models": [{"name": asked.model, "path": str(asked.file)}],
    }
    declared = read_settings(settings)
    plan = plan_host(
        put_aside(facts, "init"),
        declared,
        catalog.load(),
        {asked.model: shape} if shape else shapes(declared, None),
    )
    if not isinstance(plan, HostPlan):
        raise RuntimeError("; ".join(str(refusal) for refusal in plan))
    (service,) = plan.inference.services
    files = {file.path: render(file) for file in plan.inference.files}
    path = f"/etc/systemd/system/{service.unit}"
    files |= {file.path: render(file) for file in plan.collectives.files}
    files[service.env_file] = _late(service, asked)
    environment = {
        **unit.assigned(files[path]),
        **unit.environment(files[service.env_file]),
        **(more or {}),
        "INVOCATION_ID": uuid.uuid4().hex,
    }
    words = unit.started(files[path], service.unit, environment)
    return Rendered(service, files, environment, tuple(words))


def _declared(asked: Asked) -> dict[str, object]:
    return {
        "name": asked.name,
        "model": asked.model,
        "port": asked.port,
        "context": asked.context,
        "parallel": asked.parallel,
        "gpus": [card.address for card in asked.gpus],
        "arguments": list(asked.arguments),
        "out_of_memory": list(asked.out_of_memory),
    }


def _late(service: Service, asked: Asked) -> str:
    """What a deploy resolves on the host: the key, ids, and the GPUs' UUIDs."""
    gpus = " ".join(f"--device {KIND}={card.uuid}" for card in asked.gpus)
    lines = [
        f"{service.key}={secrets.token_hex(32)}",
        f"GPUWRIGHT_UID={USER}",
        f"GPUWRIGHT_GID={USER}",
        f"GPUWRIGHT_GPUS={gpus}",
        # This machine's own: multicast over NVLink may put a shared host's GPUs out of service.
        "NCCL_NVLS_ENABLE=0",
    ]
    return "\n".join(lines) + "\n"


@contextmanager
def written(what: Rendered) -> Iterator[Rendered]:
    """The service's files at their places, for as long as a container reads them; RuntimeError where one is there.

    Its cache is made as ExecStartPre makes it, and goes with the rest.
    """
    mounted = [source for source, _ in what.service.mounts if source in what.files]
    paths = [Path(path) for path in (what.service.conf_file, what.service.env_file, *mounted)]
    if there := [str(path) for path in paths if path.exists()]:
        raise RuntimeError(f"this machine has {', '.join(there)} already")
    cache = Path(what.service.cache) if what.service.cache else None
    if cache is not None:
        cache.mkdir(mode=0o750, parents=True, exist_ok=True)
        os.chown(cache, USER, USER)
    made = [path.parent for path in paths if not path.parent.exists()]
    for path in paths:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # NCCL's is for all to read, as on a host.
        path.touch(mode=0o644 if str(path) in mounted else 0o600)
        path.write_text(what.files[str(path)])
    try:
        yield what
    finally:
        for path in paths:
            path.unlink()
        if cache is not None:
            shutil.rmtree(cache)
        for directory in set(made):
            directory.rmdir()


class Served:
    """A service that runs; `process` is the client that systemd would watch, `scratch` has room for scripts."""

    def __init__(
        self, daemon: Daemon, what: Rendered, log: Path, scratch: Path, process: subprocess.Popen[bytes]
    ) -> None:
        self.what = what
        self._daemon = daemon
        self._log = log
        self._scratch = scratch
        self._process = process

    def ready(self) -> str:
        """ExecStartPost; what it said. RuntimeError, with the end of the service's log, where it gave up.

        A machine that lends its GPUs may lack curl, which a host has: then the same question is asked from here.
        """
        if shutil.which("curl") is None:
            return f"no curl here: asked by other means, {self._answered():.1f} s"
        try:
            return scripts(self._daemon, self.what, "ExecStartPost", self._scratch, self._process.pid)
        except RuntimeError as error:
            raise RuntimeError("\n".join([str(error), *self._end()])) from error

    def died(self, seconds: float) -> list[str]:
        """The end of its log, once it has ended by itself. RuntimeError where it is still there after `seconds`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise RuntimeError("it started all the same") from error
        return self._end()

    def _end(self) -> list[str]:
        return self._log.read_text(errors="replace").splitlines()[-15:]

    def _answered(self) -> float:
        """Seconds until a completion came."""
        began = time.monotonic()
        while self._process.poll() is None and time.monotonic() - began < ANSWER_S:
            try:
                self.ask("/v1/chat/completions", QUESTION)
                return time.monotonic() - began
            except OSError:  # refused, or 503 while it loads
                time.sleep(0.5)
        raise RuntimeError("\n".join(self._end()))

    def ask(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
        """POST to the service's loopback port, with its key."""
        service = self.what.service
        request = urllib.request.Request(
            f"http://127.0.0.1:{service.port}{path}",
            json.dumps(question).encode(),
            {
                "Content-Type": "application/json",
                "Authorization": f"Bearer {self.what.environment[service.key]}",
            },
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=ANSWER_S) as answer:
            return dict(json.load(answer))

    def within(self, *words: str) -> str:
        """What a command in the container prints."""
        return self._daemon.run("exec", self.what.service.container, *words).stdout


@contextmanager
def served(daemon: Daemon, what: Rendered, log: Path, scratch: Path) -> Iterator[Served]:
    """Run ExecStartPre and ExecStart; stop the container afterwards."""
    with written(what), log.open("ab") as file:
        scripts(daemon, what, "ExecStartPre", scratch, os.getpid())
        process = subprocess.Popen(
            [daemon.docker, *what.words[1:]],
            env={**daemon.environment, **what.environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
        try:
            yield Served(daemon, what, log, scratch, process)
        finally:
            daemon.run("stop", "--time", "10", what.service.container, check=False)
            process.wait(60)


def ended(daemon: Daemon, what: Rendered, scratch: Path, log: Path) -> dict[str, str]:
    """ExecStopPost after a start that failed, and what it leaves for the next one.

    The journal is a stand-in: it says what the service wrote to `log`.
    """
    programs = scratch / "stand-in"
    programs.mkdir(exist_ok=True)
    journal = programs / "journalctl"
    journal.write_text(f"#!/bin/sh\ncase $* in --sync) ;; *) cat '{log}' ;; esac\n")
    journal.chmod(0o755)
    known = {"SERVICE_RESULT": "exit-code", "GPUWRIGHT_ROOT": str(scratch)}
    path = f"{programs}:{daemon.environment['PATH']}"
    after = replace(what, environment={**what.environment, **known, "PATH": path})
    scripts(daemon, after, "ExecStopPost", scratch, os.getpid())
    rung = scratch / "var/lib/gpuwright/rungs" / f"{what.service.name}.env"
    return unit.environment(rung.read_text()) if rung.exists() else {}


def scripts(daemon: Daemon, what: Rendered, key: str, scratch: Path, main: int) -> str:
    """The unit's commands of this key that are scripts of ours, as systemd runs them. RuntimeError where one failed."""
    environment = {**daemon.environment, **what.environment, "MAINPID": str(main)}
    said = []
    for words in unit.commands(what.unit, key, what.service.unit, environment):
        if words[0] not in what.files:
            continue  # docker rm of what an earlier start left: there is none
        script = scratch / Path(words[0]).name
        script.write_text(what.files[words[0]])
        began = time.monotonic()
        done = subprocess.run(
            ["sh", script, *words[1:]],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_S,
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]}: exit code {done.returncode}, {done.stderr.strip()}")
        said.append(f"{words[0]} ended with 0 after {time.monotonic() - began:.1f} s")
    return "; ".join(said)
