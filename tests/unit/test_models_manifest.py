"""What counts as stored: the manifest compared with the plan, on good, bad, missing and cut input."""

from __future__ import annotations

import json

import pytest

from gpuwright.models import manifest
from gpuwright.models.manifest import (
    FoundFile,
    Manifest,
    StoredFile,
    canonical,
    converged,
    missing,
    touched,
    verified_time,
)
from gpuwright.models.reading import parse as parse_reading

DIRECTORY = "/store/m"
SOURCE = canonical({"kind": "local", "sha256": "a" * 64, "file": "m.gguf"})
FILES = (StoredFile("sub/b.json", 3, "git-sha1:" + "b" * 40), StoredFile("a.gguf", 7, "sha256:" + "a" * 64))
TEXT = Manifest(SOURCE, FILES, "c" * 40).to_text()
TIME_A, TIME_B = 0xAAAAAAA, 0xBBBBBBB
FOUND = {
    "/store/m/a.gguf": FoundFile(7, TIME_A),
    "/store/m/sub/b.json": FoundFile(3, TIME_B),
    "/store/m/.gpuwright.json": FoundFile(len(TEXT), 1_800_000_000),
}


def test_whole_and_equal_is_converged() -> None:
    assert converged(TEXT, SOURCE, DIRECTORY, FOUND)


def test_text_round_trips_and_does_not_depend_on_the_order_of_files() -> None:
    parsed = manifest.parse(TEXT)
    assert parsed is not None
    assert parsed.to_text() == TEXT == Manifest(SOURCE, FILES[::-1], "c" * 40).to_text()
    assert (parsed.source, parsed.commit) == (SOURCE, "c" * 40)


@pytest.mark.parametrize(
    "text",
    [None, "", "{", TEXT[:-20], "[]", "null", "{}", TEXT.replace('"schema": 1', '"schema": 2')],
    ids=["absent", "empty", "bad", "cut", "list", "null", "no-keys", "other-schema"],
)
def test_a_manifest_that_cannot_be_trusted_means_store_again(text: str | None) -> None:
    assert not converged(text, SOURCE, DIRECTORY, FOUND)


@pytest.mark.parametrize("size", [True, "7", None, 7.0])
def test_a_file_row_of_another_type_spoils_the_manifest(size: object) -> None:
    document = json.loads(TEXT)
    document["files"][0]["size"] = size
    assert manifest.parse(json.dumps(document)) is None


def test_another_source_is_not_converged() -> None:
    assert not converged(TEXT, SOURCE.replace("a" * 64, "d" * 64), DIRECTORY, FOUND)
    assert not converged(TEXT, None, DIRECTORY, FOUND)


@pytest.mark.parametrize(
    ("file", "gone"),
    [
        (None, True),
        (FoundFile(6, TIME_A), True),
        (FoundFile(7, TIME_A + 1), False),
        (FoundFile(7, -1), False),
    ],
    ids=["missing", "cut", "written-to", "before-1970"],
)
def test_a_missing_cut_or_written_file_is_not_converged(file: FoundFile | None, gone: bool) -> None:
    found = {path: value for path, value in FOUND.items() if path != "/store/m/a.gguf"}
    if file is not None:
        found["/store/m/a.gguf"] = file
    assert not converged(TEXT, SOURCE, DIRECTORY, found)
    parsed = Manifest(SOURCE, FILES)
    assert missing(parsed, DIRECTORY, found) == (["a.gguf"] if gone else [])
    written = file is not None and file.mtime != TIME_A
    assert touched(parsed, DIRECTORY, found) == (["a.gguf"] if written else [])


def test_the_time_of_a_verified_file_comes_from_its_digest_and_is_long_ago() -> None:
    assert verified_time("sha256:" + "0" * 64) == 0
    assert verified_time("git-sha1:" + "f" * 40) < 9 * 366 * 86_400
    assert verified_time("sha256:" + "1" * 64) != verified_time("sha256:" + "2" * 64)


@pytest.mark.parametrize("digest", ["sha256:" + "x" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 32, "", ":"])
def test_a_digest_of_another_shape_spoils_the_manifest(digest: str) -> None:
    document = json.loads(TEXT)
    document["files"][0]["digest"] = digest
    assert manifest.parse(json.dumps(document)) is None


def test_the_reading_of_two_models_and_a_leftover() -> None:
    reading = parse_reading(
        [
            "D /s/a", "M {", "M  }", "F 2 9 /s/a/with space.gguf", "W /s/a", "D /s/b", "F 0 -3 /s/b/x",
            "P abc", "junk", "F 1", "F 1 2", "",
        ]
    )  # fmt: skip
    assert reading.manifests == {"/s/a": "{\n }\n"}
    assert reading.files == {"/s/a/with space.gguf": FoundFile(2, 9), "/s/b/x": FoundFile(0, -1)}
    assert reading.exposed == ("/s/a",)
    assert reading.partials == ("abc",)
