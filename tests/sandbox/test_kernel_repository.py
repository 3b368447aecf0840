"""A built kernel's way out: signed with a Machine Owner Key, into a repository that a real apt verifies.

No kernel is compiled: a stub package carries an EFI program of Debian's where the kernel would be.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build import needs, repository, signing
from gpuwright.kernel_build.builder import SECRETS, Builder, builder
from gpuwright.kernel_build.compile import Package
from gpuwright.kernel_build.repository import Repository

NAME = "linux-image-6.0.0-stub"
INSTALL = "export DEBIAN_FRONTEND=noninteractive; apt-get -q update; apt-get -q install -y --no-install-recommends $P"
PAIR = """
cd /root
openssl req -quiet -new -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=site/ -keyout "$NAME.key" -out "$NAME.crt"
"""
STUB = """
rm -rf /build/stub
mkdir -p /build/stub/DEBIAN /build/stub/boot
cp /usr/lib/systemd/boot/efi/systemd-bootx64.efi /build/stub/boot/vmlinuz-6.0.0-stub
printf 'Package: %s\\nVersion: %s\\nArchitecture: amd64\\nMaintainer: tests <t@localhost>\\nDescription: stub\\n' \\
    "$NAME" "$VERSION" > /build/stub/DEBIAN/control
dpkg-deb --root-owner-group --build /build/stub "/build/stub_$VERSION.deb"
"""
APT = """
rm -rf /srv/gpuwright-kernels /etc/apt/sources.list.d/* /var/lib/apt/lists/*
mkdir /srv/gpuwright-kernels
tar -xf /root/apt.tar -C /srv/gpuwright-kernels
cp /srv/gpuwright-kernels/gpuwright-kernels.sources /etc/apt/sources.list.d/
apt-get -q -o APT::Update::Error-Mode=any update
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    with pytest.MonkeyPatch.context() as patch:
        if "GPUWRIGHT_STATE_DIR" not in os.environ:
            patch.setenv("GPUWRIGHT_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        with builder("debian13", "", print) as made:
            packages = ["systemd-boot-efi", *needs.load().packages("archive", "signed image")]
            made.run("install", INSTALL, p=" ".join(packages))
            yield made


@pytest.fixture(scope="module")
def pair(tools: Builder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("mok")
    for name in ("site", "other"):
        tools.run("make a pair", PAIR, name=name)
        for end in ("key", "crt"):
            tools.fetch(f"/root/{name}.{end}", folder / f"{name}.{end}")
    return {path.name: path for path in folder.iterdir()}


def stub(tools: Builder, version: str) -> Package:
    tools.run("make a stub", STUB, name=NAME, version=version)
    return Package(NAME, version, "amd64", f"/build/stub_{version}.deb")


def use(tools: Builder, folder: Path) -> None:
    """Copy the repository into the builder as a host would have it, and update from it alone."""
    tools.run("clean", "rm -rf /root/apt; mkdir /root/apt")
    for path in folder.iterdir():
        tools.write(f"/root/apt/{path.name}", path.read_bytes())
    tools.run("tar", "tar -cf /root/apt.tar -C /root/apt .")
    tools.run("apt-get update", APT)


def test_a_real_apt_verifies_what_was_added(tools: Builder, tmp_path: Path) -> None:
    made = Repository(tmp_path, "trixie")
    made.add(tools, [stub(tools, "6.0.0-1+p2p1")])
    key = (tmp_path / repository.PRIVATE_KEY).read_text()
    assert stat.S_IMODE((tmp_path / repository.PRIVATE_KEY).stat().st_mode) == 0o600
    assert not [
        path for path in made.apt.iterdir() if "PRIVATE" in path.read_bytes().decode(errors="replace")
    ]
    use(tools, made.apt)
    tools.run("install", INSTALL.replace("apt-get -q update; ", ""), p=NAME)

    made.add(tools, [stub(tools, "6.0.0-1+p2p2")])
    assert (tmp_path / repository.PRIVATE_KEY).read_text() == key, "one key for each repository"
    with pytest.raises(GpuwrightError, match="--revision"):
        made.refuse_again(NAME, "6.0.0-1+p2p1")
    use(tools, made.apt)
    offered = tools.run("madison", "apt-cache madison $P", p=NAME)
    assert [line.split("|")[1].strip() for line in offered.splitlines()] == ["6.0.0-1+p2p2", "6.0.0-1+p2p1"]

    index = made.apt / "Packages"
    index.write_text(index.read_text().replace("Description: stub", "Description: evil"))
    # "Undetermined Error" is what apt 3.0 says with copy:
    with pytest.raises(GpuwrightError, match=r"(?i)hash|size|undetermined"):
        use(tools, made.apt)
    made.public_key.unlink()


def test_the_kernel_is_signed_by_the_sites_key(tools: Builder, pair: dict[str, Path]) -> None:
    image = stub(tools, "6.0.0-1+p2p3")
    signing.prepare(tools, signing.read(pair["site.key"], pair["site.crt"]))
    signing.sign(tools, image, "6.0.0-stub")
    tools.run(
        "unpack",
        "rm -rf /root/x; dpkg-deb -R $DEB /root/x; cd /root/x; md5sum -c DEBIAN/md5sums",
        deb=image.path,
    )
    verify = "sbverify --cert /root/$WHO.crt /root/x/boot/vmlinuz-6.0.0-stub"
    assert "OK" in tools.run("verify", verify, who="site")
    with pytest.raises(GpuwrightError):
        tools.run("verify", verify, who="other")
    layers = "grep -rlF 'BEGIN PRIVATE KEY' /build /root/x /tmp /var/tmp 2>/dev/null || [ $? -eq 1 ]"
    assert tools.run("look for keys", layers) == ""
    assert "tmpfs" in tools.run("mounts", f"grep ' {SECRETS} ' /proc/mounts")


def test_a_pair_that_is_none_is_refused(tools: Builder, pair: dict[str, Path]) -> None:
    with pytest.raises(GpuwrightError, match="of another key"):
        signing.prepare(tools, signing.read(pair["site.key"], pair["other.crt"]))
