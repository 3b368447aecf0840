"""A mirror takes the public place: what the scripts do with source files of every shape, in a folder of the test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pyinfra.api.command import StringCommand

from gpuwright.operations.mirrors import SourcesOf, set_aside

PLACE = "https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/"
OTHER = "deb http://deb.example/debian trixie main\n"
LIST = f"deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] {PLACE} /\n"
STANZA = f"Types: deb\nURIs: {PLACE}\nSuites: /\nSigned-By: /usr/share/keyrings/stub.asc\n"
DEBIAN = "# Debian's own\nTypes: deb\nURIs: http://deb.example/debian\nSuites: trixie\nComponents: main\n"


def run(command: StringCommand) -> list[str]:
    done = subprocess.run(["sh", "-c", command.get_raw_value()], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "apt/sources.list.d").mkdir(parents=True)
    return tmp_path / "apt"


def named(apt: Path) -> list[str]:
    lines = run(SourcesOf().command(apt=str(apt), places=(PLACE,)))
    return [str(Path(line).relative_to(apt)) for line in lines]


def put(apt: Path, name: str, text: str) -> Path:
    (apt / name).write_text(text)
    return apt / name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list.d/cuda-debian13-x86_64.list", LIST),
        ("sources.list.d/cuda.list", LIST.replace("https", "http").replace("x86_64/", "x86_64")),
        ("sources.list", OTHER + LIST),
        ("sources.list.d/stub.sources", STANZA),
        ("sources.list.d/all.sources", f"{DEBIAN}\n{STANZA}"),
        ("sources.list.d/two.sources", STANZA.replace("URIs:", "URIs:\n http://a.example/\n")),
    ],
)
def test_a_source_of_the_public_place_is_found(apt: Path, name: str, text: str) -> None:
    put(apt, name, text)
    assert named(apt) == [name]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list.d/cuda.list", f"# {LIST}"),
        ("sources.list.d/stub.sources", f"{STANZA}Enabled: no\n"),
        ("sources.list.d/stub.sources", f"# {PLACE}\n\n{DEBIAN}"),
        ("sources.list.d/cuda.list", LIST.replace("debian13", "debian12")),
        ("sources.list.d/cuda.list", LIST.replace("x86_64/", "x86_64-old/")),
        ("sources.list.d/gpuwright-nvidia-cuda.sources", STANZA),
        ("sources.list.d/cuda.list.save", LIST),
    ],
)
def test_what_apt_does_not_read_as_one_is_left_alone(apt: Path, name: str, text: str) -> None:
    put(apt, name, text)
    assert named(apt) == []


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("sources.list.d/cuda.list", LIST, None),
        ("sources.list.d/cuda.list", f"# by cuda-keyring\n{LIST}", None),
        ("sources.list", OTHER + LIST, OTHER),
        ("sources.list.d/stub.sources", STANZA, None),
        ("sources.list.d/all.sources", f"{DEBIAN}\n\n{STANZA}\n", DEBIAN),
        ("sources.list.d/all.sources", f"{STANZA}\n{DEBIAN}\n{DEBIAN}", f"{DEBIAN}\n{DEBIAN}"),
    ],
)
def test_it_is_taken_out_and_kept_as_it_was(
    apt: Path, tmp_path: Path, name: str, text: str, left: str | None
) -> None:
    file = put(apt, name, text)
    file.chmod(0o640)
    run(set_aside(str(file), (PLACE,), str(tmp_path / "aside")))
    assert (file.read_text() if file.exists() else None) == left
    assert left is None or file.stat().st_mode & 0o777 == 0o640
    kept = tmp_path / f"aside{file}"
    assert kept.read_text() == text
    assert [path.name for path in kept.parent.iterdir()] == [file.name]
    assert named(apt) == []
    assert {path.name for path in apt.rglob("*") if path.is_file()} <= {file.name}
