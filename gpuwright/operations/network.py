"""How a host reaches the world: the archive's sources, trusted authorities, registry accounts."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import FunctionCommand, PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from typing_extensions import override

from gpuwright import secrets
from gpuwright.errors import GpuwrightError
from gpuwright.models.remote import Remote
from gpuwright.operations.files import FileStates, write
from gpuwright.operations.images import TRANSFERS
from gpuwright.operations.readings import Lines
from gpuwright.operations.shell import failed, failure, script, show
from gpuwright.plan.model import AptSources, CaCertificate, RegistryCredential
from gpuwright.plan.network import REGISTRY_LOGINS
from gpuwright.render import render

REPLACED = "/etc/gpuwright/replaced"


class ReplaceableSources(Lines):
    """Of the files to set aside, those that are there; with none to set aside, those that were."""

    @override
    def command(self, paths: tuple[str, ...]) -> StringCommand:
        return script(
            """
            aside=$1; shift
            if [ $# -gt 0 ]; then
                for path; do if [ -e "$path" ]; then echo "$path"; fi; done
            elif [ -d "$aside" ]; then
                cd "$aside" && find . -type f | sed 's/^\\.//'
            fi
            """,
            REPLACED,
            *paths,
        )


@operation()
def apt_sources(sources: tuple[AptSources, ...]) -> Generator[PyinfraCommand]:
    """
    Put the declared sources in the place of the installer's, which are kept; without any, put those back.

    + sources: none, or all sources of the distribution's archive
    """
    found = host.get_fact(ReplaceableSources, paths=tuple(p for each in sources for p in each.replaces))
    for each in sources:
        yield from write({each.file.path: (render(each.file), each.file.mode)})
    for path in found:
        kept = f"{REPLACED}{path}"
        away, back = (path, kept) if sources else (kept, path)
        show(f"{away} -> {back}")
        yield script('mkdir -p "$(dirname "$2")" && mv -f -T "$1" "$2"', away, back)


@operation()
def trusted(certificates: tuple[CaCertificate, ...]) -> Generator[PyinfraCommand]:
    """
    Make the host trust certificate authorities.

    + certificates: PEM files of the control machine, and their paths on the host
    """
    if not certificates:
        return
    texts: dict[str, tuple[str, str]] = {}
    for certificate in certificates:
        try:
            text = Path(certificate.source).expanduser().read_text(encoding="ascii")
            if "-----BEGIN CERTIFICATE-----" not in text:
                raise ValueError("it holds no PEM certificate")
        except (OSError, ValueError) as error:
            problem = GpuwrightError.of(
                f"base_ca_certificates {certificate.source}",
                str(error),
                "a PEM certificate on the control machine",
                "Correct the path.",
            )
            yield failure(*problem.refusals)
            return
        texts[certificate.path] = (text, "0644")
    writes = list(write(texts))
    yield from writes
    if writes:
        yield script("update-ca-certificates")


@operation()
def logins(credentials: tuple[RegistryCredential, ...]) -> Generator[PyinfraCommand]:
    """
    Give image pulls their registry accounts, in a root-only file of their own.

    + credentials: the passwords are read on the control machine, and travel through the connection's stdin
    """
    if not credentials:
        return
    try:
        content = _docker_config(credentials)
    except GpuwrightError as error:
        yield failure(*error.refusals)
        return
    state = host.get_fact(FileStates, paths=(REGISTRY_LOGINS,)).get(REGISTRY_LOGINS)
    digest = sha256(content.reveal().encode()).hexdigest()
    if state is not None and (state.digest, state.mode, state.owner) == (digest, "0600", "root:root"):
        host.noop("the registry accounts are as declared")
        return
    show(f"registry accounts: {', '.join(f'{c.username} at {c.registry}' for c in credentials)}")
    yield FunctionCommand(_write_logins, (content,), {})


def _docker_config(credentials: tuple[RegistryCredential, ...]) -> secrets.Secret:
    auths = {}
    for each in credentials:
        pair = f"{each.username}:{secrets.read(each.password, host.data.dict()).reveal()}"
        auths[each.registry] = {"auth": base64.b64encode(pair.encode()).decode()}
    return secrets.Secret(json.dumps({"auths": auths}, sort_keys=True) + "\n")


def _write_logins(state: State, host: Host, content: secrets.Secret) -> bool:
    try:
        Remote(host, state, TRANSFERS).must(
            "registry accounts",
            'umask 077; mkdir -p "${path%/*}" && cat >"$path.new" && mv -f -T "$path.new" "$path"',
            {"path": REGISTRY_LOGINS},
            content.reveal(),
        )
    except GpuwrightError as error:
        return failed(state, host, error.refusals)
    return True
