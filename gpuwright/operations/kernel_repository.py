"""Kernels that were built: the folder on the control machine that has them, as a repository of the host's own apt."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pyinfra import host
from pyinfra.api import FactBase, operation
from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from typing_extensions import override

from gpuwright import locks
from gpuwright.errors import GpuwrightError
from gpuwright.kernel_build.published import INDEX, SIGNED, Published, published
from gpuwright.kernel_build.repository import NAME, ON_HOST
from gpuwright.models import cache
from gpuwright.models.remote import Remote
from gpuwright.models.sources import ModelFile
from gpuwright.models.upload import upload
from gpuwright.operations import apt_lock
from gpuwright.operations.apt import explained
from gpuwright.operations.files import write
from gpuwright.operations.root_shell import RootShell
from gpuwright.operations.shell import failed, failure, fields, script, show, will_change
from gpuwright.plan.stack_model import KernelRepository

SOURCE = f"/etc/apt/sources.list.d/{NAME}.sources"
TRANSFERS = "/var/lib/gpuwright/kernels"
_OURS = ("0644", "root:root")

# A line for the folder, with the digest of the index that apt has read of it; then one for each of its files.
_LOOK = """
place=$1
lists=$(apt-config shell lists Dir::State::lists/d) && eval "$lists" || exit
[ -d "$place" ] || exit 0
digest() { sha256sum < "$1" | cut -d ' ' -f 1; }
known=
for index in "$lists"*"${place##*/}"*_InRelease; do
    if [ -f "$index" ]; then known=$(digest "$index") || exit; fi
done
printf '.\\t%s\\t%s\\n' "$(stat -L -c '%a\t%U:%G' "$place")" "$known"
find -H "$place" -mindepth 1 -maxdepth 1 ! -type d | while IFS= read -r path; do
    content=
    if [ -f "$path" ] && [ ! -L "$path" ]; then content=$(digest "$path") || exit; fi
    printf '%s\\t%s\\t%s\\n' "${path##*/}" "$(stat -c '%04a\t%U:%G' "$path")" "$content"
done
"""
_OFFSET = 'if [ -f "$store/.partial/$key" ]; then stat -c %s "$store/.partial/$key"; else echo 0; fi'
# Into the folder under another name first: /var and /srv may be two file systems.
_TAKE = """
set -e
partial="$store/.partial/$key"
found=$(sha256sum <"$partial")
if [ "${found%% *}" != "$key" ]; then rm -f "$partial"; echo "it arrived damaged and was removed"; exit 1; fi
mkdir -p "$place"
mv -f "$partial" "$place/.$name.new"
chown root:root "$place/.$name.new"
chmod 0644 "$place/.$name.new"
mv -f -T "$place/.$name.new" "$place/$name"
"""
# The two indexes change at once, after the packages that they name came and before those go that they name no more.
_SWITCH = """
set -e
mkdir -p "$place"
chown root:root "$place"
chmod 0755 "$place"
cd "$place"
cp "$store/.partial/$index" ".$index.new"
cp "$store/.partial/$signed" ".$signed.new"
printf '%s\\n' "$names" | while IFS= read -r name; do
    for file in "$name" ".$name.new"; do
        [ -f "$file" ] || continue
        chown root:root "$file"
        chmod 0644 "$file"
    done
done
mv -f -T ".$index.new" "$index"
mv -f -T ".$signed.new" "$signed"
find . -mindepth 1 -maxdepth 1 ! -type d | while IFS= read -r path; do
    if ! printf '%s\\n' "$names" | grep -qxF -e "${path#./}"; then rm -f "$path"; fi
