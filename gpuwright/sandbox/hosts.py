"""One sandbox host: a container whose pid 1 is systemd."""

from __future__ import annotations

import io
import tarfile
import time

import docker
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox.engine import cgroup_version
from gpuwright.sandbox.state import HostRecord

STATE_LABEL = "gpuwright.sandbox"
HOST_LABEL = "gpuwright.sandbox.host"

# Engines keep layers in overlayfs, which cannot lie on the container's own overlayfs: volumes for each.
ENGINE_DIRECTORIES = ("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers")

# By name, not `privileged`: that asks for everything and fails where one capability is missing, and it would
# let a role under test change the control machine (/proc/sys, devices).
CAPABILITIES = ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_BOOT"]

BOOT_TIMEOUT_S = 180.0


def ensure(client: docker.DockerClient, sandbox: str, host: HostRecord, image: str, public_key: str) -> bool:
    """Make and start the host's container where it is missing; returns whether anything was done."""
    container = find(client, sandbox, host.name)
    started = container is None or container.status != "running"
    if container is None:
        container = _create(client, sandbox, host, image)
    if started:
        container.put_archive("/", _personal_files(host, public_key))
        try:
            container.start()
        except APIError as error:
            raise _refused(host, str(error.explanation)) from error
        wait_booted(client, sandbox, host)
    if host.sudo_password is not None:  # again on a running host: an earlier call may have died before this
        script = 'printf "%s:%s\\n" "$SANDBOX_USER" "$SANDBOX_PASSWORD" | chpasswd'
        secret = {"SANDBOX_USER": host.user, "SANDBOX_PASSWORD": host.sudo_password}
        execute(container, ["sh", "-c", script], secret)
    return started


def find(client: docker.DockerClient, sandbox: str, name: str) -> Container | None:
    """The container of a host, running or not."""
    for container in containers(client, sandbox):
        if container.labels.get(HOST_LABEL) == name:
            return container
    return None


def require(client: docker.DockerClient, sandbox: str, name: str) -> Container:
    """The container of a host; GpuwrightError when something removed it."""
    container = find(client, sandbox, name)
    if container is None:
        raise GpuwrightError.of(
            f"sandbox host {name}", "its container is gone", "a container", "Run `gpuwright sandbox up`."
        )
    return container


def containers(client: docker.DockerClient, sandbox: str) -> list[Container]:
    """Every container of one sandbox, found by label: true also after a crash half-way."""
    return client.containers.list(all=True, filters={"label": f"{STATE_LABEL}={sandbox}"})


def remove_all(client: docker.DockerClient, sandbox: str) -> list[str]:
    """Remove the sandbox's containers and volumes; returns the names of the hosts that were there."""
    removed = []
    for container in containers(client, sandbox):
        removed.append(container.labels.get(HOST_LABEL, container.name or "?"))
        try:
            container.remove(force=True, v=True)
        except NotFound:
            continue  # another `down` was faster
    for volume in client.volumes.list(filters={"label": f"{STATE_LABEL}={sandbox}"}):
        volume.remove(force=True)
    return sorted(removed)


