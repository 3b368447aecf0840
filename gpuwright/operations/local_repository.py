"""NVIDIA's local repository: a package of the control machine that unpacks a driver version and its key on the host."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyinfra import host
from pyinfra.api import FactBase
from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from typing_extensions import override

from gpuwright import locks
from gpuwright.errors import GpuwrightError
from gpuwright.facts import HostFacts
from gpuwright.models import cache
from gpuwright.models.remote import Remote
from gpuwright.models.sources import ModelFile
from gpuwright.models.upload import upload
from gpuwright.operations import apt_lock
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import failed, failure, fields, script, show, will_change
from gpuwright.plan.model import AptRepository
from gpuwright.plan.nvidia.local import LocalRepository

SETTING = "nvidia_driver_local_repository"
# Gone again once it is unpacked: it is half a gigabyte, and what it holds stays below /var.
TRANSFERS = "/var/lib/gpuwright/driver"

# A line for each package of the kind: name, version, state; one for each key that is not where the source wants it.
_LOOK = """
folder=$1 keyrings=$2 trusted=$3 others=$4
shape='package\\t${Package}\\t${Version}\\t${db:Status-Status}\\n'
dpkg-query --show --showformat="$shape" "$others" 2>/dev/null
for key in "$folder"/$keyrings; do
    if [ -e "$key" ] && ! cmp -s "$key" "$trusted/${key##*/}"; then printf 'key\\t%s\\t\\t\\n' "$key"; fi
done
exit 0
"""
_OFFSET = 'if [ -f "$store/.partial/$key" ]; then stat -c %s "$store/.partial/$key"; else echo 0; fi'
_TAKE = """
partial="$store/.partial/$key"
found=$(sha256sum <"$partial")
if [ "${found%% *}" != "$key" ]; then rm -f "$partial"; echo "it arrived damaged and was removed"; exit 1; fi
mv -f -T "$partial" "$store/$name"
"""
_SAYS = 'dpkg-deb --show --showformat="\\${Package}\\t\\${Version}\\t\\${Architecture}\\n" "$1"'
_INSTALL = """
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
dpkg --force-confold -i "$1" 2>&1
"""
_TRUST = """
trusted=$1; shift
mkdir -p "$trusted"
for key; do
    cp "$key" "$trusted/.gpuwright-new" && chmod 0644 "$trusted/.gpuwright-new" &&
        mv -f -T "$trusted/.gpuwright-new" "$trusted/${key##*/}" || exit
