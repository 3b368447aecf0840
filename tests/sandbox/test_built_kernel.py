"""kernel_flavour = "built" on a host: its repository, packages, lock and holds; a newer build comes with a new lock.

Real are the builder, the repository with its key and signature, the metapackages, apt, dpkg, and GRUB's menu. Stand-in
are the kernels, files of a few bytes in packages with the names that `make bindeb-pkg` gives, and what runs: the
disguise of gpu_stand_in.py says which one, so a reboot is a change of that text. The host has no GPU: the setting alone
asks for the kernel.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuwright.kernel_build import metapackage, needs, wanted
from gpuwright.kernel_build.builder import Builder, builder
from gpuwright.kernel_build.compile import Package
from gpuwright.kernel_build.repository import ON_HOST, Repository
from gpuwright.operations.kernel_repository import TRANSFERS
from tests.sandbox.driver_hosts import FINGERPRINT, STORE, DriverHosts
from tests.sandbox.hosts import REPOSITORY, Sandbox, gpuwright
from tests.sandbox.test_deploy import executed_changes

HOST = "sbx1"
ROW = wanted.source("debian13", "", "")
OLD, NEW = "6.12.117-p2p", "6.12.118-p2p"
VERSIONS = {OLD: "6.12.117-1+p2p1", NEW: "6.12.118-1+p2p1"}
SETTINGS = """
    _data |= {"kernel_flavour": "built", "kernel_repository": "kernels/debian13", "kernel_reboot": "no_fallback"}
"""
TOOLS = "export DEBIAN_FRONTEND=noninteractive; apt-get -q update; apt-get -q install -y --no-install-recommends $TOOLS"
# The image's postinst as the kernel's own makefiles write it; the headers are what dkms looks for.
STUB = """
rm -rf /build/image /build/headers
mkdir -p /build/image/DEBIAN /build/image/boot "/build/image/lib/modules/$RELEASE/kernel"
mkdir -p /build/headers/DEBIAN "/build/headers/lib/modules/$RELEASE/build"
echo "stand-in $RELEASE" > "/build/image/boot/vmlinuz-$RELEASE"
printf 'CONFIG_%s=y\\n' $SYMBOLS > "/build/image/boot/config-$RELEASE"
touch "/build/headers/lib/modules/$RELEASE/build/Makefile"
printf '#!/bin/sh\\nset -e\\nrun-parts --exit-on-error --arg="%s" --arg="/boot/vmlinuz-%s" /etc/kernel/postinst.d\\n' \\
    "$RELEASE" "$RELEASE" > /build/image/DEBIAN/postinst
chmod 0755 /build/image/DEBIAN/postinst
for kind in image headers; do
    {
        printf 'Package: linux-%s-%s\\nVersion: %s\\nArchitecture: amd64\\n' "$kind" "$RELEASE" "$VERSION"
        printf 'Maintainer: tests <t@localhost>\\nDescription: stub\\n'
    } > "/build/$kind/DEBIAN/control"
    dpkg-deb --root-owner-group --build "/build/$kind" "/build/linux-$kind-${RELEASE}_$VERSION.deb"
done
"""
# What a killed run, or somebody, may leave in the folder.
DISORDER = f"""
cd {ON_HOST}
echo x > leftover.deb
echo x > .Packages.new
echo x > Packages
chmod 0666 linux-headers-*.deb
"""


def add(tools: Builder, repository: Repository, release: str) -> None:
    """What `gpuwright kernel build` does once make has ended."""
    version, symbols = VERSIONS[release], " ".join(symbol.symbol for symbol in wanted.peers(ROW.series))
    tools.run("stub", STUB, release=release, version=version, symbols=symbols)
    image, headers = (
        Package(f"linux-{kind}-{release}", version, "amd64", f"/build/linux-{kind}-{release}_{version}.deb")
        for kind in ("image", "headers")
    )
    name = wanted.wanted(ROW, None, reduced=False).metapackage
    repository.add(tools, [image, headers, metapackage.build(tools, name, image, headers)])


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    named = os.environ.get("GPUWRIGHT_STATE_DIR")
    with pytest.MonkeyPatch.context() as patch:
        made = Path(named) / "built" if named else tmp_path_factory.mktemp("built")
        patch.setenv("GPUWRIGHT_STATE_DIR", str(made))
        yield made


@pytest.fixture(scope="module")
def builds(state_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder as two builds left it, one after the other; before the second somebody removed the first's image."""
    working = Repository(tmp_path_factory.mktemp("kernels") / "debian13", "trixie")
    kept = {}
    with builder("debian13", "", print) as tools:
        tools.run("tools", TOOLS, tools=" ".join(needs.load().packages("archive")))
        for release in (OLD, NEW):
            working.root.mkdir(exist_ok=True)
            for old in working.apt.glob(f"linux-image-{OLD}_*.deb"):
                old.unlink()
            add(tools, working, release)
            kept[release] = tmp_path_factory.mktemp("build") / "debian13"
            shutil.copytree(working.root, kept[release])
    return kept


