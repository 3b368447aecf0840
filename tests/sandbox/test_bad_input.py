"""Bad input through the real command lines, without a terminal: one clear error, the exit code, no host changed.

These hosts are its own, so that it may come before the story in test_deploy.py, which begins with bare ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from tests.sandbox.files_server import Files, Served, https_files
from tests.sandbox.hosts import REPOSITORY, Sandbox
from tests.sandbox.test_deploy import FINGERPRINT, executed_changes

HOSTS = ("sbx1", "sbx2")
BIN = Path(sys.executable).parent
OK_GGUF = REPOSITORY / "tests" / "fixtures" / "ok.gguf"
SMALL_MODEL = "for data in hosts.values():\n    data['inference_model'] = 'ok'\n"
NO_IMAGE = f"sha256:{'0' * 64}"


class Fleet:
    """Two converged hosts, the second one's sudo asks; and inventories that say something wrong about them."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder
        (folder / "group_data").symlink_to(REPOSITORY / "inventories" / "group_data")

    def run(self, *command: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
        """A command of this virtual environment with no terminal at all, so that no prompt can find one."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=cwd,
            env={**os.environ, "GPUWRIGHT_STATE_DIR": str(self.sandbox.state_dir)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
            start_new_session=True,
        )

    def inventory(self, name: str, python: str) -> Path:
        """The sandbox's inventory with `python` after it."""
        path = self.folder / f"{name}.py"
        path.write_text(
            f"{self.sandbox.inventory.read_text()}\nhosts = dict(sandbox)\n{SMALL_MODEL}\n{python}\n"
        )
        return path

    def fingerprints(self) -> list[str]:
        found = [self.sandbox.exec(name, FINGERPRINT).stdout for name in HOSTS]
        assert all("/etc/gpuwright/applied.json" in text for text in found)  # else nothing was compared
        return found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """GPUWRIGHT_STATE_DIR and GPUWRIGHT_KEEP_SANDBOX work as for the other files."""
    named = os.environ.get("GPUWRIGHT_STATE_DIR")
    state = (Path(named) if named else tmp_path_factory.mktemp("state")) / "bad-input"
    state.mkdir(parents=True, exist_ok=True)
    inventory = REPOSITORY / "inventories" / "sandbox.py"
    made = Fleet(Sandbox([], inventory, state), tmp_path_factory.mktemp("inventories"))
    up = made.run("gpuwright", "sandbox", "up", "--hosts", "2", "--os", "debian12", "--os", "debian13")
    assert up.returncode == 0, up.stdout
    try:
        made.sandbox.hosts.extend(json.loads((state / "sandbox.json").read_text())["hosts"])
        converged = made.run("pyinfra", str(made.inventory("good", "")), "deploy.py", "-y")
        assert converged.returncode == 0, converged.stdout
        yield made
    finally:
        if not os.environ.get("GPUWRIGHT_KEEP_SANDBOX"):
            made.run("gpuwright", "sandbox", "down")


# Wrong before any host is asked: (command, words, exit code). INVENTORIES/ stands for the test's own folder.
WRONG_WORDS = {
    "no such inventory": (
        "pyinfra inventories/sandbix.py deploy.py -y",
        "inventory inventories/sandbix.py: there is no such file; required: an inventory file. "
        "Did you mean inventories/sandbox.py?",
        1,
    ),
    "a directory as inventory": ("pyinfra inventories deploy.py -y", "inventories: this is a directory", 1),
    "an inventory that does not parse": (
        "pyinfra INVENTORIES/unparsable.py deploy.py -y",
        "unparsable.py, line 2: syntax error ('{' was never closed); required: valid Python.",
        1,
    ),
    "an inventory that fails": (
        "pyinfra INVENTORIES/failing.py deploy.py -y",
        "failing.py, line 1: ModuleNotFoundError: No module named 'nosuchmodule'",
        1,
    ),
    "an inventory without hosts": ("pyinfra INVENTORIES/empty.py deploy.py -y", "it declares no host", 1),
    "group_data that does not parse": (
        "pyinfra INVENTORIES/groups/hosts.py deploy.py -y",
        "groups/group_data/all.py, line 1: syntax error",
        1,
    ),
    "a host that is not there": (
        "pyinfra inventories/sandbox.py deploy.py -y --limit sbx11",
        "--limit sbx11: no host or group matches",
        1,
    ),
    "no such deploy file": ("pyinfra inventories/sandbox.py deply.py -y", "No deploy file: deply.py", 1),
    "no such option of pyinfra": ("pyinfra inventories/sandbox.py deploy.py --drry", "'--dry'", 2),
    "no -y": (
        "pyinfra inventories/sandbox.py deploy.py --limit sbx1",
        "no terminal to confirm on. Add -y",
        1,
    ),
    "a typo in a setting": (
        "pyinfra inventories/sandbox.py deploy.py -y --data inferense_model=ok",
        "setting inferense_model: no role has a setting of this name; required: a known setting. "
        "Did you mean inference_model?",
        1,
    ),
    "a wrong type": (
        "pyinfra inventories/sandbox.py deploy.py -y --data inference_services=7",
        "setting inference_services: 7 is not accepted; required: Input should be a list.",
        1,
    ),
    "a way into containers that is none": (
        "pyinfra inventories/sandbox.py deploy.py -y --data gpu_runtime_method=cdii",
        "gpu_runtime_method: 'cdii' is not accepted; required: Input should be 'auto', 'cdi' or 'device-nodes'. "
        "Correct it in the inventory or group_data; see roles/gpu_runtime/README.md.",
        1,
    ),
    "a wrong type in group_data": (
        "pyinfra INVENTORIES/typed.py deploy.py -y --limit sbx1",
        "setting inference_services.0.port: 'http' is not accepted; required: Input should be a valid integer",
        1,
    ),
    "no such command": ("gpuwright statsu sbx1", "Did you mean 'status'?", 64),
    "no such option": ("gpuwright status sbx1 --jsn", "--json", 64),
    "a missing argument": ("gpuwright status", "Missing argument", 64),
    "a host of no inventory": (
        "gpuwright status sbx11",
        "host sbx11: not declared in",
        1,
    ),
    "an inventory that does not parse, for status": (
        "gpuwright status sbx1 --inventory INVENTORIES/unparsable.py",
        "unparsable.py, line 2: syntax error ('{' was never closed)",
        1,
    ),
}


@pytest.mark.parametrize("case", WRONG_WORDS)
def test_what_is_wrong_before_a_host_is_asked(fleet: Fleet, case: str) -> None:
    folder = fleet.folder
    (folder / "unparsable.py").write_text("\nhosts = [('a', {\n")
    (folder / "failing.py").write_text("import nosuchmodule\n")
    (folder / "empty.py").write_text("hosts = []\n")
    fleet.inventory("typed", 'hosts["sbx1"]["inference_services"] = [{"name": "chat", "port": "http"}]')
    (folder / "groups" / "group_data").mkdir(parents=True, exist_ok=True)
    (folder / "groups" / "hosts.py").write_text("hosts = ['a']\n")
    (folder / "groups" / "group_data" / "all.py").write_text("_sudo = = True\n")
    command, words, code = WRONG_WORDS[case]
    before = fleet.fingerprints()
    done = fleet.run(*command.replace("INVENTORIES", str(folder)).split())
    assert words in done.stdout
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout
    assert fleet.fingerprints() == before
    assert "internal exception" not in done.stdout  # pyinfra's words before a traceback in a file


def test_a_run_outside_the_checkout_is_refused_with_the_way_in(fleet: Fleet, tmp_path: Path) -> None:
    before = fleet.fingerprints()
    inventory = str(fleet.sandbox.inventory)
    done = fleet.run("pyinfra", inventory, str(REPOSITORY / "deploy.py"), "-y", cwd=tmp_path)
    assert done.returncode == 1
    assert f"config.py was not read in {tmp_path}; required: a run in the checkout" in done.stdout
    assert "Traceback" not in done.stdout
    assert fleet.fingerprints() == before
    dry = ["--dry", "--limit", "sbx1"]
    inside = fleet.run("pyinfra", "--chdir", str(REPOSITORY), inventory, "deploy.py", *dry, cwd=tmp_path)
    assert inside.returncode == 0, inside.stdout
    status = fleet.run("gpuwright", "status", "sbx11", cwd=tmp_path)
    assert status.returncode == 1
    assert "host sbx11: not declared in" in status.stdout


# Names for the two machines with one thing wrong in each: (data, words of the sentence at the end).
WRONG_WAYS = {
    "no-answer": ('hosts["sbx1"] | {"ssh_port": 1}', "127.0.0.1:1: Could not connect"),
    "no-name": (
        'hosts["sbx1"] | {"ssh_hostname": "host.invalid"}',
        "host.invalid:{port1}: Could not resolve hostname",
    ),
    "wrong-key": (
        'hosts["sbx1"] | {"ssh_key": "{folder}/other"}',
        "SSH does not let user ops in (Authentication error (username=ops, key={folder}/other)",
    ),
    "no-key": (
        'hosts["sbx1"] | {"ssh_key": "{folder}/nosuch"}',
        "ssh_key: No such private key file: {folder}/nosuch; required: a private key that can be read.",
    ),
    "locked-key": (
        'hosts["sbx1"] | {"ssh_key": "{folder}/locked"}',
        "ssh_key: the private key is encrypted and ssh_key_password is not set",
    ),
    "changed-host-key": (
        'hosts["sbx1"] | {"ssh_known_hosts_file": "{folder}/changed"}',
        "its host key has changed; required: the key in {folder}/changed. Someone may be in between.",
    ),
    "unknown-host-key": (
        'hosts["sbx1"] | {"ssh_known_hosts_file": "{folder}/none"}',
        "its host key is not known; required: a key in {folder}/none.",
    ),
    "unknown-host-key-asked": (
        'hosts["sbx1"] | {"ssh_known_hosts_file": "{folder}/none", "ssh_strict_host_key_checking": "ask"}',
        "its host key is not known; required: a key in {folder}/none.",
    ),
    "no-sudo": ('hosts["sbx1"] | {"_sudo": False}', "root access: commands run as user id 1000; required:"),
    "no-sudo-rights": (
        'hosts["sbx2"] | {"ssh_user": "guest", "_sudo_password": "guest"}',
        "root access: the SSH user has no sudo rights (",
    ),
    "wrong-sudo-password": (
        'hosts["sbx2"] | {"_sudo_password": "wrong"}',
        "root access: sudo did not accept the password (sudo: 3 incorrect password attempts); required:",
    ),
    "no-sudo-password": (
        '{key: value for key, value in hosts["sbx2"].items() if key != "_sudo_password"}',
        "root access: sudo asks for a password and none is declared; required: commands that run as root. "
        "Set _sudo_password",
    ),
}


@dataclass(frozen=True)
class Together:
    """One run over a good host and all the wrong ones."""

    output: str
    code: int
    unchanged: bool
    inventory: Path
    words: dict[str, str]


@pytest.fixture(scope="module")
def together(fleet: Fleet) -> Together:
    for name, passphrase in (("other", ""), ("locked", "secret")):
        key = str(fleet.folder / name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", key], check=True)
    other = (fleet.folder / "other.pub").read_text().split()
    port = str(fleet.sandbox.hosts[0]["port"])
    (fleet.folder / "changed").write_text(f"[127.0.0.1]:{port} {other[0]} {other[1]}\n")
    (fleet.folder / "none").write_text("")
    guest = (
        "id guest 2>/dev/null || useradd --create-home --shell /bin/sh guest; echo guest:guest | chpasswd; "
        "mkdir -p ~guest/.ssh; cp ~ops/.ssh/authorized_keys ~guest/.ssh/; chown -R guest: ~guest/.ssh"
    )
    assert fleet.sandbox.exec("sbx2", guest).returncode == 0
    filled = {
        name: tuple(
            text.replace("{folder}", str(fleet.folder)).replace("{port1}", port) for text in WRONG_WAYS[name]
        )
        for name in WRONG_WAYS
    }
    rows = "\n".join(f'sandbox.append(("{name}", {data}))' for name, (data, _) in filled.items())
    inventory = fleet.inventory("together", f'sandbox = [("sbx1", hosts["sbx1"])]\n{rows}')
    changed = "sleep 1; touch /etc/gpuwright/chat.conf"  # work for the good host
    fleet.sandbox.exec("sbx1", changed)
    before = fleet.fingerprints()[1]
    done = fleet.run("pyinfra", str(inventory), "deploy.py", "-y")
    words = {name: words for name, (_, words) in filled.items()}
    return Together(done.stdout, done.returncode, fleet.fingerprints()[1] == before, inventory, words)


@pytest.mark.parametrize("name", WRONG_WAYS)
def test_a_host_that_cannot_be_used_says_why_at_the_end(together: Together, name: str) -> None:
    _, _, end = together.output.partition("--> Results:")
    (line,) = (line for line in end.splitlines() if f"[{name}] " in line)
    assert together.words[name] in line
    assert "; required: " in line


def test_the_others_converge_all_the_same(together: Together) -> None:
    assert together.code == 1
    assert executed_changes(together.output) == {"Inference | Services"}
    assert "Traceback" not in together.output
    assert "no section os_release" not in together.output  # a second reason that is none
    assert together.unchanged


@pytest.mark.parametrize(
    "name", ["wrong-key", "changed-host-key", "unknown-host-key-asked", "no-key", "no-answer"]
)
def test_status_of_a_host_that_cannot_be_reached(fleet: Fleet, together: Together, name: str) -> None:
    done = fleet.run("gpuwright", "status", name, "--inventory", str(together.inventory))
    assert done.returncode == 1
    assert f"host {name}: cannot be reached (" in done.stdout
    assert "Traceback" not in done.stdout and "[y/n]" not in done.stdout


@pytest.mark.parametrize("name", ["wrong-sudo-password", "no-sudo-password", "no-sudo-rights"])
def test_status_of_a_host_without_root(fleet: Fleet, together: Together, name: str) -> None:
    done = fleet.run("gpuwright", "status", name, "--inventory", str(together.inventory))
    assert done.returncode == 1
    assert f"host {name}: a command could not run" in done.stdout
    assert "Traceback" not in done.stdout


HOLD_LOCK = """
perl -e 'use Fcntl; open(F, ">>", shift); $s = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
fcntl(F, F_SETLK, $s) or die; sleep shift' LOCK SECONDS >/dev/null 2>&1 &
echo $! >/run/stranger; sleep 0.3
"""
LISTEN = """
systemctl stop gpuwright-chat
perl -MSocket -e 'socket(S, PF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(8080, INADDR_ANY)) or die; listen(S, 5);
sleep 300' >/dev/null 2>&1 &
echo $! >/run/stranger; sleep 0.3
"""
GO = "kill $(cat /run/stranger)"
OTHER_OS = """
cp --remove-destination /usr/lib/os-release /etc/os-release
sed -i 's/^VERSION_ID=.*/VERSION_ID=99/; s/^PRETTY_NAME=.*/PRETTY_NAME=Debian-99/' /etc/os-release
"""
SMALL_DISK = "mkdir -p /mnt/small && mount -t tmpfs -o size=64m tmpfs /mnt/small"


@dataclass(frozen=True)
class Case:
    """What is wrong on sbx1 or in its settings; NUMBER in `words` is a process id."""

    words: str
    data: tuple[str, ...] = ()
    model: dict[str, str] = field(default_factory=dict)
    broken: str = "true"
    repaired: str = "true"


CASES = {
    "unsupported system": Case(
        "operating system: Debian-99; required: debian 12",
        broken=OTHER_OS,
        repaired="ln -sfn ../usr/lib/os-release /etc/os-release",
    ),
    "daemon.json that is not JSON": Case(
        "/etc/docker/daemon.json: not JSON",
        broken="cp -p /etc/docker/daemon.json /run/; echo '{ not' >/etc/docker/daemon.json",
        repaired="cp -p /run/daemon.json /etc/docker/daemon.json",
    ),
    "apt lock held": Case(
        "/var/lib/dpkg/lock-frontend: perl (pid NUMBER) still holds it after 3 s; required: apt to be free within 3 s",
        data=('base_extra_packages=["hello"]', "base_apt_lock_timeout_s=3"),
        broken=HOLD_LOCK.replace("LOCK", "/var/lib/dpkg/lock-frontend").replace("SECONDS", "300"),
        repaired=GO,
    ),
    "port taken": Case(
        "port 8080 of service chat: perl (pid NUMBER) listens there; required: a free port on 127.0.0.1.",
        broken=LISTEN,
        repaired=f"{GO}; systemctl start gpuwright-chat",
    ),
    "less disk than the model needs": Case(
        "model store /mnt/small: 67 MB are free; required: 269 MB",
        data=("model_store_directory=/mnt/small",),
        broken=SMALL_DISK,
        repaired="umount /mnt/small",
    ),
    "model file that does not exist": Case(
        "/no/such.gguf: the control machine has no such file; required: a file on the machine that runs the deploy.",
        model={"path": "/no/such.gguf"},
    ),
    "truncated GGUF": Case(
        "cut.gguf: it has 100000 bytes and its tensors end at byte 215552: it was cut off; "
        "required: a whole GGUF file.",
        model={"path": "FOLDER/cut.gguf"},
    ),
    "no GGUF at all": Case(
        "page.gguf: it begins with b'<htm', not with GGUF; required: a whole GGUF file.",
        model={"path": "FOLDER/page.gguf"},
    ),
    "model with another sha256": Case(
        f"gave 215552 bytes with sha256 SHA; required: sha256 {'0' * 64}. The download was removed.",
        model={"url": "URL/ok.gguf", "sha256": "0" * 64},
    ),
    "image that this machine lacks": Case(
        f"image {NO_IMAGE}: unknown to this machine's Docker engine; required: an image built or pulled here.",
        data=(f"inference_image={NO_IMAGE}",),
    ),
}


@pytest.fixture(scope="module")
def server(fleet: Fleet) -> Iterator[Files]:
    """ok.gguf over HTTPS, from an authority that sbx1 trusts."""
    authority = trustme.CA()
    certificate = authority.cert_pem.bytes().decode()
    done = fleet.sandbox.exec(
        "sbx1",
        f"umask 022; printf %s '{certificate}' >/usr/local/share/ca-certificates/tests.crt; "
        "update-ca-certificates >/dev/null 2>&1; ip -4 route show default",
    )
    with https_files(done.stdout.split()[2], authority) as served:
        served.served["/ok.gguf"] = Served(OK_GGUF.read_bytes())
        yield served


@pytest.mark.parametrize("name", CASES)
def test_what_a_host_or_a_setting_cannot_do(fleet: Fleet, server: Files, name: str) -> None:
    case = CASES[name]
    content = OK_GGUF.read_bytes()
    (fleet.folder / "cut.gguf").write_bytes(content[:100000])
    (fleet.folder / "page.gguf").write_text("<html>Sign in</html>")
    data = list(case.data)
    if case.model:
        declared = json.dumps([{"name": "x", **case.model}])
        declared = declared.replace("FOLDER", str(fleet.folder)).replace("URL", server.url)
        data += [f"model_store_models={declared}", "inference_model=x"]
    good = str(fleet.inventory("good", ""))
    settings = [word for setting in data for word in ("--data", setting)]
    fleet.sandbox.exec("sbx1", case.broken)
    try:
        before = fleet.fingerprints()
        done = fleet.run("pyinfra", good, "deploy.py", "-y", "--limit", "sbx1", *settings)
        after = fleet.fingerprints()
        number = fleet.sandbox.exec("sbx1", "cat /run/stranger").stdout.strip()
    finally:
        fleet.sandbox.exec("sbx1", case.repaired)
    words = case.words.replace("NUMBER", number).replace("SHA", _sha256(OK_GGUF))
    assert words in done.stdout
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert after == before


def test_a_taken_port_is_said_by_a_dry_run(fleet: Fleet) -> None:
    good = str(fleet.inventory("good", ""))
    fleet.sandbox.exec("sbx1", LISTEN)
    try:
        done = fleet.run("pyinfra", good, "deploy.py", "--dry", "--limit", "sbx1")
    finally:
        fleet.sandbox.exec("sbx1", CASES["port taken"].repaired)
    assert "port 8080 of service chat: perl (pid " in done.stdout
    assert done.returncode == 0


def test_apt_is_waited_for_and_its_holder_named(fleet: Fleet) -> None:
    """Its lists, whose lock apt itself does not wait for."""
    hold = HOLD_LOCK.replace("LOCK", "/var/lib/apt/lists/lock").replace("SECONDS", "6")
    good = str(fleet.inventory("good", ""))
    fleet.sandbox.exec("sbx1", hold)
    extra = ["--data", 'base_extra_packages=["hello"]']
    try:
        done = fleet.run("pyinfra", good, "deploy.py", "-y", "--limit", "sbx1", *extra)
        there = fleet.sandbox.exec("sbx1", "dpkg-query --show hello").returncode
    finally:
        fleet.sandbox.exec("sbx1", "apt-get purge --yes hello")
    assert "holds /var/lib/apt/lists/lock: 0 of 600 s" in done.stdout
    assert (done.returncode, there) == (0, 0), done.stdout


def _sha256(path: Path) -> str:
    return subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