done
rm -f "$store/.partial"/*
"""
# This source alone: no other archive has to answer, and what apt knows of them stays. Of this one it forgets all first:
# it would not go back to an earlier index.
_UPDATE = """
lists=$(apt-config shell lists Dir::State::lists/d) && eval "$lists" || exit
rm -f "$lists"*"$3"_*
LC_ALL=C apt-get -o Dir::Etc::SourceList="$1" -o Dir::Etc::SourceParts=/dev/null -o APT::Get::List-Cleanup=0 \\
    -o DPkg::Lock::Timeout="$2" -o APT::Update::Error-Mode=any -q update 2>&1
"""


@dataclass(frozen=True)
class Served:
    """The folder on the host: its mode and owner, the digest of the index that apt has read, and its files.

    A file is (mode, owner, sha256); what is no file of its own, a link, has no digest.
    """

    folder: tuple[str, str]
    read: str
    files: Mapping[str, tuple[str, str, str]]

    def has(self, name: str, digest: str) -> bool:
        """Whether a file is there with this content, whoever owns it."""
        return self.files.get(name, ("", "", ""))[2] == digest


class ServedKernels(FactBase[Served]):
    """What the host's folder of kernels has."""

    @override
    def command(self) -> StringCommand:
        return script(_LOOK, ON_HOST)

    @override
    @staticmethod
    def default() -> Served:
        return Served(("", ""), "", {})

    @override
    def process(self, output: list[str]) -> Served:
        rows = {name: (mode, owner, digest) for name, mode, owner, digest in fields(output, 4)}
        if not rows:
            return self.default()
        mode, owner, read = rows.pop(".", ("", "", ""))
        return Served((mode, owner), read, rows)


@operation()
def present(repositories: tuple[KernelRepository, ...], lock_timeout_s: int) -> Generator[PyinfraCommand]:
    """
    Have kernels that were built where the host's apt finds them: files, source, and what apt knows of them.

    + repositories: folders of the control machine; none is a no-op that reads nothing
    + lock_timeout_s: how long another run of apt is waited for
    """
    for repository in repositories:
        try:
            wanted = read(repository, host.data.dict(), host.name)
        except GpuwrightError as error:
            yield failure(*error.refusals)
            return
        there = host.get_fact(ServedKernels)
        files = _files(wanted)
        publish = not _served(there, files)
        if publish:
            new = [name for name, digest in files.items() if not there.has(name, digest)]
            old = [name for name in there.files if name not in files]
            show(*(f"{ON_HOST}: + {name}" for name in new), *(f"{ON_HOST}: - {name}" for name in old))
            will_change(ON_HOST)
            yield FunctionCommand(_publish, (wanted,), {})
        source = list(write({SOURCE: (f"# Managed by gpuwright.\n{wanted.source}", "0644")}))
        yield from source
        if publish or source or there.read != files[SIGNED]:
            yield apt_lock.free(lock_timeout_s)
            yield FunctionCommand(_refresh, (lock_timeout_s,), {})
        else:
            host.noop(f"{ON_HOST} is as {repository.folder} on the control machine")


def read(repository: KernelRepository, data: Mapping[str, object], name: str) -> Published:
    """What the declared folder has for host `name`. Raises GpuwrightError where it is not what the plan needs."""
    folder = folder_of(repository.folder, data, name)
    return published(folder, repository.folder, repository.codename, repository.image, repository.command)


def folder_of(declared: str, data: Mapping[str, object], name: str) -> Path:
    """A folder as a host's data declare it: relative to the inventory's, which is the one that its locks/ is in."""
    lock = locks.path_of(data, name)
    inventory = lock.parent.parent if lock else Path.cwd()
    return (inventory / Path(declared).expanduser()).resolve()


def _files(wanted: Published) -> dict[str, str]:
    """Every file that the host is to have, with its digest; the indexes come last."""
    indexes = {INDEX: sha256(wanted.index).hexdigest(), SIGNED: sha256(wanted.signed).hexdigest()}
    return {**wanted.packages, **indexes}


def _served(there: Served, files: Mapping[str, str]) -> bool:
    """Whether the host has these files and no others, and nobody but root can change them."""
    wanted = {name: (*_OURS, digest) for name, digest in files.items()}
    return there.folder == ("755", "root:root") and there.files == wanted


def _publish(state: State, host: Host, wanted: Published) -> bool:
    """send what is missing, then let the index name it"""
    remote = Remote(host, state, TRANSFERS)
    files = _files(wanted)
    try:
        there = host.get_fact(ServedKernels)
        for name, digest in wanted.packages.items():
            if not there.has(name, digest):
                _send(remote, wanted.apt / name, digest)
        remote.must(ON_HOST, "true", {})  # makes the folder that the indexes are put into
        for name, content in ((INDEX, wanted.index), (SIGNED, wanted.signed)):
            remote.put(content, f"{TRANSFERS}/.partial/{name}")
        names = "\n".join(files)
        remote.must(ON_HOST, _SWITCH, {"place": ON_HOST, "names": names, "index": INDEX, "signed": SIGNED})
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True


def _send(remote: Remote, path: Path, digest: str) -> None:
    if cache.sha256(path) != digest:
        raise GpuwrightError.of(
            str(path),
            f"its sha256 is {cache.sha256(path)}",
            f"{digest}, as the index beside it says",
            "Copy it again, or build the kernel again with the next --revision.",
        )
    file = ModelFile(path.name, path.stat().st_size, f"sha256:{digest}", path)
    remote.say(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB from this machine (kernel_repository)")
    upload(remote, path.name, file, int(remote.must(path.name, _OFFSET, {"key": digest})[-1]))
    remote.must(path.name, _TAKE, {"key": digest, "place": ON_HOST, "name": path.name})


def _refresh(state: State, host: Host, lock_timeout_s: int) -> bool:
    """let apt read the index"""
    try:
        answer = RootShell(host).run(_UPDATE, SOURCE, str(lock_timeout_s), NAME)
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    if not answer.ok:
        return failed(state, host, (explained("apt-get update", answer, f"the index of {ON_HOST}"),))
    return True
