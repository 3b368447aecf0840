"""What counts as stored: the manifest compared with the plan, on good, bad, missing and cut input."""

from __future__ import annotations

import json

import pytest

from gpuwright.models import manifest
from gpuwright.models.manifest import Manifest, StoredFile, canonical, converged
from gpuwright.models.reading import parse as parse_reading

DIRECTORY = "/store/m"
SOURCE = canonical({"kind": "local", "sha256": "a" * 64, "file": "m.gguf"})
FILES = (StoredFile("sub/b.json", 3, "git-sha1:" + "b" * 40), StoredFile("a.gguf", 7, "sha256:" + "a" * 64))
TEXT = Manifest(SOURCE, FILES, "c" * 40).to_text()
SIZES = {"/store/m/a.gguf": 7, "/store/m/sub/b.json": 3, "/store/m/.gpuwright.json": len(TEXT)}


def test_whole_and_equal_is_converged() -> None:
    assert converged(TEXT, SOURCE, DIRECTORY, SIZES)


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
    assert not converged(text, SOURCE, DIRECTORY, SIZES)


@pytest.mark.parametrize("size", [True, "7", None, 7.0])
def test_a_file_row_of_another_type_spoils_the_manifest(size: object) -> None:
    document = json.loads(TEXT)
    document["files"][0]["size"] = size
    assert manifest.parse(json.dumps(document)) is None


def test_another_source_is_not_converged() -> None:
    assert not converged(TEXT, SOURCE.replace("a" * 64, "d" * 64), DIRECTORY, SIZES)
    assert not converged(TEXT, None, DIRECTORY, SIZES)


@pytest.mark.parametrize("sizes", [{}, {**SIZES, "/store/m/a.gguf": 6}], ids=["missing", "cut"])
def test_a_missing_or_cut_file_is_not_converged(sizes: dict[str, int]) -> None:
    assert not converged(TEXT, SOURCE, DIRECTORY, sizes)


def test_the_reading_of_two_models_and_a_leftover() -> None:
    reading = parse_reading(
        ["D /s/a", "M {", "M  }", "F 2 /s/a/with space.gguf", "D /s/b", "F 0 /s/b/x", "P abc", "junk", ""]
    )
    assert reading.manifests == {"/s/a": "{\n }\n"}
    assert reading.sizes == {"/s/a/with space.gguf": 2, "/s/b/x": 0}
    assert reading.partials == ("abc",)
