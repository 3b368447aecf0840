"""The stub of NVIDIA's repository: what is in it, and that nobody can take it for a driver."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuwright import catalog
from tests.sandbox.files_server import Files
from tests.sandbox.stub_driver import BESIDE, Release, StubDriver
from tests.sandbox.stub_repository import PARTS
from tests.sandbox.stub_toolkit import FILES, StubToolkit, uri
from tests.stub_archive.archive import missing_tools

NOW, NEWER, OTHER = Release("580.159.04-1"), Release("580.178.04-1"), Release("595.71.05-1", knows="6.12.94")
BASE = "/compute/cuda/repos/debian13/x86_64"

pytestmark = pytest.mark.skipif(
    bool(missing_tools()), reason="building packages needs dpkg-deb, apt-ftparchive, gpg"
)


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubDriver]:
    made = StubDriver(tmp_path_factory.mktemp("stub"), Files())
    yield made
    made.close()


def index(stub: StubDriver) -> str:
    return stub.files.served[f"{BASE}/Packages"].content.decode()


def unpacked(stub: StubDriver, package: str, folder: Path) -> Path:
    (name,) = (path for path in stub.files.served if path.rpartition("/")[2].startswith(f"{package}_"))
    deb = folder / "package.deb"
    deb.write_bytes(stub.files.served[name].content)
    subprocess.run(["dpkg-deb", "--raw-extract", deb, folder / "tree"], check=True)
    return folder / "tree"


def verified(stub: StubDriver, key: str, folder: Path) -> bool:
    """What gpg says of the index with a key, in an empty home."""
    folder.chmod(0o700)
    gpg = ["gpg", "--homedir", str(folder), "--batch", "--quiet"]
    subprocess.run([*gpg, "--import"], input=key.encode(), check=True, capture_output=True)
    release = stub.files.served[f"{BASE}/InRelease"].content
    done = subprocess.run([*gpg, "--verify"], input=release, capture_output=True, check=False)
    return done.returncode == 0


def test_it_has_every_name_that_the_plan_installs_from_nvidia(stub: StubDriver) -> None:
    stub.publish("debian 13", [NOW, NEWER])
    names = set(re.findall(r"^Package: (.*)$", index(stub), flags=re.MULTILINE))
    for row in catalog.load().nvidia.sets("debian 13", "nvidia"):
        assert set(row.names(580, "amd64")) <= names
    assert BESIDE in names


@pytest.mark.parametrize("package", ["nvidia-kernel-open-dkms", "nvidia-driver-cuda"])
def test_every_package_says_that_it_is_a_stub(stub: StubDriver, tmp_path: Path, package: str) -> None:
    stub.publish("debian 13", [NOW])
    tree = unpacked(stub, package, tmp_path)
    assert "Description: stub" in (tree / "DEBIAN/control").read_text()
    files = [path.name for path in tree.rglob("*") if path.is_file()]
    assert not [name for name in files if name.startswith("lib") or name == "nvidia-smi"]


def test_the_module_has_the_packages_version_and_drives_nothing(stub: StubDriver, tmp_path: Path) -> None:
    stub.publish("debian 13", [OTHER])
    source = unpacked(stub, "nvidia-kernel-open-dkms", tmp_path) / "usr/src/nvidia-595.71.05"
    assert 'PACKAGE_VERSION="595.71.05"' in (source / "dkms.conf").read_text()
    makefile = (source / "Makefile").read_text()
    assert """-DSTUB_VERSION=\\"595.71.05\\" -DSTUB_KNOWS='KERNEL_VERSION(6,12,94)'""" in makefile
    assert "return -ENODEV;" in (source / "nvidia.c").read_text()


def test_the_index_is_the_stubs_and_a_strangers_is_not(stub: StubDriver, tmp_path: Path) -> None:
    stub.publish("debian 13", [NOW])
    assert verified(stub, stub.key(), tmp_path)
    stub.publish("debian 13", [NOW], signed_by="stranger")
    assert not verified(stub, stub.key(), tmp_path)


def test_an_expired_index_is_signed_all_the_same(stub: StubDriver, tmp_path: Path) -> None:
    stub.publish("debian 13", [NOW], expired=True)
    release = stub.files.served[f"{BASE}/InRelease"].content.decode()
    assert re.findall(r"^Valid-Until: .*(20\d\d) ", release, flags=re.MULTILINE) == ["2025"]
    assert verified(stub, stub.key(), tmp_path)


def test_a_spoiled_package_is_as_long_and_another(stub: StubDriver) -> None:
    stub.publish("debian 13", [NOW])
    path = next(path for path in stub.files.served if "/libcuda1_" in path)
    before = stub.files.served[path].content
    stub.spoil("libcuda1")
    after = stub.files.served[path].content
    assert len(after) == len(before) and after != before
    assert hashlib.sha256(before).hexdigest() in index(stub)


def test_a_package_can_be_left_out(stub: StubDriver) -> None:
    stub.publish("debian 13", [NOW], without="libcuda1")
    assert "Package: libcuda1\n" not in index(stub)
    assert "libcuda1 (= 580.159.04-1)" in index(stub)


def test_the_files_of_the_stub_say_so() -> None:
    for name in ("nvidia.c", "nvidia-persistenced.service"):
        assert re.search(r"\bstub\b", (PARTS / name).read_text(), flags=re.IGNORECASE)


def test_the_toolkit_has_the_plans_packages_in_any_version(tmp_path: Path) -> None:
    toolkit = StubToolkit(tmp_path, Files())
    try:
        toolkit.publish(["1.20.0-1", "1.19.1-1"])
        path = f"/{uri().split('/', 3)[3]}/Packages"
        packages = re.split(r"\n\n", toolkit.files.served[path].content.decode().strip())
        (row,) = (row for row in catalog.load().runtimes if row.name == "nvidia-container-toolkit")
        for version in ("1.20.0-1", "1.19.1-1"):
            own = [text for text in packages if f"\nVersion: {version}\n" in text]
            assert {text.split("\n")[0].removeprefix("Package: ") for text in own} == set(row.packages)
            assert not [text for text in own if re.search(r"\(= (?!" + re.escape(version) + ")", text)]
            assert all("Description: stub" in text for text in own)
    finally:
        toolkit.close()


def test_the_files_of_the_toolkits_stub_say_so() -> None:
    for path in FILES.iterdir():
        assert re.search(r"\bstub\b", path.read_text(), flags=re.IGNORECASE), path.name