@pytest.fixture(scope="module")
def machine(state_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DriverHosts]:
    """A Debian 13 as a bare machine without cards that says it runs OLD, of which it has no file."""
    gpuwright("sandbox", "up", "--hosts", "1", "--os", "debian13")
    try:
        hosts = json.loads((state_dir / "sandbox.json").read_text())["hosts"]
        sandbox = Sandbox(hosts, REPOSITORY / "inventories" / "sandbox.py", state_dir)
        folder = tmp_path_factory.mktemp("built-inventory")
        made = DriverHosts(sandbox, folder, stub=None, toolkit=None)  # type: ignore[arg-type]
        made.write_inventory()
        made.inventory.write_text(made.inventory.read_text() + SETTINGS)
        made.stand_in(HOST).dress(OLD, [])
        made.ask(HOST, "apt-get -q update")
        made.stand_in(HOST).grub()
        yield made
    finally:
        if not os.environ.get("GPUWRIGHT_KEEP_SANDBOX"):
            gpuwright("sandbox", "down")


@pytest.fixture(scope="module")
def first(machine: DriverHosts, builds: dict[str, Path]) -> str:
    """The output of the run that brings the kernel."""
    copied(machine, builds[OLD])
    run = machine.deploy()
    assert run.returncode == 0, run.stdout
    return run.stdout


def copied(machine: DriverHosts, build: Path) -> None:
    """The operator's folder, beside the inventory, is as this build left it."""
    folder = machine.folder / "kernels" / "debian13"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(build, folder)


def begun(machine: DriverHosts, deb: Path) -> None:
    """A transfer of this file was cut off."""
    content = deb.read_bytes()
    part = f"{TRANSFERS}/.partial/{hashlib.sha256(content).hexdigest()}"
    words = base64.b64encode(content[:100]).decode()
    machine.ask(HOST, f"mkdir -p {TRANSFERS}/.partial; echo {words} | base64 -d > {part}")


def packages(machine: DriverHosts) -> dict[str, str]:
    """Versions of the packages with p2p in their name that are installed and held."""
    shown = machine.ask(HOST, "dpkg-query -W -f '${db:Status-Abbrev}${Package} ${Version}\\n' 'linux-*p2p*'")
    rows = [line.split() for line in shown.splitlines()]
    return {name: version for status, name, version in rows if status == "hi"}


def built(release: str) -> dict[str, str]:
    names = (ROW.image, f"linux-image-{release}", f"linux-headers-{release}")
    return dict.fromkeys(names, VERSIONS[release])


def fingerprint(machine: DriverHosts) -> list[str]:
    """The host's state, without the store and with the folder."""
    lines = machine.ask(HOST, f"{FINGERPRINT}\napt-mark showhold; ls -lA {ON_HOST}").splitlines()
    return [line for line in lines if STORE not in line]


def served(machine: DriverHosts) -> set[str]:
    return set(machine.ask(HOST, f"ls -A {ON_HOST}").split())


def test_a_deploy_brings_locks_and_holds_it(machine: DriverHosts, first: str) -> None:
    assert "MB from this machine" in first
    assert packages(machine) == built(OLD)
    locked = json.loads(machine.lock(HOST).read_text())["sets"]["kernel"]
    assert (locked["for"], locked["versions"]) == ([ROW.image], built(OLD))
    assert served(machine) == {f"{n}_{v}_amd64.deb" for n, v in built(OLD).items()} | {
        "Packages",
        "InRelease",
    }
    unsafe = machine.ask(HOST, f"find {ON_HOST} ! -user 0 -o -perm /022; find {ON_HOST} -type f ! -perm 0644")
    assert unsafe == ""
    assert f"vmlinuz-{OLD}" in machine.ask(HOST, "cat /boot/grub/grub.cfg")
    assert f"linux-image-{OLD}_" in machine.ask(HOST, f"ls {STORE}"), "a rollback needs it"


def test_a_second_run_changes_nothing(machine: DriverHosts, first: str) -> None:
    before = fingerprint(machine)
    again = machine.deploy()
    assert again.returncode == 0, again.stdout
    assert executed_changes(again.stdout) == set()
    assert fingerprint(machine) == before


def test_a_folder_that_is_none_changes_nothing(machine: DriverHosts, first: str) -> None:
    before = fingerprint(machine)
    run = machine.deploy("--data", "kernel_repository=kernels")
    assert run.returncode == 1, run.stdout
    assert f"Did you mean {machine.folder / 'kernels' / 'debian13'}?" in " ".join(run.stdout.split())
    assert "Traceback" not in run.stdout
    assert fingerprint(machine) == before


def test_a_newer_build_waits_for_its_lock(machine: DriverHosts, first: str, builds: dict[str, Path]) -> None:
    machine.ask(HOST, DISORDER)
    begun(machine, builds[NEW] / "apt" / f"linux-image-{NEW}_{VERSIONS[NEW]}_amd64.deb")
    copied(machine, builds[NEW])
    news = machine.deploy()
    assert news.returncode == 0, news.stdout
    assert "MB are there already" in news.stdout
    assert packages(machine) == built(OLD)
    files = served(machine)
    assert files == {path.name for path in builds[NEW].glob("apt/*.deb")} | {"Packages", "InRelease"}
    assert f"linux-image-{OLD}_{VERSIONS[OLD]}_amd64.deb" not in files
    assert machine.ask(HOST, f"find {ON_HOST} -type f -perm /022") == ""

    words = ("--inventory", str(machine.inventory))
    chosen = machine.run("gpuwright", "lock", HOST, "--update", *words)
    assert chosen.returncode == 0, chosen.stdout
    machine.stand_in(HOST).boot(NEW)
    moved = machine.deploy()
    assert moved.returncode == 0, moved.stdout
    assert packages(machine).items() >= built(NEW).items()
    locked = json.loads(machine.lock(HOST).read_text())["sets"]["kernel"]["versions"]
    assert locked == built(NEW)
