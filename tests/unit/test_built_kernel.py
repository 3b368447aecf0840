"""A kernel that was built, up to a host: what the plan asks for, what a folder must have, what a host has of it."""

from __future__ import annotations

import hashlib
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gpuwright import catalog, locks
from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build import metapackage
from gpuwright.kernel_build.compile import Package
from gpuwright.kernel_build.published import INDEX, SIGNED, Published, published
from gpuwright.kernel_build.repository import PLACE, Repository, release_file
from gpuwright.operations.boot_menu import release_of
from gpuwright.operations.kernel_repository import _LOOK, ServedKernels, _files, _served, folder_of
from gpuwright.operations.locked_packages import belongs
from gpuwright.plan import HostPlan, plan_host
from gpuwright.plan.stack_model import KernelRepository
from gpuwright.settings import read_settings
from tests.synthetic import host

CATALOG = catalog.load()
IMAGE = "linux-image-p2p-6.12"
RELEASE = "6.12.117-p2p"
VERSION = "6.12.117-1+p2p1"
BUILT = {"kernel_flavour": "built", "kernel_repository": "kernels/debian13"}
COMMAND = "gpuwright kernel build --base debian13"


def planned(*cards: str, **settings: object) -> HostPlan:
    plan = plan_host(host("debian 13", cards), read_settings({**BUILT, **settings}), CATALOG)
    assert isinstance(plan, HostPlan), plan
    return plan


def test_the_plan_installs_holds_and_boots_what_was_built() -> None:
    plan = planned("Radeon PRO W7900", "Radeon PRO W7900", interconnect_p2p="wanted")
    steps = plan.kernel_steps
    (repository,) = steps.repositories
    assert (repository.folder, repository.codename, repository.image) == ("kernels/debian13", "trixie", IMAGE)
    assert "kernel build --base debian13 --enable p2p" in repository.command
    (locked,) = steps.locked
    assert (locked.name, locked.packages, locked.suite) == ("kernel", (IMAGE,), "")
    for name in (IMAGE, f"linux-image-{RELEASE}", f"linux-headers-{RELEASE}"):
        assert belongs(locked, name) and any(name.startswith(word) for word in plan.holds.unattended)
    assert steps.reach == ()
    assert [boot.image for boot in steps.boots] == [IMAGE]
    assert {module.image for module in plan.rocm.modules} == {IMAGE}
    assert IMAGE in plan.why["kernel_steps.repositories.0.folder"].reason


def test_a_kernel_of_the_distribution_needs_no_repository() -> None:
    assert planned("L40S", kernel_flavour="ga").kernel_steps.repositories == ()
    assert planned(kernel_flavour="keep").kernel_steps.repositories == ()


def test_the_metapackage_leads_to_its_kernel() -> None:
    image, headers = (
        Package(f"linux-{kind}-{RELEASE}", VERSION, "amd64", "") for kind in ("image", "headers")
    )
    text = metapackage.control(Package(IMAGE, VERSION, "amd64", ""), image, headers)
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    assert (fields["Package"], fields["Version"], fields["Architecture"]) == (IMAGE, VERSION, "amd64")
    assert fields["Depends"] == f"{image.name} (= {VERSION}), {headers.name} (= {VERSION})"
    assert release_of(IMAGE, {IMAGE: fields["Depends"], image.name: ""}) == RELEASE


def folder(root: Path, *names: str, codename: str = "trixie") -> Path:
    """A repository as `gpuwright kernel build` leaves it, of packages with these names and no signature."""
    repository = Repository(root, codename)
    repository.apt.mkdir(parents=True)
    stanzas = []
    for name in names:
        content = f"the package {name}".encode()
        (repository.apt / f"{name}_{VERSION}_amd64.deb").write_bytes(content)
        stanzas.append(
            f"Package: {name}\nVersion: {VERSION}\nFilename: ./{name}_{VERSION}_amd64.deb\n"
            f"Size: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n\n"
        )
    index = "".join(stanzas)
    repository.public_key.write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n")
    (repository.apt / INDEX).write_text(index)
    release = release_file(codename, {INDEX: index.encode()}, datetime(2026, 1, 1, tzinfo=UTC))
    (repository.apt / SIGNED).write_text(f"-----BEGIN PGP SIGNED MESSAGE-----\n\n{release}")
    return root


def look(root: Path) -> Published:
    return published(root, "kernels/debian13", "trixie", IMAGE, COMMAND)


def problem(root: Path) -> str:
    with pytest.raises(GpuwrightError) as error:
        look(root)
    (refusal,) = error.value.refusals
    assert refusal.subject == "kernel_repository kernels/debian13"
    return str(refusal)


