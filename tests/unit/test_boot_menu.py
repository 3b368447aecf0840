"""Boot menus: GRUB's as Debian 13 writes it (recorded in a VM), systemd-boot's as bootctl lists it (composed)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.operations import boot_grub, boot_systemd
from gpuwright.operations.boot_facts import Booted, parse_running
from gpuwright.operations.boot_grub import GrubReading, fallback, own_fallback, trial
from gpuwright.operations.boot_grub_menu import parse_menu
from gpuwright.operations.boot_menu import (
    FALLBACK,
    Menu,
    Trial,
    is_open,
    parse_trial,
    release_of,
    words_of,
)
from gpuwright.render import render

FIXTURES = Path(__file__).parents[1] / "fixtures" / "boot"
CONFIG = tuple((FIXTURES / "debian13-two-kernels-grub.cfg").read_text().splitlines())
ROOT_ID = next(line.split("'")[-2] for line in CONFIG if line.startswith("menuentry")).removeprefix(
    "gnulinux-simple-"
)
GA, CLOUD = "6.12.117+deb13-amd64", "6.12.117+deb13-cloud-amd64"
RUNNING = Booted(GA, f"BOOT_IMAGE=/boot/vmlinuz-{GA} root=UUID={ROOT_ID} ro console=ttyS0", "b1")


def test_debians_menu_has_each_kernel_once_under_a_fixed_id() -> None:
    menu = GrubReading({}, CONFIG, ()).menu
    assert {entry.release for entry in menu.entries} == {GA, CLOUD}
    for release in (GA, CLOUD):
        entry = menu.of(release)
        assert entry is not None
        assert entry.id == f"gnulinux-advanced-{ROOT_ID}>gnulinux-{release}-advanced-{ROOT_ID}"
        assert "console=ttyS0" in entry.words and "single" not in entry.words
    first = [entry for entry in menu.entries if entry.first]
    assert [entry.id for entry in first] == [f"gnulinux-simple-{ROOT_ID}"]
    assert menu.following(first[0].release) == first[0]


def test_an_entry_without_an_id_goes_by_its_title() -> None:
    lines = [
        "submenu \"More > kernels\" {",
        "\tmenuentry 'Mine' --class x {",
        "\t\tlinux\t/@/boot/vmlinuz-6.1.0-9-amd64 root=/dev/sda1 ro 'pci=disable_acs_redir=1;2'",
        "\t}",
        "\tmenuentry 'Memory test' {",
        "\t\tlinux16\t/boot/memtest86+x64.bin",
        "\t}",
        "}",
    ]  # fmt: skip
    (entry,) = parse_menu(lines)
    assert (entry.id, entry.release) == ("More >> kernels>Mine", "6.1.0-9-amd64")
    assert entry.words == ("root=/dev/sda1", "ro", "pci=disable_acs_redir=1;2")


@pytest.mark.parametrize("lines", [[], ["menuentry 'cut off' {", "\tlinux /boot/vmlinuz-6.1 ro"], ["}"]])
def test_a_menu_that_is_empty_or_cut_off_has_no_entry(lines: list[str]) -> None:
    assert parse_menu(lines) == ()


def test_what_is_kept_is_what_runs_and_not_what_the_menu_says() -> None:
    running = Booted(GA, f'{RUNNING.cmdline} dyndbg="file a.c +p" pci=x;y', "b1")
    text = "\n".join(fallback(GrubReading({}, CONFIG, ()), running))
    assert f"--id {FALLBACK} " in text
    assert (
        f"linux\t/boot/vmlinuz-{GA} root=UUID={ROOT_ID} ro console=ttyS0 'dyndbg=file a.c +p' 'pci=x;y'"
        in text
    )
    assert f"initrd\t/boot/initrd.img-{GA}" in text and "BOOT_IMAGE" not in text


def test_a_trial_has_the_entrys_words_and_its_own() -> None:
    entry = GrubReading({}, CONFIG, ()).menu.of(CLOUD)
    assert entry is not None
    (line,) = [line for line in trial(entry, "b1") if "vmlinuz" in line]
    assert line.endswith(
        " ro console=ttyS0 lsm=landlock,yama,apparmor panic=30 oops=panic gpuwright.trial=b1"
    )


def test_during_a_trial_what_it_comes_back_to_is_read_from_our_own_entries() -> None:
    reading = GrubReading({}, CONFIG, ())
    kept, entry = fallback(reading, RUNNING), reading.menu.of(CLOUD)
    assert entry is not None
    assert own_fallback(GrubReading({}, CONFIG, ("# ours", *kept, *trial(entry, "b1")))) == kept
    with pytest.raises(GpuwrightError, match="grub-set-default"):
        own_fallback(GrubReading({}, CONFIG, trial(entry, "b1")))


def test_a_kernel_that_grub_does_not_know_cannot_be_come_back_to() -> None:
    with pytest.raises(GpuwrightError, match="update-grub"):
        fallback(GrubReading({}, CONFIG, ()), Booted("5.4.0-mine", "ro", "b1"))


@pytest.mark.parametrize("before", ["", "quiet", "quiet splash"])
def test_the_drop_in_appends_to_what_other_files_say(tmp_path: Path, before: str) -> None:
    words = ("iommu=pt", "pci=disable_acs_redir=0000:01:00.0;0000:02:00.0", "x=a'b")
    settings, generator = boot_grub.settings_files(words)
    (tmp_path / "90.cfg").write_text(render(settings))
    (tmp_path / "42").write_text(render(generator))
    script = f'GRUB_CMDLINE_LINUX_DEFAULT="{before}"; . "$1/90.cfg"; echo "$GRUB_CMDLINE_LINUX_DEFAULT"; sh "$1/42"'
    said = subprocess.run(
        ["sh", "-euc", script, "sh", str(tmp_path)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    ours = "iommu=pt 'pci=disable_acs_redir=0000:01:00.0;0000:02:00.0' 'x=a'\\''b'"
    assert said[0] == f"{before} {ours}".lstrip()
    assert said[1] == f"# gpuwright settings {boot_grub.digest_of(words)}"
    assert GrubReading({}, tuple(said), ()).made_from == boot_grub.digest_of(words)


def test_words_that_entries_lack_are_found_and_foreign_entries_are_left_alone() -> None:
    foreign = ("menuentry 'Mine' {", f"\tlinux\t/boot/vmlinuz-{GA} ro", "}")
    reading = GrubReading({}, (*CONFIG, *foreign), ())
    assert reading.without(("console=ttyS0",)) == {}
    assert reading.without(("console=ttyS0", "iommu=pt")) == {GA: ("iommu=pt",), CLOUD: ("iommu=pt",)}


def test_grubs_files_arrive_as_tagged_lines() -> None:
    reading = boot_grub.parse_reading(
        [
            "environment saved_entry=a>b",
            "environment next_entry=",
            "config menuentry 'x' {",
            "config \tlinux x",
            "config ",
        ]
    )
    assert (reading.menu.default, reading.menu.once) == ("a>b", "")
    assert reading.config == ("menuentry 'x' {", "\tlinux x", "")
    with pytest.raises(ValueError, match="not of GRUB"):
        boot_grub.parse_reading(["Permission denied"])


def test_a_trial_is_known_by_its_command_line_until_it_stays() -> None:
    cmdline = f"{RUNNING.cmdline} iommu=pt panic=30 oops=panic gpuwright.trial=b1"
    assert words_of(cmdline) == (*words_of(RUNNING.cmdline), "iommu=pt")
    assert words_of("ro panic=30") == ("ro", "panic=30")  # somebody's own, outside a trial
    entry = GrubReading({}, CONFIG, ()).menu.of(CLOUD)
    assert entry is not None
    armed = GrubReading(
        {}, CONFIG, ("# ours", *fallback(GrubReading({}, CONFIG, ()), RUNNING), *trial(entry, "b1"))
    )
    assert is_open(cmdline, armed.menu) and not is_open(RUNNING.cmdline, armed.menu)
    assert not is_open(cmdline, GrubReading({}, CONFIG, ()).menu)  # it stayed
    next_one = GrubReading({}, CONFIG, trial(entry, "b2"))
    assert not is_open(cmdline, next_one.menu)  # it stayed, and another one was prepared
    assert not is_open("ro", Menu((), "", ""))


@pytest.mark.parametrize(
    ("image", "depends", "release"),
    [
        ("linux-image-amd64", {"linux-image-amd64": f"linux-image-{GA} (= 1)", f"linux-image-{GA}": "kmod"}, GA),
        (
            "linux-generic",
            {
                "linux-generic": "linux-image-generic (= 6.8.0-90.91), linux-headers-generic (= 6.8.0-90.91)",
                "linux-image-generic": "linux-image-6.8.0-90-generic | linux-image-unsigned-6.8.0-90-generic",
                "linux-image-6.8.0-90-generic": "kmod",
            },
            "6.8.0-90-generic",
        ),
        ("linux-image-6.12.117-p2p", {"linux-image-6.12.117-p2p": ""}, "6.12.117-p2p"),
        ("linux-image-amd64", {}, ""),
        ("linux-image-amd64", {"linux-image-amd64": f"linux-image-{GA}"}, ""),  # what it names was removed
    ],
)  # fmt: skip
def test_a_metapackage_leads_to_a_release(image: str, depends: dict[str, str], release: str) -> None:
    assert release_of(image, depends) == release


def test_a_trials_note_survives_a_round_trip_and_a_foreign_one_is_refused() -> None:
    trial_note = Trial(CLOUD, ("iommu=pt",), "ab", "b1", ("x.service",)).ended("panicked")
    assert parse_trial(trial_note.to_json()) == trial_note
    assert parse_trial("") is None
    for text in ("{", "[]", '{"release": "x"}', '{"release": "x", "words": 1}'):
        with pytest.raises(GpuwrightError, match="Remove it"):
            parse_trial(text)


@pytest.mark.parametrize("output", [[], ["6.1"], ["6.1", "ro"], ["", "ro", "b1"]])
def test_an_answer_that_was_cut_off_is_no_boot(output: list[str]) -> None:
    with pytest.raises(ValueError):
        parse_running(output)


def bootctl(**changes: object) -> str:
    row = {
        "type": "type1", "id": f"abc-{GA}.conf", "path": f"/efi/loader/entries/abc-{GA}.conf", "version": GA,
        "options": "root=UUID=1 ro iommu=pt", "linux": f"/abc/{GA}/linux",
    }  # fmt: skip
    return json.dumps([row | changes, {"type": "auto", "id": "auto-reboot-to-firmware-setup"}])


def test_systemd_boots_words_are_merged_and_taken_out_again() -> None:
    lines = [
        f"list {bootctl()}",
        "LoaderEntryDefault abc.conf",
        "cmdline root=UUID=1 ro iommu=pt quiet",
        "ours iommu=pt",
    ]
    reading = boot_systemd.parse_reading(lines)
    assert [entry.release for entry in reading.listing] == [GA]
    assert (reading.default, reading.once) == ("abc.conf", "")
    assert reading.merged(("amd_iommu=off",), "ro") == ("root=UUID=1", "ro", "quiet", "amd_iommu=off")
    assert reading.merged(("iommu=pt",), "ro") == ("root=UUID=1", "ro", "iommu=pt", "quiet")
    assert reading.without(("amd_iommu=off",)) == (GA,)
    fresh = boot_systemd.parse_reading(["list []"])
    assert fresh.merged(("a=1",), "initrd=\\x root=UUID=2 ro") == ("root=UUID=2", "ro", "a=1")


@pytest.mark.parametrize("line", ["list {", "Failed to open"])
def test_what_bootctl_did_not_say_is_no_menu(line: str) -> None:
    with pytest.raises(ValueError):
        boot_systemd.parse_reading([line])
