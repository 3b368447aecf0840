"""What a folder of built kernels has for hosts, read and judged before anything is sent anywhere."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build.repository import PLACE, Repository, field_of, stanzas

INDEX, SIGNED = "Packages", "InRelease"
_NAME = re.compile(r"[a-z0-9][A-Za-z0-9.+~_-]*\.deb")
_IMAGE = re.compile(r"linux-image-[a-z]")
_REMEDY = "Build the kernel again with the next --revision, which writes it anew."


@dataclass(frozen=True)
class Published:
    """A repository's packages by file name, with their sha256; its two index files; and the source that names it."""

    apt: Path
    packages: dict[str, str]
    index: bytes
    signed: bytes
    source: str


def published(folder: Path, declared: str, codename: str, image: str, command: str) -> Published:
    """What is in `folder`, which `declared` names. Raises GpuwrightError where it is not what a plan needs.

    That is `image` for the release `codename`, whole: what the signature covers is the index, and its files are there.
    """
    subject = f"kernel_repository {declared}"
    repository = Repository(folder, codename)
    try:
        signed = (repository.apt / SIGNED).read_bytes()
    except OSError as error:
        raise _absent(subject, folder, command) from error
    of = field_of(signed.decode(errors="replace"), "Codename")
    if of != codename:
        raise GpuwrightError.of(
            subject,
            f"{repository.apt} is of {of or 'no release'}",
            f"kernels of {codename}, the host's release",
            f"Name the folder of that release, or make it: {command}",
        )
    try:
        index = (repository.apt / INDEX).read_bytes()
        source = repository.source(PLACE)
    except (OSError, UnicodeDecodeError) as error:
        raise GpuwrightError.of(
            subject, f"{repository.apt} is not whole ({error})", "index, key and packages", _REMEDY
        ) from error
    if f" {hashlib.sha256(index).hexdigest()} {len(index)} {INDEX}\n" not in signed.decode(errors="replace"):
        raise GpuwrightError.of(
            subject,
            f"{INDEX} in {repository.apt} is not what {SIGNED} is the signature of",
            "both of one build",
            f"Wait where a build or a copy is writing there now, then run again. Else: {_REMEDY}",
        )
    return Published(
        repository.apt, _packages(subject, repository.apt, index, image, command), index, signed, source
    )


def _packages(subject: str, apt: Path, index: bytes, image: str, command: str) -> dict[str, str]:
    """The files that the index names, all of them there; one of them is the package that the plan asks for."""
    found, sizes, images = {}, {}, set()
    for stanza in stanzas(index.decode(errors="replace")):
        name = field_of(stanza, "Filename").removeprefix("./")
        found[name], sizes[name] = field_of(stanza, "SHA256"), field_of(stanza, "Size")
        if _IMAGE.match(package := field_of(stanza, "Package")):
            images.add(package)
    odd = [name for name in found if not _NAME.fullmatch(name)]
    missing = [name for name in found if name not in odd and _size(apt / name) != sizes[name]]
    if odd or missing:
        raise GpuwrightError.of(
            subject,
            f"{apt} is not whole: {', '.join(odd or missing)}",
            "every package that the index names, at its length, beside it",
            f"Copy the whole folder. Else: {_REMEDY}",
        )
    if image not in images:
        raise GpuwrightError.of(
            subject,
            f"{apt} has no {image} (it has {', '.join(sorted(images)) or 'none of its kind'})",
            f"{image}, the kernel that is planned",
            f"Build it: {command}",
        )
    return found


def _absent(subject: str, folder: Path, command: str) -> GpuwrightError:
    """No repository: where one is near, it is named."""
    there_is = f"{folder} has no apt/{SIGNED}" if folder.is_dir() else f"no such folder: {folder}"
    near = [path.parent.parent for path in (*folder.glob(f"*/apt/{SIGNED}"), folder.parent / "apt" / SIGNED)]
    there = [str(path) for path in near if (path / "apt" / SIGNED).is_file()]
    meant = f"Did you mean {' or '.join(there)}? Else build it" if there else "Build it"
    return GpuwrightError.of(
        subject,
        f"the control machine: {there_is}",
        "the folder of one release that `gpuwright kernel build --output` filled",
        f"{meant}: {command}",
    )


def _size(path: Path) -> str:
    return str(path.stat().st_size) if path.is_file() else ""
