"""Machines that run Ansible against sandbox hosts: this one, and a sandbox host with the newest ansible-core.

The newest ansible-core wants a newer Python than this machine may have; a Debian 13 host has one. It gets a copy of
the checkout and reaches the other hosts by their addresses in the engine's network, as any control machine would.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from tests.sandbox.hosts import REPOSITORY, Sandbox

OPS, HOME = "ops", PurePosixPath("/home/ops")  # the sandbox's user
AUTHORITIES = "authorities.pem"
RUN_S = 900
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")

# As root. ssh is Ansible's transport; Debian keeps `venv` out of python3.
SYSTEM = """
if [ -x /usr/bin/ssh ] && python3 -m ensurepip --version >/dev/null 2>&1; then exit 0; fi
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends python3-venv openssh-client
"""
# As the user; the copy comes as a tar. Wheels only: nothing is compiled, and what would have to be is seen.
INSTALL = """
rm -rf "$HOME/gpuwright"
tar --extract --directory="$HOME"
install --directory --mode=700 "$HOME/scratch"
if [ "$(cat "$HOME/venv/made-from" 2>/dev/null)" = "$WANTED" ]; then exit 0; fi
python3 -m venv --clear "$HOME/venv"
"$HOME/venv/bin/pip" install --quiet --only-binary :all: --editable "$HOME/gpuwright"
printf %s "$WANTED" > "$HOME/venv/made-from"
"""


@dataclass(frozen=True)
class Versions:
    """What runs on a control node: `Versions((2, 21), "2.21.5", "3.13.5")`."""

    series: tuple[int, int]
    ansible_core: str
    python: str


@dataclass(frozen=True)
class ControlNode:
    """A machine with a checkout and Ansible. Paths are as that machine sees them; `scratch` is private to the tests."""

    name: str
    checkout: PurePosixPath
    scratch: PurePosixPath

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the checkout and return its end, whatever it is; the virtual environment's come first."""
        raise NotImplementedError

    def write(self, name: str, text: str) -> str:
        """Put a private file into `scratch`; its path there."""
        path = str(self.scratch / name)
        done = self.run("sh", "-c", 'umask 077 && cat > "$1"', "sh", path, stdin=text)
        assert done.returncode == 0, done.stderr
        return path

    def inventory(
        self,
        sandbox: Sandbox,
        targets: list[str],
        variables: Mapping[str, object] | None = None,
        name: str = "hosts",
    ) -> str:
        """An inventory of `targets` with `variables` for all of them; its path.

        Written anew for every call: a host that was restarted may have another address.
        """
        key = self.write("id_ed25519", Path(str(_record(sandbox, targets[0])["key"])).read_text())
        known_hosts = self.write("known_hosts", "".join(self._known(sandbox, each) for each in targets))
        options = {"UserKnownHostsFile": known_hosts, "StrictHostKeyChecking": "yes", "IdentitiesOnly": "yes"}
        common = " ".join(["-F none", *(f"-o {option}={value}" for option, value in options.items())])
        group = {
            "hosts": {each: self._reached(sandbox, each) for each in targets},
            "vars": {
                "ansible_ssh_private_key_file": key,
                "ansible_ssh_common_args": common,
                **(variables or {}),
            },
        }
        return self.write(f"{name}.yml", json.dumps({"all": {"children": {"sandbox": group}}}, indent=2))

    @property
    def versions(self) -> Versions:
        """Asked of the interpreter that runs Ansible there."""
        ask = "import platform, ansible.release as a; print(a.__version__, platform.python_version())"
        done = self.run("python", "-c", ask)
        assert done.returncode == 0, done.stderr
        ansible_core, python = done.stdout.split()
        major, minor = ansible_core.split(".")[:2]
        return Versions((int(major), int(minor)), ansible_core, python)

    def _address(self, sandbox: Sandbox, host: str) -> tuple[str, int]:
        """Where the host's sshd is, seen from here."""
        raise NotImplementedError

    def _reached(self, sandbox: Sandbox, host: str) -> dict[str, object]:
        """Ansible's connection variables. Become is the plays' to ask for; its password is the host's."""
        record = _record(sandbox, host)
        address, port = self._address(sandbox, host)
        reached: dict[str, object] = {
            "ansible_host": address,
            "ansible_port": port,
            "ansible_user": record["user"],
        }
        if record["sudo_password"] is not None:
            reached["ansible_become_password"] = record["sudo_password"]
        return reached

    def _known(self, sandbox: Sandbox, host: str) -> str:
        """The host's own keys, read past SSH."""
        address, port = self._address(sandbox, host)
        name = address if port == 22 else f"[{address}]:{port}"
        done = sandbox.exec(host, "cat /etc/ssh/ssh_host_*_key.pub")
        assert done.returncode == 0, done.stderr
        return "".join(f"{name} {' '.join(line.split()[:2])}\n" for line in done.stdout.splitlines())


