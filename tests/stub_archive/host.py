"""A host that exists only for apt: own directory, dpkg status, sources, preferences and holds; nothing is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.stub_archive.archive import DATA, Archive, Repository
from tests.stub_archive.server import Server
from tests.stub_archive.stanza import Stanza, read

# As gpuwright.operations.packages installs.
INSTALL = ("install", "--yes", "--no-install-recommends", "--no-remove")


@dataclass(frozen=True)
class Answer:
    """What apt-get would do: versions that come (None where it refuses), names that go, and its words."""

    comes: dict[str, str] | None
    goes: tuple[str, ...]
    text: str


class StubHost:
    """apt below `root`, with the repositories of a release and those that a plan adds.

    `components` of the distribution's archive are known to it beside what every installation has.
    """

    def __init__(
        self, root: Path, release: str, archive: Archive, server: Server, components: frozenset[str]
    ) -> None:
        self.root, self._archive, self._server = root, archive, server
        self.components = components
        for folder in (
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
        ):
            (root / folder).mkdir(parents=True)
        self.known: dict[tuple[str, str], tuple[Stanza, Repository]] = {}
        self.installed: dict[str, Stanza] = {
            s.name: s for s in read((DATA / f"{release}.base.deb822").read_text())
        }
        self.held: frozenset[str] = frozenset()
        conf = f"""
            Dir "{root}"; Dir::State::status "{root}/status"; APT::Architecture "amd64";
            APT::Architectures {{ "amd64"; }}; APT::Sandbox::User "{"root" if os.getuid() == 0 else ""}";
            Acquire::http::Proxy "{server.proxy}"; Acquire::Languages "none"; Acquire::Retries "0";
        """
        (root / "apt.conf").write_text(conf)

    def sources(self, repositories: Iterable[Repository], later: bool) -> None:
        """Writes sources with Signed-By and runs apt-get update: signatures and hashes are checked for real."""
        text = ""
        self.known = {}
        for repository in repositories:
            self._server.files.update(self._archive.build(repository, later))
            uri = repository.uri.replace("https://", "http://")
            shown = repository.shown(self.components)
            text += (
                f"Types: deb\nURIs: {uri}\nSuites: {repository.suite}\n"
                f"Components: {' '.join(shown)}\nSigned-By: {self._archive.keyring}\n\n"
            )
            for stanza in repository.stanzas(later):
                if stanza.suite and stanza.suite.partition("/")[2] not in shown:
                    continue
                self.known.setdefault((stanza.name, stanza.version), (stanza, repository))
        (self.root / "etc/apt/sources.list.d").mkdir(exist_ok=True)
        (self.root / "etc/apt/sources.list.d/stub.sources").write_text(text.replace("Components: \n", ""))
        lists = self.root / "var/lib/apt/lists"
        shutil.rmtree(lists)
        verified = self._archive.verified.get((text, later))
        if verified is not None:
            # The same sources, updated for another host a moment ago.
            shutil.copytree(verified, lists)
            return
        (lists / "partial").mkdir(parents=True)
        done = self._apt("update", "--error-on=any")
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        self._archive.verified[text, later] = Path(
            shutil.copytree(lists, self._archive.root / f"lists-{len(self._archive.verified)}")
        )

    def prefer(self, name: str, packages: str, pin: str, priority: int) -> None:
        """A file below /etc/apt/preferences.d."""
        text = f"Package: {packages}\nPin: {pin}\nPin-Priority: {priority}\n"
        (self.root / "etc/apt/preferences.d" / name).write_text(text)

    def ask(self, *command: str) -> Answer:
        """apt-get -s."""
        self._write_status()
        done = self._apt("-s", *command)
        text = done.stdout + done.stderr
        found = re.findall(r"^Inst (\S+?)(?::\w+)? (?:\[\S+\] )?\((\S+)", done.stdout, flags=re.MULTILINE)
        goes = tuple(re.findall(r"^Remv (\S+)", done.stdout, flags=re.MULTILINE))
        return Answer(None if done.returncode else dict(found), goes, text)

    def priorities(self) -> dict[str, int]:
        """What apt prefers, by the URI of each source: its own answer to the preferences that are there."""
        self._write_status()
        done = self._run("apt-cache", "policy")
        found = re.findall(r"^ *(-?\d+) (http\S+)", done.stdout, flags=re.MULTILINE)
        return {uri: int(priority) for priority, uri in found}

    def apply(self, answer: Answer) -> None:
        """The host as it would be after that: versions, and the preferences that packages bring."""
        for name in answer.goes:
            self.installed.pop(name, None)
        for name, version in (answer.comes or {}).items():
            stanza, _ = self.known[name, version]
            self.installed[name] = stanza
            if stanza.preferences:
                path = self.root / "etc/apt/preferences.d" / stanza.name.replace(".", "_")
                path.write_text(stanza.preferences.replace(" | ", "\n") + "\n")

    def _write_status(self) -> None:
        text = ""
        for name, stanza in self.installed.items():
            state = "hold" if name in self.held else "install"
            text += f"{stanza.control()}Status: {state} ok installed\n\n"
        (self.root / "status").write_text(text)

    def _apt(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self._run("apt-get", "-q", *command)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "APT_CONFIG": str(self.root / "apt.conf"),
        }
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
