"""Checks of model files: from the declared source, whole, and unchanged since they were verified."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sized

from gpuwright.errors import GpuwrightError
from gpuwright.models import manifest
from gpuwright.models.manifest import Manifest
from gpuwright.models.sources import source_of
from gpuwright.plan import HostPlan
from gpuwright.plan.model import Model
from gpuwright.verify.check import DEPLOY, UNREAD, Finding, check, compare, unknown
from gpuwright.verify.parts import planned
from gpuwright.verify.readings import ABSENT, Readings


@check("model.source", severity="critical", source="the manifest beside the files, against the plan's source")
def source(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Did each model come from the declared source?"""
    expected = "the declared source"
    for model in planned(plan, Model):
        path = _manifest_path(model)
        if readings.texts is None or path not in readings.texts:
            yield unknown(model.name, UNREAD, expected)
            continue
        try:
            wanted = source_of(model)
        except GpuwrightError as error:
            yield unknown(model.name, f"{error.refusals[0].subject}: {error.refusals[0].observed}", expected)
            continue
        found = manifest.parse(readings.texts[path])
        observed = expected if found and found.source == wanted else "another source"
        if found is None:
            observed = "no manifest" if readings.texts[path] is None else "a damaged manifest"
        yield compare(model.name, observed, expected, "Another model than declared may answer.", DEPLOY)


@check("model.sizes", severity="critical", source="the manifest beside the files")
def sizes(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Is every file there, in full length, and among them the one that the engine opens?"""
    for model in planned(plan, Model):
        found = _manifest(readings, model)
        if readings.model_files is None or readings.texts is None:
            yield unknown(model.name, UNREAD, "files of the listed sizes")
            continue
        listed = {f"{model.directory}/{file.path}": file.size for file in found.files} if found else {}
        expected = (
            f"{_count(listed, 'file')}, {sum(listed.values()) / 1e6:.1f} MB"
            if listed
            else "a manifest's files"
        )
        wrong = [
            f"{path.removeprefix(model.directory + '/')}: {_bytes(readings.model_files.get(path))} of {size} bytes"
            for path, size in listed.items()
            if readings.model_files.get(path) != size
        ]
        if model.entry != model.directory and model.entry not in listed:
            wrong.append(f"{model.entry} is not listed")
        observed = "; ".join(wrong[:3]) or expected
        meaning = "The engine cannot load the model at its next start."
        yield compare(model.name, observed, expected, meaning, DEPLOY, good=bool(listed) and not wrong)


@check(
    "model.digests", severity="critical", source="sha256sum on the host, against the plan and the manifest"
)
def digests(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Has every file the content that was verified when it was stored? All of it is read again."""
    for model in planned(plan, Model):
        found = _manifest(readings, model)
        expected = f"{_count(found.files, 'digest')} as listed" if found else "a manifest's digests"
        if not readings.hashed:
            yield unknown(model.name, "not hashed (--fast)", expected, "Verify without --fast.")
            continue
        if readings.digests is None or readings.texts is None:
            yield unknown(model.name, UNREAD, expected)
            continue
        listed = {f"{model.directory}/{file.path}": file.digest for file in found.files} if found else {}
        changed = [path for path, digest in listed.items() if readings.digests.get(path) != digest]
        pinned = _pinned(found)
        if pinned is not None and pinned not in listed.values():
            changed.append("the manifest, which lists another digest than its source")
        names = [path.removeprefix(f"{model.directory}/") for path in changed]
        seconds = readings.digest_seconds
        took = "" if seconds is None else f"; all files hashed in {seconds:.1f} s"
        observed = f"changed: {', '.join(names[:3])}" if names else f"{expected}{took}"
        yield compare(
            model.name,
            observed if listed else "no manifest",
            expected,
            "The weights are not those that were declared: answers may be wrong or planted.",
            _restore(model, listed, changed),
            good=bool(listed) and not changed,
        )


def _restore(model: Model, listed: dict[str, str], changed: list[str]) -> str:
    """The content lies once on the disk, under its digest, with the model's file as a second name: both must go."""
    store = model.directory.rpartition("/")[0]
    blobs = [f"{store}/.blobs/{listed[path].partition(':')[2]}" for path in changed if path in listed]
    return f"rm -rf {' '.join([model.directory, *blobs])}; then run the deploy again: it fetches the model."


def _pinned(found: Manifest | None) -> str | None:
    """The digest in the declared source itself, which model.source compares with the plan; a repository has none."""
    digest = json.loads(found.source).get("sha256") if found else None
    return f"sha256:{digest.lower()}" if isinstance(digest, str) else None


def _manifest_path(model: Model) -> str:
    return f"{model.directory}/{manifest.NAME}"


def _manifest(readings: Readings, model: Model) -> Manifest | None:
    return manifest.parse((readings.texts or {}).get(_manifest_path(model)))


def _count(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _bytes(size: int | None) -> str:
    return ABSENT if size is None else str(size)