@dataclass(frozen=True)
class Here(ControlNode):
    """This machine and this checkout, with the ansible-core beside the running interpreter."""

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        # What somebody set for runs of their own does not count, as it does not on the other machine.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        own = {"PATH": path, "LC_ALL": "C.UTF-8", "ANSIBLE_HOME": str(self.scratch / "ansible")}
        return subprocess.run(
            argv,
            cwd=self.checkout,
            env={**inherited, **own, "ANSIBLE_NOCOLOR": "1", **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )

    def _address(self, sandbox: Sandbox, host: str) -> tuple[str, int]:
        record = _record(sandbox, host)
        return str(record["address"]), int(str(record["port"]))


@dataclass(frozen=True)
class Contained(ControlNode):
    """A sandbox host, driven past SSH as its ordinary user."""

    container: str

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        # The end of `docker exec` would not end what it started: the limit is kept inside.
        limited = ["timeout", "--kill-after=10", str(RUN_S), *argv]
        own = {"ANSIBLE_NOCOLOR": "1", **(env or {})}
        return _exec(self.container, limited, OPS, self.checkout, own, stdin.encode())

    def _address(self, sandbox: Sandbox, host: str) -> tuple[str, int]:
        where = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        inspect = ["docker", "inspect", "--format", where, sandbox.container(host)]
        return subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip(), 22


def here(scratch: Path) -> ControlNode:
    """This machine; `scratch` also becomes Ansible's home, so that no user's configuration counts."""
    return Here("here", PurePosixPath(REPOSITORY), PurePosixPath(scratch))


def prepare(sandbox: Sandbox, host: str) -> ControlNode:
    """Make `host` a control node: Debian's Python, a copy of this checkout, and the newest ansible-core it allows.

    Called again it brings the copy up to date; what is installed stays while pyproject.toml does.
    """
    container = sandbox.container(host)
    environment, authorities = pip_settings()
    environment["WANTED"] = hashlib.sha256((REPOSITORY / "pyproject.toml").read_bytes()).hexdigest()
    system = _exec(container, ["sh", "-euc", SYSTEM], "root", HOME)
    assert system.returncode == 0, (system.stdout + system.stderr)[-2000:]
    install = _exec(container, ["sh", "-euc", INSTALL], OPS, HOME, environment, _archive(authorities))
    assert install.returncode == 0, (install.stdout + install.stderr)[-2000:]
    return Contained(host, HOME / "gpuwright", HOME / "scratch", container)


def pip_settings() -> tuple[dict[str, str], bytes]:
    """How this machine's pip reaches its index, as environment variables, and the authorities that it trusts.

    Folders of this machine that serve as indexes stay here: they only save downloads.
    """
    listing = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in said.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        found.setdefault(section, {})[name] = ast.literal_eval(value)
    merged = {**found["global"], **found["install"], **found[":env:"]}
    remote = {
        name: " ".join(
            word for word in merged.get(name, "").split() if word.startswith(("http://", "https://"))
        )
        for name in ("index-url", "extra-index-url", "proxy")
    }
    plain = {name: merged.get(name, "") for name in ("trusted-host", "timeout", "default-timeout")}
    settings = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in {**remote, **plain}.items()}
    proxies = {name: os.environ[name] for name in (*PROXIES, *map(str.upper, PROXIES)) if name in os.environ}
    named = [
        merged.get("cert"),
        *map(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")),
    ]
    bundles = [Path(path) for path in (*named, ssl.get_default_verify_paths().cafile) if path]
    authorities = next((path.read_bytes() for path in bundles if path.is_file()), b"")
    if authorities:
        settings["PIP_CERT"] = str(HOME / AUTHORITIES)
    return {name: value for name, value in {**settings, **proxies}.items() if value}, authorities


def _archive(authorities: bytes) -> bytes:
    """The checkout as git sees it, with what is not committed yet, and the authorities beside it."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(set(filter(None, names.split("\0")))):
            if os.path.lexists(REPOSITORY / name):  # git still lists a file that was only deleted
                archive.add(REPOSITORY / name, f"gpuwright/{name}", recursive=False)
        member = tarfile.TarInfo(AUTHORITIES)
        member.size = len(authorities)
        archive.addfile(member, io.BytesIO(authorities))
    return buffer.getvalue()


def _exec(
    container: str,
    argv: list[str],
    user: str,
    directory: PurePosixPath,
    env: Mapping[str, str] = MappingProxyType({}),
    stdin: bytes = b"",
) -> subprocess.CompletedProcess[str]:
    """A program in the container; values of `env`, which may be secrets, are in no argument list."""
    own = {"HOME": str(HOME), "PATH": f"{HOME}/venv/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    named = [f"--env={name}={value}" for name, value in own.items()] + [f"--env={name}" for name in env]
    place = [f"--user={user}", f"--workdir={directory}"]
    done = subprocess.run(
        ["docker", "exec", "--interactive", *place, *named, container, *argv],
        env={**os.environ, **env},
        input=stdin,
        capture_output=True,
        check=False,
    )
    output, errors = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, output, errors)


def _record(sandbox: Sandbox, name: str) -> dict[str, object]:
    """The host's entry in sandbox.json."""
    (found,) = (host for host in sandbox.hosts if host["name"] == name)
    return found