done
"""


@dataclass(frozen=True)
class Unpacked:
    """Packages of this kind that are installed whole, by name, and keys that apt does not find yet."""

    packages: Mapping[str, str]
    keys: tuple[str, ...]


class UnpackedRepositories(FactBase[Unpacked]):
    """What local repositories the host has; `folder` is the one whose keys are looked at."""

    @override
    def command(self, folder: str, keyrings: str, trusted: str, others: str) -> StringCommand:
        return script(_LOOK, folder, keyrings, trusted, others)

    @override
    @staticmethod
    def default() -> Unpacked:
        return Unpacked({}, ())

    @override
    def process(self, output: list[str]) -> Unpacked:
        rows = fields(output, 4)
        packages = {
            name: version for kind, name, version, state in rows if kind == "package" and state == "installed"
        }
        return Unpacked(packages, tuple(name for kind, name, _, _ in rows if kind == "key"))


def unpacked(repository: LocalRepository, lock_timeout_s: int) -> Generator[PyinfraCommand]:
    """Commands that bring one: its file only where the host lacks it, its key to apt, others of its kind away."""
    there = host.get_fact(UnpackedRepositories, **_asked(repository))
    lacking = there.packages.get(repository.package) != repository.packaging
    others = [name for name in there.packages if name != repository.package]
    if lacking:
        try:
            path = path_of(repository.file, host.data.dict(), host.name)
        except GpuwrightError as error:
            yield failure(*error.refusals)
            return
        show(f"{repository.package}: {path.name} of this machine, unpacked with dpkg")
        will_change(repository.package)
        yield apt_lock.free(lock_timeout_s)
        yield FunctionCommand(_bring, (repository, str(path)), {})
    if others:
        # Their versions would win, or lose, against this one by their numbers alone.
        show(f"{' '.join(others)}: another version -> removed")
        yield apt_lock.free(lock_timeout_s)
        yield script('DEBIAN_FRONTEND=noninteractive dpkg --purge "$@" >/dev/null', *others)
    if there.keys and not lacking:
        show(f"{' '.join(there.keys)} -> {repository.trusted}")
        yield script(_TRUST, repository.trusted, *there.keys)
    if not (lacking or others or there.keys):
        host.noop(f"{repository.package} is there, and apt has its key")


def required(
    places: tuple[AptRepository, ...], facts: HostFacts, data: Mapping[str, object], name: str
) -> None:
    """Raises GpuwrightError where neither host `name` nor the control machine has a file that is declared.

    To be asked with the plan, so that nothing has been changed yet; the commands themselves come late.
    """
    there = {package.name: package.version for package in facts.found.packages}
    for place in places:
        if isinstance(place, LocalRepository) and there.get(place.package) != place.packaging:
            path_of(place.file, data, name)


def path_of(declared: str, data: Mapping[str, object], name: str) -> Path:
    """The file that host `name` is declared to take; relative to the inventory's folder, where its locks/ is.

    Raises GpuwrightError where the control machine has none.
    """
    lock = locks.path_of(data, name)
    inventory = lock.parent.parent if lock else Path.cwd()
    path = (inventory / Path(declared).expanduser()).resolve()
    if path.is_file():
        return path
    raise GpuwrightError.of(
        f"{SETTING} {declared}",
        f"the control machine has no file {path}",
        "NVIDIA's local repository of the driver, as it was downloaded",
        "Put it there, or correct the path: it is relative to the inventory's folder.",
    )


def _asked(repository: LocalRepository) -> dict[str, str]:
    return {
        "folder": repository.uri.removeprefix("file://"),
        "keyrings": repository.keyrings,
        "trusted": repository.trusted,
        "others": repository.others,
    }


def _bring(state: State, host: Host, repository: LocalRepository, file: str) -> bool:
    """upload, compare what the package says with its name, unpack, and let apt have the key"""
    path, shell, remote = Path(file), RootShell(host), Remote(host, state, TRANSFERS)
    target = f"{TRANSFERS}/{path.name}"
    try:
        digest = cache.sha256(path)
        whole = ModelFile(path.name, path.stat().st_size, f"sha256:{digest}", path)
        remote.say(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB from this machine ({SETTING})")
        upload(remote, path.name, whole, int(remote.must(path.name, _OFFSET, {"key": digest})[-1]))
        remote.must(path.name, _TAKE, {"key": digest, "name": path.name})
        wanted = (repository.package, repository.packaging, repository.architecture)
        answer = shell.run(_SAYS, target)
        said = tuple(answer.lines[0].split("\t")) if answer.ok and answer.lines else (answer.last,)
        if said != wanted:
            raise GpuwrightError.of(
                f"{SETTING} {path.name}",
                f"the package says that it is {' '.join(said)}",
                f"{' '.join(wanted)}, as its name says",
                "Nothing was installed. Download it again; NVIDIA gives the name.",
            )
        answer = shell.run(_INSTALL, target)
        if not answer.ok:
            raise GpuwrightError.of(
                path.name,
                answer.last,
                "a package that dpkg unpacks",
                "Repair what dpkg names, then run again.",
            )
        _trust(shell, repository)
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    finally:
        shell.run('rm -f "$1"', target)
    return True


def _trust(shell: RootShell, repository: LocalRepository) -> None:
    """Its key is in the folder that has just been unpacked; without one nothing of it could be trusted."""
    asked = _asked(repository)
    keys = shell.run(
        'for key in "$1"/$2; do if [ -e "$key" ]; then echo "$key"; fi; done',
        asked["folder"],
        asked["keyrings"],
    )
    found = tuple(line.strip() for line in keys.lines if line.strip())
    if not found:
        raise GpuwrightError.of(
            repository.package,
            f"{asked['folder']} has no {repository.keyrings}",
            "the key that its index is signed with",
            "Ask NVIDIA for the file that its guide describes; nothing is installed without a signature.",
        )
    answer = shell.run(_TRUST, repository.trusted, *found)
    if not answer.ok:
        raise GpuwrightError.of(
            repository.trusted, answer.last, "a folder for keys", "Correct it, then run again."
        )