def test_a_folder_gives_what_its_index_names(tmp_path: Path) -> None:
    root = folder(tmp_path / "debian13", IMAGE, f"linux-image-{RELEASE}")
    (root / "apt" / "left.deb").write_text("not in the index")
    found = look(root)
    names = {f"{name}_{VERSION}_amd64.deb" for name in (IMAGE, f"linux-image-{RELEASE}")}
    assert set(found.packages) == names
    assert f"URIs: {PLACE}\n" in found.source and "BEGIN PGP PUBLIC KEY" in found.source


def test_what_is_not_there_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    assert f"no such folder: {tmp_path}/none" in problem(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "has no apt/InRelease" in problem(tmp_path / "empty")
    assert COMMAND in problem(tmp_path / "none") and COMMAND in problem(tmp_path / "empty")


def test_the_folder_that_was_meant_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "kernels" / "debian13", IMAGE)
    assert f"Did you mean {root}?" in problem(tmp_path / "kernels")
    assert f"Did you mean {root}?" in problem(root / "apt")


def test_a_folder_of_another_release_or_another_kernel_is_refused(tmp_path: Path) -> None:
    said = problem(folder(tmp_path / "debian12", IMAGE, codename="bookworm"))
    assert "bookworm" in said and "trixie" in said and COMMAND in said
    reduced = "linux-image-p2p-reduced-6.12"
    said = problem(folder(tmp_path / "reduced", reduced, f"linux-image-{RELEASE}-reduced"))
    assert f"has no {IMAGE} (it has {reduced})" in said and COMMAND in said


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "debian13", IMAGE, f"linux-image-{RELEASE}")
    deb = root / "apt" / f"linux-image-{RELEASE}_{VERSION}_amd64.deb"
    whole = deb.read_bytes()
    deb.write_bytes(whole[:-1])
    assert deb.name in problem(root)
    deb.unlink()
    assert deb.name in problem(root)
    deb.write_bytes(whole)
    index = root / "apt" / INDEX
    index.write_text(index.read_text() + "\n")
    assert "not what InRelease is the signature of" in problem(root)
    index.unlink()
    assert "not whole" in problem(root)


def test_names_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x" / "apt").mkdir(parents=True)
    assert "not whole: ../linux-image-" in problem(folder(tmp_path / "odd", IMAGE, "../linux-image-p2p-6.1"))


def test_a_folder_counts_from_the_inventorys(tmp_path: Path) -> None:
    data = {locks.DATUM: str(tmp_path / "inventories" / "locks")}
    assert folder_of("kernels/debian13", data, "nv1") == tmp_path / "inventories" / "kernels" / "debian13"
    assert folder_of("../kernels", data, "nv1") == tmp_path / "kernels"
    assert folder_of("/srv/kernels", data, "nv1") == Path("/srv/kernels")


def test_what_a_host_has_is_read_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "served"
    place.mkdir(mode=0o755)
    (place / "a.deb").write_text("a")
    (place / ".b.new").write_text("b")
    (place / "link").symlink_to("a.deb")
    done = subprocess.run(["sh", "-c", _LOOK, "sh", str(place)], capture_output=True, text=True, check=True)
    found = ServedKernels().process(done.stdout.splitlines())
    assert found.has("a.deb", hashlib.sha256(b"a").hexdigest()) and not found.has("a.deb", "")
    assert set(found.files) == {"a.deb", ".b.new", "link"}
    assert found.files["link"][2] == "" and found.read == ""
    gone = subprocess.run(
        ["sh", "-c", _LOOK, "sh", str(place / "x")], capture_output=True, text=True, check=True
    )
    assert ServedKernels().process(gone.stdout.splitlines()).files == {}
    with pytest.raises(ValueError):
        ServedKernels().process(["a.deb\t0644"])


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"a.deb": ("0666", "root:root", "1")}, False),
        ({"a.deb": ("0644", "ops:ops", "1")}, False),
        ({"a.deb": ("0644", "root:root", "2")}, False),
        ({"left.deb": ("0644", "root:root", "3")}, False),
        ({".": ("777", "root:root", "")}, False),
    ],
)
def test_only_the_very_files_of_root_are_as_planned(change: dict[str, tuple[str, ...]], good: bool) -> None:
    files = _files(Published(Path(), {"a.deb": "1"}, b"index", b"signed", ""))
    rows = {name: ("0644", "root:root", digest) for name, digest in files.items()}
    rows = {".": ("755", "root:root", ""), **rows, **change}
    there = ServedKernels().process(["\t".join((name, *row)) for name, row in rows.items()])
    assert _served(there, files) is good


def test_a_repository_is_plain_data() -> None:
    (repository,) = planned(kernel_reboot="no_fallback").kernel_steps.repositories
    assert isinstance(repository, KernelRepository)
    assert not Path(repository.folder).is_absolute(), "a plan is the same on every control machine"
