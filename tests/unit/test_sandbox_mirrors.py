"""Which Debian mirror a sandbox takes from a machine's apt configuration."""

from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox.mirrors import Mirrors, from_machine
from gpuwright.sandbox.recipe import recipe

DEB822 = """\
Types: deb deb-src
# a pinned copy
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: trixie trixie-updates
Components: main
"""

ONE_LINE = """\
# deb http://commented.example/debian trixie main
deb [arch=amd64 signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.example/stable/debian bookworm main
deb cdrom:[Debian GNU/Linux 12]/ bookworm main
deb https://apt.example/debian bookworm main non-free-firmware  # ours
deb https://apt.example/debian bookworm-updates main
deb https://apt.example/security bookworm/updates main
deb-src https://source.example/debian bookworm main
"""

UBUNTU = """\
Types: deb
URIs: http://archive.example/ubuntu/
Suites: noble noble-updates noble-backports
Components: main restricted universe multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg
"""


def machine(tmp_path: Path, **files: str) -> Mirrors:
    """An /etc/apt that holds the given files under sources.list.d."""
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    for name, text in files.items():
        (parts / name.replace("_", ".")).write_text(text)
    return from_machine(tmp_path)


def test_deb822_gives_release_updates_and_security_of_another_suite(tmp_path: Path) -> None:
    sources = machine(tmp_path, debian_sources=DEB822).sources("trixie")
    assert [(each.uri, each.suite) for each in sources] == [
        ("http://mirror.example/debian", "trixie"),
        ("http://mirror.example/debian", "trixie-updates"),
        ("http://mirror.example/debian-security", "trixie-security"),
    ]


def test_one_line_prefers_debian_over_a_vendor_with_the_same_suite_and_component(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(ONE_LINE)
    found = from_machine(tmp_path)
    assert found == Mirrors("https://apt.example/debian", "https://apt.example/security")


def test_a_cloud_images_mirror_file_is_followed(tmp_path: Path) -> None:
    listed = tmp_path / "debian.list"
    listed.write_text("https://cloud.example/debian\n")
    text = f"Types: deb\nURIs: mirror+file://{listed}\nSuites: trixie trixie-updates\nComponents: main\n"
    assert machine(tmp_path, debian_sources=text).archive == "https://cloud.example/debian"


@pytest.mark.parametrize("text", ["", UBUNTU, "Types: deb\nURIs:\n", "\n\n# nothing\n"])
def test_no_debian_mirror_leaves_the_choice_to_mmdebstrap(tmp_path: Path, text: str) -> None:
    assert machine(tmp_path, some_sources=text).sources("trixie") == ()


def test_no_security_mirror_is_not_invented(tmp_path: Path) -> None:
    text = "deb http://air.gap/debian trixie main"
    assert [each.suite for each in machine(tmp_path, a_list=text).sources("bookworm")] == [
        "bookworm",
        "bookworm-updates",
    ]


def test_every_input_of_a_recipe_changes_its_tag() -> None:
    mirrors = Mirrors("http://a.example/debian")
    base = recipe("debian13", mirrors, {})
    assert base.tag == recipe("debian13", mirrors, {}).tag
    others = {
        recipe("debian12", mirrors, {}).tag,
        recipe("debian13", Mirrors(), {}).tag,
        recipe("debian13", mirrors, {"Acquire::http::Proxy": "http://proxy.example:3142"}).tag,
    }
    assert len(others | {base.tag}) == 4


def test_an_unknown_release_names_the_known_ones() -> None:
    with pytest.raises(GpuwrightError, match="debian12, debian13"):
        recipe("debian11", Mirrors(), {})
