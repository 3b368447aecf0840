"""Building a kernel, without building one: options, .config, why Kconfig drops, room, keys, the repository's files."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build import dotconfig, kconfig, needs, repository, signing, wanted
from gpuwright.kernel_build.builder import _lines, _Stream
from gpuwright.kernel_build.compile import Counter, Package
from gpuwright.kernel_build.configure import assert_packaged
from gpuwright.kernel_build.dotconfig import Change, Option
from gpuwright.kernel_build.repository import Repository

AMDKFD = """
config HSA_AMD
\tbool "HSA kernel driver for AMD GPU devices"
\tdepends on DRM_AMDGPU && (X86_64 || ARM64 || PPC64)
\tselect MMU_NOTIFIER
\thelp
\t  Enable this if you want to use HSA features.
\t  depends on nothing that a help text says

config HSA_AMD_P2P
\tbool "HSA kernel driver support for peer-to-peer"
\tdepends on HSA_AMD && PCI_P2PDMA && \\
\t\tDMABUF_MOVE_NOTIFY
"""
PCI = """
menuconfig PCI
\tbool "PCI support"

if PCI
menu "Peers"
\tdepends on !XEN

config PCI_P2PDMA
\tbool "PCI peer-to-peer transfer support"
\tdepends on ZONE_DEVICE
\t#
\t# requires 64bit
\t#
\tdepends on 64BIT

config PCI_BRIDGE_EMUL
\tbool
endmenu
endif

