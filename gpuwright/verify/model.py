"""Checks of model files: from the declared source, whole, and unchanged since they were verified."""

from __future__ import annotations

import json
import shlex
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
        there = {path: file.size for path, file in readings.model_files.items()}
        expected = (
            f"{_count(listed, 'file')}, {sum(listed.values()) / 1e6:.1f} MB"
            if listed
            else "a manifest's files"
        )
        wrong = [
            f"{path.removeprefix(model.directory + '/')}: {_bytes(there.get(path))} of {size} bytes"
            for path, size in listed.items()
            if there.get(path) != size
        ]
        if model.entry != model.directory and model.entry not in listed:
            wrong.append(f"{model.entry} is not listed")
        observed = "; ".join(wrong[:3]) or expected
        meaning = "The engine cannot load the model at its next start."
        yield compare(model.name, observed, expected, meaning, DEPLOY, good=bool(listed) and not wrong)


@check(
    "model.untouched", severity="critical", source="times and modes of the files, set when they were verified"
)
def untouched(readings: Readings, plan: HostPlan) -> Iterator[Finding]:
    """Has nobody written to a file since it was verified, can only root, and can the engine read it?"""
    for model in planned(plan, Model):
        found = _manifest(readings, model)
        expected = "as they were verified; root writes, the engine reads"
        exposed = readings.names("model_exposed")
        if readings.model_files is None or readings.texts is None or exposed is None:
            yield unknown(model.name, UNREAD, expected)
            continue
        written = manifest.touched(found, model.directory, readings.model_files) if found else []
        wrong = [f"{path} was written to after it was verified" for path in written]
        wrong += [
            f"permissions of {path}" for path in exposed if f"{path}/".startswith(f"{model.directory}/")
        ]
        observed = "; ".join(wrong[:3]) or ("no manifest" if found is None else expected)
        meaning = "The weights may be others than those that were declared, or become so."
        action = f"{DEPLOY} It reads the files again, and fetches what has another digest."
        yield compare(model.name, observed, expected, meaning, action)


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
    """A deploy reads again what has another time than it was given: a disk that rots leaves the time as it was."""
    files = [shlex.quote(path) for path in changed if path in listed]
    words = ["touch", *files] if files else ["rm", shlex.quote(_manifest_path(model))]
    return f"{' '.join(words)}; then run the deploy again: it fetches what has another digest."


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