def execute(container: Container, command: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a command as root in the container, without SSH; its output, or GpuwrightError when it fails."""
    code, text = _run(container, command, environment or {})
    if code != 0:
        raise GpuwrightError.of(
            f"sandbox container {container.name}",
            f"`{command[0]}` failed with {code}: {text.strip()[-300:]}",
            "exit status 0",
            "Run `gpuwright sandbox down`, then `up` again.",
        )
    return text


def host_keys(container: Container, host: HostRecord) -> list[str]:
    """known_hosts lines from the keys that the host really has."""
    public = execute(container, ["sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub"])
    return [f"[{host.address}]:{host.port} {' '.join(line.split()[:2])}" for line in public.splitlines()]


def system_state(container: Container) -> str:
    """What systemd says of itself (`running`, `degraded`, `starting`), or `down`."""
    try:
        words = _run(container, ["systemctl", "is-system-running"], {})[1].split()
    except APIError:
        return "down"
    return words[0] if len(words) == 1 else "booting"  # more words: systemctl cannot reach pid 1 yet


def failed_units(container: Container) -> list[str]:
    """Names of the units that failed, for a host that is `degraded`."""
    listing = execute(container, ["systemctl", "--failed", "--plain", "--no-legend", "--no-pager"])
    return [line.split()[0] for line in listing.splitlines() if line.strip()]


def wait_booted(client: docker.DockerClient, sandbox: str, host: HostRecord) -> None:
    """Return when systemd has finished booting; GpuwrightError with the container's words when it dies."""
    deadline = time.monotonic() + BOOT_TIMEOUT_S
    while time.monotonic() < deadline:
        container = require(client, sandbox, host.name)
        if container.status == "exited" or int(container.attrs.get("RestartCount", 0)) > 0:
            words = container.logs(tail=5).decode(errors="replace").strip()
            container.stop(timeout=0)
            raise _refused(host, f"systemd stopped while booting: {words or 'no output'}")
        if container.status == "running" and system_state(container) in ("running", "degraded"):
            return
        time.sleep(0.3)
    raise _refused(host, f"not booted after {BOOT_TIMEOUT_S:.0f} s")


def _run(container: Container, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and output of a command run as root."""
    result = container.exec_run(command, environment=environment)
    output = result.output
    return result.exit_code or 0, output.decode(errors="replace") if isinstance(output, bytes) else ""


def _create(client: docker.DockerClient, sandbox: str, host: HostRecord, image: str) -> Container:
    """The container and its volumes, not started."""
    labels = {STATE_LABEL: sandbox, HOST_LABEL: host.name}
    name = f"gpuwright-{sandbox}-{host.name}"
    binds: dict[str, dict[str, str]] = {}
    for directory in ENGINE_DIRECTORIES:
        volume = client.volumes.create(f"{name}{directory.replace('/', '-')}", labels=labels)
        binds[volume.name] = {"bind": directory, "mode": "rw"}
    legacy = cgroup_version(client) == "1"
    if legacy:  # no namespaces for v1 hierarchies: systemd finds its own part below the machine's
        binds["/sys/fs/cgroup"] = {"bind": "/sys/fs/cgroup", "mode": "rw"}
    return client.containers.create(
        image,
        ["/usr/local/sbin/sandbox-init"],
        name=name,
        hostname=host.name,
        labels=labels,
        environment={"container": "docker"},  # systemd leaves hardware units out when it sees this
        cap_add=CAPABILITIES,
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        cgroupns="host" if legacy else "private",
        volumes=binds,
        tmpfs={"/run": "mode=755,size=256m", "/run/lock": "size=5m"},
        ports={"22/tcp": (host.address, host.port)},
        stop_signal="SIGRTMIN+3",  # systemd's clean shutdown
        restart_policy={"Name": "always"},  # so that `reboot` inside comes back
    )


def _personal_files(host: HostRecord, public_key: str) -> bytes:
    """A tar of what differs per host: who may log in, and whether sudo asks."""
    rule = "ALL" if host.sudo_password is not None else "NOPASSWD: ALL"
    entries = {
        f"home/{host.user}/.ssh": (None, 0o700, host.user),
        f"home/{host.user}/.ssh/authorized_keys": (public_key, 0o600, host.user),
        f"etc/sudoers.d/{host.user}": (f"{host.user} ALL=(ALL:ALL) {rule}\n", 0o440, "root"),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (text, mode, owner) in entries.items():
            member = tarfile.TarInfo(path)
            member.mode = mode
            member.uid = member.gid = 0 if owner == "root" else 1000  # the image's first user
            if text is None:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _refused(host: HostRecord, observed: str) -> GpuwrightError:
    """An engine or kernel that cannot carry systemd in a container."""
    return GpuwrightError.of(
        f"sandbox host {host.name}",
        observed,
        f"an engine that grants {', '.join(CAPABILITIES)} and a writable cgroup tree to a container",
        "Use a machine or VM where Docker runs as root (not rootless, not inside an unprivileged container).",
    )
