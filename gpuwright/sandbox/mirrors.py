"""Where this machine gets its Debian packages, so that sandbox hosts get theirs from there too."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_RELEASES = ("bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable")
_OPTIONS = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until")


@dataclass(frozen=True)
class Source:
    """One `deb` source: a URI, one suite and its components; `signed_by` is empty when unsaid."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""


@dataclass(frozen=True)
class Mirrors:
    """The base URIs of the Debian archive and of its security archive; None where not configured."""

    archive: str | None = None
    security: str | None = None

    def sources(self, suite: str) -> tuple[Source, ...]:
        """Release, updates and security of `suite`; empty when this machine names no Debian mirror."""
        if self.archive is None:
            return ()
        keyring = str(KEYRING)
        found = [Source(self.archive, each, ("main",), keyring) for each in (suite, f"{suite}-updates")]
        if self.security is not None:
            found.append(Source(self.security, f"{suite}-security", ("main",), keyring))
        return tuple(found)


def from_machine(etc_apt: Path = Path("/etc/apt")) -> Mirrors:
    """The Debian mirrors named under `etc_apt`, in either source format."""
    parts = sorted((etc_apt / "sources.list.d").glob("*"))
    found: list[Source] = []
    for path in [etc_apt / "sources.list", *parts]:
        if path.suffix == ".list" and path.is_file():
            found += parse_one_line(path.read_text())
        elif path.suffix == ".sources" and path.is_file():
            found += parse_deb822(path.read_text())
    return choose(found)


def apt_options() -> dict[str, str]:
    """The proxy and clock settings of this machine's apt that its mirrors may need; empty without apt."""
    try:
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    settings = dict(re.findall(r'^(\S+) "(.*)";$', dump, flags=re.MULTILINE))
    return {name: settings[name] for name in _OPTIONS if settings.get(name)}


def choose(sources: Iterable[Source]) -> Mirrors:
    """Tell Debian's own archive from third-party ones that also say `bookworm main`.

    Only Debian has `-updates` beside a release; after that its own keyring, then no keyring, decides.
    """
    usable = [source for source in sources if "main" in source.components and resolve(source.uri)]
    pairs = {(source.uri, source.suite) for source in usable}

    def rank(source: Source) -> tuple[bool, bool, bool]:
        updates = (source.uri, f"{source.suite}-updates") in pairs
        return updates, "debian-archive" in source.signed_by, not source.signed_by

    archives = [source for source in usable if source.suite in _RELEASES]
    security = [s for s in usable if re.fullmatch(r"(\w+)(-security|/updates)", s.suite) and _named(s.suite)]
    return Mirrors(
        archive=resolve(max(archives, key=rank).uri) if archives else None,
        security=resolve(max(security, key=rank).uri) if security else None,
    )


def resolve(uri: str) -> str | None:
    """The http(s) base of a source, None for media; `mirror+file:` (cloud images) names a file of bases."""
    if uri.startswith("mirror+file:"):
        path = Path("/" + uri.removeprefix("mirror+file:").lstrip("/"))
        listed = path.read_text().split() if path.is_file() else []
        uri = next((each for each in listed if each.startswith("http")), "")
    return uri.rstrip("/") if uri.startswith(("http://", "https://")) else None


def parse_one_line(text: str) -> list[Source]:
    """Sources of the `deb [options] URI suite components` format."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match:
            options, uri, suite, components = match.groups()
            signed = re.search(r"signed-by=(\S+)", options or "", flags=re.IGNORECASE)
            found.append(Source(uri, suite, tuple(components.split()), signed.group(1) if signed else ""))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Sources of the paragraph format; disabled paragraphs and `deb-src` alone are left out."""
    found = []
    uncommented = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in re.split(r"\n[ \t]*\n", uncommented):
        fields = _fields(paragraph)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        components = tuple(fields.get("components", "").split())
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                found.append(Source(uri, suite, components, fields.get("signed-by", "")))
    return found


def render_deb822(sources: Iterable[Source]) -> str:
    """A `.sources` file with one paragraph per suite."""
    return "\n".join(
        f"Types: deb\nURIs: {each.uri}\nSuites: {each.suite}\n"
        f"Components: {' '.join(each.components)}\nSigned-By: {each.signed_by}\n"
        for each in sources
    )


def render_one_line(source: Source) -> str:
    """The source as one `deb` line: mmdebstrap and a private apt directory take it."""
    return f"deb [signed-by={source.signed_by}] {source.uri} {source.suite} {' '.join(source.components)}"


def _fields(paragraph: str) -> dict[str, str]:
    """Field names in lower case; a continuation line belongs to the field before it."""
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _named(suite: str) -> bool:
    """Does the suite belong to a Debian release?"""
    return re.split(r"[-/]", suite)[0] in _RELEASES
