"""A Docker engine of our own on a machine without one: unpacked programs, own directories, own socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

# Short: the path of a socket below it has room for 107 characters.
RUN = Path("/run/gpuwright-device")
START_S = 60
# Containers share the host's network, so the engine needs no bridge and no iptables. One without a bridge removes the
# default one as it starts, whosever it is (moby, daemon_unix.go, removeDefaultBridgeInterface).
_BRIDGE = Path("/sys/class/net/docker0")
_ALONE = {"bridge": "none", "iptables": False, "ip6tables": False, "userland-proxy": False}


class Daemon:
    """`home` has bin and lib of docker.sh's bundle, `state` becomes the engine's, `cdi` holds specs."""

    def __init__(self, home: Path, state: Path, cdi: Path) -> None:
        self._home = home
        self._state = state
        self._cdi = cdi
        self._process: subprocess.Popen[bytes] | None = None
        self.docker = str(home / "bin" / "docker")
        self.environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{RUN}/docker.sock",
            "DOCKER_CONFIG": str(state),
        }
        self.environment["PATH"] = f"{home / 'bin'}:{os.environ['PATH']}"

    def start(self) -> dict[str, object]:
        """`docker info`, when it answers. RuntimeError with the end of its log, or for another engine's bridge."""
        if _BRIDGE.exists():
            raise RuntimeError(
                "docker0 is another engine's, and would be removed: unshare --net, or stop that engine"
            )
        RUN.mkdir(exist_ok=True)
        self._state.mkdir(parents=True, exist_ok=True)
        config = self._state / "daemon.json"
        config.write_text(
            json.dumps(
                {
                    **_ALONE,
                    "features": {"cdi": True},
                    "cdi-spec-dirs": [str(self._cdi)],
                    "data-root": str(self._state / "data"),
                    "exec-root": str(RUN / "exec"),
                    "pidfile": str(RUN / "docker.pid"),
                    "hosts": [self.environment["DOCKER_HOST"]],
                }
            )
        )
        log = self._state / "dockerd.log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [self._home / "bin" / "dockerd", "--config-file", config],
                env={**self.environment, "LD_LIBRARY_PATH": str(self._home / "lib")},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            done = self.run("info", "--format", "{{json .}}", check=False)
            if done.returncode == 0 and (info := json.loads(done.stdout)).get("ServerVersion"):
                return dict(info)
            time.sleep(0.3)
        end = log.read_text(errors="replace").splitlines()[-15:]
        raise RuntimeError(f"dockerd: {self._process.poll()}\n" + "\n".join(end))

    def run(self, *words: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """`docker WORDS`. Raises RuntimeError with what it said where `check` and it failed."""
        done = subprocess.run(
            [self.docker, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if check and done.returncode:
            raise RuntimeError(
                f"docker {' '.join(words)}: exit code {done.returncode}\n{done.stderr[-2000:]}"
            )
        return done

    def stop(self) -> None:
        """Containers first, or their shims would stay."""
        if self._process is None or self._process.poll() is not None:
            return
        names = self.run("ps", "--all", "--quiet", check=False).stdout.split()
        if names:
            self.run("rm", "--force", *names, check=False)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