config AFTER
\tbool "outside of the menu"
"""
ON = {"HSA_AMD": "y", "PCI_P2PDMA": "y", "PCI": "y", "ZONE_DEVICE": "y", "64BIT": "y", "DRM_AMDGPU": "m"}


def why(text: str, symbol: str, **final: str) -> str:
    return kconfig.reason(symbol, kconfig.definitions(text, symbol), {**ON, **final})


@pytest.mark.parametrize(
    ("base", "suite", "series", "peers"),
    [
        ("debian12", "", "", ("6.1", ["PCI_P2PDMA", "DMABUF_MOVE_NOTIFY", "HSA_AMD_P2P"])),
        ("debian12", "", "6.12", ("6.12", ["PCI_P2PDMA", "DMABUF_MOVE_NOTIFY", "HSA_AMD_P2P"])),
        ("debian13", "", "", ("6.12", ["PCI_P2PDMA", "DMABUF_MOVE_NOTIFY", "HSA_AMD_P2P"])),
        ("debian13", "trixie-backports", "", ("7.", ["PCI_P2PDMA", "HSA_AMD_P2P"])),
    ],
)
def test_options_follow_the_version(base: str, suite: str, series: str, peers: tuple[str, list[str]]) -> None:
    row = wanted.source(base, suite, series)
    made = wanted.wanted(row, None, reduced=False)
    values = {option.symbol: option.value for option in made.options}
    assert row.series.startswith(peers[0])
    assert [
        symbol for symbol in values if symbol in ("PCI_P2PDMA", "DMABUF_MOVE_NOTIFY", "HSA_AMD_P2P")
    ] == peers[1]
    assert {values[symbol] for symbol in (*peers[1], "DEVICE_PRIVATE")} == {"y"}
    assert (values["DEBUG_INFO"], values["LOCALVERSION"]) == ("n", '"-p2p"')
    assert values["MODULE_SIG_KEY"] == '"certs/signing_key.pem"'


@pytest.mark.parametrize(
    "asked", [("debian13", "", "5.4"), ("debian13", "bookworm-backports", ""), ("ubuntu2404", "", "")]
)
def test_a_source_that_the_catalogue_lacks_is_refused(asked: tuple[str, str, str]) -> None:
    with pytest.raises(GpuwrightError, match="one of the catalogue's"):
        wanted.source(*asked)


def test_the_reduced_kernel_has_p2pdma_and_no_gpu_driver() -> None:
    made = wanted.wanted(wanted.source("debian13", "", ""), None, reduced=True)
    values = {option.symbol: option.value for option in made.options}
    assert values["PCI_P2PDMA"] == values["ZONE_DEVICE"] == values["VIRTIO_BLK"] == values["EXT4_FS"] == "y"
    assert not {"DRM", "DRM_AMDGPU", "HSA_AMD_P2P"} & values.keys()
    assert made.suffix == "-p2p-reduced"
    assert "m" in values.values(), "without a module there is no /lib/modules/RELEASE/kernel"


def test_a_fragment_wins_and_is_asserted(tmp_path: Path) -> None:
    extra = tmp_path / "site.config"
    extra.write_text(
        '# ours\nCONFIG_NET_9P=m\n# CONFIG_DEVICE_PRIVATE is not set\nCONFIG_LOCALVERSION="-lab"\n'
    )
    made = wanted.wanted(wanted.source("debian13", "", ""), extra, reduced=False)
    assert {Option("NET_9P", "m"), Option("DEVICE_PRIVATE", "n")} <= set(made.options)
    assert made.suffix == "-lab"
    assert len({option.symbol for option in made.options}) == len(made.options)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("CONFIG_NET_9P m\n", "line 1"),
        ("\nNET_9P=m\n", "line 2"),
        ('CONFIG_LOCALVERSION="-P2P x"\n', "package's name"),
    ],
)
def test_a_fragment_that_is_none_is_refused(tmp_path: Path, text: str, says: str) -> None:
    extra = tmp_path / "site.config"
    extra.write_text(text)
    with pytest.raises(GpuwrightError, match=says):
        wanted.wanted(wanted.source("debian13", "", ""), extra, reduced=False)
    with pytest.raises(GpuwrightError, match="cannot be read"):
        wanted.wanted(wanted.source("debian13", "", ""), tmp_path / "absent", reduced=False)


def test_config_is_read_as_kconfig_reads_it() -> None:
    text = '#\n# Linux\n#\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x=y"\nCONFIG_D=4\nCONFIG_A=m\n'
    assert dotconfig.parse(text) == {"A": "m", "B": "n", "C": '"x=y"', "D": "4"}
    assert dotconfig.parse("") == {}


def test_merging_replaces_what_was_there() -> None:
    text = dotconfig.merged(
        "# head\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_AB=m\n", [Option("B", "y"), Option("A", "n")]
    )
    assert text == "# head\nCONFIG_AB=m\nCONFIG_B=y\n# CONFIG_A is not set\n"


def test_dropped_are_those_that_differ_or_are_absent() -> None:
    asked = [Option("A", "y"), Option("B", "y"), Option("C", "n"), Option("D", '"x"'), Option("E", "n")]
    assert dotconfig.dropped({"A": "y", "C": "m", "D": '"y"'}, asked) == (asked[1], asked[2], asked[3])


def test_difference_shows_switches_and_what_was_asked_for() -> None:
    before = {"P2P": "n", "RUST": "y", "GCC_VERSION": "120200", "SAME": "y", "LOCALVERSION": '""', "N": "n"}
    after = {"P2P": "y", "GCC_VERSION": "140200", "SAME": "y", "LOCALVERSION": '"-p2p"'}
    assert dotconfig.difference(before, after, [Option("P2P", "y"), Option("LOCALVERSION", '"-p2p"')]) == (
        Change("P2P", "n", "y"),
        Change("LOCALVERSION", '""', '"-p2p"'),
        Change("RUST", "y", "n"),
    )


def test_the_dependency_that_is_missing_is_named() -> None:
    assert why(AMDKFD, "HSA_AMD_P2P") == "depends on DMABUF_MOVE_NOTIFY (which is n)"
    said = why(AMDKFD, "HSA_AMD_P2P", PCI_P2PDMA="n", HSA_AMD="n")
    assert said == (
        "depends on HSA_AMD (which is n) and PCI_P2PDMA (which is n) and DMABUF_MOVE_NOTIFY (which is n)"
    )


def test_alternatives_are_named_together() -> None:
    assert why(AMDKFD, "HSA_AMD") == (
        "depends on one of X86_64 (which is n), ARM64 (which is n), PPC64 (which is n)"
    )


def test_what_stands_around_a_symbol_counts() -> None:
    assert why(PCI, "PCI_P2PDMA", PCI="n") == "depends on PCI (which is n)"
    assert why(PCI, "PCI_P2PDMA", XEN="y") == "depends on !XEN (XEN is y)"
    assert why(PCI, "PCI_P2PDMA", **{"64BIT": "n"}) == "depends on 64BIT (which is n)"
    assert "depends on" not in why(PCI, "AFTER", PCI="n", XEN="y")


def test_a_symbol_without_a_prompt_or_without_a_kconfig() -> None:
    assert why(PCI, "PCI_BRIDGE_EMUL") == "cannot be set by itself: other options select it"
    assert why(PCI, "PCI_P2PDNA") == "no Kconfig of this source has PCI_P2PDNA"
    assert "a choice" in why(PCI, "PCI_P2PDMA")


@pytest.mark.parametrize(
    "text", ["", "config", "config A\n\tdepends on (", "endif\nendmenu\nif\n", 'menu "x']
)
def test_a_kconfig_that_is_cut_off_is_no_crash(text: str) -> None:
    assert kconfig.reason("A", kconfig.definitions(text, "A"), {})


def test_no_room_is_refused_with_every_shortage() -> None:
    table = needs.load()
    table.check("full", 8, 100 * needs.GIB, 64 * needs.GIB)
    with pytest.raises(GpuwrightError) as caught:
        table.check("full", 8, 10 * needs.GIB, 2 * needs.GIB)
    assert [refusal.observed for refusal in caught.value.refusals] == ["10.0 GiB free", "2.0 GiB available"]
    with pytest.raises(GpuwrightError, match="fewer --jobs"):
        table.check("full", 64, 100 * needs.GIB, 16 * needs.GIB)
    table.check("full", 4, 100 * needs.GIB, 16 * needs.GIB)


def test_progress_counts_objects() -> None:
    counter = Counter()
    for line in (
        "  CC      init/main.o",
        "  AS      arch/x86/entry/entry.o",
        "  HOSTCC  scripts/x",
        "make[1]: x",
    ):
        counter.read(line)
    assert str(counter).startswith("compiling: 2 objects, 0 min")
    counter.read("dpkg-deb: building package 'linux-image-6.12.117-p2p' in '../x.deb'.")
    assert str(counter).startswith("packaging: 2 objects")


def test_what_a_finished_package_lacks_is_an_error() -> None:
    assert_packaged("CONFIG_PCI_P2PDMA=y\n", [Option("PCI_P2PDMA", "y"), Option("DEBUG_INFO", "n")])
    with pytest.raises(GpuwrightError, match="lacks CONFIG_PCI_P2PDMA=y"):
        assert_packaged("# CONFIG_PCI_P2PDMA is not set\n", [Option("PCI_P2PDMA", "y")])


def test_lines_are_whole_whatever_the_pieces() -> None:
    heard: list[str] = []
    assert _lines(iter([b"a", b"b\nc\r\n", b"d"]), heard.append) == ["ab", "c", "d"]
    assert heard == ["ab", "c"]


def test_a_stream_gives_what_is_asked_for() -> None:
    stream = _Stream(iter([b"abc", b"", b"never"]))
    assert (stream.read(2), stream.read(5), stream.read(1)) == (b"ab", b"c", b"never"[:1])


def test_a_package_is_named_as_apt_names_files() -> None:
    package = Package("linux-image-6.12.117-p2p", "6.12.117-1+p2p1", "amd64", "/build/x.deb")
    assert package.file == "linux-image-6.12.117-p2p_6.12.117-1+p2p1_amd64.deb"


OLD = "Package: a\nVersion: 1\nFilename: ./a_1_amd64.deb"
NEW = "Package: a\nVersion: 2\nFilename: ./a_2_amd64.deb"


def test_an_index_keeps_what_is_there_and_forgets_what_is_gone() -> None:
    again = OLD + "\nSize: 2"
    assert repository.joined([OLD], [NEW], {"a_1_amd64.deb", "a_2_amd64.deb"}) == [OLD, NEW]
    assert repository.joined([OLD], [NEW], {"a_2_amd64.deb"}) == [NEW]
    assert repository.joined([OLD], [again], {"a_1_amd64.deb"}) == [again]
    assert repository.stanzas(f"{OLD}\n\n{NEW}\n\n") == [OLD, NEW]


def test_a_release_file_says_what_apt_asks_for() -> None:
    at = datetime(2026, 3, 1, 12, 30, 5, tzinfo=timezone(timedelta(hours=2)))
    text = repository.release_file("trixie", {"Packages": b"abc"}, at)
    assert f" {hashlib.sha256(b'abc').hexdigest()} 3 Packages\n" in text
    assert "Date: Sun, 01 Mar 2026 10:30:05 UTC\n" in text
    assert "Codename: trixie\n" in text
    assert repository.release_file("trixie", {}, at.astimezone(UTC)).startswith("Origin: gpuwright-kernels\n")


def test_a_version_that_is_there_is_refused(tmp_path: Path) -> None:
    made = Repository(tmp_path, "trixie")
    made.refuse_again("a", "1")
    made.apt.mkdir()
    (made.apt / "Packages").write_text(f"{OLD}\n\n")
    made.refuse_again("a", "2")
    with pytest.raises(GpuwrightError, match="--revision"):
        made.refuse_again("a", "1")


def test_a_source_carries_its_key(tmp_path: Path) -> None:
    made = Repository(tmp_path, "trixie")
    made.apt.mkdir()
    made.public_key.write_text(
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"
    )
    text = made.source("https://mirror.invalid/kernels")
    assert "Suites: ./\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n" in text


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (None, "cannot be read"),
        ("", "has no PRIVATE KEY"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nx\n", "is encrypted"),
        ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", "is encrypted"),
        ("-----BEGIN PRIVATE KEY-----\nx\n", None),
    ],
)
def test_machine_owner_keys_that_nobody_could_use(tmp_path: Path, key: str | None, says: str | None) -> None:
    files = (tmp_path / "mok.key", tmp_path / "mok.crt")
    files[1].write_text("-----BEGIN CERTIFICATE-----\nx\n")
    if key is not None:
        files[0].write_text(key)
    if says is None:
        assert "x" not in repr(signing.read(*files))
        return
    with pytest.raises(GpuwrightError, match=says):
        signing.read(*files)
