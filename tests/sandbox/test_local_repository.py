"""NVIDIA's local repository on a real host: a file of the control machine, unpacked with dpkg, read by apt.

The file is a stub: packed as NVIDIA packs its own, with the packages of stub_driver.py and a key of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpuwright import catalog
from gpuwright.plan.gpu_model import DriverPlan
from gpuwright.plan.nvidia.local import LocalRepository
from tests.sandbox.driver_hosts import DRIVER
from tests.sandbox.files_server import Files
from tests.sandbox.hosts import REPOSITORY, Sandbox
from tests.sandbox.stub_driver import Release, StubDriver
from tests.synthetic import host as machine
from tests.unit.nvidia_host import RTX4090, driver_of

NEWER = Release("580.178.04-1")
NETWORK = "/etc/apt/sources.list.d/gpuwright-nvidia-cuda.sources"
TIDY = """
dpkg --purge $(dpkg-query --show --showformat '${Package} ' 'nvidia-driver-local-repo-*') >/dev/null 2>&1
rm -f /etc/apt/preferences.d/gpuwright-nvidia /usr/share/keyrings/nvidia-driver-local-*.gpg /tmp/asked
"""


@pytest.fixture
def stub(prepared: Sandbox, files: Files, tmp_path: Path) -> Iterator[StubDriver]:
    made = StubDriver(tmp_path / "stub", files)
    yield made
    prepared.exec(str(prepared.hosts[-1]["name"]), TIDY)
    made.close()


def pack(stub: StubDriver, driver: Release, folder: Path, says: str = "") -> Path:
    """The file as its name says, with a control file that `says` another package where it is given."""
    stub.publish("debian 13", [driver])
    name = f"nvidia-driver-local-repo-debian13-{driver.upstream}"
    tree = folder / driver.upstream / (says or "tree")
    place = tree / "var" / name
    place.mkdir(parents=True)
    for path in (stub.root / "repository").iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    keyring = f"nvidia-driver-local-{driver.upstream.replace('.', '')[:8]}-keyring.gpg"
    armored = stub.key().encode()
    done = subprocess.run(["gpg", "--dearmor"], input=armored, capture_output=True, check=True)
    (place / keyring).write_bytes(done.stdout)
    source = tree / f"etc/apt/sources.list.d/{name.replace('-repo', '')}.list"
    source.parent.mkdir(parents=True)
    source.write_text(f"deb [signed-by=/usr/share/keyrings/{keyring}] file:///var/{name} /\n")
    control = tree / "DEBIAN/control"
    control.parent.mkdir()
    text = f"Package: {says or name}\nVersion: 1.0-1\nArchitecture: amd64\n"
    control.write_text(
        f"{text}Maintainer: stub <stub@example.invalid>\nDescription: stub: NVIDIA's local repository\n"
    )
    deb = folder / f"{name}_1.0-1_amd64.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, deb], check=True, capture_output=True
    )
    return deb


def plan_of(deb: Path) -> DriverPlan:
    return driver_of(machine("debian 13", [RTX4090]), nvidia_driver_local_repository=str(deb))


def bring(sandbox: Sandbox, folder: Path, plan: DriverPlan) -> subprocess.CompletedProcess[str]:
    file = folder / "deploy_local.py"
    file.write_text(
        "from gpuwright.operations import files, nvidia_sources\n"
        "from gpuwright.plan.model import AptPin, ManagedFile\n"
        "from gpuwright.plan.nvidia.local import LocalRepository\n"
        "from gpuwright.plan.stack import Preferences\n"
        f"places = {plan.repositories!r}\n"
        f"pins = Preferences({plan.pins!r})\n"
        "nvidia_sources.present(name='Repositories', places=places, lock_timeout_s=60, _sudo=True)\n"
        "file = ManagedFile('/etc/apt/preferences.d/gpuwright-nvidia', 'nvidia_driver/preferences.j2', pins)\n"
        "files.rendered(name='Pins', files=(file,), _sudo=True)\n"
    )
    command = [str(Path(sys.executable).parent / "pyinfra"), str(sandbox.inventory), str(file), "-y"]
    command += ["--limit", str(sandbox.hosts[-1]["name"])]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_apt_takes_the_driver_from_the_file(prepared: Sandbox, stub: StubDriver, tmp_path: Path) -> None:
    host = str(prepared.hosts[-1]["name"])
    deb = pack(stub, DRIVER, tmp_path)
    plan = plan_of(deb)
    prepared.exec(host, f"echo 'Types: deb' >{NETWORK}")
    brought = bring(prepared, tmp_path, plan)
    assert brought.returncode == 0, brought.stderr
    assert prepared.exec(host, f"ls {NETWORK} /var/lib/gpuwright/driver/*.deb 2>/dev/null").stdout == ""
    updated = prepared.exec(host, "apt-get -q update -o APT::Update::Error-Mode=any")
    assert updated.returncode == 0, updated.stdout + updated.stderr
    policy = prepared.exec(host, "apt-cache policy nvidia-persistenced").stdout
    known = catalog.load().nvidia.local[0]
    assert f"Candidate: {DRIVER.version}" in policy and f"{known.priority}" in policy
    simulated = prepared.exec(host, f"apt-get -s install --no-install-recommends {' '.join(plan.packages)}")
    assert f"nvidia-driver-cuda ({DRIVER.version}" in simulated.stdout, simulated.stdout + simulated.stderr

    deb.unlink()  # a host that has it needs the file no more
    again = bring(prepared, tmp_path, plan)
    assert "No changes" in again.stderr, again.stderr


def test_another_version_takes_its_place(prepared: Sandbox, stub: StubDriver, tmp_path: Path) -> None:
    host = str(prepared.hosts[-1]["name"])
    assert bring(prepared, tmp_path, plan_of(pack(stub, NEWER, tmp_path))).returncode == 0
    older = plan_of(pack(stub, DRIVER, tmp_path))
    assert bring(prepared, tmp_path, older).returncode == 0
    prepared.exec(host, "apt-get -q update")
    assert f"Candidate: {DRIVER.version}" in prepared.exec(host, "apt-cache policy nvidia-driver-cuda").stdout
    prepared.exec(host, "rm -f /usr/share/keyrings/nvidia-driver-local-*.gpg")
    assert bring(prepared, tmp_path, older).returncode == 0
    updated = prepared.exec(host, "apt-get -q update -o APT::Update::Error-Mode=any")
    assert updated.returncode == 0, updated.stdout + updated.stderr


def test_a_file_that_is_missing_or_is_not_what_its_name_says_changes_nothing(
    prepared: Sandbox, stub: StubDriver, tmp_path: Path
) -> None:
    host = str(prepared.hosts[-1]["name"])
    deb = pack(stub, DRIVER, tmp_path, says="nvidia-driver-local-repo-debian12-535.54.03")
    plan = plan_of(deb)
    before = prepared.exec(host, "dpkg-query --show; ls /etc/apt/sources.list.d /var").stdout
    (place,) = plan.repositories
    assert isinstance(place, LocalRepository)
    missing = replace(plan, repositories=(replace(place, file=str(tmp_path / "absent.deb")),))
    for wrong, says in ((plan, "debian12-535.54.03"), (missing, "has no file")):
        refused = bring(prepared, tmp_path, wrong)
        assert refused.returncode == 1
        assert says in refused.stderr, refused.stderr
        assert prepared.exec(host, "dpkg-query --show; ls /etc/apt/sources.list.d /var").stdout == before
